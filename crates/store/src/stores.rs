//! Opens stores and sends each location to where its bytes are.
//!
//! Contract: one `Stores` for a process shares connections, buffers and limits; `open` gives a store bound to one scope: its policy, rewrites,
//! properties and vended credentials. Every operation passes the policy first. Nothing of a scope's secrets is printed.

use crate::environment::Environment;
use crate::local::{Disk, LocalFile};
use crate::location::working_directory;
use crate::policy::{Admitted, Policy};
use crate::recent::Recent;
use crate::rewrite::Rewrites;
use crate::s3::{MOST_SETTINGS, Network, Object, S3};
use crate::settings::{Properties, Settings};
use crate::versions::Versions;
use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::error::Result;
use fastdata_types::store::{Store, StoreCounters, StoreFactory, StoreScope};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The factory of stores; the process needs one.
pub struct Stores {
    base: String,
    disk: Arc<Disk>,
    network: Arc<Network>,
}

impl Default for Stores {
    fn default() -> Self {
        Stores::with_environment(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
        )
    }
}

impl Stores {
    /// `environment` holds the AWS_* variables; relative locations start from the working directory of this moment.
    pub fn with_environment(environment: Properties) -> Stores {
        let environment = environment.into_iter().filter(|(name, _)| name.starts_with("AWS_")).collect();
        Stores {
            base: working_directory(),
            disk: Arc::default(),
            network: Arc::new(Network {
                clients: Default::default(),
                peers: Default::default(),
                environment: Environment::new(environment),
            }),
        }
    }
}

impl Stores {
    /// What is wrong with the storage properties of a catalog, before anything is opened with them: `config`, with every problem.
    pub fn check_properties(&self, properties: &Properties) -> Result<()> {
        // The environment matters only where S3 is asked for.
        Settings::resolve(properties, &Environment::new(Properties::new())).map(drop)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("base", &self.base).finish_non_exhaustive()
    }
}

impl StoreFactory for Stores {
    fn open(&self, scope: StoreScope) -> Result<Arc<dyn Store>> {
        let rewrites = Rewrites::new(&scope.rewrites, &self.base)?;
        let policy = Arc::new(Policy::new(&scope.allowed, rewrites, &self.base)?.advising_moved(scope.may_be_moved));
        let versions = Arc::new(Versions::default());
        let counters = Arc::new(Counters::default());
        let s3 = S3 {
            network: self.network.clone(),
            policy: policy.clone(),
            versions: versions.clone(),
            counters: counters.clone(),
            properties: scope.properties,
            credentials: scope.credentials,
            resolved: Arc::new(Mutex::new(Recent::new(MOST_SETTINGS))),
            renewals: Arc::default(),
        };
        Ok(Arc::new(ScopedStore { policy, versions, counters, disk: self.disk.clone(), s3: Arc::new(s3) }))
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    hedges: AtomicU64,
}

impl Counters {
    pub(crate) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self, times: u64) {
        self.retries.fetch_add(times, Ordering::Relaxed);
    }

    pub(crate) fn hedged(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    fn read_locally(&self, requests: usize, bytes: u64) {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
        self.read(bytes);
    }
}

struct ScopedStore {
    policy: Arc<Policy>,
    versions: Arc<Versions>,
    counters: Arc<Counters>,
    disk: Arc<Disk>,
    s3: Arc<S3>,
}

enum Target {
    Local(LocalFile),
    S3(Object),
}

impl ScopedStore {
    fn target(&self, location: &str) -> Result<Target> {
        Ok(match self.policy.admit(location)? {
            Admitted::Local { root, beneath } => Target::Local(LocalFile {
                location: location.to_string(),
                root,
                beneath,
                policy: self.policy.clone(),
                versions: self.versions.clone(),
            }),
            Admitted::S3 { bucket, key } => {
                Target::S3(Object { location: location.to_string(), spelling: self.policy.spelling(location), bucket, key })
            }
        })
    }
}

impl fmt::Debug for ScopedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedStore").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for ScopedStore {
    fn spelling(&self, location: &str) -> String {
        self.policy.spelling(location)
    }

    fn check(&self, location: &str) -> Result<()> {
        self.policy.admit(location).map(|_| ())
    }

    fn is_far(&self, location: &str) -> bool {
        matches!(self.policy.admit(location), Ok(Admitted::S3 { .. }))
    }

    async fn size(&self, location: &str) -> Result<u64> {
        match self.target(location)? {
            Target::Local(file) => {
                self.counters.read_locally(1, 0);
                self.disk.size(file).await
            }
            Target::S3(object) => self.s3.size(&object).await,
        }
    }

    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.target(location)? {
            Target::Local(file) => {
                let read = self.disk.read_ranges(file, ranges).await?;
                self.counters.read_locally(read.len(), read.iter().map(|bytes| bytes.len() as u64).sum());
                Ok(read)
            }
            Target::S3(object) => self.s3.read_ranges(object, ranges).await,
        }
    }

    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        match self.target(location)? {
            Target::Local(file) => {
                let read = self.disk.read_all(file, limit).await?;
                self.counters.read_locally(1, read.len() as u64);
                Ok(read)
            }
            Target::S3(object) => self.s3.read_all(object, limit).await,
        }
    }

    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        match self.target(location)? {
            Target::Local(file) => {
                let (read, size) = self.disk.read_tail(file, length).await?;
                self.counters.read_locally(1, read.len() as u64);
                Ok((read, size))
            }
            Target::S3(object) => self.s3.read_tail(object, length).await,
        }
    }

    async fn list(&self, directory: &str) -> Result<Vec<String>> {
        match self.target(directory)? {
            Target::Local(directory) => {
                self.counters.read_locally(1, 0);
                self.disk.list(directory).await
            }
            Target::S3(directory) => self.s3.list(&directory).await,
        }
    }

    fn counters(&self) -> StoreCounters {
        StoreCounters {
            requests: self.counters.requests.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
            retries: self.counters.retries.load(Ordering::Relaxed),
            hedges: self.counters.hedges.load(Ordering::Relaxed),
        }
    }

    fn counted(&self) -> Option<Arc<dyn Store>> {
        let counters = Arc::new(Counters::default());
        let s3 = S3 { counters: counters.clone(), ..S3::clone(&self.s3) };
        let (policy, versions, disk) = (self.policy.clone(), self.versions.clone(), self.disk.clone());
        Some(Arc::new(ScopedStore { policy, versions, counters, disk, s3: Arc::new(s3) }))
    }
}
