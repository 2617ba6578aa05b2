//! What a newcomer does first: follows the documents, runs the lines that the server prints, and gets things wrong.

use super::{Server, block_on, free_port, large};
use crate::support::{BINARY, fail, fastdata, python, root, run, succeed};
use fastdata_client::{Client, ConnectOptions};
use fastdata_testkit::folder;
use fastdata_types::{Error, ErrorKind};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The fenced blocks of the section of docs/security.md that sets a server up: language and text.
fn blocks() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let section = text.split("five minutes\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let parts: Vec<&str> = section.split("```").skip(1).step_by(2).collect();
    parts.iter().map(|part| part.split_once('\n').unwrap()).map(|(language, text)| (language.to_owned(), text.to_owned())).collect()
}

/// Runs lines of a shell in a folder, where `fastdata` is the one under test.
fn shell(folder: &Path, lines: &str) -> String {
    let binary = Path::new(BINARY).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-ec", lines]).current_dir(folder).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{lines}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder as the section leaves it: certificates, a token, keys, `fastdata.toml`, `warehouse`.
fn set_up() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = folder::of_process();
        succeed(&folder, &["demo", "warehouse", "--scale", "0.002"]);
        for (language, text) in blocks() {
            match language.as_str() {
                "sh" if text.starts_with("openssl") || text.starts_with("fastdata token") => drop(shell(&folder, &text)),
                "toml" => std::fs::write(folder.join("fastdata.toml"), text).unwrap(),
                _ => {}
            }
        }
        folder
    };
    FOLDER.get_or_init(make)
}

/// Another folder with the same files, whose settings say something more, or something else.
fn with_settings(change: impl Fn(&str) -> String) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key", "token", "tokens", "ticket.keys"] {
        std::fs::copy(set_up().join(name), folder.path().join(name)).unwrap();
    }
    let settings = std::fs::read_to_string(set_up().join("fastdata.toml")).unwrap();
    std::fs::write(folder.path().join("fastdata.toml"), change(&settings)).unwrap();
    folder
}

#[test]
fn the_lines_of_the_security_page_work_as_they_stand() {
    let folder = set_up();
    let server = Server::with(folder, &["--warehouse", "warehouse"]);
    let here = |text: &str| text.replace("grpc+tls://127.0.0.1:8815", &server.uri);
    for (language, text) in blocks() {
        match language.as_str() {
            "sh" if text.contains("fastdata serve") => {
                let doctor = text.lines().find(|line| line.contains("doctor")).unwrap();
                let said = shell(folder, doctor);
                assert!(said.contains("ok    server: ") && said.contains("ok    policy[1]: "), "{said}");
            }
            "sh" if text.contains("--server") => {
                let said = shell(folder, &here(&text));
                assert!(said.contains("tpch.customer") && said.contains("c_mktsegment") && !said.contains("c_name"), "{said}");
            }
            "python" => drop(python_in(folder, &(here(&text) + "assert table.column_names == ['c_custkey', 'c_mktsegment'], table"))),
            _ => {}
        }
    }
}

fn python_in(folder: &Path, script: &str) -> Option<String> {
    let output = Command::new(python()?).current_dir(folder).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The lines of Python that a server prints, and its process.
fn greeting(folder: &Path, warehouse: &Path) -> (std::process::Child, String) {
    let mut child = fastdata(folder)
        .args(["serve", "--listen", "127.0.0.1:0", "--warehouse"])
        .arg(warehouse)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut script = String::new();
    for line in lines.skip_while(|line| !line.starts_with("import ")) {
        script += &(line.clone() + "\n");
        if line.starts_with("table = ") {
            break;
        }
    }
    (child, script)
}

#[test]
fn the_lines_that_a_server_prints_pull_a_table() {
    let warehouse = set_up().join("warehouse");
    let without_rules = |settings: &str| settings.split("[[policy]]").next().unwrap().to_owned();
    let tokens = with_settings(without_rules);
    let certificates = with_settings(|s| without_rules(s).replace("key = \"server.key\"", "key = \"server.key\"\nclient-ca = \"ca.pem\""));
    let plain = tempfile::tempdir().unwrap();
    for (folder, said) in [(plain.path(), "fl.connect(\"grpc://"), (tokens.path(), "tls_root_certs"), (certificates.path(), "cert_chain")] {
        let (mut child, script) = greeting(folder, &warehouse);
        assert!(script.contains(said) && !script.contains("\"namespace\""), "{script}");
        let rows = python_in(folder, &(script + "print(table.num_rows > 0)"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(rows.is_none_or(|rows| rows.trim() == "True"));
    }
}

/// The client of the documents, over a server that dies under it.
#[test]
fn the_example_goes_on_where_a_stream_broke() {
    let folder = tempfile::tempdir().unwrap();
    shell(folder.path(), "echo \"a $(head -c 32 /dev/urandom | base64)\" > keys");
    std::fs::write(folder.path().join("fastdata.toml"), "[server.tickets]\nkeys = \"keys\"\n").unwrap();
    let warehouse = large().join("w");
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = ["--warehouse", warehouse.to_str().unwrap(), "--listen", &listen];
    let server = Server::with(folder.path(), &arguments);
    let Some(python) = python() else { return };
    let script = r#"
import sys
sys.path.insert(0, sys.argv[2])
import flight_client as example, pyarrow.flight as fl
client = fl.connect(sys.argv[1])
keys = []
info = client.get_flight_info(fl.FlightDescriptor.for_command(b'{"table": "tpch.lineitem", "lanes": 2, "batchRows": 1000}'))
for endpoint in info.endpoints:
    for number, batch in enumerate(example.lane(client, endpoint.ticket)):
        keys += zip(batch.column(0).to_pylist(), batch.column(3).to_pylist())
        if number == 0:
            print("kill", flush=True)
            sys.stdin.readline()
print(len(keys), len(set(keys)))
"#;
    let examples = root().join("examples");
    let mut client = Command::new(&python)
        .args(["-c", script, &server.uri, examples.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    let (mut server, mut go_on) = (Some(server), client.stdin.take().unwrap());
    for _ in 0..2 {
        assert_eq!(said.next().unwrap().unwrap(), "kill");
        server.as_ref().unwrap().signal("KILL");
        drop(server.take());
        server = Some(Server::with(folder.path(), &arguments));
        writeln!(go_on, "on").unwrap();
    }
    let rows = succeed(folder.path(), &["count", "tpch.lineitem", "--warehouse", warehouse.to_str().unwrap()]);
    assert_eq!(said.next().unwrap().unwrap(), format!("{0} {0}", rows.trim()));
    assert!(client.wait().unwrap().success());
    let whole =
        Command::new(python).arg(examples.join("flight_client.py")).args([&server.unwrap().uri, "tpch", "nation"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&whole.stdout).trim(), "25", "{}", String::from_utf8_lossy(&whole.stderr));
}

/// Everything that is wrong, in one go, by its key; `doctor` says the same.
#[test]
fn all_files_that_are_broken_are_named_at_once() {
    let folder = with_settings(|settings| {
        settings.replace("ticket.keys", "nowhere.keys").replace("\"tokens\"", "\"nothing\"").replace("c_nationkey < 5", "c_nationkey <")
    });
    std::fs::remove_file(folder.path().join("server.pem")).unwrap();
    std::fs::write(folder.path().join("server.key"), "no key").unwrap();
    let warehouse = set_up().join("warehouse");
    let arguments = ["--warehouse", warehouse.to_str().unwrap()];
    let (status, message) = fail(folder.path(), &[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat());
    let doctor = run(folder.path(), &[&["doctor"], &arguments[..]].concat());
    assert_eq!((status, doctor.status.code()), (2, Some(2)), "{message}");
    let checked = String::from_utf8(doctor.stdout).unwrap();
    for key in ["server.tickets.keys: ", "server.auth.tokens: ", "server.tls.certificate: ", "server.tls.key: ", "policy[1].filter: "] {
        assert!(message.contains(key) && checked.contains(key), "{key}\n{message}\n{checked}");
    }
}

#[test]
fn the_doctor_tries_rules_on_the_tables_that_they_name() {
    let warehouse = set_up().join("warehouse");
    for (from, to, said) in [
        ("\"c_mktsegment\"", "\"c_segment\"", "c_segment"),
        ("c_nationkey < 5", "c_nation < 5", "c_nation"),
        ("c_nationkey < 5", "c_nationkey < 'x'", "'x' is no long"),
        ("tpch.customer", "tpch.costumer", "tpch.costumer"),
    ] {
        let folder = with_settings(|settings| settings.replace(from, to));
        let output = run(folder.path(), &["doctor", "--warehouse", warehouse.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("FAIL  policy[1]: ")).unwrap_or_else(|| panic!("{to}: {text}"));
        assert!(!output.status.success() && line.contains(said), "{text}");
    }
}

async fn refused(uri: &str, options: ConnectOptions) -> Error {
    match Client::connect(uri, options).await {
        Err(error) => error,
        Ok(client) => client.tables(None).await.err().unwrap(),
    }
}

/// Each mistake of a first connection has the advice that mends it.
#[test]
fn a_first_connection_that_fails_says_what_to_do() {
    let folder = set_up();
    let server = Server::with(folder, &["--warehouse", "warehouse"]);
    let plain = Server::start();
    let ca = |name: &str| ConnectOptions { ca: Some(folder.join(name)), ..ConnectOptions::default() };
    let (of_plain, of_server) = (plain.uri.replace("grpc://", "grpc+tls://"), server.uri.replace("grpc+tls://", "grpc://"));
    shell(folder, "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -addext subjectAltName=IP:127.0.0.1 -keyout as.key -out as.pem");
    let authority = with_settings(|settings| settings.replace("server.pem", "as.pem").replace("server.key", "as.key"));
    for name in ["as.pem", "as.key"] {
        std::fs::copy(folder.join(name), authority.path().join(name)).unwrap();
    }
    let as_authority = Server::with(authority.path(), &["--warehouse", folder.join("warehouse").to_str().unwrap()]);
    let asked = with_settings(|settings| settings.replace("key = \"server.key\"", "key = \"server.key\"\nclient-ca = \"ca.pem\""));
    let asks = Server::with(asked.path(), &["--warehouse", folder.join("warehouse").to_str().unwrap()]);
    block_on(async {
        for (uri, options, kind, retryable, said, advice) in [
            (&as_authority.uri, ca("as.pem"), ErrorKind::Unauthenticated, false, "not trusted", "CA:FALSE"),
            (&server.uri, ca("as.pem"), ErrorKind::Unauthenticated, false, "not trusted", "authority"),
            (&of_plain, ca("ca.pem"), ErrorKind::Unavailable, false, "does not speak TLS", "grpc://"),
            (&server.uri, ca("ca.pem"), ErrorKind::Unauthenticated, false, "credentials", "give a token"),
            (&asks.uri, ca("ca.pem"), ErrorKind::Unauthenticated, false, "asks for a client certificate", "--certificate"),
        ] {
            let error = refused(uri, options).await;
            assert_eq!((error.kind(), error.retryable()), (kind, retryable), "{error:?}");
            assert!(error.message().contains(said) && error.advice_text().unwrap().contains(advice), "{error:?}");
        }
        // The connection may end before the server's answer is looked at: the advice is the same.
        let error = refused(&of_server, ConnectOptions::default()).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.advice_text().unwrap().contains("grpc+tls://"), "{error:?}");
    });
    let (_, message) = fail(folder, &["tables", "--server", &server.uri, "--ca", "ca.pem"]);
    assert!(message.contains("--token-file") && message.contains("FASTDATA_TOKEN"), "{message}");
    let (_, message) = fail(folder, &["tables", "--server", &as_authority.uri, "--ca", "as.pem"]);
    assert!(message.contains("CA:FALSE"), "{message}");
}

/// A figure that a policy hides is no nought.
#[test]
fn figures_that_a_policy_hides_are_printed_as_hidden() {
    let folder = set_up();
    let server = Server::with(folder, &["--warehouse", "warehouse"]);
    let asked = ["--server", &server.uri, "--ca", "ca.pem", "--token-file", "token"];
    for (command, said) in
        [(&["plan", "tpch.customer"][..], "rows       hidden"), (&["shards", "tpch.customer", "--shards", "2"], "hidden")]
    {
        let text = succeed(folder, &[command, &asked].concat());
        assert!(text.contains(said), "{text}");
    }
    let json = succeed(folder, &[&["plan", "tpch.customer", "-o", "json"], &asked[..]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["rows_estimated"], &json["rows_hidden"]), (&0.into(), &true.into()));
}

/// The operator finds the table in the log, and the caller nothing of the rule.
#[test]
fn a_rule_that_does_not_fit_its_table_shows_in_the_log() {
    let folder = with_settings(|settings| settings.replace("c_nationkey < 5", "c_canary < 5"));
    let warehouse = set_up().join("warehouse");
    let server = Server::with(folder.path(), &["--warehouse", warehouse.to_str().unwrap()]);
    let arguments = ["scan", "tpch.customer", "--server", &server.uri, "--ca", "ca.pem", "--token-file", "token"];
    let (status, message) = fail(folder.path(), &arguments);
    assert!(status == 5 && message.contains("permission-denied") && !message.contains("canary"), "{message}");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("plan-failed")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("does not fit table 'local.tpch.customer'") && !line.contains("canary"), "{line}");
}
