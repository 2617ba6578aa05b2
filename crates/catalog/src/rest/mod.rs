//! REST catalogs (Iceberg REST catalog specification).
//!
//! Contract: a table's state is what the catalog answers at this moment: metadata, vended credentials, table-level configuration.
//! Its files may be read in the directory of its metadata, below the prefixes of its vended credentials, below the
//! configured warehouse where that is a location, and where the configuration allows. The warehouse that a server names counts only where it vends
//! nothing: credentials for one table are not to be tried on another's files. Local files are read only where the configuration itself
//! names them. Lists are read page by page and namespaces level by level, both bounded.

mod answers;
mod auth;
mod connection;
mod credentials;
mod http;
mod paths;

use crate::metadata::{MAX_METADATA_BYTES, parse_metadata};
use crate::properties::{Properties, is_storage};
use crate::tables::{is_local, is_within, table_directory};
use async_trait::async_trait;
use connection::Connection;
use credentials::{OpenTables, is_credential, vended};
use fastdata_types::catalog::unknown_table;
use fastdata_types::store::{StoreFactory, StoreScope, VendedCredential};
use fastdata_types::{Catalog, Error, ErrorKind, Result, Stage, TableName, TableState};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::Refused;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

/// Asks for credentials of the table with the table.
const DELEGATION: (&str, &str) = ("x-iceberg-access-delegation", "vended-credentials");
/// Bytes of the answer that holds a table's metadata, and a little around it.
const MAX_TABLE_BYTES: u64 = MAX_METADATA_BYTES + (1 << 20);
const MAX_PAGES: usize = 10_000;
const MAX_NAMESPACE_DEPTH: usize = 32;
const MAX_NAMESPACES: usize = 100_000;
/// Namespaces whose tables are listed at the same time.
const LISTS_AT_ONCE: usize = 8;

pub struct RestCatalog {
    connection: Arc<Connection>,
    rewrites: Vec<(String, String)>,
    allowed: Vec<String>,
    factory: Arc<dyn StoreFactory>,
    open_tables: OpenTables,
}

impl RestCatalog {
    pub fn new(
        mut properties: Properties,
        rewrites: Vec<(String, String)>,
        allowed: Vec<String>,
        factory: Arc<dyn StoreFactory>,
    ) -> Result<RestCatalog> {
        let connection = Arc::new(Connection::new(&mut properties)?);
        Ok(RestCatalog { connection, rewrites, allowed, factory, open_tables: OpenTables::default() })
    }

    async fn child_namespaces(&self, parent: &[String]) -> Result<Vec<Vec<String>>> {
        let session = self.connection.session().await?;
        let mut found = Vec::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next()? {
            let path = session.paths.namespaces(parent, &page, self.connection.page_size);
            let answer: answers::Namespaces = self.connection.get(&path, "the list of namespaces").await?;
            found.extend(answer.namespaces);
            pages.answered(answer.next_page_token);
        }
        // Servers without nesting may repeat the whole list below every parent.
        found.retain(|namespace| namespace.len() > parent.len() && namespace.starts_with(parent));
        Ok(found)
    }

    async fn tables_in(&self, namespace: &[String]) -> Result<Vec<TableName>> {
        let session = self.connection.session().await?;
        let mut found = Vec::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next()? {
            let path = session.paths.tables(namespace, &page, self.connection.page_size);
            let what = format!("the tables of namespace '{}'", namespace.join("."));
            let answer: answers::Tables = self.connection.get(&path, &what).await?;
            found.extend(answer.identifiers.into_iter().map(|id| TableName { namespace: id.namespace, name: id.name }));
            pages.answered(answer.next_page_token);
        }
        Ok(found)
    }

    async fn namespaces_below(&self, above: &[String]) -> Result<BTreeSet<Vec<String>>> {
        let mut seen = BTreeSet::new();
        let mut level = vec![above.to_vec()];
        if !above.is_empty() {
            seen.insert(above.to_vec());
        }
        for _ in 0..MAX_NAMESPACE_DEPTH {
            let children: Vec<Vec<Vec<String>>> = stream::iter(level)
                .map(|parent| async move {
                    match self.child_namespaces(&parent).await {
                        // Servers whose namespaces do not nest refuse the question in several ways.
                        Err(e)
                            if parent != above
                                && (is_passed_over(&e) || matches!(e.kind(), ErrorKind::InvalidRequest | ErrorKind::Unsupported)) =>
                        {
                            tracing::warn!(namespace = parent.join("."), error = %e, "no namespaces below it are listed");
                            Ok(vec![])
                        }
                        listed => listed,
                    }
                })
                .buffer_unordered(LISTS_AT_ONCE)
                .try_collect()
                .await?;
            level = children.into_iter().flatten().filter(|namespace| seen.insert(namespace.clone())).collect();
            if seen.len() > MAX_NAMESPACES {
                return Err(Error::limit(
                    Stage::Catalog,
                    format!("catalog '{}' lists more than {MAX_NAMESPACES} namespaces", self.connection.catalog),
                )
                .advice("name a namespace to list"));
            }
            if level.is_empty() {
                break;
            }
        }
        Ok(seen)
    }

    fn state(&self, name: &TableName, answer: answers::Table, session: &connection::Session) -> Result<TableState> {
        let metadata = parse_metadata(answer.metadata.get().as_bytes()).map_err(|e| e.context(format!("table '{name}'")))?;
        let metadata_location = answer.metadata_location.unwrap_or_default();
        let config = answers::texts(answer.config.unwrap_or_default());
        let first = vended(&config, answer.storage_credentials.unwrap_or_default());
        let has_own_keys = session.storage.contains_key("s3.access-key-id");
        refuse_remote_signing(name, &config, has_own_keys || !first.is_empty())?;
        let allowed = self.allowed_locations(&metadata_location, &first, session);
        let mut properties = session.storage.clone();
        properties.extend(config.iter().filter(|(key, _)| is_storage(key) && !is_credential(key)).map(|(k, v)| (k.clone(), v.clone())));
        let renewal_path = config.get("client.refresh-credentials-endpoint").and_then(|given| self.connection.own_path(given));
        let source = (!first.is_empty()).then(|| self.open_tables.source(&self.connection, name, renewal_path, first));
        let store = self.factory.open(StoreScope {
            allowed,
            rewrites: self.rewrites.clone(),
            properties,
            credentials: source.map(|source| source as _),
            ..StoreScope::default()
        })?;
        Ok(TableState {
            display_name: format!("{}.{name}", self.connection.catalog),
            metadata_location,
            metadata: Arc::new(metadata),
            store,
            notes: vec![],
            catalog_retries: 0,
        })
    }

    fn allowed_locations(&self, metadata_location: &str, vended: &[VendedCredential], session: &connection::Session) -> Vec<String> {
        let warehouse = session.warehouse.as_deref().filter(|_| vended.is_empty());
        let from_catalog = vended.iter().map(|c| c.prefix.as_str()).chain(table_directory(metadata_location)).chain(warehouse);
        // The catalog's word opens no local file.
        let mut allowed: Vec<String> =
            from_catalog.filter(|location| !is_local(location) && is_location(location)).map(str::to_owned).collect();
        allowed.extend(self.connection.warehouse().filter(|w| is_location(w) || w.starts_with('/')).map(str::to_owned));
        allowed.extend(self.allowed.iter().cloned());
        allowed.sort();
        allowed.dedup();
        allowed
    }

    /// Servers make more of some characters: `t@branch` is `t` at a branch, the level `a.b` the levels `a` and `b`. A table must not have a second
    /// name, which a policy would not know: the name has to be one that the server lists.
    async fn surely_named(&self, name: &TableName) -> Result<()> {
        match self.tables_in(&name.namespace).await {
            Ok(known) if known.contains(name) => Ok(()),
            Ok(known) if !known.is_empty() => Err(unknown_table(&self.connection.catalog, name, &known)),
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Err(unknown_table(&self.connection.catalog, name, &self.list(None).await.unwrap_or_default())),
        }
    }

    async fn unknown(&self, name: &TableName, refused: Refused, path: &str) -> Error {
        if !refused.is_catalogs_own {
            return self.connection.refusal(refused, path, &format!("table '{name}'"));
        }
        let in_namespace = self.tables_in(&name.namespace).await;
        match in_namespace {
            Ok(known) if !known.is_empty() => unknown_table(&self.connection.catalog, name, &known),
            _ => {
                let all = self.list(None).await.unwrap_or_default();
                unknown_table(&self.connection.catalog, name, &all)
            }
        }
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn list(&self, namespace: Option<&[String]>) -> Result<Vec<TableName>> {
        let asked_for = namespace.unwrap_or_default();
        let namespaces = self.namespaces_below(asked_for).await?;
        let lists: Vec<Vec<TableName>> = stream::iter(namespaces)
            .map(|found| async move {
                match self.tables_in(&found).await {
                    Err(e) if found != asked_for && is_passed_over(&e) => {
                        tracing::warn!(namespace = found.join("."), error = %e, "a namespace is left out of the list");
                        Ok(vec![])
                    }
                    listed => listed,
                }
            })
            .buffer_unordered(LISTS_AT_ONCE)
            .try_collect()
            .await?;
        let tables: BTreeSet<TableName> = lists.into_iter().flatten().filter(|t| is_within(&t.namespace, namespace)).collect();
        Ok(tables.into_iter().collect())
    }

    async fn namespaces(&self) -> Result<Vec<Vec<String>>> {
        Ok(self.namespaces_below(&[]).await?.into_iter().collect())
    }

    async fn load(&self, name: &TableName) -> Result<TableState> {
        let session = self.connection.session().await?;
        if name.namespace.is_empty() || !session.paths.can_name(name) {
            return Err(unknown_table(&self.connection.catalog, name, &self.list(None).await.unwrap_or_default()));
        }
        let path = session.paths.table(name);
        if !is_plain(name) {
            self.surely_named(name).await?;
        }
        match self.connection.try_get(&path, &[DELEGATION], MAX_TABLE_BYTES).await? {
            Ok(body) => {
                let answer = self.connection.parse(&path, &body)?;
                drop(body);
                self.state(name, answer, &session)
            }
            Err(refused) if refused.status == reqwest::StatusCode::NOT_FOUND => Err(self.unknown(name, refused, &path).await),
            Err(refused) => Err(self.connection.refusal(refused, &path, &format!("table '{name}'"))),
        }
    }

    async fn check(&self) -> Result<String> {
        let namespaces = self.child_namespaces(&[]).await?;
        let who = if self.connection.is_anonymous() { "without credentials" } else { "credentials accepted" };
        Ok(format!("REST catalog at {}: {} namespaces at the top level, {who}", self.connection.shown_base(), namespaces.len()))
    }
}

impl fmt::Debug for RestCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestCatalog").field("catalog", &self.connection.catalog).finish_non_exhaustive()
    }
}

/// The tokens of a list's pages: starts with an empty one, ends where the server gives no next, refuses to turn in circles.
#[derive(Default)]
struct Pages {
    next: Option<String>,
    seen: HashSet<String>,
    done: bool,
}

impl Pages {
    fn next(&mut self) -> Result<Option<String>> {
        if self.done {
            return Ok(None);
        }
        let token = self.next.take().unwrap_or_default();
        if self.seen.len() >= MAX_PAGES || !self.seen.insert(token.clone()) {
            return Err(Error::limit(Stage::Catalog, "the catalog's list of pages does not end").advice("report it to the catalog's owner"));
        }
        Ok(Some(token))
    }

    fn answered(&mut self, next: Option<String>) {
        self.next = next.filter(|token| !token.is_empty());
        self.done = self.next.is_none();
    }
}

/// Whether a name has no character that a server might give a meaning of its own.
fn is_plain(name: &TableName) -> bool {
    name.namespace
        .iter()
        .chain([&name.name])
        .flat_map(|part| part.bytes())
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// A namespace that went away since it was listed, or that this caller may not look into, does not hide the others.
fn is_passed_over(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

/// A URL with a scheme and something behind it: fit for a list of allowed locations.
fn is_location(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && (!rest.trim_matches('/').is_empty()))
}

fn refuse_remote_signing(name: &TableName, config: &BTreeMap<String, String>, has_credentials: bool) -> Result<()> {
    let wanted = config.get("s3.remote-signing-enabled").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if wanted && !has_credentials {
        return Err(Error::unsupported(
            Stage::Catalog,
            format!("table '{name}': the catalog wants to sign each request itself (s3.remote-signing-enabled)"),
        )
        .advice("let the catalog vend credentials for this table, or configure s3.access-key-id and s3.secret-access-key"));
    }
    Ok(())
}
