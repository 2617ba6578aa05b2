//! Tokens: static ones from a file that changes under way, and signed ones of an issuer.

use super::{Place, await_events, client, reload};
use crate::served::wire::{Call, Wire, path};
use crate::served::{Server, block_on, large, request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastdata_client::PullOptions;
use fastdata_types::ErrorKind;
use futures::StreamExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value as Json, json};
use tonic::Code;

const TOKENS: &str = "[server.auth]\ntokens = \"tokens\"\n";

#[test]
fn a_token_opens_the_door_and_everything_else_gets_one_answer() {
    let place = Place::new();
    let (alice, line) = place.token("alice", &["ml", "ops"]);
    assert!(line.starts_with("sha256:") && line.ends_with(" alice ml,ops\n"), "{line}");
    let server = place.serve(&format!("{TOKENS}[[policy]]\ngroups = [\"ops\"]\n"));
    place.write("token", &format!("{alice}\n"));
    assert_eq!(place.scan(&server.uri, &["--token-file", "token"]).unwrap(), super::PEOPLE as usize);
    place.scan(&server.uri, &[]).unwrap_err().is("unauthenticated", &["no valid credentials were sent", "--token-file"]);
    // Who reads the file cannot call with what stands in it.
    let hash = line.split(' ').next().unwrap();
    block_on(async {
        let mut answers = vec![];
        for token in [None, Some("fd_wrong"), Some(hash), Some(&hash["sha256:".len()..]), Some(&alice[..alice.len() - 1]), Some("")] {
            let wire = Wire::to(&server.uri, token).await;
            for call in
                [Call::Info(path(&["hr", "people"])), Call::Info(path(&["hr", "nothing"])), Call::List(String::new()), Call::Get(vec![])]
            {
                answers.push(wire.ask(call).await.unwrap_err());
            }
        }
        assert_eq!(answers[0].code, Code::Unauthenticated);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    });
    assert!(server.metric("fastdata_errors_total{kind=\"unauthenticated\"}") >= 25.0);
}

/// As docs/security.md shows it, with pyarrow.
#[test]
fn the_output_of_the_command_is_what_the_documents_say() {
    let place = Place::new();
    let shell = format!("{} token trainer --group ml > trainer.token 2>> tokens", env!("CARGO_BIN_EXE_fastdata"));
    let done = std::process::Command::new("sh").args(["-c", &shell]).current_dir(place.folder.path()).status().unwrap();
    assert!(done.success());
    let server = place.serve(TOKENS);
    let script = r#"
import sys
import pyarrow.flight as fl
client = fl.connect(sys.argv[1])
token = open(sys.argv[2], "rb").read().strip()
options = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + token)])
info = client.get_flight_info(fl.FlightDescriptor.for_path("hr", "people"), options)
print(sum(client.do_get(e.ticket, options).read_all().num_rows for e in info.endpoints))
for call in [lambda: client.get_flight_info(info.descriptor), lambda: client.do_get(info.endpoints[0].ticket).read_all()]:
    try:
        call()
        sys.exit("accepted")
    except fl.FlightUnauthenticatedError as e:
        assert "no valid credentials were sent" in str(e), e
"#;
    let Some(rows) = crate::served::scans::pyarrow_with(&server, script, &[&place.name("trainer.token")]) else { return };
    assert_eq!(rows.trim(), super::PEOPLE.to_string());
}

#[test]
fn a_token_is_taken_back_while_its_stream_goes_on() {
    let place = Place::empty();
    let (alice, _) = place.token("alice", &[]);
    place.write("fastdata.toml", TOKENS);
    let warehouse = large().join("w");
    let server = Server::with(place.folder.path(), &["--warehouse", warehouse.to_str().unwrap(), "--admin", "127.0.0.1:0"]);
    block_on(async {
        let ours = client(&server.uri, Some(&alice)).await.unwrap();
        let plan = ours.plan(&request(r#"{"table": "tpch.lineitem", "lanes": 1}"#)).await.unwrap();
        let expected = plan.lane_rows(0).unwrap();
        let mut pull = plan.pull(PullOptions { prefetch_bytes: 1 << 20, ..Default::default() }).unwrap();
        let mut rows = pull.next().await.unwrap().unwrap().1.batch.num_rows() as u64;
        // Bob comes, alice goes.
        std::fs::remove_file(place.path("tokens")).unwrap();
        let (bob, line) = place.token("bob", &[]);
        assert!(reload(&server, 1).iter().all(|line| line["outcome"] == "ok"));
        assert_eq!(server.metric("fastdata_streams_open"), 1.0, "the stream is too short to be running still");
        let error = ours.plan(&plan.request).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        let error = plan.pull(PullOptions::default()).unwrap().next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "a ticket outlives the token that it was asked for with");
        while let Some(next) = pull.next().await {
            rows += next.unwrap().1.batch.num_rows() as u64;
        }
        assert_eq!(rows, expected);
        let theirs = client(&server.uri, Some(&bob)).await.unwrap();
        assert!(theirs.plan(&plan.request).await.is_ok());
        // Another principal's plan is no business of theirs.
        // A broken file changes nothing, and its text is not told: it may be a token.
        place.write("tokens", &format!("{line}fd_canary-in-a-broken-line\n"));
        let told = reload(&server, 1);
        assert!(told[0]["outcome"] == "config" && told[0]["message"].as_str().unwrap().contains("line 2"), "{told:?}");
        assert!(!server.log().contains("canary"));
        assert!(theirs.plan(&plan.request).await.is_ok());
        std::fs::remove_file(place.path("tokens")).unwrap();
        assert_eq!(reload(&server, 1)[0]["outcome"], "config");
        assert!(theirs.plan(&plan.request).await.is_ok());
    });
    let scans = await_events(&server, "scan", 1);
    assert!(scans.iter().any(|line| line["principal"] == "alice" && line["outcome"] == "ok"), "{scans:?}");
}

/// A key of an issuer.
pub struct Issuer {
    pair: KeyPair,
}

pub const JWT: &str = "[server.auth.jwt]\njwks = \"jwks.json\"\nissuer = \"https://issuer.example\"\naudience = [\"fastdata\"]\n";

impl Issuer {
    /// Whose key is in `jwks.json`.
    pub fn of(place: &Place) -> Issuer {
        let issuer = Issuer::new();
        place.write("jwks.json", &json!({"keys": [issuer.jwk()]}).to_string());
        issuer
    }

    pub fn new() -> Issuer {
        Issuer { pair: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    fn point(&self) -> &[u8] {
        &self.pair.public_key_raw()[1..]
    }

    /// Its public half, as issuers publish it.
    pub fn jwk(&self) -> Json {
        let (x, y) = self.point().split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "alg": "ES256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    pub fn sign(&self, claims: &Json) -> String {
        let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

/// What the settings ask for, with changes.
pub fn claims(changes: Json) -> Json {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({"iss": "https://issuer.example", "aud": "fastdata", "sub": "alice", "groups": ["ml"], "exp": now + 300});
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

/// Signed with nothing.
pub fn unsigned(claims: &Json) -> String {
    let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
}

/// Signed with the public key, as if it were a secret.
fn with_public_key_as_secret(issuer: &Issuer, claims: &Json) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(issuer.point())).unwrap()
}

#[test]
fn signed_tokens_are_taken_for_what_they_prove() {
    let place = Place::new();
    let issuer = Issuer::of(&place);
    let server = place.serve(&format!("{JWT}[[policy]]\ngroups = [\"ml\"]\n"));
    block_on(async {
        let ask = async |token: &str| Wire::to(&server.uri, Some(token)).await.ask(Call::Info(path(&["hr", "people"]))).await;
        let good = claims(json!({}));
        assert!(ask(&issuer.sign(&good)).await.is_ok());
        assert!(ask(&issuer.sign(&claims(json!({"aud": ["others", "fastdata"]})))).await.is_ok());
        // Another group: known, and sees nothing.
        assert_eq!(ask(&issuer.sign(&claims(json!({"groups": "sales"})))).await.unwrap_err().code, Code::NotFound);
        let constant = ask("fd_wrong").await.unwrap_err();
        assert_eq!(constant.code, Code::Unauthenticated);
        for (what, token) in [
            ("alg none", unsigned(&good)),
            ("HS256 with the public key", with_public_key_as_secret(&issuer, &good)),
            ("another audience", issuer.sign(&claims(json!({"aud": "others"})))),
            ("another issuer", issuer.sign(&claims(json!({"iss": "https://evil.example"})))),
            ("no expiry", issuer.sign(&claims(json!({"exp": null})))),
            ("not yet", issuer.sign(&claims(json!({"nbf": 4_000_000_000u64})))),
            ("a key that nobody published", Issuer::new().sign(&good)),
            ("expired, and of another key", Issuer::new().sign(&claims(json!({"exp": 1})))),
        ] {
            assert_eq!(ask(&token).await.unwrap_err(), constant, "{what}");
        }
        let expired = ask(&issuer.sign(&claims(json!({"exp": 1_000_000_000u64})))).await.unwrap_err();
        assert!(expired.code == Code::Unauthenticated && expired.message.contains("the token has expired"), "{expired:?}");
        // A key is taken back with the file.
        Issuer::of(&place);
        reload(&server, 1);
        assert_eq!(ask(&issuer.sign(&good)).await.unwrap_err(), constant);
    });
}
