//! Credentials that a REST catalog vends for one table, and their renewal.
//!
//! Contract: they are renewed before they expire and when the store refused them, once for all tasks and for all scans that have the
//! table open, each of which loaded it for itself: through the
//! table's `credentials` endpoint where the server has one, else by loading the table again. What comes with a table is split:
//! keys that are credentials go here, other storage properties to the store's configuration.

use super::answers::{self, StorageCredential};
use super::connection::{Connection, MAX_ANSWER_BYTES};
use super::{DELEGATION, MAX_TABLE_BYTES};
use crate::renew::{Lent, Renewed};
use crate::retries::Retries;
use async_trait::async_trait;
use fastdata_types::store::{CredentialSource, VendedCredential, is_credential};
use fastdata_types::{Error, ErrorKind, Result, Stage, TableName};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ENDPOINT: &str = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";
const EXPIRY: &str = "s3.session-token-expires-at-ms";

/// Whether a property of a table goes to those who renew credentials. That none are needed is no credential.
pub fn is_vended(key: &str) -> bool {
    is_credential(key) && !key.ends_with(".anonymous")
}

/// What an answer vends, longest prefix first; credentials without a prefix come last and stand for the whole table.
pub fn vended(config: &BTreeMap<String, String>, listed: Vec<StorageCredential>) -> Vec<VendedCredential> {
    let credential = |prefix: String, properties: BTreeMap<String, String>| {
        let expires_at_ms = properties.get(EXPIRY).and_then(|ms| ms.trim().parse().ok());
        VendedCredential { prefix, properties, expires_at_ms }
    };
    let mut out: Vec<VendedCredential> = listed
        .into_iter()
        .map(|listed| {
            // Some servers give a scheme alone, which is every location of the table.
            let prefix = if listed.prefix.contains("://") { listed.prefix } else { String::new() };
            credential(prefix, answers::texts(listed.config))
        })
        .filter(|credential| !credential.properties.is_empty())
        .collect();
    let of_table: BTreeMap<_, _> = config.iter().filter(|(key, _)| is_vended(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if !of_table.is_empty() && !out.iter().any(|c| c.prefix.is_empty()) {
        out.push(credential(String::new(), of_table));
    }
    out.sort_by_key(|c| std::cmp::Reverse(c.prefix.len()));
    out
}

/// The sources of the tables that are open now.
#[derive(Default)]
pub struct OpenTables(Mutex<BTreeMap<TableName, Weak<TableCredentials>>>);

impl OpenTables {
    /// The source that others use for this table already, with what was just vended if that is good for longer; else a new one. A table
    /// that has other prefixes by now was made anew elsewhere, and shares nothing with the old one.
    pub fn source(
        &self,
        connection: &Arc<Connection>,
        table: &TableName,
        renewal_path: Option<String>,
        vended: Vec<VendedCredential>,
    ) -> Arc<TableCredentials> {
        let prefixes: Vec<String> = vended.iter().map(|credential| credential.prefix.clone()).collect();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.get(table).and_then(Weak::upgrade);
        if let Some(source) = known.filter(|known| known.lender.prefixes == prefixes && known.lender.renewal_path == renewal_path) {
            source.current.offer(lent(vended));
            return source;
        }
        let current = Renewed::starting_with(lent(vended));
        let lender = Lender { connection: connection.clone(), table: table.clone(), prefixes, renewal_path, retries: Retries::default() };
        let source = Arc::new(TableCredentials { lender: Arc::new(lender), current });
        open.retain(|_, source| source.strong_count() > 0);
        open.insert(table.clone(), Arc::downgrade(&source));
        source
    }
}

pub struct TableCredentials {
    lender: Arc<Lender>,
    current: Arc<Renewed<Vec<VendedCredential>>>,
}

/// Where the credentials of a table are renewed.
struct Lender {
    connection: Arc<Connection>,
    table: TableName,
    /// Of what was vended first.
    prefixes: Vec<String>,
    /// The path the server named for renewals, if it did.
    renewal_path: Option<String>,
    /// Of all renewals.
    retries: Retries,
}

impl Lender {
    async fn renew(&self) -> Result<Lent<Vec<VendedCredential>>> {
        let session = self.connection.session(&self.retries).await?;
        let what = format!("credentials of table '{}'", self.table);
        let own = match &self.renewal_path {
            Some(path) => Some(path.clone()),
            None => session.may_have(ENDPOINT).then(|| session.paths.credentials(&self.table)),
        };
        if let Some(path) = own {
            match self.connection.try_get(&path, &[DELEGATION], MAX_ANSWER_BYTES, &self.retries).await? {
                Ok(body) => {
                    let answer: answers::Credentials = self.connection.parse(&path, &body)?;
                    let fresh = vended(&answers::texts(answer.config.unwrap_or_default()), answer.storage_credentials.unwrap_or_default());
                    if !fresh.is_empty() {
                        return Ok(lent(fresh));
                    }
                }
                // A server without this endpoint: the table itself carries them.
                Err(refused) if matches!(refused.status.as_u16(), 404 | 405 | 406 | 501) => {}
                Err(refused) => return Err(self.connection.refusal(refused, &path, &what)),
            }
        }
        let path = session.paths.table(&self.table);
        match self.connection.try_get(&path, &[DELEGATION], MAX_TABLE_BYTES, &self.retries).await? {
            Ok(body) => {
                let answer: answers::Credentials = self.connection.parse(&path, &body)?;
                let fresh = vended(&answers::texts(answer.config.unwrap_or_default()), answer.storage_credentials.unwrap_or_default());
                if fresh.is_empty() { Err(self.nothing_vended()) } else { Ok(lent(fresh)) }
            }
            Err(refused) => Err(self.connection.refusal(refused, &path, &what)),
        }
    }

    /// Without credentials of the catalog, those of the configuration or the environment would be tried on files that they are not for.
    fn nothing_vended(&self) -> Error {
        let (server, table) = (self.connection.shown_base(), &self.table);
        let message =
            format!("credentials of table '{table}': {server} lent some with the table, and lends none when they are to be renewed");
        Error::new(ErrorKind::Unauthenticated, Stage::Catalog, message)
            .advice("load the table again; if it stays so, ask the catalog's owner whether credentials for this table are still vended")
    }
}

#[async_trait]
impl CredentialSource for TableCredentials {
    async fn current(&self) -> Result<Vec<VendedCredential>> {
        let renew = || {
            let lender = Arc::clone(&self.lender);
            async move { lender.renew().await }
        };
        self.current.get(renew).await
    }

    fn invalidate(&self, refused: &[VendedCredential]) {
        self.current.forget_if(|kept| kept == refused);
    }

    fn retries(&self) -> u64 {
        self.lender.retries.count()
    }
}

impl fmt::Debug for TableCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableCredentials").field("table", &self.lender.table).finish_non_exhaustive()
    }
}

/// Good until the first of them expires.
fn lent(credentials: Vec<VendedCredential>) -> Lent<Vec<VendedCredential>> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    let end = credentials.iter().filter_map(|c| c.expires_at_ms).min();
    let good_for = end.map(|end| Duration::from_millis(u64::try_from(end.saturating_sub(now_ms)).unwrap_or(0)));
    Lent { value: credentials, good_for }
}
