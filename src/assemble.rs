//! The wiring: settings in, an engine out. With `engine.rs` the only file that sees more than one stage.

use crate::config::{self, Settings};
use crate::engine::{Engine, PathTables};
use fastdata_catalog::PathOptions;
pub use fastdata_store::PARALLEL_REQUESTS;
use fastdata_store::Stores;
use fastdata_types::store::{StoreCounters, StoreFactory, StoreScope};
use fastdata_types::{Catalog, Error, Everything, MemoryBudget, Result, Stage, Store, TableState};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The catalog that `--warehouse` adds.
pub const EMBEDDED_CATALOG: &str = "local";

/// What the names of the decode threads begin with.
pub const DECODE_THREADS: &str = "fastdata-decode-";

/// Whether a reference may be a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// `moved`: the location in the metadata stands for the directory given.
    Allowed { moved: bool },
    /// As on a server: its callers must not choose what it opens.
    Refused,
}

/// Builds the engine. Nothing is contacted yet; everything that is wrong with the settings is reported at once.
pub fn engine(settings: &Settings, warehouse: Option<&Path>, paths: Paths) -> Result<Engine> {
    let stores = Arc::new(Stores::default());
    let factory: Arc<dyn StoreFactory> = stores.clone();
    let mut catalogs: BTreeMap<String, Arc<dyn Catalog>> = BTreeMap::new();
    let mut problems = settings.problems.clone();
    for (name, catalog) in &settings.catalogs {
        let rewrites = catalog.rewrites.iter().chain(&settings.rewrites).cloned().collect();
        let allowed = catalog.allow.iter().chain(&settings.allow).cloned().collect();
        let opened = fastdata_catalog::open(name, catalog.properties.clone(), rewrites, allowed, Arc::clone(&factory));
        let mut wrong = |error: Error| {
            let what = error.message().strip_prefix(&format!("catalog '{name}': ")).unwrap_or(error.message());
            problems.push(format!("{}: catalogs.{name}: {what}", settings.origin(name)));
        };
        if let Err(error) = stores.check_properties(&catalog.properties) {
            wrong(error);
        }
        match opened {
            Ok(catalog) => drop(catalogs.insert(name.clone(), catalog)),
            Err(error) => wrong(error),
        }
    }
    if let Some(error) = config::refusal(problems) {
        return Err(error);
    }
    let mut default_catalog = settings.default_catalog.clone();
    if let Some(directory) = warehouse {
        let (rewrites, allow) = (settings.rewrites.clone(), settings.allow.clone());
        let embedded = fastdata_catalog::embedded(directory, BTreeMap::new(), rewrites, allow, Arc::clone(&factory))?;
        catalogs.insert(EMBEDDED_CATALOG.to_owned(), embedded);
        default_catalog = Some(EMBEDDED_CATALOG.to_owned());
    }
    if default_catalog.is_none() && catalogs.len() == 1 {
        default_catalog = catalogs.keys().next().cloned();
    }
    let paths: Option<Arc<dyn PathTables>> = match paths {
        Paths::Refused => None,
        Paths::Allowed { moved } => Some(Arc::new(Files {
            factory: Arc::clone(&factory),
            rewrites: settings.rewrites.clone(),
            allow: settings.allow.clone(),
            moved,
        })),
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads)
        .thread_name(|i| format!("{DECODE_THREADS}{i}"))
        .build()
        .map_err(|e| Error::internal(Stage::Config, format!("starting the decode threads: {e}")))?;
    Ok(Engine {
        catalogs: Arc::new(catalogs),
        default_catalog,
        paths,
        budget: MemoryBudget::new(settings.memory()),
        pool: Arc::new(pool),
        access: Arc::new(Everything),
    })
}

/// Tables given by path.
struct Files {
    factory: Arc<dyn StoreFactory>,
    rewrites: Vec<(String, String)>,
    allow: Vec<String>,
    moved: bool,
}

#[async_trait::async_trait]
impl PathTables for Files {
    async fn load(&self, location: &str) -> Result<(TableState, StoreCounters)> {
        let options = PathOptions {
            rewrites: self.rewrites.clone(),
            allowed: self.allow.clone(),
            properties: BTreeMap::new(),
            moved: self.moved.then_some(fastdata_store::moved),
        };
        let opened = Arc::new(Opened { factory: Arc::clone(&self.factory), stores: Mutex::default() });
        let table = fastdata_catalog::load_path(location, options, Arc::clone(&opened) as _).await?;
        Ok((table, opened.asked()))
    }
}

/// Opens stores, and knows what they were asked: a table that was moved is looked at through another store than it is read through.
#[derive(Debug)]
struct Opened {
    factory: Arc<dyn StoreFactory>,
    stores: Mutex<Vec<Arc<dyn Store>>>,
}

impl Opened {
    fn asked(&self) -> StoreCounters {
        let mut asked = StoreCounters::default();
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|store| asked.add(&store.counters()));
        asked
    }
}

impl StoreFactory for Opened {
    fn open(&self, scope: StoreScope) -> Result<Arc<dyn Store>> {
        let store = self.factory.open(scope)?;
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&store));
        Ok(store)
    }
}
