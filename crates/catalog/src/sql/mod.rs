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
use crate::retries::Retries;
use crate::tables::{is_within, load_metadata};
use async_trait::async_trait;
use fastdata_types::catalog::{SUGGESTED_WITHIN, unknown_table};
use fastdata_types::error::nearest;
use fastdata_types::store::{StoreFactory, StoreScope};
use fastdata_types::{Catalog, Error, ErrorKind, Result, Stage, TableName, TableState};
use postgres::Postgres;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::time::timeout;
use uri::{Database, SqliteFile};

pub use uri::is_sql;

const TABLES: &str = "iceberg_tables";
const NAMESPACES: &str = "iceberg_namespace_properties";
/// Rows of one answer.
const MAX_ROWS: usize = 2_000_000;
const QUERY_TIMEOUT_S: u64 = 30;
/// Tables that names are suggested from.
const FIRST_TABLES: &str = "ORDER BY table_namespace, table_name LIMIT 10000";

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
        let query_timeout = properties.seconds("fastdata.sql.query-timeout", QUERY_TIMEOUT_S);
        properties.finish()?;
        let database = match database.ok_or_else(|| Error::internal(Stage::Config, "the catalog has no database"))? {
            Database::Sqlite(file) => Connected::Sqlite(file),
            Database::Postgres(server) => Connected::Postgres(Box::new(Postgres::new(*server, query_timeout))),
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

    async fn query(&self, sql: &str, parameters: Vec<String>, retries: &Retries) -> Result<Vec<Row>> {
        let rows = match &self.database {
            Connected::Sqlite(file) => sqlite::query(self.sqlite_path(file)?, sql.to_owned(), parameters).await?,
            Connected::Postgres(postgres) => postgres.query(sql, &parameters, MAX_ROWS + 1, retries).await?,
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
    async fn columns(&self, table: &'static str, retries: &Retries) -> Result<Vec<String>> {
        match &self.database {
            Connected::Sqlite(file) => sqlite::columns(self.sqlite_path(file)?, table).await,
            Connected::Postgres(postgres) => postgres.columns(table, retries).await,
        }
    }

    /// `AND ...` that leaves views out, where the catalog knows them.
    async fn only_tables(&self, retries: &Retries) -> Result<&'static str> {
        let columns = self.columns(TABLES, retries).await?;
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
    async fn rows_name(&self, retries: &Retries) -> Result<Option<String>> {
        if let Some(name) = &self.catalog_name {
            return Ok(Some(name.clone()));
        }
        let rows = self.query("SELECT DISTINCT catalog_name FROM iceberg_tables ORDER BY 1", vec![], retries).await?;
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
        let mut tables = self.tables(None, "").await?;
        tables.sort();
        Ok(tables)
    }

    /// The tables of all namespaces or of one, as many as `limit` (a clause of SQL) says.
    async fn tables(&self, namespace: Option<&[String]>, limit: &str) -> Result<Vec<TableName>> {
        let uncounted = Retries::default();
        let only_tables = self.only_tables(&uncounted).await?;
        let Some(rows_name) = self.rows_name(&uncounted).await? else { return Ok(vec![]) };
        let of_namespace = if namespace.is_some() { " AND table_namespace = $2" } else { "" };
        let parameters = std::iter::once(rows_name).chain(namespace.map(|levels| levels.join("."))).collect();
        let sql =
            format!("SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = $1{of_namespace}{only_tables} {limit}");
        let rows = self.query(&sql, parameters, &uncounted).await?;
        let tables = rows.into_iter().filter_map(|row| match <[Option<String>; 2]>::try_from(row) {
            Ok([Some(namespace), Some(name)]) => Some(TableName::new(namespace.split('.'), name)),
            _ => None,
        });
        Ok(tables.collect())
    }

    async fn unknown(&self, name: &TableName) -> Error {
        let mut known = Vec::new();
        let add = async {
            known = self.tables(Some(&name.namespace), FIRST_TABLES).await.unwrap_or_default();
            known.extend(self.tables(None, FIRST_TABLES).await.unwrap_or_default());
        };
        // What has come in time is enough.
        let _ = timeout(SUGGESTED_WITHIN, add).await;
        let mut seen = HashSet::new();
        known.retain(|table| seen.insert(table.clone()));
        unknown_table(&self.name, name, &known)
    }

    async fn metadata_location(&self, name: &TableName, retries: &Retries) -> Result<String> {
        // Levels are split at dots when they are listed: a table must not have a second name, which a policy would not know.
        if name.namespace.iter().any(|level| level.contains('.')) {
            return Err(self.unknown(name).await);
        }
        let only_tables = self.only_tables(retries).await?;
        let found = match self.rows_name(retries).await? {
            Some(rows_name) => {
                let sql = format!(
                    "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3{only_tables}"
                );
                self.query(&sql, vec![rows_name, name.namespace.join("."), name.name.clone()], retries).await?
            }
            None => vec![],
        };
        match found.into_iter().next() {
            Some(row) => row.into_iter().next().flatten().filter(|location| !location.is_empty()).ok_or_else(|| {
                Error::corrupt(Stage::Catalog, format!("catalog '{}' has no metadata location for table '{name}'", self.name))
            }),
            None => Err(self.unknown(name).await),
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
        let uncounted = Retries::default();
        let (only, parameters) = match self.rows_name(&uncounted).await? {
            Some(name) => ("WHERE catalog_name = $1", vec![name]),
            None => ("", vec![]),
        };
        // Those of views count, and those that hold nothing.
        let mut rows = self.query(&format!("SELECT DISTINCT table_namespace FROM {TABLES} {only}"), parameters.clone(), &uncounted).await?;
        if !self.columns(NAMESPACES, &uncounted).await?.is_empty() {
            rows.extend(self.query(&format!("SELECT DISTINCT namespace FROM {NAMESPACES} {only}"), parameters, &uncounted).await?);
        }
        let names: BTreeSet<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        Ok(names.into_iter().map(|name| name.split('.').map(str::to_owned).collect()).collect())
    }

    async fn some_tables(&self) -> Vec<TableName> {
        timeout(SUGGESTED_WITHIN, self.tables(None, FIRST_TABLES)).await.unwrap_or(Ok(vec![])).unwrap_or_default()
    }

    async fn load(&self, name: &TableName) -> Result<TableState> {
        let retries = Retries::default();
        let metadata_location = self.metadata_location(name, &retries).await?;
        let store = self.factory.open(self.scope.clone())?;
        let metadata = load_metadata(store.as_ref(), &metadata_location).await.map_err(|e| e.context(format!("table '{name}'")))?;
        Ok(TableState {
            display_name: format!("{}.{name}", self.name),
            metadata_location,
            metadata: Arc::new(metadata),
            store,
            notes: vec![],
            catalog_retries: retries.count(),
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
