//! The tests at the loudest log, with everything that is said written down, and every secret that they hand out.
//!
//! Problem: a secret may come out of any command that any test runs, and no test looks for those of the others. Contract: with `FASTDATA_LOUD`
//! naming a folder, what the testkit's catalogs, stores and issuers accept or give out as a secret stands in `secrets` there, one in a line;
//! programs that [`command`] starts log all they can, and what they say stands in files there, as does what this process logs.
//! `scripts/canaries.sh` runs the tests so and looks for each of the secrets. Without the variable nothing of it happens.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once};

/// Where everything is written down, where it is.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("FASTDATA_LOUD").map(PathBuf::from)
}

/// A program, as loud as it gets where that is asked for. Its process id is that of the program itself.
pub fn command(program: &Path) -> Command {
    let Some(folder) = folder() else { return Command::new(program) };
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/loud.sh")).arg(program).env("FASTDATA_LOUD", folder);
    command
}

/// Notes a secret that a test hands out or accepts. It must be unlike anything else that is said.
pub fn handed_out(secret: &str) {
    let Some(folder) = folder() else { return };
    assert!(secret.len() >= 12 && !secret.contains('\n'), "too short to be looked for: {secret}");
    listen(&folder);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    append(&folder.join("secrets")).write_all(format!("{secret}\n").as_bytes()).expect("a secret is written down");
}

/// What this process logs from now on.
fn listen(folder: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = append(&folder.join(format!("process-{}.log", std::process::id())));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(Mutex::new(log));
        subscriber.try_init().expect("nothing else listens in the tests");
    });
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
