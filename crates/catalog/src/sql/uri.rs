//! The `uri` of a SQL catalog, in the spellings of SQLAlchemy, sqlx and JDBC.
//!
//! Contract: a password never reaches a message; what is not understood is a problem in the catalog's list of problems.

use crate::properties::Properties;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub enum Database {
    Sqlite(SqliteFile),
    Postgres(Box<Server>),
}

/// `sqlite:///a/b` is `a/b` to SQLAlchemy and `/a/b` to sqlx: both are candidates, the one that exists is meant.
pub struct SqliteFile {
    candidates: Vec<PathBuf>,
}

pub struct Server {
    pub config: tokio_postgres::Config,
    pub tls: Tls,
}

pub struct Tls {
    pub root_certificates: Option<PathBuf>,
}

/// The kind of SQL database a uri names, by its scheme; `None` where it names none.
pub fn is_sql(uri: &str) -> bool {
    let uri = uri.strip_prefix("jdbc:").unwrap_or(uri);
    ["sqlite", "postgresql", "postgres", "mysql", "mariadb"].contains(&scheme_of(uri).0)
}

/// `postgresql+psycopg2://x` is (`postgresql`, `//x`).
fn scheme_of(uri: &str) -> (&str, &str) {
    let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
    (scheme.split_once('+').map_or(scheme, |(scheme, _driver)| scheme), rest)
}

pub fn parse(properties: &mut Properties) -> Option<Database> {
    let uri = properties.required("uri", "sqlite:////path/to/catalog.db");
    if uri.is_empty() {
        return None;
    }
    let (is_jdbc, plain) = match uri.strip_prefix("jdbc:") {
        Some(rest) => (true, rest),
        None => (false, uri.as_str()),
    };
    let (scheme, rest) = scheme_of(plain);
    match scheme {
        "sqlite" => match sqlite(rest, is_jdbc) {
            Some(file) => Some(Database::Sqlite(file)),
            None => {
                properties.problem("property 'uri' names no SQLite file, e.g. sqlite:////path/to/catalog.db");
                None
            }
        },
        "postgresql" | "postgres" => postgres(rest, properties).map(|server| Database::Postgres(Box::new(server))),
        other => {
            let problem =
                format!("SQL catalogs in '{}' are not supported: use SQLite or PostgreSQL", other.chars().take(20).collect::<String>());
            properties.problem(problem);
            None
        }
    }
}

fn sqlite(rest: &str, is_jdbc: bool) -> Option<SqliteFile> {
    let rest = rest.strip_prefix("file:").unwrap_or(rest);
    let rest = rest.split_once('?').map_or(rest, |(path, _options)| path);
    let candidates = match rest.strip_prefix("///") {
        Some(path) if !is_jdbc => vec![PathBuf::from(path), Path::new("/").join(path)],
        _ => vec![PathBuf::from(rest.strip_prefix("//").filter(|_| !is_jdbc).unwrap_or(rest))],
    };
    let usable = candidates.iter().all(|path| !path.as_os_str().is_empty() && path.as_os_str() != ":memory:");
    let mut unique = candidates;
    unique.dedup();
    usable.then_some(SqliteFile { candidates: unique })
}

impl SqliteFile {
    pub fn at(path: PathBuf) -> Self {
        SqliteFile { candidates: vec![path] }
    }

    /// The file that exists; where none does, the first candidate.
    pub fn path(&self) -> Option<&Path> {
        self.candidates.iter().find(|path| path.is_file()).or(self.candidates.first()).map(PathBuf::as_path)
    }
}

impl fmt::Display for SqliteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.candidates.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&names.join(" or "))
    }
}

/// Takes out of the query what rustls answers for, then lets the PostgreSQL client read the rest.
fn postgres(rest: &str, properties: &mut Properties) -> Option<Server> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut kept, mut ssl_mode, mut root_certificates, mut credentials) = (Vec::new(), None, None, (None, None));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = || percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        match key {
            "sslmode" => ssl_mode = Some(decoded()),
            "sslrootcert" => root_certificates = Some(PathBuf::from(decoded())),
            "ssl" => ssl_mode = ssl_mode.or_else(|| (decoded() == "true").then(|| "verify-full".to_owned())),
            "user" => credentials.0 = Some(decoded()),
            "password" => credentials.1 = Some(decoded()),
            "host" | "port" | "connect_timeout" | "application_name" | "options" | "target_session_attrs" => kept.push(pair),
            _ => properties.problem(format!(
                "property 'uri' has the parameter '{}', which is not supported",
                key.chars().take(40).collect::<String>()
            )),
        }
    }
    let text = format!("postgresql:{address}{}{}", if kept.is_empty() { "" } else { "?" }, kept.join("&"));
    // The reason may quote the uri and its password: it is not repeated.
    let Ok(mut config) = text.parse::<tokio_postgres::Config>() else {
        properties.problem("property 'uri' cannot be read as postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
        return None;
    };
    if let Some(user) = credentials.0.or(properties.get("jdbc.user").map(str::to_owned)) {
        config.user(user);
    }
    if let Some(password) = credentials.1.or(properties.get("jdbc.password").map(str::to_owned)) {
        config.password(password);
    }
    if config.get_hosts().is_empty() {
        properties.problem("property 'uri' names no host");
        return None;
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.ssl_mode(match ssl_mode.as_deref() {
        Some("disable") => SslMode::Disable,
        Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
        None | Some("prefer" | "allow") if config.get_hosts().iter().all(is_this_machine) => SslMode::Disable,
        // Whoever answers on the way may say that the server has no TLS, and ask for the password in the clear.
        None => SslMode::Require,
        Some("prefer" | "allow") => SslMode::Prefer,
        Some(_) => {
            properties.problem("property 'uri' has an unknown sslmode: use disable, prefer, require, verify-ca or verify-full");
            return None;
        }
    });
    Some(Server { config, tls: Tls { root_certificates } })
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn parsed(uri: &str) -> (Option<Database>, String) {
        let mut properties = Properties::new("c", BTreeMap::from([("uri".to_owned(), uri.to_owned())]));
        let database = parse(&mut properties);
        (database, properties.finish().err().map(|e| e.message().to_owned()).unwrap_or_default())
    }

    #[test]
    fn sqlite_uris_of_sqlalchemy_sqlx_and_jdbc_name_the_same_file() {
        for (uri, expected) in [
            ("sqlite:////a/c.db", vec!["/a/c.db"]),
            ("sqlite:///a/c.db", vec!["a/c.db", "/a/c.db"]),
            ("sqlite:/a/c.db", vec!["/a/c.db"]),
            ("sqlite://a/c.db", vec!["a/c.db"]),
            ("sqlite:c.db?mode=ro", vec!["c.db"]),
            ("jdbc:sqlite:/a/c.db", vec!["/a/c.db"]),
            ("jdbc:sqlite:file:/a/c.db?x=1", vec!["/a/c.db"]),
        ] {
            let (Some(Database::Sqlite(file)), problems) = parsed(uri) else { panic!("{uri}") };
            assert_eq!(problems, "");
            assert_eq!(file.candidates, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{uri}");
        }
        for bad in ["sqlite:", "sqlite::memory:", "sqlite://"] {
            assert!(parsed(bad).0.is_none(), "{bad}");
        }
    }

    #[test]
    fn postgres_uris_ask_for_tls_off_this_machine_and_never_show_a_password() {
        for (uri, mode) in [
            ("postgresql://u:hunter2@localhost:5432/db", SslMode::Disable),
            ("postgresql+psycopg2://u:hunter2@db.example.com/db", SslMode::Require),
            ("postgresql://u:hunter2@localhost,db.example.com/db", SslMode::Require),
            ("postgresql://u:hunter2@db.example.com/db?sslmode=prefer", SslMode::Prefer),
            ("postgresql://u:hunter2@db.example.com/db?sslmode=disable", SslMode::Disable),
            ("jdbc:postgresql://127.0.0.1/db?sslmode=verify-full&user=u&password=hunter2", SslMode::Require),
        ] {
            let (Some(Database::Postgres(server)), problems) = parsed(uri) else { panic!("{uri}") };
            assert_eq!((server.config.get_ssl_mode(), problems.as_str()), (mode, ""), "{uri}");
            assert_eq!(server.config.get_user(), Some("u"));
            assert_eq!(server.config.get_password(), Some(&b"hunter2"[..]));
        }
        for bad in [
            "postgresql://u:hunter2@h:notaport/db",
            "postgresql://u:hunter2@h/db?sslmode=maybe",
            "postgresql://u:hunter2@h/db?gssencmode=x",
        ] {
            let (_, problems) = parsed(bad);
            assert!(!problems.is_empty() && !problems.contains("hunter2"), "{bad}: {problems}");
        }
    }
}
