//! Who we are to a REST catalog: nobody, the bearer of a token, or an OAuth2 client with a secret.
//!
//! Contract: a client's token is asked for once for all tasks, renewed before it expires, and asked for again when it is refused.
//! Secrets have no Debug here and are blotted out of whatever a server says.

use super::answers;
use super::http::{Answer, Http, not_json};
use crate::renew::{Lent, Renewed};
use crate::retries::Retries;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use url::form_urlencoded::Serializer;

const MAX_TOKEN_BYTES: u64 = 1 << 20;
const DEFAULT_SCOPE: &str = "catalog";

pub struct Auth {
    /// Given in the configuration; used until it is refused.
    token: Option<SecretString>,
    client: Option<Arc<OAuthClient>>,
    current: Arc<Renewed<SecretString>>,
    blotted: Arc<Blotted>,
}

/// The secrets that no message shows.
struct Blotted(Vec<SecretString>);

pub struct OAuthClient {
    pub id: Option<String>,
    pub secret: SecretString,
    pub token_url: Url,
    pub scope: Option<String>,
    pub audience: Option<String>,
    pub resource: Option<String>,
}

impl OAuthClient {
    /// Splits the property `credential`: `id:secret`, or a secret alone.
    pub fn parse_credential(credential: &str) -> (Option<String>, SecretString) {
        match credential.split_once(':') {
            Some((id, secret)) => (Some(id.to_owned()), secret.into()),
            None => (None, credential.into()),
        }
    }
}

impl Auth {
    /// `header_secrets` are header values that must not reach a message either.
    pub fn new(token: Option<SecretString>, client: Option<OAuthClient>, header_secrets: Vec<SecretString>) -> Self {
        let current = match &token {
            Some(token) => Renewed::starting_with(Lent { value: token.clone(), good_for: None }),
            None => Renewed::empty(),
        };
        let mut blotted = header_secrets;
        blotted.extend(token.clone());
        blotted.extend(client.as_ref().map(|c| c.secret.clone()));
        Auth { token, client: client.map(Arc::new), current, blotted: Arc::new(Blotted(blotted)) }
    }

    /// The token to send now; `None` where none is configured.
    pub async fn bearer(&self, http: &Arc<Http>, retries: &Retries) -> Result<Option<SecretString>> {
        let Some(client) = &self.client else { return Ok(self.token.clone()) };
        let renew = || {
            let (client, http, blotted, retries) = (client.clone(), http.clone(), self.blotted.clone(), retries.clone());
            async move { exchange(&client, &http, &blotted, &retries).await }
        };
        self.current.get(renew).await.map(Some)
    }

    /// Drops a token that the catalog refused; whether another can be had.
    pub fn refused(&self, token: &SecretString) -> bool {
        self.current.forget_if(|kept| kept.expose_secret() == token.expose_secret());
        self.client.is_some()
    }

    pub fn is_anonymous(&self) -> bool {
        self.token.is_none() && self.client.is_none()
    }

    /// The text without any secret of this catalog, the token in use included.
    pub fn blot(&self, text: &str, in_use: Option<&SecretString>) -> String {
        self.blotted.blot(text, in_use)
    }
}

impl Blotted {
    fn blot(&self, text: &str, in_use: Option<&SecretString>) -> String {
        let mut secrets: Vec<&str> =
            self.0.iter().chain(in_use).map(|secret| secret.expose_secret()).filter(|secret| secret.len() >= 4).collect();
        // One may be a part of another, which would not be found any more without it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

async fn exchange(client: &OAuthClient, http: &Http, blotted: &Blotted, retries: &Retries) -> Result<Lent<SecretString>> {
    let url = &client.token_url;
    let form = form(client);
    let request = || {
        let form = form.expose_secret().to_owned();
        http.client().post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(form)
    };
    let body = match http.send(request, MAX_TOKEN_BYTES, |text| blotted.blot(text, None), retries).await? {
        Answer::Body(body) => body,
        Answer::Refused(refused) => {
            let is_ours = matches!(refused.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
            let error = refused.error(url, "no token");
            return Err(match error.kind() {
                _ if is_ours => Error::new(ErrorKind::Unauthenticated, Stage::Catalog, error.message())
                    .advice("check `credential`, `scope` and `oauth2-server-uri` of this catalog"),
                ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::InvalidRequest => {
                    Error::new(ErrorKind::Config, Stage::Catalog, error.message()).advice(
                        "no tokens are given there: set `oauth2-server-uri` of this catalog to the token endpoint of its identity provider",
                    )
                }
                _ => error,
            });
        }
    };
    let token: answers::Token = serde_json::from_slice(&body).map_err(|_| not_json(url, "something else"))?;
    let good_for = token.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Lent { value: token.access_token.into(), good_for })
}

fn form(client: &OAuthClient) -> SecretString {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    let optional = [("client_id", &client.id), ("audience", &client.audience), ("resource", &client.resource)];
    for (key, value) in optional {
        if let Some(value) = value {
            form.append_pair(key, value);
        }
    }
    form.append_pair("client_secret", client.secret.expose_secret());
    form.append_pair("scope", client.scope.as_deref().unwrap_or(DEFAULT_SCOPE));
    form.finish().into()
}
