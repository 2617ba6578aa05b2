//! Reads the Iceberg SQL catalog's tables from a PostgreSQL server.
//!
//! Contract: a query is bounded in time, in rows, and in memory. One connection is kept; where it breaks or says nothing it is dropped, and the query
//! is sent once more on a new one in what is left of its time. With TLS the server's certificate is always verified. Messages name the server and the
//! cause, never the password.
//!
//! How: a network that forgets a connection (a gateway, a firewall) tells nobody. So the system probes one that is idle and gives up one whose bytes are
//! not acknowledged, and a kept connection gets half of the query's time.

use super::Row;
use super::uri::Server;
use crate::retries::Retries;
use crate::tls;
use fastdata_types::error::RETRIED;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use futures::{StreamExt, TryStreamExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

pub struct Postgres {
    server: Server,
    kept: Mutex<Option<Arc<Client>>>,
    connecting: tokio::sync::Mutex<()>,
    /// From the question to the last row of the answer.
    query_timeout: Duration,
}

/// Why a query gave no rows.
enum Failure {
    /// The connection broke, or the time for it is over.
    Lost(Error),
    Final(Error),
}

impl Postgres {
    pub fn new(mut server: Server, query_timeout: Duration) -> Self {
        server.config.keepalives(true).keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
        server.config.keepalives_retries(KEEPALIVE_RETRIES).tcp_user_timeout(query_timeout / 3);
        Postgres { server, kept: Mutex::default(), connecting: tokio::sync::Mutex::default(), query_timeout }
    }

    /// Runs one query and gives its first rows, each value as text.
    pub async fn query(&self, sql: &str, parameters: &[String], most_rows: usize, retries: &Retries) -> Result<Vec<Row>> {
        let began = Instant::now();
        let kept = self.kept().clone();
        if let Some(client) = kept {
            match self.ask(&client, sql, parameters, most_rows, began + self.query_timeout / 2).await {
                Err(Failure::Lost(e)) => {
                    tracing::debug!(target: RETRIED, server = self.address(), error = %e, "a query of the catalog is sent again on a new connection");
                    retries.add();
                }
                Err(Failure::Final(e)) => return Err(e),
                Ok(rows) => return Ok(rows),
            }
        }
        let deadline = began + self.query_timeout;
        let client = timeout_at(deadline, self.client()).await.map_err(|_| self.silent())??;
        self.ask(&client, sql, parameters, most_rows, deadline).await.map_err(|(Failure::Lost(e) | Failure::Final(e))| e)
    }

    /// A connection that broke or said nothing is not kept.
    async fn ask(
        &self,
        client: &Arc<Client>,
        sql: &str,
        parameters: &[String],
        most_rows: usize,
        deadline: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let work = async {
            let answer = client.query_raw(sql, parameters).await?;
            let texts = |row: tokio_postgres::Row| -> Result<Row, _> { (0..row.len()).map(|at| row.try_get(at)).collect() };
            answer.take(most_rows).map(|row| row.and_then(texts)).try_collect::<Vec<Row>>().await
        };
        let answer = match timeout_at(deadline, work).await {
            Err(_) => Err(Failure::Lost(self.silent())),
            Ok(Err(e)) if is_lost(&e) => Err(Failure::Lost(self.failure(e))),
            Ok(Err(e)) => Err(Failure::Final(self.failure(e))),
            Ok(Ok(rows)) => Ok(rows),
        };
        // More rows than are wanted would keep the connection busy.
        let is_over = answer.as_ref().map_or_else(|e| matches!(e, Failure::Lost(_)), |rows| rows.len() >= most_rows);
        if is_over {
            // A newer one stays.
            self.kept().take_if(|kept| Arc::ptr_eq(kept, client));
        }
        answer
    }

    fn silent(&self) -> Error {
        let message = format!("PostgreSQL catalog at {} did not answer in {} s", self.address(), self.query_timeout.as_secs());
        Error::new(ErrorKind::Unavailable, Stage::Catalog, message)
            .advice("try again; if it stays so, see the server's own log, or raise `fastdata.sql.query-timeout`")
    }

    /// The columns of a table on the search path; empty where there is no such table.
    pub async fn columns(&self, table: &str, retries: &Retries) -> Result<Vec<String>> {
        let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped";
        let rows = self.query(sql, &[table.to_owned()], super::MAX_ROWS, retries).await?;
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
        let _connecting = self.connecting.lock().await;
        if let Some(client) = self.kept().clone() {
            return Ok(client);
        }
        let client = Arc::new(self.connect().await?);
        *self.kept() = Some(client.clone());
        Ok(client)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
            ErrorKind::Unavailable if what.contains("does not support TLS") => error
                .advice("set TLS up in the server, or add ?sslmode=disable to the catalog's `uri` where the network between is trusted"),
            ErrorKind::Unavailable => error.advice("check the catalog's `uri`, the network, and that the server runs"),
            _ => error.advice("check the catalog's `uri`: the database must hold the tables of an Iceberg SQL catalog"),
        }
    }
}

/// The server ended the connection (classes 08 and 57P of its codes), or it broke.
fn is_lost(e: &tokio_postgres::Error) -> bool {
    match e.code() {
        Some(code) => ["08", "57P"].iter().any(|class| code.code().starts_with(class)),
        None => e.is_closed() || std::error::Error::source(e).is_some_and(|cause| cause.is::<std::io::Error>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Properties;
    use crate::sql::uri::{self, Database};
    use std::collections::BTreeMap;
    use tokio::io::{AsyncReadExt, copy_bidirectional};
    use tokio::net::{TcpListener, TcpStream};

    fn server(uri: &str) -> Server {
        let mut properties = Properties::new("c", BTreeMap::from([("uri".to_owned(), uri.to_owned())]));
        match uri::parse(&mut properties) {
            Some(Database::Postgres(server)) => *server,
            _ => panic!("{uri}"),
        }
    }

    #[tokio::test]
    async fn a_server_that_takes_connections_and_says_nothing_is_an_error_in_time_for_all_who_ask() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                open.push(connection);
            }
        });
        let postgres = Postgres::new(server(&format!("postgresql://u:hunter2@{address}/db")), Duration::from_secs(1));
        let (began, retries) = (Instant::now(), Retries::default());
        let asked = futures::future::join_all((0..20).map(|_| postgres.query("SELECT 1", &[], 10, &retries))).await;
        assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
        for e in asked.into_iter().map(|answer| answer.unwrap_err()) {
            assert!(e.kind() == ErrorKind::Unavailable && e.retryable() && e.message().contains(&address.to_string()), "{e:?}");
            assert!(e.advice_text().unwrap().contains("fastdata.sql.query-timeout") && !format!("{e:?}").contains("hunter2"), "{e:?}");
        }
        silent.abort();
    }

    /// As a gateway that forgets a connection: bytes are taken and lead nowhere.
    #[tokio::test]
    async fn a_kept_connection_that_leads_nowhere_or_broke_is_replaced_within_the_same_query() {
        let Some(database) = fastdata_testkit::postgres::Postgres::start() else { return };
        let (listener, to) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), database.address());
        let uri = database.uri().replace(&to.to_string(), &listener.local_addr().unwrap().to_string());
        let (forget, forgotten) = tokio::sync::watch::channel(0);
        let gateway = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut forgotten = forgotten.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await.unwrap();
                    forgotten.mark_unchanged();
                    tokio::select! {
                        _ = copy_bidirectional(&mut from, &mut server) => return,
                        _ = forgotten.changed() => {}
                    }
                    while from.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        let postgres = Postgres::new(server(&uri), Duration::from_secs(4));
        let retries = Retries::default();
        let ask = async || postgres.query("SELECT pg_backend_pid()::text", &[], 10, &retries).await.unwrap();
        let first = ask().await;
        assert_eq!((ask().await, retries.count()), (first.clone(), 0), "one connection is kept");
        forget.send_replace(1);
        let began = Instant::now();
        let second = ask().await;
        assert!(first != second && (2..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert_eq!((ask().await, retries.count()), (second.clone(), 1));
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fastdata' AND pid <> pg_backend_pid()");
        assert!(ask().await != second && retries.count() == 2);
        gateway.abort();
    }

    #[tokio::test]
    async fn an_answer_is_read_as_far_as_it_is_wanted() {
        let Some(database) = fastdata_testkit::postgres::Postgres::start() else { return };
        let postgres = Postgres::new(server(&database.uri()), Duration::from_secs(20));
        let retries = Retries::default();
        let began = Instant::now();
        let rows = postgres.query("SELECT generate_series(1, 2000000000)::text", &[], 3, &retries).await.unwrap();
        assert_eq!(rows, ["1", "2", "3"].map(|row| vec![Some(row.to_owned())]));
        assert_eq!(postgres.query("SELECT $1", &["x".to_owned()], 3, &retries).await.unwrap(), [[Some("x".to_owned())]]);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
