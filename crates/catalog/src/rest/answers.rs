//! The JSON a REST catalog answers with, as far as it is read (Iceberg REST catalog specification, "components").

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize, Default)]
pub struct Config {
    #[serde(default)]
    pub overrides: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub defaults: BTreeMap<String, Option<String>>,
    /// What the server implements, `METHOD path`; `None` where it does not say.
    pub endpoints: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Namespaces {
    pub namespaces: Vec<Vec<String>>,
    pub next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tables {
    pub identifiers: Vec<Identifier>,
    pub next_page_token: Option<String>,
}

#[derive(Deserialize)]
pub struct Identifier {
    pub namespace: Vec<String>,
    pub name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Table {
    pub metadata_location: Option<String>,
    pub metadata: Box<RawValue>,
    #[serde(default)]
    pub config: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    pub storage_credentials: Option<Vec<StorageCredential>>,
}

/// The answer of a table's `credentials` endpoint, and the part of a table's answer that is read when it is asked for
/// the credentials only.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Credentials {
    #[serde(default)]
    pub config: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    pub storage_credentials: Option<Vec<StorageCredential>>,
}

#[derive(Deserialize)]
pub struct StorageCredential {
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub config: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
pub struct Token {
    pub access_token: String,
    /// Seconds.
    pub expires_in: Option<f64>,
}

/// Both shapes of a refusal: Iceberg's `{"error": {"message", "type"}}` and OAuth's `{"error": "...", "error_description"}`.
#[derive(Deserialize)]
pub struct Refusal {
    pub error: RefusalBody,
    pub error_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum RefusalBody {
    Iceberg {
        message: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
    },
    OAuth(String),
}

/// Drops the keys without a value.
pub fn texts(map: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    map.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
