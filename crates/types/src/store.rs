//! Bytes of objects, for the stages that must not know where they come from.
//!
//! Contract: every location is passed as it stands in the metadata. The store applies rewrites and the location policy before it
//! opens anything; a location outside the policy is `location-not-allowed` and nothing was opened. A read returns exactly the
//! bytes asked for or an error that names the location, never fewer.

use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// One spelling per object: rewrites applied and scheme variants made equal, without policy and without I/O. Two
    /// locations name the same object exactly if their spellings are equal. Used to match delete files to data files.
    fn spelling(&self, location: &str) -> String;

    /// The policy alone, without I/O: `location-not-allowed`, or nothing.
    fn check(&self, location: &str) -> Result<()>;

    /// Whether each read pays a round trip: then many large ones are kept under way.
    fn is_far(&self, _location: &str) -> bool {
        false
    }

    /// The object's size in bytes.
    async fn size(&self, location: &str) -> Result<u64>;

    /// The bytes of each range, in the order given. Near ranges are fetched together, large ones in parallel pieces.
    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>>;

    /// The whole object, refused with `limit-exceeded` where it is larger than `limit` bytes.
    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes>;

    /// The last `length` bytes, or the whole object where it is shorter, together with the object's size.
    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)>;

    /// The names directly below a directory location, unsorted; empty where there is no such directory.
    async fn list(&self, directory: &str) -> Result<Vec<String>>;

    /// Requests and bytes so far, of those the requests that were repeated after a fault and those that were sent beside a late one.
    fn counters(&self) -> StoreCounters;

    /// The same store, all shared but the counters, which begin at nothing: what one of several readers asks for is told by its own. `None` where
    /// all are counted together.
    fn counted(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StoreCounters {
    pub requests: u64,
    pub bytes: u64,
    pub retries: u64,
    pub hedges: u64,
}

impl StoreCounters {
    /// What was added since an earlier reading.
    pub fn since(&self, before: &StoreCounters) -> StoreCounters {
        StoreCounters {
            requests: self.requests.saturating_sub(before.requests),
            bytes: self.bytes.saturating_sub(before.bytes),
            retries: self.retries.saturating_sub(before.retries),
            hedges: self.hedges.saturating_sub(before.hedges),
        }
    }

    pub fn add(&mut self, more: &StoreCounters) {
        self.requests += more.requests;
        self.bytes += more.bytes;
        self.retries += more.retries;
        self.hedges += more.hedges;
    }
}

/// What a catalog asks for when it opens the store of one table (or of itself).
#[derive(Clone, Default)]
pub struct StoreScope {
    /// Location prefixes that may be read, compared at segment borders, after rewrites.
    pub allowed: Vec<String>,
    /// `FROM=TO` prefixes, first match wins, applied before the policy.
    pub rewrites: Vec<(String, String)>,
    /// Iceberg's property names: `s3.endpoint`, `s3.region`, `s3.path-style-access`, `s3.access-key-id`, ... From the configuration or
    /// the catalog's answer, never from table metadata.
    pub properties: BTreeMap<String, String>,
    /// Vended credentials; they win over `properties` for locations below their prefix.
    pub credentials: Option<Arc<dyn CredentialSource>>,
    /// Whether `--moved` may be what is missing where a location is refused: the table was given as a directory, and not as a moved one.
    pub may_be_moved: bool,
}

/// Without the values of the properties: they hold secrets.
impl fmt::Debug for StoreScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreScope")
            .field("allowed", &self.allowed)
            .field("rewrites", &self.rewrites)
            .field("properties", &self.properties.keys())
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// Credentials that a catalog vends and renews.
#[async_trait]
pub trait CredentialSource: Send + Sync + fmt::Debug {
    /// Credentials that are good now. Asks the catalog again when the last ones are near their end; many callers at once cause one request.
    async fn current(&self) -> Result<Vec<VendedCredential>>;
    /// Drops what is cached if it is what the store refused: what was renewed meanwhile stays.
    fn invalidate(&self, refused: &[VendedCredential]);
    /// Requests to the catalog that were repeated after a fault so far, to renew these credentials for all who use them.
    fn retries(&self) -> u64 {
        0
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct VendedCredential {
    /// Location prefix they are bound to; empty means the whole table.
    pub prefix: String,
    /// `s3.access-key-id`, `s3.secret-access-key`, `s3.session-token`, ...
    pub properties: BTreeMap<String, String>,
    /// Milliseconds from the epoch.
    pub expires_at_ms: Option<i64>,
}

/// Whether a property, by its full name (`s3.access-key-id`), is or goes with credentials of a store: these replace each other as a whole, so that
/// no key is ever sent with the secret of another.
pub fn is_credential(name: &str) -> bool {
    const S3: [&str; 5] = ["access-key-id", "secret-access-key", "session-token", "session-token-expires-at-ms", "anonymous"];
    const OTHERS: [&str; 4] = ["gcs.oauth2.", "adls.sas-token", "adls.account-key", "adls.connection-string"];
    match name.strip_prefix("s3.").or_else(|| name.strip_prefix("client.")) {
        Some(name) => S3.contains(&name),
        None => OTHERS.iter().any(|prefix| name.starts_with(prefix)),
    }
}

impl fmt::Debug for VendedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VendedCredential").field("prefix", &self.prefix).field("expires_at_ms", &self.expires_at_ms).finish_non_exhaustive()
    }
}

/// Opens stores; given to catalogs by the wiring so that they need not know the store stage.
pub trait StoreFactory: Send + Sync + fmt::Debug {
    fn open(&self, scope: StoreScope) -> Result<Arc<dyn Store>>;
}

#[cfg(test)]
mod tests {
    use super::is_credential;

    #[test]
    fn a_key_and_its_secret_and_token_are_credentials_under_both_names() {
        for scheme in ["s3", "client"] {
            for name in ["access-key-id", "secret-access-key", "session-token", "session-token-expires-at-ms", "anonymous"] {
                assert!(is_credential(&format!("{scheme}.{name}")), "{scheme}.{name}");
            }
        }
        for name in ["gcs.oauth2.token", "adls.sas-token.account", "adls.account-key", "adls.connection-string"] {
            assert!(is_credential(name), "{name}");
        }
        for name in ["s3.region", "client.region", "s3.endpoint", "access-key-id", "s3.access-key-id.x", "fs.s3.access-key-id", "s3", ""] {
            assert!(!is_credential(name), "{name}");
        }
    }
}
