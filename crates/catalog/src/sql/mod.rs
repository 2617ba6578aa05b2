//! SQL catalogs: the tables `iceberg_tables` and `iceberg_namespace_properties` in SQLite or PostgreSQL, as Iceberg's JDBC
//! catalog, pyiceberg and iceberg-rust write them.
//!
//! Contract: nothing is ever written. Views are no tables. Catalogs from before views, whose `iceberg_tables` lacks the column
//! `iceberg_type`, are read alike. The files of a table may lie below the catalog's `warehouse` and where the configuration
//! allows; the table's own `location` allows nothing, since whoever writes a table's metadata chooses it.

mod postgres;
mod sqlite;
mod uri;

use crate::local;
use crate::properties::Properties;
use crate::tables::{is_within, load_metadata};
use async_trait::async_trait;
use fastdata_types::catalog::unknown_table;
use fastdata_types::error::nearest;
use fastdata_types::store::{StoreFactory, StoreScope};
use fastdata_types::{Catalog, Error, ErrorKind, Result, Stage, TableName, TableState};
use postgres::Postgres;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use uri::{Database, SqliteFile};

pub use uri::is_sql;

const TABLES: &str = "iceberg_tables";
const NAMESPACES: &str = "iceberg_namespace_properties";
/// Rows of one answer.
const MAX_ROWS: usize = 2_000_000;

/// One row of an answer, every value as text.
type Row = Vec<Option<String>>;

pub struct SqlCatalog {
    name: String,
    /// The `catalog_name` of its rows, where the configuration gives one.
    catalog_name: Option<String>,
    database: Connected,
    scope: StoreScope,
    factory: Arc<dyn StoreFactory>,
}

enum Connected {
    Sqlite(SqliteFile),
    Postgres(Box<Postgres>),
}

impl SqlCatalog {
    pub fn new(
        mut properties: Properties,
        rewrites: Vec<(String, String)>,
        mut allowed: Vec<String>,
        factory: Arc<dyn StoreFactory>,
    ) -> Result<SqlCatalog> {
        let database = uri::parse(&mut properties);
        properties.refuse(&["token", "credential", "oauth2-server-uri", "prefix"], "SQL");
        let warehouse = properties.required("warehouse", "s3://bucket/warehouse");
        properties.finish()?;
        let database = match database.ok_or_else(|| Error::internal(Stage::Config, "the catalog has no database"))? {
            Database::Sqlite(file) => Connected::Sqlite(file),
            Database::Postgres(server) => Connected::Postgres(Box::new(Postgres::new(*server))),
        };
        allowed.extend(local::spellings_of_location(&warehouse).unwrap_or_else(|_| vec![warehouse]));
        Ok(SqlCatalog {
            name: properties.catalog().to_owned(),
            catalog_name: properties.get("catalog-name").map(str::to_owned),
            database,
            scope: StoreScope { allowed, rewrites, properties: properties.storage(), ..StoreScope::default() },
            factory,
        })
    }

    /// The catalog of a directory that holds `catalog.db` and, below it, the tables; `spellings` are those of the directory.
    pub fn embedded(
        name: &str,
        spellings: Vec<String>,
        file: PathBuf,
        rewrites: Vec<(String, String)>,
        mut allowed: Vec<String>,
        properties: BTreeMap<String, String>,
        factory: Arc<dyn StoreFactory>,
    ) -> SqlCatalog {
        allowed.extend(spellings);
        SqlCatalog {
            name: name.to_owned(),
            catalog_name: None,
            database: Connected::Sqlite(SqliteFile::at(file)),
            scope: StoreScope { allowed, rewrites, properties, ..StoreScope::default() },
            factory,
        }
    }

    async fn query(&self, sql: &str, parameters: Vec<String>) -> Result<Vec<Row>> {
        let rows = match &self.database {
            Connected::Sqlite(file) => sqlite::query(self.sqlite_path(file)?, sql.to_owned(), parameters).await?,
            Connected::Postgres(postgres) => postgres.query(sql, &parameters).await?,
        };
        if rows.len() > MAX_ROWS {
            return Err(Error::limit(Stage::Catalog, format!("catalog '{}' holds more than {MAX_ROWS} tables", self.name)));
        }
        Ok(rows)
    }

    fn sqlite_path(&self, file: &SqliteFile) -> Result<PathBuf> {
        file.path().filter(|path| path.is_file()).map(PathBuf::from).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, Stage::Catalog, format!("catalog '{}': there is no file {file}", self.name))
                .advice("check the catalog's `uri`")
        })
    }

    /// The columns of a table of the database; none where there is no such table.
    async fn columns(&self, table: &'static str) -> Result<Vec<String>> {
        match &self.database {
            Connected::Sqlite(file) => sqlite::columns(self.sqlite_path(file)?, table).await,
            Connected::Postgres(postgres) => postgres.columns(table).await,
        }
    }

    /// `AND ...` that leaves views out, where the catalog knows them.
    async fn only_tables(&self) -> Result<&'static str> {
        let columns = self.columns(TABLES).await?;
        if columns.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                Stage::Catalog,
                format!("catalog '{}': the database has no table {TABLES}", self.name),
            )
            .advice("check the catalog's `uri`, or create the catalog with the engine that writes it"));
        }
        let knows_views = columns.iter().any(|column| column.eq_ignore_ascii_case("iceberg_type"));
        Ok(if knows_views { " AND (iceberg_type IS NULL OR iceberg_type <> 'VIEW')" } else { "" })
    }

    /// The `catalog_name` of this catalog's rows; `None` where there are no rows at all.
    async fn rows_name(&self) -> Result<Option<String>> {
        if let Some(name) = &self.catalog_name {
            return Ok(Some(name.clone()));
        }
        let rows = self.query("SELECT DISTINCT catalog_name FROM iceberg_tables ORDER BY 1", vec![]).await?;
        let mut names: Vec<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        if names.len() <= 1 || names.contains(&self.name) {
            return Ok(if names.contains(&self.name) { Some(self.name.clone()) } else { names.pop() });
        }
        let near = nearest(&self.name, names.iter().map(String::as_str))
            .first()
            .map_or_else(|| names.first().cloned().unwrap_or_default(), |n| (*n).to_owned());
        let message = format!("catalog '{}': the database holds several catalogs: {}", self.name, names.join(", "));
        Err(Error::new(ErrorKind::Config, Stage::Catalog, message)
            .advice(format!("say which one is meant, e.g. catalog-name = \"{near}\"")))
    }

    async fn all_tables(&self) -> Result<Vec<TableName>> {
        let only_tables = self.only_tables().await?;
        let Some(rows_name) = self.rows_name().await? else { return Ok(vec![]) };
        let sql = format!("SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = $1{only_tables}");
        let rows = self.query(&sql, vec![rows_name]).await?;
        let mut tables: Vec<TableName> = rows
            .into_iter()
            .filter_map(|row| match <[Option<String>; 2]>::try_from(row) {
                Ok([Some(namespace), Some(name)]) => Some(TableName::new(namespace.split('.'), name)),
                _ => None,
            })
            .collect();
        tables.sort();
        Ok(tables)
    }

    async fn metadata_location(&self, name: &TableName) -> Result<String> {
        // Levels are split at dots when they are listed: a table must not have a second name, which a policy would not know.
        if name.namespace.iter().any(|level| level.contains('.')) {
            return Err(unknown_table(&self.name, name, &self.all_tables().await?));
        }
        let only_tables = self.only_tables().await?;
        let found = match self.rows_name().await? {
            Some(rows_name) => {
                let sql = format!(
                    "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3{only_tables}"
                );
                self.query(&sql, vec![rows_name, name.namespace.join("."), name.name.clone()]).await?
            }
            None => vec![],
        };
        match found.into_iter().next() {
            Some(row) => row.into_iter().next().flatten().filter(|location| !location.is_empty()).ok_or_else(|| {
                Error::corrupt(Stage::Catalog, format!("catalog '{}' has no metadata location for table '{name}'", self.name))
            }),
            None => Err(unknown_table(&self.name, name, &self.all_tables().await?)),
        }
    }

    fn address(&self) -> String {
        match &self.database {
            Connected::Sqlite(file) => format!("SQLite catalog {}", file.path().unwrap_or_else(|| "".as_ref()).display()),
            Connected::Postgres(postgres) => format!("PostgreSQL catalog at {}", postgres.address()),
        }
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    async fn list(&self, namespace: Option<&[String]>) -> Result<Vec<TableName>> {
        let mut tables = self.all_tables().await?;
        tables.retain(|table| is_within(&table.namespace, namespace));
        Ok(tables)
    }

    async fn namespaces(&self) -> Result<Vec<Vec<String>>> {
        let (only, parameters) = match self.rows_name().await? {
            Some(name) => ("WHERE catalog_name = $1", vec![name]),
            None => ("", vec![]),
        };
        // Those of views count, and those that hold nothing.
        let mut rows = self.query(&format!("SELECT DISTINCT table_namespace FROM {TABLES} {only}"), parameters.clone()).await?;
        if !self.columns(NAMESPACES).await?.is_empty() {
            rows.extend(self.query(&format!("SELECT DISTINCT namespace FROM {NAMESPACES} {only}"), parameters).await?);
        }
        let names: BTreeSet<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        Ok(names.into_iter().map(|name| name.split('.').map(str::to_owned).collect()).collect())
    }

    async fn load(&self, name: &TableName) -> Result<TableState> {
        let metadata_location = self.metadata_location(name).await?;
        let store = self.factory.open(self.scope.clone())?;
        let metadata = load_metadata(store.as_ref(), &metadata_location).await.map_err(|e| e.context(format!("table '{name}'")))?;
        Ok(TableState {
            display_name: format!("{}.{name}", self.name),
            metadata_location,
            metadata: Arc::new(metadata),
            store,
            notes: vec![],
            catalog_retries: 0,
        })
    }

    async fn check(&self) -> Result<String> {
        let tables = self.all_tables().await?;
        Ok(format!("{}: {} tables", self.address(), tables.len()))
    }
}

impl fmt::Debug for SqlCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlCatalog").field("name", &self.name).field("database", &self.address()).finish_non_exhaustive()
    }
}
