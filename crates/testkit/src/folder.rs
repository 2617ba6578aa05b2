//! A folder for as long as a process of tests.
//!
//! Contract: what several tests share is made once in a process, and a `static` is never dropped; so the folders of processes that have ended are removed
//! by the next that makes one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "fastdata-tests-";

/// An empty folder of this process.
pub fn of_process() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let parent = std::env::temp_dir();
    sweep(&parent);
    let folder = parent.join(format!("{PREFIX}{}", id())).join(MADE.fetch_add(1, Ordering::Relaxed).to_string());
    fs::create_dir_all(&folder).expect("a temporary folder is made");
    folder
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !runs(owner)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn runs(process: u32) -> bool {
    let asked = Command::new("kill").args(["-0", &process.to_string()]).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_ended_are_removed_and_no_others() {
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let folders = [format!("{PREFIX}{}", ended.id()), format!("{PREFIX}{}", id()), format!("{PREFIX}x"), "other".to_owned()];
        for folder in &folders {
            fs::create_dir_all(parent.path().join(folder).join("0")).unwrap();
        }
        sweep(parent.path());
        assert_eq!(folders.map(|folder| parent.path().join(folder).exists()), [false, true, true, true]);
        assert_ne!(of_process(), of_process());
    }
}
