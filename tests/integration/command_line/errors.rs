//! What the command refuses: each thing by its name, with the next step.

use super::warehouse;
use crate::support::{fail, fastdata, run, succeed};

#[test]
fn unknown_names_are_refused_with_the_nearest_ones() {
    for (arguments, expected) in [
        (&["scan", "tpch.lineitme", "--warehouse", "w"][..], "lineitem"),
        (&["scan", "tpch.lineitem", "--select", "l_orderky", "--warehouse", "w"], "l_orderkey"),
        (&["scan", "tpch.lineitem", "--where", "l_orderky = 1", "--warehouse", "w"], "l_orderkey"),
        (&["scan", "tpch.lineitem", "--ref", "mian", "--warehouse", "w"], "main"),
        (&["scan", "tpch.lineitem", "--snapshot", "1", "--warehouse", "w"], "snapshot"),
        (&["scan", "tpch.lineitem", "--as-of", "1970-01-02", "--warehouse", "w"], "snapshot"),
        (&["tables", "tcph", "--warehouse", "w"], "tpch"),
        (&["tables", "nosuch", "--warehouse", "w"], "no namespace 'nosuch'"),
    ] {
        let (status, message) = fail(warehouse(), arguments);
        assert_eq!(status, 2, "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?} should mention {expected}:\n{message}");
    }
}

#[test]
fn a_filter_that_does_not_type_check_names_position_and_type_before_any_reading() {
    let (status, message) =
        fail(warehouse(), &["scan", "tpch.lineitem", "--where", "l_orderkey > 1 AND l_comment > 7", "--warehouse", "w"]);
    assert_eq!(status, 2);
    assert!(message.contains("l_comment") && message.contains("string") && message.contains("20"), "{message}");
    assert_eq!(fail(warehouse(), &["scan", "tpch.lineitem", "--where", "l_orderkey >", "--warehouse", "w"]).0, 2);
}

#[test]
fn a_filter_may_begin_with_a_sign_and_a_negative_limit_is_refused_as_one() {
    let scan = ["scan", "tpch.nation", "--select", "n_nationkey", "--warehouse", "w"];
    let rows = succeed(warehouse(), &[&scan[..], &["--where", "-n_nationkey < -22"]].concat());
    assert_eq!(rows.lines().count(), 2, "{rows}");
    let (status, message) = fail(warehouse(), &[&scan[..], &["--limit", "-1"]].concat());
    assert!(status == 2 && message.contains("'-1'") && message.contains("0 or more"), "{message}");
    let (status, message) = fail(warehouse(), &[&scan[..], &["--sample", "-0.5"]].concat());
    assert!(status == 2 && message.contains("between 0 and 1"), "{message}");
}

#[test]
fn the_timeout_is_obeyed() {
    // A listener that accepts and never answers: the catalog hangs until the deadline.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[catalogs.lake]\ntype = \"rest\"\nuri = \"http://{}\"\n", silent.local_addr().unwrap());
    std::fs::write(directory.path().join("fastdata.toml"), config).unwrap();
    let started = std::time::Instant::now();
    let (status, message) = fail(directory.path(), &["tables", "--timeout", "1s"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{message}");
    assert_eq!(status, 8, "{message}");
}

#[test]
fn every_problem_of_the_configuration_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("fastdata.toml"), "memroy = \"1GiB\"\nthreads = \"many\"\n").unwrap();
    let (status, message) = fail(directory.path(), &["tables"]);
    assert_eq!(status, 2);
    assert!(message.contains("memroy") && message.contains("threads") && message.contains("fastdata.toml"), "{message}");
}

/// What the file itself, its catalogs and their storage get wrong comes in one answer, each with its key and where it stands.
#[test]
fn problems_of_the_file_of_catalogs_and_of_their_storage_come_together() {
    let directory = tempfile::tempdir().unwrap();
    let text = "memroy = \"1GiB\"\ndefault-catalog = \"lak\"\n\
        [catalogs.lake]\nuri = \"https://c.example.com\"\nwarehose = \"w\"\ns3.endpoint = \"minio\"\ns3.access-key-id = \"k\"\n\
        [catalogs.team]\ntype = \"sql\"\nuri = \"sqlite:////x.db\"\n";
    std::fs::write(directory.path().join("fastdata.toml"), text).unwrap();
    let output = fastdata(directory.path()).args(["tables"]).env("FASTDATA_CATALOG__HIVE__URI", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    for line in [
        "fastdata.toml: memroy: unknown key; did you mean 'memory'?",
        "fastdata.toml: default-catalog: 'lak' is not among the catalogs (hive, lake, team)",
        "fastdata.toml: catalogs.lake: unknown property 'warehose' (did you mean: warehouse?)",
        "fastdata.toml: catalogs.lake: storage properties: s3.endpoint: not of the form",
        "fastdata.toml: catalogs.team: property 'warehouse' is missing",
        "environment: catalogs.hive: property 'type' is missing",
    ] {
        assert!(message.contains(line), "{line}\nis missing in:\n{message}");
    }
    assert!(message.contains("6 problems") && message.contains("s3.secret-access-key"), "{message}");
    let doctor = run(directory.path(), &["doctor"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("FAIL  configuration") && said.contains("memroy") && said.contains("warehose"), "{said}");
}

/// Only the name is wrong, and no table is to be repaired.
#[test]
fn a_metadata_file_that_was_named_and_is_not_there_is_not_found() {
    let (status, message) = fail(warehouse(), &["scan", "nosuch.metadata.json"]);
    assert!(status == 2 && message.contains("not-found") && message.contains("nosuch.metadata.json"), "{status}: {message}");
    assert!(!message.contains("repair"), "{message}");
}

#[test]
fn options_without_effect_are_refused_by_name() {
    let server = ["scan", "a.b", "--server", "grpc://127.0.0.1:1"];
    for (command, idle) in [
        (&server[..], &["--memory", "1GiB"][..]),
        (&server, &["--threads", "1"]),
        (&server, &["--moved"]),
        (&server, &["--rewrite", "a=b"]),
        (&server, &["--allow", "/"]),
        (&server, &["--warehouse", "w"]),
        (&server, &["--config", "x.toml"]),
        (&["serve", "--warehouse", "w", "--listen", "127.0.0.1:0"], &["--timeout", "1s"]),
        (&["serve", "--warehouse", "w", "--listen", "127.0.0.1:0"], &["--moved"]),
    ] {
        let (status, message) = fail(warehouse(), &[command, idle].concat());
        assert!(status == 2 && message.contains(&format!("{} has no effect", idle[0])), "{idle:?}: {status}: {message}");
    }
    for command in [&["tables"][..], &["describe", "a.b"], &["snapshots", "a.b"], &["files", "a.b"], &["plan", "a.b"], &["count", "a.b"]] {
        let (status, message) = fail(warehouse(), &[command, &["--threads", "1", "--server", "grpc://127.0.0.1:1"]].concat());
        assert!(status == 2 && message.contains("--threads has no effect with --server"), "{command:?}: {status}: {message}");
    }
    let (_, message) = fail(warehouse(), &[&server[..], &["--moved", "--memory", "1GiB"]].concat());
    assert!(message.contains("--moved, --memory have no effect"), "{message}");
    let (status, message) = fail(warehouse(), &["scan", "tpch.region", "--warehouse", "w", "--memory", "1KiB"]);
    assert!(status == 2 && message.contains("--memory") && message.contains("1MiB"), "{message}");
    // The variable holds for every command.
    let output = fastdata(warehouse()).args(server).env("FASTDATA_WAREHOUSE", "w").output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Names from tables and requests are quoted in messages: they must not drive the terminal.
#[test]
fn messages_show_control_characters_and_send_none() {
    let (_, stderr) = fail(warehouse(), &["describe", "demo.\u{1b}[2Jgone\r", "--warehouse", "w"]);
    assert!(stderr.contains("[2Jgone") && !stderr.contains(['\u{1b}', '\r']), "{stderr:?}");
}
