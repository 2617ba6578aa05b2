//! What tests ask of an Iceberg REST catalog beside reading: namespaces and tables made and moved on.

use super::http::{client, wait};
use super::minio::Credentials;
use crate::loud;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A REST catalog's resources, below its prefix.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// `http://HOST:PORT/v1` and the prefix, without a slash at the end.
    root: String,
    /// Between the levels of a namespace, in paths.
    separator: &'static str,
    bearer: Option<String>,
}

impl Catalog {
    pub fn new(root: String, separator: &'static str) -> Catalog {
        Catalog { root, separator, bearer: None }
    }

    /// The same, asked with a token.
    pub fn with_token(&self, token: &str) -> Catalog {
        Catalog { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// Makes a namespace and its parents, unless they are there.
    pub fn create_namespace(&self, levels: &[&str]) {
        for depth in 1..=levels.len() {
            let (status, answer) = self.ask(Method::POST, "/namespaces", Some(json!({"namespace": levels[..depth], "properties": {}})));
            assert!(status.is_success() || status == StatusCode::CONFLICT, "namespace {levels:?}: {status} {answer}");
        }
    }

    /// Gives a name to the table that a metadata file describes.
    pub fn register(&self, namespace: &[&str], name: &str, metadata_location: &str) {
        let taken = self.try_register(namespace, name, metadata_location);
        taken.unwrap_or_else(|said| panic!("{namespace:?} {name} at {metadata_location}: {said}"));
    }

    /// The same, or what the catalog says where it does not take it.
    pub fn try_register(&self, namespace: &[&str], name: &str, metadata_location: &str) -> Result<(), String> {
        let path = format!("/namespaces/{}/register", self.levels(namespace));
        let body = json!({"name": name, "metadata-location": metadata_location});
        let (status, answer) = self.ask(Method::POST, &path, Some(body));
        if status.is_success() { Ok(()) } else { Err(format!("{status} {answer}")) }
    }

    /// Whether there is a table of that name.
    pub fn has(&self, namespace: &[&str], name: &str) -> bool {
        let (status, answer) = self.ask(Method::GET, &self.table(namespace, name), None);
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{namespace:?} {name}: {status} {answer}");
        status.is_success()
    }

    /// What the catalog says of a table, vended credentials included.
    pub fn load(&self, namespace: &[&str], name: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, &self.table(namespace, name), None);
        assert!(status.is_success(), "{namespace:?} {name}: {status} {answer}");
        answer
    }

    /// The session that a table is loaded with.
    pub fn lent(&self, namespace: &[&str], name: &str) -> Credentials {
        let answer = self.load(namespace, name);
        let configs = [&answer["storage-credentials"][0]["config"], &answer["config"]];
        let value = |key: &str| configs.iter().find_map(|config| config[key].as_str()).unwrap_or_else(|| panic!("no {key} in {answer}"));
        let lent = Credentials {
            access_key_id: value("s3.access-key-id").to_owned(),
            secret_access_key: value("s3.secret-access-key").to_owned(),
            session_token: Some(value("s3.session-token").to_owned()),
        };
        lent.all().for_each(loud::handed_out);
        lent
    }

    /// The path of a table, for [`Catalog::ask`].
    pub fn table(&self, namespace: &[&str], name: &str) -> String {
        format!("/namespaces/{}/tables/{}", self.levels(namespace), segment(name))
    }

    fn levels(&self, namespace: &[&str]) -> String {
        segment(&namespace.join(self.separator))
    }

    /// One request, its path below the prefix: the status, and the JSON of the answer, or its text as a string. No connection is status 503.
    pub fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request =
            client(None).request(method, format!("{}{path}", self.root)).header("x-iceberg-access-delegation", "vended-credentials");
        let request = self.bearer.iter().fold(request, |request, token| request.bearer_auth(token));
        let request = body.iter().fold(request, |request, body| request.json(body));
        wait(async {
            let unreached = |e: reqwest::Error| (StatusCode::SERVICE_UNAVAILABLE, Value::from(e.to_string()));
            let response = match request.send().await {
                Ok(response) => response,
                Err(e) => return unreached(e),
            };
            let status = response.status();
            match response.text().await {
                Ok(text) => (status, serde_json::from_str(&text).unwrap_or(Value::from(text))),
                Err(e) => unreached(e),
            }
        })
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
