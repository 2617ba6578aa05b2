//! A MinIO server: a real S3, with credentials, sessions and TLS.
//!
//! Contract: buckets are made with the first object that is put into them; keys go over the wire percent-encoded byte by byte. [`Minio::kill`] and
//! [`Minio::restart`] keep port and data, for tests of outages.

use super::http::{client, wait};
use super::process::{Failed, Life, Process, Program, loopback, on_free_port, state_folder};
use super::required;
use crate::authority::Authority;
use crate::loud;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

pub const ACCESS_KEY_ID: &str = "fastdata-root";
pub const SECRET_ACCESS_KEY: &str = "fastdata-root-secret";
pub const REGION: &str = "us-east-1";

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEY: &AsciiSet = &UNRESERVED.remove(b'/');
/// Objects that are on their way at once.
const PARALLEL_PUTS: usize = 8;

/// Credentials that MinIO takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl Credentials {
    pub fn root() -> Credentials {
        Credentials { access_key_id: ACCESS_KEY_ID.into(), secret_access_key: SECRET_ACCESS_KEY.into(), session_token: None }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        [&self.access_key_id, &self.secret_access_key].into_iter().chain(&self.session_token).map(String::as_str)
    }

    /// Iceberg's properties for them.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::from([
            ("s3.access-key-id".to_owned(), self.access_key_id.clone()),
            ("s3.secret-access-key".to_owned(), self.secret_access_key.clone()),
        ]);
        properties.extend(self.session_token.iter().map(|token| ("s3.session-token".to_owned(), token.clone())));
        properties
    }
}

/// Somewhere that speaks S3 with the root credentials of these tests.
#[derive(Debug, Clone)]
pub struct S3 {
    /// Without a slash at the end.
    pub endpoint: String,
    /// The certificate of the authority behind it, in PEM form.
    pub authority: Option<String>,
}

pub struct Minio {
    process: Mutex<Process>,
    program: String,
    port: u16,
    s3: S3,
    // Dropped after the server has ended.
    directory: tempfile::TempDir,
}

impl Minio {
    pub fn start() -> Option<Minio> {
        Minio::start_with(None)
    }

    /// One that speaks TLS as `127.0.0.1` and `localhost`: [`Minio::root_certificate`].
    pub fn start_with_tls() -> Option<Minio> {
        Minio::start_with(Some(&Authority::new("object store")))
    }

    /// One for all tests of the process that do not disturb it; keep to buckets of your own.
    pub fn shared() -> Option<&'static Minio> {
        static SHARED: OnceLock<Option<Minio>> = OnceLock::new();
        SHARED.get_or_init(Minio::start).as_ref()
    }

    fn start_with(authority: Option<&Authority>) -> Option<Minio> {
        let program = required("FASTDATA_MINIO", "MinIO")?;
        loud::handed_out(SECRET_ACCESS_KEY);
        let directory = state_folder("minio");
        if let Some(authority) = authority {
            let (certificates, server) = (directory.path().join("certs"), authority.server());
            std::fs::create_dir(&certificates).expect("a folder for certificates");
            std::fs::write(certificates.join("public.crt"), server.certificate).expect("a certificate is written");
            std::fs::write(certificates.join("private.key"), server.key).expect("a key is written");
            std::fs::write(directory.path().join("root.crt"), &authority.certificate).expect("a certificate is written");
        }
        let scheme = if authority.is_some() { "https" } else { "http" };
        let s3 = |port| S3 { endpoint: format!("{scheme}://127.0.0.1:{port}"), authority: authority.map(|a| a.certificate.clone()) };
        let (port, process) = on_free_port(|port| launch(&program, directory.path(), port, &s3(port), Life::Bound));
        Some(Minio { process: Mutex::new(process), program, port, s3: s3(port), directory })
    }

    pub fn endpoint(&self) -> &str {
        &self.s3.endpoint
    }

    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// The certificate of the authority behind the server's own, where it speaks TLS.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory.path().join("root.crt")
    }

    /// Iceberg's properties for this server, with the root credentials.
    pub fn properties(&self) -> BTreeMap<String, String> {
        self.s3.properties()
    }

    pub fn s3(&self) -> &S3 {
        &self.s3
    }

    /// Ends the server at once, as a crash would: connections break, new ones are refused.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it again, on the same port and data.
    pub fn restart(&self) {
        let launched = launch(&self.program, self.directory.path(), self.port, &self.s3, Life::Bound);
        *self.process() = launched.unwrap_or_else(|failed| failed.panic());
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked of a store is asked of the server itself.
impl std::ops::Deref for Minio {
    type Target = S3;

    fn deref(&self) -> &S3 {
        &self.s3
    }
}

/// Starts a server with its data in `directory`, and returns when it takes requests.
pub(super) fn launch(program: &str, directory: &Path, port: u16, s3: &S3, life: Life) -> Result<Process, Failed> {
    let mut command = Command::new(program);
    command
        .args(["server", "--quiet", "--address", &loopback(port).to_string(), "--certs-dir"])
        .arg(directory.join("certs"))
        .arg(directory.join("data"))
        .env("MINIO_ROOT_USER", ACCESS_KEY_ID)
        .env("MINIO_ROOT_PASSWORD", SECRET_ACCESS_KEY)
        .env("MINIO_REGION", REGION)
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off")
        .env("HOME", directory);
    let program = Program { name: "MinIO", command, log: directory.join("minio.log"), stop: "KILL", user: None };
    Process::start(program, life).up(|| s3.answers())
}

impl S3 {
    /// Iceberg's properties for this endpoint, with the root credentials.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut properties = Credentials::root().properties();
        properties.extend(
            [("s3.endpoint", self.endpoint.as_str()), ("s3.region", REGION), ("s3.path-style-access", "true")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        properties
    }

    /// Whether it takes signed requests.
    pub fn answers(&self) -> bool {
        wait(async { self.send(&self.http(), Method::GET, "/", Bytes::new(), &Credentials::root()).await.is_ok() })
    }

    /// Makes a bucket, unless it is there.
    pub fn create_bucket(&self, bucket: &str) {
        wait(async { self.make_bucket(&self.http(), bucket).await });
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        wait(async {
            let http = self.http();
            self.make_bucket(&http, bucket).await;
            self.put_object(&http, bucket, key, bytes).await;
        });
    }

    /// Puts every file below a directory, its path below `prefix` (empty, or ending in `/`) as the key.
    pub fn put_directory(&self, bucket: &str, prefix: &str, directory: &Path) {
        let mut files = Vec::new();
        walk(directory, prefix, &mut files).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        wait(async {
            let http = self.http();
            self.make_bucket(&http, bucket).await;
            let puts = futures::stream::iter(files).map(|(key, path)| {
                let http = &http;
                async move {
                    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    self.put_object(http, bucket, &key, bytes.into()).await;
                }
            });
            puts.buffer_unordered(PARALLEL_PUTS).collect::<()>().await;
        });
    }

    pub fn remove(&self, bucket: &str, key: &str) {
        wait(async {
            let path = object_path(bucket, key);
            let removed = self.send(&self.http(), Method::DELETE, &path, Bytes::new(), &Credentials::root()).await;
            removed.unwrap_or_else(|(status, body)| panic!("DELETE {path}: {status} {body}"));
        });
    }

    /// The object, or the status and body of the refusal.
    pub fn get_as(&self, credentials: &Credentials, bucket: &str, key: &str) -> Result<Bytes, (StatusCode, String)> {
        wait(async { self.send(&self.http(), Method::GET, &object_path(bucket, key), Bytes::new(), credentials).await })
    }

    /// A session of the root user, for at least 15 minutes, which a policy in JSON can narrow.
    pub fn assume_role(&self, lifetime: Duration, policy: Option<&str>) -> Credentials {
        let mut form = format!("Action=AssumeRole&Version=2011-06-15&DurationSeconds={}", lifetime.as_secs());
        if let Some(policy) = policy {
            form.push_str(&format!("&Policy={}", utf8_percent_encode(policy, UNRESERVED)));
        }
        let answer = wait(async { self.send(&self.http(), Method::POST, "/", form.into(), &Credentials::root()).await });
        let xml = answer.unwrap_or_else(|(status, body)| panic!("AssumeRole: {status} {body}"));
        let xml = String::from_utf8_lossy(&xml);
        let element = |name: &str| {
            let text = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
            text.unwrap_or_else(|| panic!("AssumeRole answers without {name}")).0.to_owned()
        };
        let credentials = Credentials {
            access_key_id: element("AccessKeyId"),
            secret_access_key: element("SecretAccessKey"),
            session_token: Some(element("SessionToken")),
        };
        credentials.all().for_each(loud::handed_out);
        credentials
    }

    fn http(&self) -> HttpClient {
        HttpClient::new(client(self.authority.as_deref()))
    }

    async fn make_bucket(&self, http: &HttpClient, bucket: &str) {
        match self.send(http, Method::PUT, &format!("/{bucket}"), Bytes::new(), &Credentials::root()).await {
            Ok(_) | Err((StatusCode::CONFLICT, _)) => {}
            Err((status, body)) => panic!("bucket {bucket} cannot be made: {status} {body}"),
        }
    }

    async fn put_object(&self, http: &HttpClient, bucket: &str, key: &str, bytes: Bytes) {
        let path = object_path(bucket, key);
        let put = self.send(http, Method::PUT, &path, bytes, &Credentials::root()).await;
        put.unwrap_or_else(|(status, body)| panic!("PUT {path}: {status} {body}"));
    }

    /// One signed request: the body of a success, or status and body of anything else. No connection is status 503.
    async fn send(
        &self,
        http: &HttpClient,
        method: Method,
        path: &str,
        body: Bytes,
        credentials: &Credentials,
    ) -> Result<Bytes, (StatusCode, String)> {
        let is_form = method == Method::POST;
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.endpoint).parse().expect("a URL");
        if is_form {
            request.headers_mut().insert("content-type", reqwest::header::HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        let credential = AwsCredential {
            key_id: credentials.access_key_id.clone(),
            secret_key: credentials.secret_access_key.clone(),
            token: credentials.session_token.clone(),
        };
        let service = if is_form { "sts" } else { "s3" };
        AwsAuthorizer::new(&credential, service, REGION).authorize(&mut request, None);
        let unreached = |e: object_store::client::HttpError| (StatusCode::SERVICE_UNAVAILABLE, e.to_string());
        let (parts, body) = http.execute(request).await.map_err(unreached)?.into_parts();
        let chunks: Vec<Bytes> = body.bytes_stream().try_collect().await.map_err(unreached)?;
        let bytes = Bytes::from(chunks.concat());
        match parts.status.is_success() {
            true => Ok(bytes),
            false => Err((parts.status, String::from_utf8_lossy(&bytes).into_owned())),
        }
    }
}

fn object_path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", utf8_percent_encode(key, KEY))
}

fn walk(directory: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| std::io::Error::other("a name that is not UTF-8"))?;
        let key = format!("{prefix}{name}");
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), &format!("{key}/"), files)?,
            false => files.push((key, entry.path())),
        }
    }
    Ok(())
}
