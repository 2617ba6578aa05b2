//! The tables in the bucket, and the configuration that reads them there.
//!
//! How: the tables are made in, or are, a local warehouse. Its files are copied to keys of the same paths, and the catalog reads the local places as those in
//! the bucket (`rewrites`), so that one catalog serves both the local check and the store.

use super::{BenchArgs, failed};
use crate::assemble::{self, Paths};
use crate::cli::demo;
use crate::config::{self, Overrides};
use crate::engine::Engine;
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage};
use futures::TryStreamExt;
use indicatif::ProgressBar;
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use url::Url;

/// Where the reference tables are made if no warehouse is given.
const OWN_WAREHOUSE: &str = "bench-warehouse";
/// Files that are copied at a time.
const COPIES: usize = 4;

pub struct Site {
    folder: PathBuf,
    bucket: String,
    prefix: String,
    region: String,
    pub upstream: SocketAddr,
    settings: tempfile::TempDir,
}

/// One object of a table's data.
pub struct Object {
    pub key: Key,
    pub size: u64,
}

impl Site {
    /// Makes reference tables where the folder that was given holds no warehouse, or none was given, and copies what the bucket lacks. In our own folder
    /// tables that an interrupted run left are finished, and those of another scale refused.
    pub async fn prepare(given: Option<&Path>, args: &BenchArgs) -> Result<Site> {
        let upstream = address(&args.endpoint)?;
        let folder = given.unwrap_or(Path::new(OWN_WAREHOUSE));
        if given.is_none() || !folder.join("catalog.db").exists() {
            demo::reference_tables(folder, args.scale)?;
        }
        let folder = folder.canonicalize().map_err(|e| failed(&folder.display().to_string(), &e))?;
        let site = Site {
            folder,
            bucket: args.bucket.clone(),
            prefix: args.prefix.trim_matches('/').to_owned(),
            region: std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned()),
            upstream,
            settings: tempfile::tempdir().map_err(|e| failed("a temporary folder", &e))?,
        };
        site.copy(&args.endpoint).await?;
        Ok(site)
    }

    /// A client of the bucket at this endpoint, whatever the environment says of another.
    pub fn client(&self, endpoint: &str) -> Result<AmazonS3> {
        let credential = |name: &str| {
            std::env::var(name).map_err(|_| {
                Error::invalid(Stage::Config, format!("{name} is not set"))
                    .advice("export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the credentials of the store at --endpoint")
            })
        };
        let mut client = AmazonS3Builder::new()
            .with_access_key_id(credential("AWS_ACCESS_KEY_ID")?)
            .with_secret_access_key(credential("AWS_SECRET_ACCESS_KEY")?)
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_bucket_name(&self.bucket)
            .with_region(&self.region);
        if let Ok(token) = std::env::var("AWS_SESSION_TOKEN") {
            client = client.with_token(token);
        }
        client.build().map_err(|e| refused_by_store(&e))
    }

    async fn copy(&self, endpoint: &str) -> Result<()> {
        let client = self.client(endpoint)?;
        let mut files = Vec::new();
        files_below(&self.folder, &mut files)?;
        let bar = ProgressBar::new(files.len() as u64);
        futures::stream::iter(files.into_iter().map(Ok::<_, Error>))
            .try_for_each_concurrent(COPIES, |(path, size)| {
                let (client, bar) = (&client, &bar);
                async move {
                    let key = self.key(&path)?;
                    let there = match client.head(&key).await {
                        Ok(there) => Some(there.size),
                        Err(object_store::Error::NotFound { .. }) => None,
                        Err(e) => return Err(refused_by_store(&e)),
                    };
                    if there != Some(size) {
                        let bytes = tokio::fs::read(&path).await.map_err(|e| failed(&path.display().to_string(), &e))?;
                        client.put(&key, bytes.into()).await.map_err(|e| refused_by_store(&e))?;
                    }
                    bar.inc(1);
                    Ok(())
                }
            })
            .await?;
        bar.finish_and_clear();
        Ok(())
    }

    fn key(&self, path: &Path) -> Result<Key> {
        let below = path.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        let below = below.ok_or_else(|| Error::invalid(Stage::Config, format!("{}: the tables lie elsewhere", path.display())))?;
        Key::parse(format!("{}/{below}", self.prefix)).map_err(|e| failed(below, &e))
    }

    /// The configuration file of commands that read from the store.
    pub fn settings(&self) -> PathBuf {
        self.settings.path().join("fastdata.toml")
    }

    /// Writes it.
    pub fn configure(&self, endpoint: &str) -> Result<()> {
        let folder = self.folder.display();
        let text = |text: String| toml::Value::String(text).to_string();
        let lines = [
            "default-catalog = \"bench\"".to_owned(),
            "[catalogs.bench]".to_owned(),
            "type = \"sql\"".to_owned(),
            format!("uri = {}", text(format!("sqlite:///{folder}/catalog.db"))),
            format!("warehouse = {}", text(format!("file://{folder}"))),
            format!("rewrites = [{}]", text(format!("file://{folder}=s3://{}/{}", self.bucket, self.prefix))),
            format!("\"s3.endpoint\" = {}", text(endpoint.to_owned())),
            format!("\"s3.region\" = {}", text(self.region.clone())),
            "\"s3.path-style-access\" = true".to_owned(),
        ];
        std::fs::write(self.settings(), lines.join("\n")).map_err(|e| failed("the configuration", &e))
    }

    /// An engine over the local files.
    pub fn local(&self) -> Result<Engine> {
        assemble::engine(&config::Settings::default(), Some(&self.folder), Paths::Refused)
    }

    /// An engine over the bucket, through the proxy.
    pub fn remote(&self) -> Result<Engine> {
        let environment: Vec<(String, String)> = vec![];
        let overrides = Overrides { config: Some(self.settings()), ..Overrides::default() };
        assemble::engine(&config::read(&overrides, &environment)?, None, Paths::Refused)
    }

    /// The data files that a scan of the whole table reads.
    pub async fn objects(&self, table: &str) -> Result<Vec<Object>> {
        let plan = self.local()?.plan(&ScanRequest { table: table.to_owned(), ..Default::default() }).await?;
        let object = |file: &fastdata_types::plan::DataFile| {
            let local = Url::parse(&file.path).ok().and_then(|url| url.to_file_path().ok());
            let path = local.unwrap_or_else(|| PathBuf::from(&file.path));
            Ok(Object { key: self.key(&path)?, size: file.file_size })
        };
        plan.files.iter().map(object).collect()
    }
}

/// Data and metadata, the catalog's own file excepted.
fn files_below(folder: &Path, into: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let unreadable = |e: std::io::Error| failed(&folder.display().to_string(), &e);
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, metadata) = (entry.path(), entry.metadata().map_err(unreadable)?);
        if metadata.is_dir() {
            files_below(&path, into)?;
        } else if !entry.file_name().to_string_lossy().starts_with("catalog.db") {
            into.push((path, metadata.len()));
        }
    }
    Ok(())
}

fn address(endpoint: &str) -> Result<SocketAddr> {
    let url = Url::parse(endpoint).ok().filter(|url| url.scheme() == "http");
    let place = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    let found = place.and_then(|place| place.to_socket_addrs().ok()?.next());
    found.ok_or_else(|| {
        Error::invalid(Stage::Config, format!("--endpoint {endpoint} is not of the form http://HOST:PORT, or the host is not known"))
            .advice("the proxy stands before plain http only: give the address of a store without TLS")
    })
}

/// What the store at `--endpoint` did not give or take.
pub fn refused_by_store(cause: &object_store::Error) -> Error {
    let (kind, what) = match cause {
        object_store::Error::NotFound { .. } => {
            (ErrorKind::MissingFile, "the bucket of --bucket, or an object in it, is not there".to_owned())
        }
        object_store::Error::Unauthenticated { .. } => (ErrorKind::Unauthenticated, "it does not take the credentials".to_owned()),
        object_store::Error::PermissionDenied { .. } => {
            (ErrorKind::Unauthenticated, "it does not take the credentials, or they may not do this".to_owned())
        }
        other => (ErrorKind::Unavailable, other.to_string()),
    };
    Error::new(kind, Stage::Store, format!("the object store: {what}"))
        .advice("check --endpoint, that the bucket of --bucket is there, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
}
