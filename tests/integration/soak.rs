//! `scripts/soak.sh`, with scripts in the place of the tests that it runs: what counts as passed, and what is remembered of it.

use crate::support::root;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A repository with the script, and a `scripts/test.sh` that does this for the part `tickets`, and for every other says that one test passed.
struct Soak(TempDir);

impl Soak {
    fn of(tickets: &str) -> Soak {
        let soak = Soak(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(soak.0.path().join("main/scripts")).unwrap();
        std::fs::copy(root().join("scripts/soak.sh"), soak.checkout().join("scripts/soak.sh")).unwrap();
        soak.test(tickets);
        soak.git("init --quiet");
        soak
    }

    fn checkout(&self) -> PathBuf {
        self.0.path().join("main")
    }

    /// Writes the script of the tests, which also keeps a record of what it was asked for.
    fn test(&self, tickets: &str) {
        let asked = self.0.path().join("asked");
        let text = format!(
            "#!/usr/bin/env bash\necho \"$FASTDATA_REQUIRE $FASTDATA_SOAK ${{*: -1}}\" >>'{}'\ncase $* in\n*serve::ticket) {tickets} ;;\n*) echo 'test result: ok. 1 passed; 0 failed' ;;\nesac\n",
            asked.display()
        );
        let script = self.checkout().join("scripts/test.sh");
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn git(&self, arguments: &str) {
        let identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"];
        let ran = Command::new("git").args(identity).args(arguments.split(' ')).current_dir(self.checkout()).output().unwrap();
        assert!(ran.status.success(), "git {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn commit(&self) {
        self.git("add --all");
        self.git("commit --quiet --message change");
    }

    /// Exit status, standard output and standard error, with two seconds for each part.
    fn run(&self, arguments: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new(self.checkout().join("scripts/soak.sh"));
        command.args(arguments.split_whitespace()).env_remove("FASTDATA_REQUIRE");
        command.env("FASTDATA_CACHE", self.0.path().join("cache")).env("FASTDATA_SOAK_LIMIT", "2");
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// What the tests were asked for since the last time.
    fn asked(&self) -> Vec<String> {
        let file = self.0.path().join("asked");
        let lines = std::fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect();
        let _ = std::fs::remove_file(file);
        lines
    }
}

const PASSED: &str = "echo 'test result: ok. 3 passed; 0 failed'";

#[test]
fn a_soak_requires_every_real_component_and_counts_tests() {
    let soak = Soak::of(PASSED);
    soak.commit();
    let (status, said, errors) = soak.run("tickets lanes");
    assert_eq!(status, Some(0), "{said}{errors}");
    assert!(said.contains("tickets: a million altered tickets (FASTDATA_MUTATIONS=1000000): passed, 3 tests"), "{said}");
    assert_eq!(soak.asked(), ["all 1 --no-run", "all 1 serve::ticket", "all 1 lane::"]);
    for (tickets, verdict) in [
        ("echo 'test result: ok. 0 passed; 0 failed'", "FAILED: no test is named serve::ticket"),
        ("echo 'test result: FAILED. 2 passed; 1 failed'; exit 101", "FAILED, 2 tests"),
        ("sleep 60", "FAILED: not done after 2 s"),
    ] {
        soak.test(tickets);
        let (status, said, errors) = soak.run("tickets lanes");
        assert_eq!((status, errors.as_str()), (Some(1), "soak: promises were broken: tickets\n"), "{said}");
        assert!(said.contains(&format!(": {verdict}")) && said.contains("passed, 1 tests"), "what comes behind it runs too: {said}");
    }
    assert_eq!(soak.run("ticket").0, Some(2));
}

#[test]
fn a_resumed_soak_leaves_out_what_passed_at_this_commit_and_nothing_else() {
    let soak = Soak::of("exit 1");
    soak.commit();
    assert_eq!(soak.run("tickets lanes").0, Some(1));
    soak.asked();
    let (status, said, _) = soak.run("--resume tickets lanes scans");
    assert_eq!(status, Some(1));
    assert!(said.contains("lanes: thousands of random lanes, killed and resumed: passed before, at this commit"), "{said}");
    assert_eq!(soak.asked(), ["all 1 --no-run", "all 1 serve::ticket", "all 1 served::bounds::two_hundred_scans"]);

    soak.test(PASSED);
    let (status, _, errors) = soak.run("--resume tickets");
    assert!(status == Some(2) && errors.contains("commit or stash"), "{errors}");
    // What differs from its commit passes for no commit.
    assert_eq!(soak.run("tickets").0, Some(0));
    soak.git("stash --quiet");
    soak.asked();
    assert_eq!(soak.run("--resume tickets").0, Some(1));
    assert_eq!(soak.asked(), ["all 1 --no-run", "all 1 serve::ticket"]);
    soak.git("stash pop --quiet");
    soak.commit();
    assert_eq!(soak.run("--resume tickets lanes").0, Some(0));
    assert_eq!(soak.asked(), ["all 1 --no-run", "all 1 serve::ticket", "all 1 lane::"], "another commit passes anew");
}

#[test]
fn every_part_is_listed_with_what_it_is() {
    let output = Command::new(root().join("scripts/soak.sh")).arg("--list").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let script = std::fs::read_to_string(root().join("scripts/soak.sh")).unwrap();
    let parts = script.lines().filter_map(|line| line.strip_prefix("    \"")?.strip_suffix('"'));
    let parts: Vec<Vec<&str>> = parts.map(|part| part.split('|').collect()).collect();
    assert!(parts.len() >= 12 && listed.lines().count() == parts.len(), "{listed}");
    for (part, line) in parts.iter().zip(listed.lines()) {
        assert!(line.starts_with(part[0]) && line.ends_with(part[1]), "{line}");
    }
}
