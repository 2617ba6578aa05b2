//! What the tests share: the binary, the corpus, the Python with the real readers.

use fastdata_testkit::loud;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub const BINARY: &str = env!("CARGO_BIN_EXE_fastdata");

/// The `fastdata` binary with an environment of its own: no settings of the person who runs the tests.
pub fn fastdata(directory: &Path) -> Command {
    let mut command = loud::command(Path::new(BINARY));
    command
        .current_dir(directory)
        .env_clear()
        .envs(loud::folder().map(|folder| ("FASTDATA_LOUD", folder)))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

pub fn run(directory: &Path, arguments: &[&str]) -> Output {
    fastdata(directory).args(arguments).output().expect("the binary runs")
}

/// Standard output of a command that must succeed.
pub fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "fastdata {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("standard output is UTF-8")
}

/// Exit status and standard error of a command that must fail.
pub fn fail(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(directory, arguments);
    assert!(!output.status.success(), "fastdata {} succeeded", arguments.join(" "));
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Where something optional is missing: fails where everything is required, else says what is skipped.
pub fn skip(what: &str) {
    assert_ne!(std::env::var("FASTDATA_REQUIRE").as_deref(), Ok("all"), "{what} is required (FASTDATA_REQUIRE=all) and missing");
    eprintln!("skipped: {what} is missing");
}

/// The folder of other engines' tables, if it is here.
pub fn corpus() -> Option<PathBuf> {
    let found = std::env::var_os("FASTDATA_CORPUS").map(PathBuf::from).filter(|path| path.is_dir());
    if found.is_none() {
        skip("FASTDATA_CORPUS (tables of other engines)");
    }
    found
}

/// A Python that has pyarrow and pyiceberg, if there is one.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("FASTDATA_PYTHON").map(PathBuf::from).filter(|path| path.exists());
    if found.is_none() {
        skip("FASTDATA_PYTHON (a Python with pyarrow and pyiceberg)");
    }
    found
}

/// Whether the long tests run in full: `make soak`.
pub fn soak() -> bool {
    std::env::var_os("FASTDATA_SOAK").is_some()
}
