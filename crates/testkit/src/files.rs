//! A store of local files for tests of stages that must not know the real one.
//!
//! Contract: rewrites and allowed locations work as the store's contract says, without care for links and races. Every scope that
//! was asked for is kept, so that a test can see what a catalog allows.

use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::store::{StoreCounters, StoreFactory, StoreScope};
use fastdata_types::{Error, ErrorKind, Result, Stage, Store};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Opens stores of local files and remembers their scopes.
#[derive(Default)]
pub struct LocalFiles {
    scopes: Mutex<Vec<StoreScope>>,
}

impl LocalFiles {
    pub fn new() -> Arc<Self> {
        Arc::new(LocalFiles::default())
    }

    /// The scope of the store that was opened last.
    pub fn last_scope(&self) -> Option<StoreScope> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl StoreFactory for LocalFiles {
    fn open(&self, scope: StoreScope) -> Result<Arc<dyn Store>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).push(scope.clone());
        Ok(Arc::new(LocalFileStore { scope }))
    }
}

impl fmt::Debug for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalFiles")
    }
}

#[derive(Debug)]
struct LocalFileStore {
    scope: StoreScope,
}

impl LocalFileStore {
    fn path(&self, location: &str) -> Result<PathBuf> {
        self.check(location)?;
        Ok(PathBuf::from(self.spelling(location)))
    }

    fn read(&self, location: &str) -> Result<Vec<u8>> {
        std::fs::read(self.path(location)?).map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::MissingFile } else { ErrorKind::Unavailable };
            Error::new(kind, Stage::Store, format!("{location}: {e}"))
        })
    }
}

/// `file:///a`, `file:/a` and `/a` alike.
fn plain(location: &str) -> String {
    match location.strip_prefix("file:") {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => location.to_owned(),
    }
}

#[async_trait]
impl Store for LocalFileStore {
    fn spelling(&self, location: &str) -> String {
        let rewritten = self.scope.rewrites.iter().find_map(|(from, to)| Some(format!("{to}{}", location.strip_prefix(from.as_str())?)));
        plain(rewritten.as_deref().unwrap_or(location))
    }

    fn check(&self, location: &str) -> Result<()> {
        let path = self.spelling(location);
        let below = |allowed: &String| {
            let allowed = plain(allowed);
            path.strip_prefix(allowed.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if self.scope.allowed.iter().any(below) && !path.split('/').any(|part| part == "..") {
            return Ok(());
        }
        Err(Error::new(ErrorKind::LocationNotAllowed, Stage::Store, format!("{location} is outside the allowed locations")))
    }

    async fn size(&self, location: &str) -> Result<u64> {
        Ok(self.read(location)?.len() as u64)
    }

    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes = Bytes::from(self.read(location)?);
        let cut = |range: &Range<u64>| {
            let inside = range.start <= range.end && range.end <= bytes.len() as u64;
            let beyond = || Error::corrupt(Stage::Store, format!("{location} has no bytes {range:?}"));
            inside.then(|| bytes.slice(range.start as usize..range.end as usize)).ok_or_else(beyond)
        };
        ranges.iter().map(cut).collect()
    }

    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        let bytes = self.read(location)?;
        if bytes.len() as u64 > limit {
            return Err(Error::limit(Stage::Store, format!("{location} is larger than {limit} bytes")));
        }
        Ok(bytes.into())
    }

    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        let bytes = Bytes::from(self.read(location)?);
        let start = (bytes.len() as u64).saturating_sub(length) as usize;
        Ok((bytes.slice(start..), bytes.len() as u64))
    }

    async fn list(&self, directory: &str) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(self.path(directory)?).into_iter().flatten();
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }

    fn counters(&self) -> StoreCounters {
        StoreCounters::default()
    }
}
