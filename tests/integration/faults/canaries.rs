//! Ten secrets go through everything that reads, as loud as the log gets: none of them comes out.
//!
//! Access key, secret key and session token are those of a MinIO session that a REST catalog vends behind an OAuth client secret; another catalog takes a
//! bearer token, two are PostgreSQL, with a password that is right and with a wrong one; a server has tokens and a ticket key.

use super::{Bay, Store, latency, many_row_groups};
use crate::served::Server;
use crate::served::wire::{Call, Wire, command, path};
use crate::support::fastdata;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastdata_testkit::proxy::Fault;
use fastdata_testkit::rest::{OAuth, RestOptions, RestServer};
use fastdata_testkit::services::minio::{Credentials, Minio};
use fastdata_testkit::services::postgres::{Database, Postgres};
use std::collections::BTreeSet;
use std::time::Duration;

const CLIENT_SECRET: &str = "canary-client-secret";
const BEARER: &str = "canary-bearer-token";
const PASSWORD: &str = "canary-password";
const WRONG_PASSWORD: &str = "canary-that-is-refused";
const TICKET_KEY: &[u8; 32] = b"canary-ticket-key-of-32-bytes-xx";

/// Everything that was said, and by what.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn add(&mut self, by: impl Into<String>, text: impl Into<String>) {
        self.0.push((by.into(), text.into()));
    }

    /// Runs a command at the loudest log; its output is said.
    async fn run(&mut self, bay: &Bay, arguments: &[&str]) -> Option<i32> {
        let mut command = fastdata(bay.folder.path());
        command.args(arguments).args(["--timeout", "60s"]).env("FASTDATA_LOG", "trace");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.add(arguments.join(" "), text(&output.stdout) + &text(&output.stderr));
        output.status.code()
    }

    fn assert_none_of(&self, canaries: &[(&str, String)]) {
        for (by, text) in &self.0 {
            for (what, canary) in canaries {
                if let Some(at) = text.find(canary.as_str()) {
                    let line = text[..at].rsplit('\n').next().unwrap_or_default();
                    let tail = line.char_indices().rev().nth(400).map_or(line, |(start, _)| &line[start..]);
                    panic!("{by}: the {what} stands behind {tail}");
                }
            }
        }
    }
}

/// Two REST catalogs that name the table, with an OAuth client secret and with a bearer token, and vend a session.
async fn catalogs(bay: &Bay, session: &Credentials) -> [RestServer; 2] {
    let oauth = OAuth { client_id: "me".to_owned(), client_secret: CLIENT_SECRET.to_owned(), lifetime: Duration::from_secs(3600) };
    let first = RestServer::start(RestOptions { oauth: Some(oauth), ..RestOptions::default() }).await;
    let second = RestServer::start(RestOptions { static_token: Some(BEARER.to_owned()), ..RestOptions::default() }).await;
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(bay.built.metadata_file()).unwrap()).unwrap();
    let config = session.properties();
    let config: Vec<(&str, &str)> = config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for catalog in [&first, &second] {
        catalog.add_table_with_config(&["test"], "t", bay.built.table.metadata_location(), metadata.clone(), &config);
    }
    [first, second]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_comes_out_of_commands_errors_logs_metrics_plans_and_tickets() {
    let Some(minio) = Minio::shared() else { return };
    let database = Database { user: "fastdata", password: PASSWORD, name: "postgres" };
    let Some(postgres) = Postgres::start_as(&database) else { return };
    let Some(bay) = Bay::open(Some(Store::Shared(minio)), many_row_groups(), latency(0)).await else { return };
    let session = minio.assume_role(Duration::from_secs(900), None);
    let [secret, bearer] = catalogs(&bay, &session).await;
    let folder = bay.folder.path();
    let store = format!(
        "\"s3.endpoint\" = \"{}\"\n\"s3.region\" = \"us-east-1\"\n\"fastdata.s3.retry-timeout\" = \"1\"\n\"fastdata.allow-plaintext\" = true\n",
        bay.proxy.endpoint()
    );
    let (database, refused) = (postgres.uri(), postgres.uri().replace(PASSWORD, WRONG_PASSWORD));
    assert!(database.contains(PASSWORD) && refused.contains(WRONG_PASSWORD), "{database} {refused}");
    let settings = format!(
        "default-catalog = \"secret\"\n\
         [catalogs.secret]\ntype = \"rest\"\nuri = \"{}\"\ncredential = \"me:{CLIENT_SECRET}\"\n{store}\
         [catalogs.bearer]\ntype = \"rest\"\nuri = \"{}\"\ntoken = \"{BEARER}\"\n{store}\
         [catalogs.database]\ntype = \"sql\"\nuri = \"{database}\"\nwarehouse = \"s3://{}/\"\n\
         \"s3.access-key-id\" = \"{}\"\n\"s3.secret-access-key\" = \"{}\"\n\"s3.session-token\" = \"{}\"\n{store}\
         [catalogs.refused]\ntype = \"sql\"\nuri = \"{refused}\"\nwarehouse = \"s3://{}/\"\n{store}\
         [server.auth]\ntokens = \"tokens\"\n[server.tickets]\nkeys = \"ticket.keys\"\n",
        secret.uri(),
        bearer.uri(),
        bay.bucket,
        session.access_key_id,
        session.secret_access_key,
        session.session_token.as_deref().unwrap(),
        bay.bucket,
    );
    std::fs::write(folder.join("fastdata.toml"), settings).unwrap();
    let ticket_key = STANDARD.encode(TICKET_KEY);
    std::fs::write(folder.join("ticket.keys"), format!("first {ticket_key}\n")).unwrap();
    let made = fastdata(folder).args(["token", "rowan"]).output().unwrap();
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    std::fs::write(folder.join("token"), &token).unwrap();
    std::fs::write(folder.join("tokens"), made.stderr).unwrap();

    let mut canaries: Vec<(&str, String)> = vec![
        ("access key", session.access_key_id.clone()),
        ("secret key", session.secret_access_key.clone()),
        ("session token", session.session_token.clone().unwrap()),
        ("client secret", CLIENT_SECRET.to_owned()),
        ("bearer token", BEARER.to_owned()),
        ("password", PASSWORD.to_owned()),
        ("password", WRONG_PASSWORD.to_owned()),
        ("token of the server", token.clone()),
        ("ticket key", ticket_key),
    ];
    canaries.push(("ticket key", String::from_utf8(TICKET_KEY.to_vec()).unwrap()));
    // As basic authentication has it, and the store's own root secret.
    canaries.push(("client secret", STANDARD.encode(format!("me:{CLIENT_SECRET}"))));
    canaries.push(("root secret", Credentials::root().secret_access_key));

    let mut said = Said::default();
    let commands: [&[&str]; 8] = [
        &["tables", "secret"],
        &["doctor"],
        &["describe", "test.t"],
        &["plan", "test.t", "-o", "json"],
        &["files", "test.t"],
        &["count", "test.t", "--where", "id > 5"],
        &["scan", "test.t", "--stats", "-o", "jsonl"],
        &["scan", "bearer.test.t", "--stats", "-o", "jsonl"],
    ];
    for command in commands {
        let code = said.run(&bay, command).await;
        assert!(code == Some(0) || command == ["doctor"], "{command:?}: {code:?} {:?}", said.0.last());
    }
    // And what fails, in every way that knows a secret.
    for wrong in [
        &["scan", "database.a.b"][..],
        &["tables", "database"],
        &["tables", "refused"],
        &["tables"],
        &["scan", "test.none"],
        &["scan", "test.t", "--where", "nothing = 1"],
    ] {
        assert_ne!(said.run(&bay, wrong).await, Some(0), "{wrong:?}");
    }
    for fault in [
        Fault::Denied,
        Fault::ExpiredToken,
        Fault::Unavailable,
        Fault::Reset(0),
        Fault::Status(403, "SignatureDoesNotMatch"),
        Fault::RetryAfter(500, 0),
        Fault::RetryAfter(429, 1),
    ] {
        bay.proxy.fail("", vec![fault.clone(); 500]);
        assert_ne!(said.run(&bay, &["scan", "test.t"]).await, Some(0), "{fault:?}");
        bay.proxy.forgive();
    }
    // The store repeats them in what it refuses with.
    let signatures: BTreeSet<String> = bay.proxy.take_log().iter().filter_map(|logged| logged.signed.signature.clone()).collect();
    assert!(signatures.len() >= 5 && signatures.iter().all(|signature| signature.len() == 64), "{signatures:?}");
    canaries.extend(signatures.into_iter().map(|signature| ("signature", signature)));
    secret.forget_tokens();

    let server = Server::with_environment(folder, &["--admin", "127.0.0.1:0"], &[("FASTDATA_LOG", "trace")]);
    let remote = ["--server", &server.uri, "--token-file", "token"];
    for command in
        [&["tables"][..], &["plan", "test.t", "-o", "json"], &["scan", "test.t", "--stats", "-o", "none"], &["scan", "database.a.b"]]
    {
        said.run(&bay, &[command, &remote].concat()).await;
    }
    let wire = Wire::to(&server.uri, Some(&token)).await;
    for call in [
        Call::Info(path(&["test", "t"])),
        Call::Info(command(r#"{"table": "test.t", "filter": "id > 5", "lanes": 3}"#)),
        Call::Do("fastdata.v1.Explain", br#"{"table": "test.t"}"#.to_vec()),
        Call::Do("fastdata.v1.Describe", br#"{"table": "test.t"}"#.to_vec()),
        Call::Info(path(&["database", "a", "b"])),
        Call::Get(b"no ticket".to_vec()),
    ] {
        let by = format!("{call:?}");
        match wire.ask(call).await {
            Ok(messages) => messages.iter().for_each(|message| said.add(&by, String::from_utf8_lossy(message))),
            Err(refused) => said.add(&by, format!("{refused:?} {}", String::from_utf8_lossy(&refused.details))),
        }
    }
    let wrong = Wire::to(&server.uri, Some("fd_nobody")).await;
    said.add("a wrong token", format!("{:?}", wrong.ask(Call::Info(path(&["test", "t"]))).await));
    said.add("the server's log", server.log());
    said.add("its metrics", server.page("/metrics").1);
    assert!(server.log().contains("TRACE"), "the server's log is as loud as it gets");
    let loud = said.0.iter().filter(|(_, text)| text.contains("TRACE")).count();
    assert!(said.0.len() > 25 && loud > 12, "{loud} of {} logs are as loud as they get", said.0.len());
    said.assert_none_of(&canaries);
}
