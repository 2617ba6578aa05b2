//! A catalog of one kind with its store, and a folder with the configuration that docs/ shows for it.
//!
//! Problem: a suite that is to hold for every kind must not know how each is written to. Contract: tables are built in a folder, put where the kind
//! has its tables, and named in the catalog as another engine would do it; the command then meets nothing but the catalog, the store and the
//! configuration. How: the block of the page, with the addresses and secrets that are written there replaced by real ones.

use crate::support::{fastdata, root};
use fastdata_testkit::door::{Door, DoorOptions};
use fastdata_testkit::issuer::Issuer;
use fastdata_testkit::loud;
use fastdata_testkit::postgres::{Database, Postgres};
use fastdata_testkit::services::catalog::Catalog as Rest;
use fastdata_testkit::services::minio::{self, Minio};
use fastdata_testkit::services::nessie::{self, Nessie};
use fastdata_testkit::services::reference::{self, Reference};
use fastdata_testkit::table::{Built, Layout, Shape, build};
use fastdata_write::SQL_CATALOG_TABLES;
use http::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// Of the tables' owner.
const OWNER: Database<'static> = Database { user: "owner", password: "owner-password", name: "iceberg" };
/// As the page shows it.
const READER_PASSWORD: &str = "reader-password";
/// As the pages show it.
const CLIENT_SECRET: &str = "reader-secret";
const LONG: Duration = Duration::from_secs(3600);
/// Of what the door gives out: shorter than the suite takes.
const TOKEN_LIFE: Duration = Duration::from_secs(5);
const SESSION_LIFE: Duration = Duration::from_secs(30);
/// Rows of one statement, which has to fit on a command line.
const ROWS_AT_ONCE: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Sqlite,
    Postgres,
    Reference,
    Door,
    Nessie,
    Files,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Sqlite, Kind::Postgres, Kind::Reference, Kind::Door, Kind::Nessie, Kind::Files];

    /// As README's table heads its column.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "SQL: SQLite",
            Kind::Postgres => "SQL: PostgreSQL",
            Kind::Reference => "REST: reference",
            Kind::Door => "REST: OAuth2, vended",
            Kind::Nessie => "REST: Nessie",
            Kind::Files => "table folders",
        }
    }

    /// What runs, with its version.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Sqlite => "SQLite (bundled), local files",
            Kind::Postgres => "PostgreSQL 15, MinIO",
            Kind::Reference => "Iceberg 1.11.0 REST catalog server, MinIO",
            Kind::Door => "the same behind OAuth2 with expiring tokens and vended MinIO sessions",
            Kind::Nessie => "Nessie 0.99.0, MinIO, vended sessions",
            Kind::Files => "no catalog, local files",
        }
    }

    /// The page with its configuration, and which of the page's blocks it is.
    fn block(self) -> (&'static str, usize) {
        match self {
            Kind::Sqlite => ("docs/catalogs/sql.md", 0),
            Kind::Postgres => ("docs/catalogs/sql.md", 1),
            Kind::Reference => ("docs/catalogs/rest.md", 0),
            Kind::Door => ("docs/catalogs/rest.md", 1),
            Kind::Nessie => ("docs/catalogs/nessie.md", 0),
            Kind::Files => ("docs/catalogs/files.md", 0),
        }
    }

    pub fn is_rest(self) -> bool {
        matches!(self, Kind::Reference | Kind::Door | Kind::Nessie)
    }

    /// Whether tables lie in the object store.
    pub fn is_on_s3(self) -> bool {
        !matches!(self, Kind::Sqlite | Kind::Files)
    }
}

/// The nth block of TOML of a page.
pub fn documented(page: &str, nth: usize) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
    let block = text.split("```toml\n").skip(1).nth(nth).and_then(|rest| rest.split("```").next());
    block.unwrap_or_else(|| panic!("{page} has no block {nth} of TOML")).to_owned()
}

/// Puts real values in the place of those that a page shows, each of which must be there.
pub fn filled(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (shown, real)| {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
        text.replace(shown, real)
    })
}

/// An address that refuses connections.
pub fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// What a command answered.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(mut command: Command) -> Ran {
        let output = command.output().expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Whether it failed with this kind, and names all of these.
    pub fn assert_refused(&self, kind: &str, status: i32, named: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (status, ""), "{self:?}");
        assert!(self.stderr.starts_with(&format!("error: {kind}\n")), "{self:?}");
        for name in named {
            assert!(self.stderr.contains(name), "{name} is not named: {self:?}");
        }
    }
}

/// Runs the command in a folder with a configuration.
pub fn ran(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = fastdata(folder);
    command.args(arguments);
    Ran::of(command)
}

/// The catalog's own way to be written to.
enum Writer {
    Sqlite(Connection),
    Postgres(Postgres),
    Rest(Rest),
    /// Metadata that lies there is enough.
    None,
}

pub struct Lake {
    pub kind: Kind,
    /// With `fastdata.toml`; tables are built below `w`.
    pub folder: TempDir,
    /// Below which all tables lie.
    warehouse: String,
    writer: Writer,
    minio: Option<&'static Minio>,
    door: Option<Door>,
    /// What of the page's block is what here: for configurations that are wrong on purpose.
    values: Vec<(&'static str, String)>,
    _behind: Option<Reference>,
    // The door answers on it.
    _runtime: tokio::runtime::Runtime,
}

impl Lake {
    /// `None` where a program that it takes is not installed.
    pub fn open(kind: Kind) -> Option<Lake> {
        let folder = tempfile::tempdir().unwrap();
        let tables = folder.path().join("w");
        std::fs::create_dir(&tables).unwrap();
        let minio = if kind.is_on_s3() { Some(Minio::shared()?) } else { None };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        // One MinIO serves all kinds: each has its own part of the bucket.
        let warehouse = match kind {
            Kind::Sqlite | Kind::Files => format!("file://{}", std::fs::canonicalize(&tables).unwrap().display()),
            Kind::Nessie => nessie::WAREHOUSE.to_owned(),
            _ => format!("s3://lake/{kind:?}").to_lowercase(),
        };
        if let Some(minio) = minio {
            minio.create_bucket("lake");
        }
        let (mut door, mut behind) = (None, None);
        let mut values = Vec::new();
        let writer = match kind {
            Kind::Sqlite => {
                let connection = Connection::open(tables.join("catalog.db")).unwrap();
                connection.execute_batch(SQL_CATALOG_TABLES).unwrap();
                values.push(("/data/warehouse", tables.display().to_string()));
                Writer::Sqlite(connection)
            }
            Kind::Postgres => {
                let postgres = Postgres::start_as(&OWNER)?;
                postgres.execute(SQL_CATALOG_TABLES);
                loud::handed_out(READER_PASSWORD);
                postgres.execute(&format!("CREATE ROLE reader LOGIN PASSWORD '{READER_PASSWORD}'"));
                postgres.execute("GRANT SELECT ON iceberg_tables, iceberg_namespace_properties TO reader");
                values.push(("db.example.com:5432", postgres.address().to_string()));
                values.push(("s3://team-lake/", format!("{warehouse}/")));
                Writer::Postgres(postgres)
            }
            Kind::Reference => {
                let reference = Reference::shared()?;
                values.push(("http://catalog.example.com:8181", reference.uri()));
                Writer::Rest(reference.catalog())
            }
            Kind::Door => {
                // A server of its own: tables have the same names as those of the reference.
                let reference = Reference::start_on(minio?, &warehouse)?;
                let opened = runtime.block_on(Door::open(door_options(&reference, minio?, TOKEN_LIFE, SESSION_LIFE)));
                values.push(("https://catalog.example.com", opened.uri()));
                door = Some(opened);
                let catalog = reference.catalog();
                behind = Some(reference);
                Writer::Rest(catalog)
            }
            Kind::Nessie => {
                let (nessie, issuer) = nessie()?;
                values.push(("https://nessie.example.com/iceberg", nessie.uri()));
                values.push(("https://issuer.example.com/token", issuer.token_uri()));
                Writer::Rest(nessie.catalog().with_token(&issuer.token()))
            }
            Kind::Files => Writer::None,
        };
        if let (Some(minio), Kind::Postgres | Kind::Reference) = (minio, kind) {
            values.push(("http://minio.example.com:9000", minio.endpoint().to_owned()));
            values.push(("ACCESS-KEY", minio::ACCESS_KEY_ID.to_owned()));
            values.push(("SECRET-KEY", minio::SECRET_ACCESS_KEY.to_owned()));
        }
        let lake = Lake { kind, folder, warehouse, writer, minio, door, values, _behind: behind, _runtime: runtime };
        std::fs::write(lake.folder.path().join("fastdata.toml"), lake.configuration(&[])).unwrap();
        Some(lake)
    }

    /// What ran, with its version.
    pub fn program(&self) -> String {
        match &self.writer {
            Writer::Postgres(postgres) => format!("PostgreSQL {}, MinIO", postgres.version()),
            // Installed in the versions that scripts/components.sh names.
            _ => self.kind.program().to_owned(),
        }
    }

    /// The block of the page with what holds here, and after that with other changes.
    pub fn configuration(&self, changes: &[(&str, &str)]) -> String {
        let (page, nth) = self.kind.block();
        let values: Vec<(&str, &str)> = self.values.iter().map(|(shown, real)| (*shown, real.as_str())).collect();
        let text = filled(&documented(page, nth), &values);
        assert!(!text.contains("example.com"), "a value of the page was not filled in:\n{text}");
        filled(&text, changes)
    }

    /// What holds here for a value that the page shows.
    pub fn value(&self, shown: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == shown).map(|(_, real)| real.as_str())
    }

    /// A folder with the same configuration but for these changes.
    pub fn changed(&self, changes: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fastdata.toml"), self.configuration(changes)).unwrap();
        folder
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.folder.path(), arguments)
    }

    pub fn succeed(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{arguments:?} of {:?}: {}", self.kind, ran.stdout);
        ran
    }

    /// Builds a table below `below` and puts it where this kind has its tables.
    pub fn build(&self, below: &str, shape: &Shape) -> Built {
        let location = self.kind.is_on_s3().then(|| format!("{}/{below}", self.warehouse));
        let shape = Shape { layout: Layout { location, ..shape.layout.clone() }, ..shape.clone() };
        let built = build(&shape, &self.folder.path().join("w").join(below)).unwrap();
        self.upload(&built);
        built
    }

    /// Puts what the table has on disk into the store.
    pub fn upload(&self, built: &Built) {
        let Some(minio) = self.minio else { return };
        let (bucket, prefix) = bucket_and_key(built.table.location());
        minio.put_directory(&bucket, &format!("{prefix}/"), &built.table_folder());
    }

    /// Names a table in the catalog, or says why the catalog does not take it.
    pub fn register(&self, namespace: &[&str], name: &str, metadata_location: &str) -> Result<(), String> {
        match &self.writer {
            Writer::Rest(rest) => {
                rest.create_namespace(namespace);
                rest.try_register(namespace, name, metadata_location)
            }
            _ => {
                self.register_all(namespace, &[name.to_owned()], metadata_location);
                Ok(())
            }
        }
    }

    /// The same for many names of one namespace, which all stand for the same table.
    pub fn register_all(&self, namespace: &[&str], names: &[String], metadata_location: &str) {
        match &self.writer {
            Writer::Sqlite(connection) => {
                let transaction = connection.unchecked_transaction().unwrap();
                for name in names {
                    let sql = "INSERT INTO iceberg_tables VALUES ('lake', ?1, ?2, ?3, NULL, 'TABLE')";
                    transaction.execute(sql, (namespace.join("."), name, metadata_location)).unwrap();
                }
                transaction.commit().unwrap();
            }
            Writer::Postgres(postgres) => {
                for some in names.chunks(ROWS_AT_ONCE) {
                    let text = |text: &str| text.replace('\'', "''");
                    let row = |name: &String| {
                        format!(
                            "('lake', '{}', '{}', '{}', NULL, 'TABLE')",
                            text(&namespace.join(".")),
                            text(name),
                            text(metadata_location)
                        )
                    };
                    let rows: Vec<String> = some.iter().map(row).collect();
                    postgres.execute(&format!("INSERT INTO iceberg_tables VALUES {}", rows.join(", ")));
                }
            }
            Writer::Rest(rest) => {
                self.register(namespace, &names[0], metadata_location).unwrap();
                std::thread::scope(|scope| {
                    for some in names[1..].chunks(names.len().div_ceil(4)) {
                        scope.spawn(move || some.iter().for_each(|name| rest.register(namespace, name, metadata_location)));
                    }
                });
            }
            Writer::None => {}
        }
    }

    /// Moves the catalog on to what the table has become since it was registered.
    pub fn commit(&self, namespace: &[&str], name: &str, built: &Built) {
        self.upload(built);
        let location = built.table.metadata_location();
        match &self.writer {
            Writer::Sqlite(connection) => {
                let sql = "UPDATE iceberg_tables SET metadata_location = ?3 WHERE table_namespace = ?1 AND table_name = ?2";
                assert_eq!(connection.execute(sql, (namespace.join("."), name, location)).unwrap(), 1);
            }
            Writer::Postgres(postgres) => {
                let of = format!("table_namespace = '{}' AND table_name = '{name}'", namespace.join("."));
                postgres.execute(&format!("UPDATE iceberg_tables SET metadata_location = '{location}' WHERE {of}"));
            }
            Writer::Rest(rest) => {
                let metadata: Value = serde_json::from_slice(&std::fs::read(built.metadata_file()).unwrap()).unwrap();
                let id = built.table.current_snapshot_id();
                let snapshot = metadata["snapshots"].as_array().unwrap().iter().find(|s| s["snapshot-id"].as_i64() == id).unwrap();
                let body = json!({
                    "identifier": {"namespace": namespace, "name": name},
                    "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": snapshot["parent-snapshot-id"]}],
                    "updates": [
                        {"action": "add-snapshot", "snapshot": snapshot},
                        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id},
                    ],
                });
                let (status, said) = rest.ask(Method::POST, &rest.table(namespace, name), Some(body));
                assert!(status.is_success(), "{status} {said}");
            }
            Writer::None => {}
        }
    }

    /// The table as the catalog itself answers it, or the status of its refusal; `None` where there is no server between.
    pub fn answered(&self, namespace: &[&str], name: &str) -> Option<Result<Value, u16>> {
        let Writer::Rest(rest) = &self.writer else { return None };
        let (status, answer) = rest.ask(Method::GET, &rest.table(namespace, name), None);
        Some(if status.is_success() { Ok(answer) } else { Err(status.as_u16()) })
    }

    /// The catalog as a client other than the command asks it.
    pub fn rest(&self) -> Rest {
        match (&self.door, &self.writer) {
            (Some(door), _) => Rest::new(format!("{}/v1", door.uri()), reference::SEPARATOR).with_token(&door.token()),
            (None, Writer::Rest(rest)) => rest.clone(),
            _ => panic!("{:?} is no REST catalog", self.kind),
        }
    }

    /// How the command names a table: in the catalog, or by its folder.
    pub fn reference(&self, namespace: &[&str], name: &str, built: &Built) -> String {
        match self.kind {
            Kind::Files => built.table_folder().display().to_string(),
            _ => quoted(namespace, name),
        }
    }
}

/// One Nessie for all tests here, which takes tokens of an issuer of ours and of nobody else.
fn nessie() -> Option<&'static (Nessie, Issuer)> {
    static STARTED: OnceLock<Option<(Nessie, Issuer)>> = OnceLock::new();
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let start = || {
        let minio = Minio::shared()?;
        let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
        let issuer = runtime.block_on(Issuer::start("reader", CLIENT_SECRET, LONG));
        Some((Nessie::start_with_issuer(minio, issuer.uri())?, issuer))
    };
    STARTED.get_or_init(start).as_ref()
}

/// `lake."name space"."table"`, quoted as in SQL.
pub fn quoted(namespace: &[&str], name: &str) -> String {
    let parts = ["lake"].iter().chain(namespace).chain([&name]).map(|part| match part.bytes().all(|b| b.is_ascii_lowercase()) {
        true => (*part).to_owned(),
        false => format!("\"{}\"", part.replace('"', "\"\"")),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Bucket and key of a location in an object store.
pub fn bucket_and_key(location: &str) -> (String, String) {
    let (_, rest) = location.split_once("://").unwrap_or_else(|| panic!("{location} is in no bucket"));
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (bucket.to_owned(), key.trim_end_matches('/').to_owned())
}

/// A door before the reference catalog, which lends sessions of the store for what a table's location covers.
pub fn door_options(reference: &Reference, minio: &Minio, token_life: Duration, life: Duration) -> DoorOptions {
    DoorOptions::lending_sessions(reference.uri(), minio.s3().clone(), ("reader", CLIENT_SECRET), token_life, life)
}
