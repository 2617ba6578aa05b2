//! An OpenID issuer for one client: discovery, keys, and signed tokens that expire.
//!
//! Contract: the discovery document, the key set and the client-credentials grant of RFC 6749, section 4.4; tokens are JWTs signed with ES256 by a key
//! that lives as long as the value, which any resource server can check.

use crate::door::{check_client, token_answer};
use crate::loud;
use crate::rest::{json_answer, refusal};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MAX_BODY: usize = 1 << 20;
const KEY_ID: &str = "test";

pub struct Issuer {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    uri: String,
    client_id: String,
    client_secret: String,
    life: Duration,
    key: EcdsaKeyPair,
}

impl Issuer {
    pub async fn start(client_id: &str, client_secret: &str, life: Duration) -> Issuer {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a new key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key just made");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let uri = format!("http://{}", listener.local_addr().expect("a bound address"));
        loud::handed_out(client_secret);
        let (client_id, client_secret) = (client_id.to_owned(), client_secret.to_owned());
        let shared = Arc::new(Shared { uri, client_id, client_secret, life, key });
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Issuer { shared, task }
    }

    /// Below which the discovery document is.
    pub fn uri(&self) -> &str {
        &self.shared.uri
    }

    /// What a client sets as `oauth2-server-uri`.
    pub fn token_uri(&self) -> String {
        format!("{}/token", self.shared.uri)
    }

    /// A token for the test itself.
    pub fn token(&self) -> String {
        self.sign(json!({}))
    }

    /// One with these claims beside, or instead of, those of every token.
    pub fn sign(&self, claims: Value) -> String {
        self.shared.sign(claims)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(issuer): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.unwrap_or_default();
    match parts.uri.path() {
        "/.well-known/openid-configuration" => json_answer(&json!({
            "issuer": issuer.uri,
            "jwks_uri": format!("{}/keys", issuer.uri),
            "token_endpoint": format!("{}/token", issuer.uri),
            "authorization_endpoint": format!("{}/authorize", issuer.uri),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })),
        "/keys" => json_answer(&json!({"keys": [issuer.public_key()]})),
        "/token" => match check_client(&parts, &body, &issuer.client_id, &issuer.client_secret) {
            None => token_answer(&issuer.sign(json!({})), issuer.life),
            Some(refusal) => refusal,
        },
        _ => refusal(404, "NotFound", "no such resource"),
    }
}

impl Shared {
    fn sign(&self, changes: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut claims = json!({
            "iss": self.uri,
            "sub": self.client_id,
            "iat": now.as_secs(),
            "exp": (now + self.life).as_secs(),
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        claims.as_object_mut().into_iter().for_each(|all| all.extend(changes.as_object().cloned().unwrap_or_default()));
        let signed = format!("{}.{}", encoded(&json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID})), encoded(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        loud::handed_out(&token);
        token
    }

    /// As RFC 7518, section 6.2, has it; the point comes uncompressed, behind a byte that says so.
    fn public_key(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": coordinate(x), "y": coordinate(y)})
    }
}
