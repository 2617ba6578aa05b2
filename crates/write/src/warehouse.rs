//! A folder of tables: `catalog.db` beside one folder per table.
//!
//! Contract: a table lives in `<folder>/<namespace levels>/<name>`, below the `file://` location of the folder's absolute path.

use crate::catalog::SqlCatalog;
use crate::table::{Table, TableOptions};
use crate::{cannot_write, misuse};
use fastdata_types::{Result, TableName};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub struct Warehouse {
    folder: PathBuf,
    catalog: Arc<SqlCatalog>,
}

impl Warehouse {
    /// Opens the warehouse in `folder`, and makes both if they are not there.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| cannot_write(folder, e))?;
        let folder = fs::canonicalize(folder).map_err(|e| cannot_write(folder, e))?;
        if folder.to_str().is_none() {
            return Err(misuse(format!("the folder {} has a name that is not UTF-8", folder.display())).advice("choose another folder"));
        }
        let catalog = Arc::new(SqlCatalog::open(&folder.join("catalog.db"))?);
        Ok(Warehouse { folder, catalog })
    }

    /// The absolute path of the warehouse.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn create_table(&self, name: &TableName, options: TableOptions) -> Result<Table> {
        let folder = self.table_folder(name)?;
        self.catalog.ensure_namespace(&name.namespace)?;
        if self.catalog.location(name)?.is_some() {
            return Err(misuse(format!("table {name} exists already")).advice("drop it first, or choose another name"));
        }
        Table::create(self.catalog.clone(), name.clone(), folder, options)
    }

    /// The properties of a table as they are now; `None` where there is no such table.
    pub fn table_properties(&self, name: &TableName) -> Result<Option<BTreeMap<String, String>>> {
        let Some(location) = self.catalog.location(name)? else { return Ok(None) };
        let path = PathBuf::from(location.strip_prefix("file://").unwrap_or(&location));
        let unreadable = |e: std::io::Error| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound {
                fastdata_types::ErrorKind::MissingFile
            } else {
                fastdata_types::ErrorKind::Unavailable
            };
            fastdata_types::Error::new(kind, fastdata_types::Stage::Catalog, format!("cannot read {}: {e}", path.display())).source(e)
        };
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(unreadable)?;
        match location.contains(".gz.metadata.json") {
            true => flate2::read::GzDecoder::new(file).take(METADATA_LIMIT).read_to_end(&mut bytes),
            false => file.take(METADATA_LIMIT).read_to_end(&mut bytes),
        }
        .map_err(unreadable)?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| {
            fastdata_types::Error::corrupt(fastdata_types::Stage::Catalog, format!("{} is no table metadata", path.display())).source(e)
        })?;
        let members = json["properties"].as_object().into_iter().flatten();
        Ok(Some(members.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()))
    }

    /// Forgets the table and deletes its folder.
    pub fn drop_table(&self, name: &TableName) -> Result<()> {
        let folder = self.table_folder(name)?;
        self.catalog.remove(name)?;
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cannot_write(&folder, e)),
            _ => Ok(()),
        }
    }

    fn table_folder(&self, name: &TableName) -> Result<PathBuf> {
        let mut folder = self.folder.clone();
        for part in name.namespace.iter().chain([&name.name]) {
            if part.is_empty() || part.starts_with('.') || part.contains(['/', '\\', '\0']) {
                return Err(misuse(format!("'{part}' in the table name {name} cannot be a folder name")));
            }
            folder.push(part);
        }
        Ok(folder)
    }
}

/// Bytes of a metadata file that are looked at.
const METADATA_LIMIT: u64 = 64 << 20;
