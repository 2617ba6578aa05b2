//! Tables without a catalog: a metadata file, or a directory with a `metadata` folder, local or in an object store.
//!
//! Contract: the files that may be read are those of the directory given (for a metadata file: of the directory above its `metadata`
//! folder), in any spelling that leads there, and what the configuration allows. Where neither a catalog nor a version hint says which metadata is current, the
//! newest by number is taken and the state says in its notes that this is a guess: it may be of a commit that failed (spec
//! "Metastore Tables").

mod newest;

use crate::local;
use crate::tables::{is_local, load_metadata, table_directory};
use fastdata_types::store::{StoreFactory, StoreScope};
use fastdata_types::{Error, ErrorKind, Result, Stage, Store, TableState};
use newest::Choice;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const METADATA_FOLDER: &str = "metadata";
const METADATA_ENDS: [&str; 3] = [".metadata.json", ".metadata.json.gz", ".json"];

/// Makes the rewrites by which a location baked into metadata (first) stands for an actual directory (second).
pub type MovedRewrites = fn(&str, &str) -> Vec<(String, String)>;

/// How a table without a catalog is opened.
pub struct PathOptions {
    pub rewrites: Vec<(String, String)>,
    pub allowed: Vec<String>,
    /// Storage only: `s3.endpoint` and the like.
    pub properties: BTreeMap<String, String>,
    /// Given where the table was copied: the location in the metadata stands for the directory given.
    pub moved: Option<MovedRewrites>,
}

/// Loads the table at a path or URL of a metadata file or of a table directory.
pub async fn load_path(path: &str, options: PathOptions, factory: Arc<dyn StoreFactory>) -> Result<TableState> {
    let given = absolute(path)?;
    let is_file = METADATA_ENDS.iter().any(|end| given.ends_with(end)) && !(is_local(&given) && Path::new(local::path_of(&given)).is_dir());
    let named = if is_file { table_directory(&given).unwrap_or(&given) } else { table_of(&given) };
    let mut directories = local::spellings_of_location(named).map_err(|e| no_path(path, e))?;
    let mut directory = directories.first().cloned().unwrap_or_default();
    if !is_file && table_of(&directory) != directory {
        directory = table_of(&directory).to_owned();
        directories = vec![directory.clone()];
    }
    let mut scope = StoreScope {
        allowed: [options.allowed, directories.clone()].concat(),
        rewrites: options.rewrites,
        properties: options.properties,
        credentials: None,
        may_be_moved: options.moved.is_none(),
    };
    let store = factory.open(scope.clone())?;
    let mut notes = Vec::new();
    let metadata_location = if is_file {
        format!("{directory}{}", given.strip_prefix(named).unwrap_or_default())
    } else {
        let folder = format!("{directory}/{METADATA_FOLDER}");
        let choice = newest::choose(store.as_ref(), &folder).await?.ok_or_else(|| no_table(path, &folder))?;
        if let Some(note) = choice.note(&folder) {
            notes.push(note);
        }
        let Choice { file, .. } = choice;
        format!("{folder}/{file}")
    };
    let metadata = load_metadata(store.as_ref(), &metadata_location).await.map_err(|e| match e.kind() {
        // Nothing is wrong with the table: the name is.
        ErrorKind::MissingFile if is_file => Error::not_found(Stage::Catalog, format!("there is no metadata file '{path}'"))
            .advice("check the path, or give the table's directory"),
        _ => e,
    })?;
    let baked = metadata.location.trim_end_matches('/');
    let is_elsewhere = !directories.iter().any(|directory| same_place(store.as_ref(), baked, directory));
    let store = match options.moved {
        Some(moved) => {
            scope.rewrites.extend(moved(baked, &directory));
            factory.open(scope)?
        }
        None => {
            if is_elsewhere {
                notes.push(format!(
                    "the metadata says that the table lies at {baked}, not at {directory}: if it was copied, --moved reads the copy"
                ));
            }
            store
        }
    };
    Ok(TableState { display_name: path.to_owned(), metadata_location, metadata: Arc::new(metadata), store, notes, catalog_retries: 0 })
}

fn same_place(store: &dyn Store, a: &str, b: &str) -> bool {
    let spelled = |location: &str| store.spelling(&format!("{}/{METADATA_FOLDER}", location.trim_end_matches('/')));
    spelled(a) == spelled(b)
}

/// The table's directory where its `metadata` folder was given.
fn table_of(given: &str) -> &str {
    match given.rsplit_once('/') {
        Some((table, METADATA_FOLDER)) if !table.is_empty() && !table.ends_with(['/', ':']) => table,
        _ => given,
    }
}

/// A URL as it stands, a local path made absolute; without a slash at the end.
fn absolute(path: &str) -> Result<String> {
    let text = if is_local(path) && !path.contains(':') || path.starts_with(['/', '.']) {
        let absolute = std::path::absolute(path).map_err(|e| no_path(path, e))?;
        absolute.into_os_string().into_string().map_err(|_| Error::invalid(Stage::Request, format!("path '{path}' is no UTF-8")))?
    } else {
        path.to_owned()
    };
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.ends_with(':') {
        return Err(Error::invalid(Stage::Request, format!("'{path}' is no table directory or metadata file")));
    }
    Ok(trimmed.to_owned())
}

fn no_path(path: &str, cause: std::io::Error) -> Error {
    Error::not_found(Stage::Catalog, format!("path '{path}' cannot be made absolute")).source(cause)
}

fn no_table(path: &str, folder: &str) -> Error {
    Error::not_found(Stage::Catalog, format!("'{path}' is no Iceberg table: there is no metadata in {folder}"))
        .advice("give a table directory (the one above `metadata`), a metadata JSON file, or a table's name in a catalog")
}
