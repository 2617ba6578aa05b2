//! Opens a configured catalog by its properties.

use crate::local;
use crate::properties::Properties;
use crate::rest::RestCatalog;
use crate::sql::{self, SqlCatalog};
use fastdata_types::store::StoreFactory;
use fastdata_types::{Catalog, Error, ErrorKind, Result, Stage};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The SQLite file of an embedded warehouse.
const EMBEDDED_FILE: &str = "catalog.db";
/// What its catalog is called, in messages and in the rows that our own writer makes.
const EMBEDDED_NAME: &str = "local";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sql,
    Rest,
    Glue,
    Hms,
}

/// Opens the catalog that the configuration calls `name`. Properties are Iceberg's own (`type`, `uri`, `warehouse`, `s3.endpoint`, ...);
/// every problem with them is reported at once, as `config`. `rewrites` and `allowed` are those of the configuration. The catalog is
/// not contacted before it is used.
pub fn open(
    name: &str,
    properties: BTreeMap<String, String>,
    rewrites: Vec<(String, String)>,
    allowed: Vec<String>,
    factory: Arc<dyn StoreFactory>,
) -> Result<Arc<dyn Catalog>> {
    let mut properties = Properties::new(name, properties);
    match kind(&mut properties) {
        Some(Kind::Sql) => Ok(Arc::new(SqlCatalog::new(properties, rewrites, allowed, factory)?)),
        Some(Kind::Rest) => Ok(Arc::new(RestCatalog::new(properties, rewrites, allowed, factory)?)),
        Some(kind @ (Kind::Glue | Kind::Hms)) => open_foreign(kind, properties, rewrites, allowed, factory),
        None => Err(properties.finish().err().unwrap_or_else(|| Error::internal(Stage::Config, "a catalog of no kind"))),
    }
}

/// The embedded catalog of `--warehouse DIR`: `DIR/catalog.db`, tables below `DIR`. `properties` configure storage only.
pub fn embedded(
    directory: &Path,
    properties: BTreeMap<String, String>,
    rewrites: Vec<(String, String)>,
    allowed: Vec<String>,
    factory: Arc<dyn StoreFactory>,
) -> Result<Arc<dyn Catalog>> {
    let config = |message: String| Error::new(ErrorKind::Config, Stage::Config, message);
    let spellings = local::spellings(directory).map_err(|e| config(format!("warehouse {}: {e}", directory.display())))?;
    let location = spellings.first().map(String::as_str).unwrap_or_default();
    let file = Path::new(location).join(EMBEDDED_FILE);
    if !file.is_file() {
        let error = Error::not_found(Stage::Config, format!("warehouse {location}: there is no {EMBEDDED_FILE}"));
        let shown = directory.display();
        return Err(if Path::new(location).join("metadata").is_dir() {
            error.advice("this is a table: give the directory as the table's name, without --warehouse".to_owned())
        } else {
            error.advice(format!("`fastdata demo {shown}` makes a warehouse there; a table directory is given as the table's name"))
        });
    }
    Ok(Arc::new(SqlCatalog::embedded(EMBEDDED_NAME, spellings, file, rewrites, allowed, properties, factory)))
}

fn kind(properties: &mut Properties) -> Option<Kind> {
    let by_uri = properties.get("uri").and_then(kind_of_uri);
    let Some(named) = properties.get("type").map(str::to_ascii_lowercase) else {
        if by_uri.is_none() {
            let problem = match properties.get("uri") {
                Some(_) => "property 'type' is missing and 'uri' does not tell it: set type to sql, rest, glue or hms",
                None => "properties 'type' and 'uri' are missing",
            };
            properties.problem(problem);
        }
        return by_uri;
    };
    let kind = match named.as_str() {
        "sql" | "jdbc" => Kind::Sql,
        "rest" => Kind::Rest,
        "glue" => Kind::Glue,
        "hms" | "hive" => Kind::Hms,
        _ => {
            properties.problem(format!("property 'type' is '{}': use sql, rest, glue or hms", named.chars().take(40).collect::<String>()));
            return None;
        }
    };
    if by_uri.is_some_and(|by_uri| by_uri != kind) && kind != Kind::Glue {
        properties.problem(format!("'type' is '{named}', but 'uri' is that of another kind of catalog"));
    }
    Some(kind)
}

fn kind_of_uri(uri: &str) -> Option<Kind> {
    match uri.split_once(':').map(|(scheme, _)| scheme) {
        _ if sql::is_sql(uri) => Some(Kind::Sql),
        Some("http" | "https") => Some(Kind::Rest),
        Some("thrift") => Some(Kind::Hms),
        _ => None,
    }
}

fn open_foreign(
    kind: Kind,
    mut properties: Properties,
    rewrites: Vec<(String, String)>,
    allowed: Vec<String>,
    factory: Arc<dyn StoreFactory>,
) -> Result<Arc<dyn Catalog>> {
    let is_built = match kind {
        Kind::Glue => cfg!(feature = "glue"),
        _ => cfg!(feature = "hms"),
    };
    if !is_built {
        properties.problem(not_built(kind));
        properties.finish()?;
    }
    #[cfg(feature = "foreign")]
    let opened = crate::foreign::ForeignCatalog::new(kind, properties, rewrites, allowed, factory).map(|catalog| Arc::new(catalog) as _);
    #[cfg(not(feature = "foreign"))]
    let opened = {
        drop((rewrites, allowed, factory));
        Err(Error::internal(Stage::Config, "this kind of catalog is not built"))
    };
    opened
}

fn not_built(kind: Kind) -> String {
    let feature = if kind == Kind::Glue { "glue" } else { "hms" };
    format!("this build has no {feature} catalogs: build with `--features {feature}`")
}
