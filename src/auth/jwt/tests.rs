use super::*;
use jsonwebtoken::EncodingKey;
use rcgen::KeyPair;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

const ISSUER: &str = "https://issuer.example";

/// A key of an issuer.
struct Signer {
    pair: KeyPair,
    id: &'static str,
}

impl Signer {
    fn new(id: &'static str) -> Signer {
        Signer { pair: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(), id }
    }

    /// The point without the byte that says it is not compressed.
    fn point(&self) -> &[u8] {
        &self.pair.public_key_raw()[1..]
    }

    fn jwk(&self) -> Json {
        let (x, y) = self.point().split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256",
               "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    fn sign(&self, claims: &Json) -> String {
        self.sign_as(Some(self.id), claims)
    }

    fn sign_as(&self, id: Option<&str>, claims: &Json) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

fn claims() -> Json {
    json!({"iss": ISSUER, "aud": "fastdata", "sub": "alice", "groups": ["ml", "ops"], "exp": now() + 300})
}

fn with(name: &str, value: Json) -> Json {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Json {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn settings(jwks: &str) -> JwtSettings {
    JwtSettings {
        jwks: jwks.to_owned(),
        issuer: ISSUER.to_owned(),
        audience: vec!["fastdata".to_owned(), "other".to_owned()],
        algorithms: JwtSettings::ALGORITHMS.map(str::to_owned).to_vec(),
        principal_claim: "sub".to_owned(),
        groups_claim: "groups".to_owned(),
    }
}

fn write(file: &Path, keys: &[Json]) {
    std::fs::write(file, json!({"keys": keys}).to_string()).unwrap();
}

struct World {
    signer: Signer,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let (signer, file) = (Signer::new("k1"), folder.path().join("jwks.json"));
        // Issuers publish keys for other uses beside.
        let others = [json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k2"}), json!({"kty": "EC", "crv": "secp256k1", "x": "", "y": ""})];
        write(&file, &[others[0].clone(), others[1].clone(), signer.jwk()]);
        World { signer, file, _folder: folder }
    }

    fn jwt(&self, change: impl FnOnce(&mut JwtSettings)) -> Arc<Jwt> {
        let mut settings = settings(self.file.to_str().unwrap());
        change(&mut settings);
        Arc::new(Jwt::open(&settings).unwrap())
    }
}

/// A token from its parts, the signature made by `sign`.
fn assemble(header: &Json, claims: &Json, sign: impl FnOnce(&str) -> String) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = sign(&message);
    format!("{message}.{signature}")
}

fn hmac(secret: &[u8], message: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()))
}

#[tokio::test]
async fn a_good_token_names_its_principal_and_groups() {
    let world = World::new();
    let jwt = world.jwt(|_| ());
    let alice = |groups: &[&str]| Identity { principal: "alice".to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect() };
    for (claims, groups) in [
        (claims(), vec!["ml", "ops"]),
        (without("groups"), vec![]),
        (with("groups", json!("ml")), vec!["ml"]),
        (with("aud", json!(["nobody", "other"])), vec!["ml", "ops"]),
        (with("nbf", json!(now() + 30)), vec!["ml", "ops"]),
        (with("exp", json!(now() - 30)), vec!["ml", "ops"]),
    ] {
        assert_eq!(jwt.verify(&world.signer.sign(&claims)).await.unwrap(), alice(&groups), "{claims}");
    }
    assert_eq!(jwt.verify(&world.signer.sign_as(None, &claims())).await.unwrap(), alice(&["ml", "ops"]), "no key is named: all are tried");
    let jwt = world.jwt(|settings| (settings.principal_claim, settings.groups_claim) = ("email".to_owned(), "realm.roles".to_owned()));
    let mut claims = with("email", json!("a@example.com"));
    claims["realm"] = json!({"roles": ["r"]});
    let named = jwt.verify(&world.signer.sign(&claims)).await.unwrap();
    assert_eq!(named, Identity { principal: "a@example.com".to_owned(), groups: vec!["r".to_owned()] });
}

#[tokio::test]
async fn every_other_token_gets_the_same_answer() {
    let world = World::new();
    let jwt = world.jwt(|_| ());
    let (signer, stranger) = (&world.signer, Signer::new("k1"));
    let sign = |claims: Json| signer.sign(&claims);
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT", "kid": "k1"});
    let critical = json!({"alg": "ES256", "kid": "k1", "crit": ["exp"]});
    let shared = |secret: Vec<u8>| assemble(&header("HS256"), &claims(), |message| hmac(&secret, message));
    let good = sign(claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let forged_claims = URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string());
    let resigned = |header: &Json| {
        let key = EncodingKey::from_ec_der(&signer.pair.serialize_der());
        assemble(header, &claims(), |message| jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap())
    };
    assert!(jwt.verify(&resigned(&header("ES256"))).await.is_ok(), "the tool signs well");
    let bad = [
        ("nothing", String::new()),
        ("no token", "abc".to_owned()),
        ("three dots", "...".to_owned()),
        ("alg none", assemble(&header("none"), &claims(), |_| String::new())),
        ("alg None", assemble(&header("None"), &claims(), |_| String::new())),
        ("alg none, signed", assemble(&header("none"), &claims(), |_| signature.to_owned())),
        ("no signature", format!("{signed}.")),
        ("the public key as a secret", shared(signer.point().to_vec())),
        ("the published key as a secret", shared(signer.jwk().to_string().into_bytes())),
        ("the key in PEM as a secret", shared(signer.pair.public_key_pem().into_bytes())),
        ("the set's shared secret", assemble(&json!({"alg": "HS256", "kid": "k2"}), &claims(), |message| hmac(b"secret", message))),
        ("another's key of that name", stranger.sign(&claims())),
        ("an unknown key", signer.sign_as(Some("k9"), &claims())),
        ("the key of another kind", signer.sign_as(Some("k2"), &claims())),
        ("altered claims", format!("{}.{forged_claims}.{signature}", good.split('.').next().unwrap())),
        ("an extension it must understand", resigned(&critical)),
        ("another issuer", sign(with("iss", json!("https://evil.example")))),
        ("issuers", sign(with("iss", json!([ISSUER, "https://evil.example"])))),
        ("no issuer", sign(without("iss"))),
        ("another audience", sign(with("aud", json!("someone")))),
        ("no audience", sign(without("aud"))),
        ("no expiry", sign(without("exp"))),
        ("an expiry that is no number", sign(with("exp", json!("tomorrow")))),
        ("not yet valid", sign(with("nbf", json!(now() + 3600)))),
        ("a beginning that is no number", sign(with("nbf", json!("now")))),
        ("no principal", sign(without("sub"))),
        ("an empty principal", sign(with("sub", json!("")))),
        ("a principal that is no string", sign(with("sub", json!(7)))),
        ("groups that are no strings", sign(with("groups", json!([1, "ml"])))),
        ("expired, by another's key", stranger.sign(&with("exp", json!(now() - 3600)))),
    ];
    let constant = unauthenticated();
    for (what, token) in bad {
        let error = jwt.verify(&token).await.expect_err(what);
        assert_eq!(
            (error.kind(), error.message(), error.advice_text()),
            (ErrorKind::Unauthenticated, constant.message(), constant.advice_text()),
            "{what}"
        );
    }
    let few = world.jwt(|settings| settings.algorithms = vec!["RS256".to_owned()]);
    assert!(few.verify(&good).await.is_err(), "an algorithm that is not allowed");
}

#[tokio::test]
async fn a_token_past_its_time_is_told_so_if_its_signature_is_good() {
    let world = World::new();
    let jwt = world.jwt(|_| ());
    let error = jwt.verify(&world.signer.sign(&with("exp", json!(now() - 3600)))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unauthenticated && error.message() == "the token has expired", "{error}");
}

#[tokio::test]
async fn edwards_keys_verify_too() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    write(&file, &[json!({"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw())})]);
    let jwt = Arc::new(Jwt::open(&settings(file.to_str().unwrap())).unwrap());
    let header = Header { kid: Some("e".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_ed_der(&pair.serialize_der())).unwrap();
    assert_eq!(jwt.verify(&token).await.unwrap().principal, "alice");
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_and_a_broken_one_changes_nothing() {
    let world = World::new();
    let jwt = world.jwt(|_| ());
    let next = Signer::new("k3");
    for broken in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#] {
        std::fs::write(&world.file, broken).unwrap();
        assert_eq!(jwt.reload().unwrap_err().kind(), ErrorKind::Config, "{broken}");
    }
    assert!(jwt.verify(&world.signer.sign(&claims())).await.is_ok() && jwt.verify(&next.sign(&claims())).await.is_err());
    write(&world.file, &[next.jwk()]);
    jwt.reload().unwrap();
    assert!(jwt.verify(&world.signer.sign(&claims())).await.is_err() && jwt.verify(&next.sign(&claims())).await.is_ok());
}

/// An issuer that answers what it is told to, and counts how often it is asked.
struct Publisher {
    body: Arc<RwLock<String>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Publisher {
    async fn start(keys: &[Json]) -> Publisher {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let publisher = Publisher { body: Arc::default(), asked: Arc::default(), url };
        publisher.publish(keys);
        let (body, asked) = (Arc::clone(&publisher.body), Arc::clone(&publisher.asked));
        let answer = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let body = body.read().unwrap().clone();
            async move { body }
        };
        let app = axum::Router::new().route("/jwks", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        publisher
    }

    fn publish(&self, keys: &[Json]) {
        *self.body.write().unwrap() = json!({"keys": keys}).to_string();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn jwt(&self, pause: Duration) -> Arc<Jwt> {
        let mut jwt = Jwt::open(&settings(&self.url)).unwrap();
        jwt.pause = pause;
        Arc::new(jwt)
    }
}

#[tokio::test]
async fn published_keys_are_fetched_when_needed_and_not_at_every_strangers_word() {
    let (first, second) = (Signer::new("k1"), Signer::new("k2"));
    let publisher = Publisher::start(&[first.jwk()]).await;
    let jwt = publisher.jwt(PAUSE);
    assert_eq!(publisher.asked(), 0, "the server starts without its issuer");
    for _ in 0..3 {
        assert!(jwt.verify(&first.sign(&claims())).await.is_ok());
    }
    assert_eq!(publisher.asked(), 1);
    for _ in 0..20 {
        assert!(jwt.verify(&first.sign_as(Some("unknown"), &claims())).await.is_err());
    }
    assert_eq!(publisher.asked(), 1, "keys were fetched a moment ago");

    let jwt = publisher.jwt(Duration::ZERO);
    assert!(jwt.verify(&first.sign(&claims())).await.is_ok());
    publisher.publish(&[second.jwk()]);
    assert!(jwt.verify(&second.sign(&claims())).await.is_ok(), "a new key is found when a token names it");
    assert!(jwt.verify(&first.sign(&claims())).await.is_err(), "a key that is published no more is no key");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_no_fault_of_the_token_and_takes_no_keys_away() {
    let signer = Signer::new("k1");
    let publisher = Publisher::start(&[signer.jwk()]).await;
    let jwt = publisher.jwt(Duration::ZERO);
    for wrong in ["no set".to_owned(), "x".repeat(MAX_ANSWER + 1)] {
        *publisher.body.write().unwrap() = wrong;
        let error = jwt.verify(&signer.sign(&claims())).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.retryable(), "{error}");
        assert!(!error.message().contains(&publisher.url), "{error}");
    }
    publisher.publish(&[signer.jwk()]);
    assert!(jwt.verify(&signer.sign(&claims())).await.is_ok());
    *publisher.body.write().unwrap() = String::new();
    assert!(jwt.verify(&signer.sign_as(Some("k9"), &claims())).await.is_err());
    assert!(jwt.verify(&signer.sign(&claims())).await.is_ok());
}
