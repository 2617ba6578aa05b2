//! What leaves a server beside rows: health, reflection, metrics, the log. Secrets are in none of it.

use super::tokens::{Issuer, JWT, claims, unsigned};
use super::{Place, await_events, reload};
use crate::served::wire::{Call, Wire, command, path};
use crate::served::{Server, block_on};
use arrow_flight::FlightInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastdata_testkit::authority::Authority;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

#[test]
fn health_needs_no_token_and_reflection_does() {
    let place = Place::new();
    let (alice, _) = place.token("alice", &[]);
    let server = place.serve("[server.auth]\ntokens = \"tokens\"\n");
    block_on(async {
        let channel = Wire::to(&server.uri, None).await.channel;
        for service in ["", "arrow.flight.protocol.FlightService"] {
            let asked = HealthCheckRequest { service: service.to_owned() };
            let answer = HealthClient::new(channel.clone()).check(asked).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving);
        }
        let list = || ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
        let reflect = async |token: Option<&str>| {
            let mut request = tonic::Request::new(futures::stream::iter([list()]));
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
            }
            let mut answers = ServerReflectionClient::new(channel.clone()).server_reflection_info(request).await?.into_inner();
            answers.message().await
        };
        assert_eq!(reflect(None).await.unwrap_err().code(), Code::Unauthenticated);
        let answer = format!("{:?}", reflect(Some(&alice)).await.unwrap().unwrap());
        assert!(answer.contains("arrow.flight.protocol.FlightService"), "{answer}");
    });
}

/// A place with every kind of secret in it, each with a word that is found wherever it goes.
struct Secrets {
    place: Place,
    issuer: Issuer,
    token: String,
    key: String,
}

impl Secrets {
    fn new() -> Secrets {
        let place = Place::new();
        let issuer = Issuer::of(&place);
        let token = place.token("rowan", &["crew"]).0;
        let key = STANDARD.encode(b"canary-ticket-key-of-32-bytes-xx");
        place.write("ticket.keys", &format!("first {key}\n"));
        let server = Authority::new("ours").server();
        place.write("server.key", &server.key);
        Secrets { place, issuer, token, key }
    }

    fn serve(&self) -> Server {
        let config = format!("[server.auth]\ntokens = \"tokens\"\n{JWT}[server.tickets]\nkeys = \"ticket.keys\"\n");
        self.place.write("fastdata.toml", &config);
        Server::with_environment(self.place.folder.path(), &["--warehouse", "w", "--admin", "127.0.0.1:0"], &[("FASTDATA_LOG", "trace")])
    }
}

#[test]
fn no_secret_leaves_the_server_however_much_it_logs() {
    let secrets = Secrets::new();
    let place = &secrets.place;
    let server = secrets.serve();
    let signed = secrets.issuer.sign(&claims(json!({"sub": "jody"})));
    let none = unsigned(&claims(json!({})));
    let mut canaries = vec![secrets.token.clone(), secrets.key.clone(), signed.clone(), none.clone(), "fd_canary-wrong".to_owned()];
    // The signature of a token is enough to find it by.
    canaries.push(signed.rsplit('.').next().unwrap().to_owned());
    canaries.extend(["canary-ticket-key", "canary-in-a-filter", "canary-in-a-file"].map(str::to_owned));
    let mut said = block_on(async {
        let mut said = vec![];
        for token in [&secrets.token, &signed, &none, "fd_canary-wrong"] {
            let wire = Wire::to(&server.uri, Some(token)).await;
            let filtered = r#"{"table": "hr.people", "filter": "ssn <> 'canary-in-a-filter'"}"#;
            for call in [
                Call::Info(path(&["hr", "people"])),
                Call::Info(command(filtered)),
                Call::Info(command(r#"{"table": "hr.people", "filter": "ssn <> 'canary-in-a-filter' OR nothing = 1"}"#)),
                Call::Info(path(&["hr", "peple"])),
                Call::Get(b"fd_canary-wrong".to_vec()),
                Call::Do("fastdata.v1.Count", filtered.as_bytes().to_vec()),
            ] {
                // A filter may come back to its own caller, a credential may not.
                said.extend(wire.ask(call).await.err().map(|refused| format!("{refused:?}").replace("canary-in-a-filter", "")));
            }
            if let Ok(info) = wire.ask(Call::Info(command(filtered))).await {
                let info = <FlightInfo as prost::Message>::decode(info[0].as_slice()).unwrap();
                let ticket = info.endpoint[0].ticket.clone().unwrap().ticket.to_vec();
                wire.ask(Call::Get(ticket.clone())).await.unwrap();
                canaries.push(STANDARD.encode(&ticket));
            }
        }
        said
    });
    assert!(said.len() > 10, "{said:?}");
    await_events(&server, "scan", 2);
    place.write("tokens", "sha256:canary-in-a-file rowan\n");
    place.write("ticket.keys", "canary-in-a-file\n");
    place.write("jwks.json", "{\"keys\": \"canary-in-a-file\"}");
    let told = reload(&server, 3);
    assert!(told.iter().all(|line| line["outcome"] == "config"), "{told:?}");
    // Before it serves, too, and at its end.
    let output = crate::support::run(place.folder.path(), &["serve", "--warehouse", "w", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    said.push(String::from_utf8(output.stderr).unwrap());
    said.extend([server.page("/metrics").1, server.log()]);
    assert!(server.log().contains("TRACE"), "the log is as loud as it gets");
    for text in &said {
        for canary in &canaries {
            if let Some(at) = text.find(canary.as_str()) {
                let line = text[..at].rsplit('\n').next().unwrap_or_default();
                panic!("{canary} stands behind {}", &line[line.len().saturating_sub(400)..]);
            }
        }
    }
}

#[test]
fn the_log_tells_who_and_how_it_ended_and_the_admin_port_tells_neither() {
    let place = Place::new();
    let (rowan, _) = place.token("rowan", &["crew"]);
    let server = place.serve("[server.auth]\ntokens = \"tokens\"\n[[policy]]\ngroups = [\"crew\"]\ntables = [\"hr.people\"]\n");
    place.write("token", &rowan);
    assert!(place.scan(&server.uri, &["--token-file", "token"]).is_ok());
    block_on(async {
        let wire = Wire::to(&server.uri, Some(&rowan)).await;
        assert_eq!(wire.ask(Call::Info(path(&["hr", "secret"]))).await.unwrap_err().code, Code::NotFound);
    });
    let scan = await_events(&server, "scan", 1).remove(0);
    assert_eq!((&scan["principal"], &scan["table"], &scan["outcome"]), (&json!("rowan"), &json!("hr.people"), &json!("ok")));
    assert_eq!(scan["rows"], json!(super::PEOPLE));
    let failed = await_events(&server, "plan-failed", 1).remove(0);
    assert_eq!((&failed["principal"], &failed["table"], &failed["outcome"]), (&json!("rowan"), &json!("hr.secret"), &json!("not-found")));
    assert!(!server.log().contains(&rowan));
    for page in ["/metrics", "/readyz", "/healthz", "/", "/hr.people"] {
        let (_, text) = server.page(page);
        for name in ["rowan", "crew", "people", "secret", "127.0.0.1"] {
            assert!(!text.contains(name), "{page} tells of {name}");
        }
    }
}
