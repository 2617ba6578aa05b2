//! Reads the Iceberg SQL catalog's tables from a PostgreSQL server.
//!
//! Contract: one connection is kept and made again when it broke; a query is bounded in time; with TLS the server's certificate is
//! always verified. Messages name the server and the cause, never the password.

use super::Row;
use super::uri::Server;
use crate::tls;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Postgres {
    server: Server,
    client: Mutex<Option<Arc<Client>>>,
}

impl Postgres {
    pub fn new(server: Server) -> Self {
        Postgres { server, client: Mutex::new(None) }
    }

    /// Runs one query and gives its rows, each value as text.
    pub async fn query(&self, sql: &str, parameters: &[String]) -> Result<Vec<Row>> {
        let work = async {
            let client = self.client().await?;
            let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p as _).collect();
            let rows = client.query(sql, &parameters).await.map_err(|e| self.failure(e))?;
            rows.iter().map(|row| (0..row.len()).map(|at| row.try_get(at).map_err(|e| self.failure(e))).collect()).collect()
        };
        tokio::time::timeout(QUERY_TIMEOUT, work).await.unwrap_or_else(|_| {
            let message = format!("PostgreSQL catalog at {} did not answer in {} s", self.address(), QUERY_TIMEOUT.as_secs());
            Err(Error::new(ErrorKind::Unavailable, Stage::Catalog, message).advice("try again; if it stays so, see the server's own log"))
        })
    }

    /// The columns of a table on the search path; empty where there is no such table.
    pub async fn columns(&self, table: &str) -> Result<Vec<String>> {
        let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped";
        let rows = self.query(sql, &[table.to_owned()]).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    pub fn address(&self) -> String {
        let config = &self.server.config;
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(name)) => format!("{name}:{port}"),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        format!("{host}/{}", config.get_dbname().unwrap_or_default())
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.connect().await?);
        *kept = Some(client.clone());
        Ok(client)
    }

    async fn connect(&self) -> Result<Client> {
        let Server { config, tls } = &self.server;
        let needs_tls = config.get_ssl_mode() != tokio_postgres::config::SslMode::Disable;
        let (client, connection): (_, futures::future::BoxFuture<'static, _>) = if needs_tls {
            let connector = MakeRustlsConnect::new(tls::client_config(tls.root_certificates.as_deref())?);
            let (client, connection) = config.connect(connector).await.map_err(|e| self.failure(e))?;
            (client, Box::pin(connection))
        } else {
            let (client, connection) = config.connect(NoTls).await.map_err(|e| self.failure(e))?;
            (client, Box::pin(connection))
        };
        // It ends by itself when the client is dropped or the server goes away.
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a catalog connection ended");
            }
        });
        Ok(client)
    }

    fn failure(&self, e: tokio_postgres::Error) -> Error {
        let mut cause: &dyn std::error::Error = &e;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let what = e.as_db_error().map_or_else(|| cause.to_string(), |db| db.message().to_owned());
        let kind = match e.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                ErrorKind::Unauthenticated
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => ErrorKind::PermissionDenied,
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => ErrorKind::NotFound,
            Some(code) if code.code().starts_with("42") => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        let error = Error::new(kind, Stage::Catalog, format!("PostgreSQL catalog at {}: {what}", self.address()));
        match kind {
            ErrorKind::Unauthenticated => error.advice("check user and password in the catalog's `uri`"),
            ErrorKind::PermissionDenied => error.advice("grant this user SELECT on iceberg_tables"),
            ErrorKind::Unavailable => error.advice("check the catalog's `uri`, the network, and that the server runs"),
            _ => error.advice("check the catalog's `uri`: the database must hold the tables of an Iceberg SQL catalog"),
        }
    }
}
