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
use crate::retries::Retries;
use crate::tables::{is_local, is_within, table_directory};
use async_trait::async_trait;
use connection::Connection;
use credentials::{OpenTables, is_vended, vended};
use fastdata_types::catalog::{SUGGESTED_WITHIN, unknown_table};
use fastdata_types::error::nearest;
use fastdata_types::store::{StoreFactory, StoreScope, VendedCredential};
use fastdata_types::{Catalog, Error, ErrorKind, Result, Stage, TableName, TableState};
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
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
/// Namespaces that are looked into for names to suggest: whichever come first, and the nearest to the one that was meant.
const SOME_NAMESPACES: usize = 32;
const NEAR_NAMESPACES: usize = 3;

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
        let mut found = Vec::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next()? {
            let (some, next) = self.page_of_namespaces(parent, &page).await?;
            found.extend(some);
            pages.answered(next);
        }
        Ok(found)
    }

    /// One page of a list, and the token of the next.
    async fn page_of_namespaces(&self, parent: &[String], page: &str) -> Result<(Vec<Vec<String>>, Option<String>)> {
        let uncounted = Retries::default();
        let session = self.connection.session(&uncounted).await?;
        let path = session.paths.namespaces(parent, page, self.connection.page_size);
        let answer: answers::Namespaces = self.connection.get(&path, "the list of namespaces", &uncounted).await?;
        let mut found = answer.namespaces;
        // Servers without nesting may repeat the whole list below every parent.
        found.retain(|namespace| namespace.len() > parent.len() && namespace.starts_with(parent));
        Ok((found, answer.next_page_token))
    }

    async fn tables_in(&self, namespace: &[String], retries: &Retries) -> Result<Vec<TableName>> {
        let mut found = Vec::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next()? {
            let (some, next) = self.page_of_tables(namespace, &page, retries).await?;
            found.extend(some);
            pages.answered(next);
        }
        Ok(found)
    }

    async fn page_of_tables(&self, namespace: &[String], page: &str, retries: &Retries) -> Result<(Vec<TableName>, Option<String>)> {
        let session = self.connection.session(retries).await?;
        let path = session.paths.tables(namespace, page, self.connection.page_size);
        let what = format!("the tables of namespace '{}'", namespace.join("."));
        let answer: answers::Tables = self.connection.get(&path, &what, retries).await?;
        let tables = answer.identifiers.into_iter().map(|id| TableName { namespace: id.namespace, name: id.name });
        Ok((tables.collect(), answer.next_page_token))
    }

    /// The tables of the first page of each of these namespaces; none where that fails.
    async fn first_tables(&self, namespaces: &[Vec<String>]) -> Vec<TableName> {
        let uncounted = Retries::default();
        let pages = join_all(namespaces.iter().map(|namespace| self.page_of_tables(namespace, "", &uncounted))).await;
        pages.into_iter().flatten().flat_map(|(tables, _)| tables).collect()
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

    fn state(&self, name: &TableName, answer: answers::Table, session: &connection::Session, retries: &Retries) -> Result<TableState> {
        let metadata = parse_metadata(answer.metadata.get().as_bytes()).map_err(|e| e.context(format!("table '{name}'")))?;
        let metadata_location = answer.metadata_location.unwrap_or_default();
        let config = answers::texts(answer.config.unwrap_or_default());
        let first = vended(&config, answer.storage_credentials.unwrap_or_default());
        let has_own_keys = session.storage.contains_key("s3.access-key-id");
        refuse_remote_signing(name, &config, has_own_keys || !first.is_empty())?;
        let allowed = self.allowed_locations(&metadata_location, &first, session);
        let mut properties = session.storage.clone();
        properties.extend(config.iter().filter(|(key, _)| is_storage(key) && !is_vended(key)).map(|(k, v)| (k.clone(), v.clone())));
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
            catalog_retries: retries.count(),
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
    async fn surely_named(&self, name: &TableName, retries: &Retries) -> Result<()> {
        match self.tables_in(&name.namespace, retries).await {
            Ok(known) if known.contains(name) => Ok(()),
            Ok(known) if !known.is_empty() => Err(unknown_table(&self.connection.catalog, name, &known)),
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Err(self.unknown(name).await),
        }
    }

    async fn unknown(&self, name: &TableName) -> Error {
        let mut known = Vec::new();
        // What has come in time is enough.
        let _ = tokio::time::timeout(SUGGESTED_WITHIN, self.add_near(name, &mut known)).await;
        unknown_table(&self.connection.catalog, name, &known)
    }

    /// Adds the tables of the namespace that was named; where it has none, those of the namespaces that are called almost so, at the first two levels.
    async fn add_near(&self, name: &TableName, known: &mut Vec<TableName>) -> Result<()> {
        let uncounted = Retries::default();
        let mut pages = Pages::default();
        while let Some(page) = pages.next()?.filter(|_| !name.namespace.is_empty()) {
            let Ok((some, next)) = self.page_of_tables(&name.namespace, &page, &uncounted).await else { break };
            known.extend(some);
            pages.answered(next);
        }
        if known.is_empty() {
            let (mut namespaces, _) = self.page_of_namespaces(&[], "").await?;
            let above = nearest_namespaces(name.namespace.get(..1).unwrap_or_default(), &namespaces);
            let below = join_all(above.iter().map(|above| self.page_of_namespaces(above, ""))).await;
            namespaces.extend(below.into_iter().flatten().flat_map(|(namespaces, _)| namespaces));
            known.extend(self.first_tables(&nearest_namespaces(&name.namespace, &namespaces)).await);
        }
        Ok(())
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn list(&self, namespace: Option<&[String]>) -> Result<Vec<TableName>> {
        let asked_for = namespace.unwrap_or_default();
        let namespaces = self.namespaces_below(asked_for).await?;
        let lists: Vec<Vec<TableName>> = stream::iter(namespaces)
            .map(|found| async move {
                match self.tables_in(&found, &Retries::default()).await {
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

    async fn some_tables(&self) -> Vec<TableName> {
        let mut known = Vec::new();
        let add = async {
            let (namespaces, _) = self.page_of_namespaces(&[], "").await.unwrap_or_default();
            for some in namespaces.get(..SOME_NAMESPACES).unwrap_or(&namespaces).chunks(LISTS_AT_ONCE) {
                known.extend(self.first_tables(some).await);
            }
        };
        let _ = tokio::time::timeout(SUGGESTED_WITHIN, add).await;
        known
    }

    async fn load(&self, name: &TableName) -> Result<TableState> {
        let retries = Retries::default();
        let session = self.connection.session(&retries).await?;
        if name.namespace.is_empty() || !session.paths.can_name(name) {
            return Err(self.unknown(name).await);
        }
        let path = session.paths.table(name);
        if !is_plain(name) {
            self.surely_named(name, &retries).await?;
        }
        match self.connection.try_get(&path, &[DELEGATION], MAX_TABLE_BYTES, &retries).await? {
            Ok(body) => {
                let answer = self.connection.parse(&path, &body)?;
                drop(body);
                self.state(name, answer, &session, &retries)
            }
            Err(refused) if refused.status == reqwest::StatusCode::NOT_FOUND && refused.is_catalogs_own => Err(self.unknown(name).await),
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

/// Those that are called almost so; whichever come first where none is.
fn nearest_namespaces(wanted: &[String], known: &[Vec<String>]) -> Vec<Vec<String>> {
    let names: Vec<String> = known.iter().map(|namespace| namespace.join(".")).collect();
    let near = nearest(&wanted.join("."), names.iter().map(String::as_str));
    let is_near = |name: &String| near.is_empty() || near.contains(&name.as_str());
    let chosen = known.iter().zip(&names).filter(|(_, name)| is_near(name)).map(|(namespace, _)| namespace.clone());
    chosen.take(NEAR_NAMESPACES).collect()
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
