//! The real programs that tests meet: object store, catalogs, database.
//!
//! Problem: what is only ever tried against imitations fails at the first real one. Contract: `start` returns when the server answers, or `None` where
//! its program is not installed, after saying so on stderr; with the environment variable `FASTDATA_REQUIRE=all` that is a failure instead.
//! Every server listens on a free loopback port, has state of its own, and is gone with the value, or with the test process, however that ends.
//! How: `scripts/components.sh` installs the programs and says where they are; [`process`] starts and ends them.

pub mod catalog;
pub mod demo;
pub mod http;
pub mod minio;
pub mod nessie;
pub mod postgres;
pub mod process;
pub mod reference;
pub mod running;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// What `scripts/components.sh` printed for this variable. The environment wins, as `scripts/test.sh` sets it.
pub fn component(variable: &str) -> Option<String> {
    static INSTALLED: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let ask = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/components.sh");
        let output = Command::new(script).arg("--installed").output().expect("scripts/components.sh runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    INSTALLED.get_or_init(ask).get(variable).cloned()
}

/// The same, where a test skips without it.
fn required(variable: &str, what: &str) -> Option<String> {
    let found = component(variable);
    if found.is_none() {
        missing(&format!("{what} is not installed (scripts/components.sh)"));
    }
    found
}

/// Fails where everything is required, else says what is skipped.
fn missing(message: &str) {
    assert!(!all_is_required(), "{message}");
    eprintln!("skipped: {message}");
}

fn all_is_required() -> bool {
    std::env::var("FASTDATA_REQUIRE").as_deref() == Ok("all")
}
