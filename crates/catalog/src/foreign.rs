//! AWS Glue and the Hive metastore, through the clients of the `iceberg` project (cargo features `glue` and `hms`).
//!
//! Contract: the client is asked for names and for the location of a table's metadata, nothing else; the metadata itself is read
//! by our own store and parser. The files of a table may lie below the directory of its metadata, below the catalog's `warehouse`, and
//! where the configuration allows; local files only in the last two.
//!
//! How: these clients insist on reading the metadata of a table they load. They are given a storage that has the same
//! few bytes of it at every location, so that they read nothing and still say where it is.

use crate::open::Kind;
use crate::properties::Properties;
use crate::tables::{is_local, is_within, load_metadata, table_directory};
use async_trait::async_trait;
use bytes::Bytes;
use fastdata_types::catalog::{SUGGESTED_WITHIN, unknown_table};
use fastdata_types::store::{StoreFactory, StoreScope};
use fastdata_types::{Catalog, Error, ErrorKind, Result, Stage, TableName, TableState};
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use iceberg::{CatalogBuilder, NamespaceIdent, TableIdent};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Our property names (those of pyiceberg), and the client's.
const GLUE_NAMES: [(&str, &str); 9] = [
    ("glue.endpoint", "uri"),
    ("glue.id", "catalog_id"),
    ("client.region", "region_name"),
    ("glue.region", "region_name"),
    ("client.profile-name", "profile_name"),
    ("glue.profile-name", "profile_name"),
    ("glue.access-key-id", "aws_access_key_id"),
    ("glue.secret-access-key", "aws_secret_access_key"),
    ("glue.session-token", "aws_session_token"),
];

pub struct ForeignCatalog {
    name: String,
    kind: Kind,
    client_properties: HashMap<String, String>,
    client: OnceCell<Arc<dyn iceberg::Catalog>>,
    scope: StoreScope,
    factory: Arc<dyn StoreFactory>,
}

impl ForeignCatalog {
    pub fn new(
        kind: Kind,
        mut properties: Properties,
        rewrites: Vec<(String, String)>,
        mut allowed: Vec<String>,
        factory: Arc<dyn StoreFactory>,
    ) -> Result<ForeignCatalog> {
        properties.refuse(&["token", "credential", "oauth2-server-uri", "prefix", "catalog-name"], "Glue or Hive");
        let warehouse = properties.required("warehouse", "s3://bucket/warehouse");
        let mut client_properties = HashMap::from([("warehouse".to_owned(), warehouse.clone())]);
        match kind {
            Kind::Hms => {
                let uri = properties.required("uri", "thrift://metastore:9083");
                client_properties.insert("uri".to_owned(), uri.trim_start_matches("thrift://").to_owned());
            }
            _ => {
                for (ours, theirs) in GLUE_NAMES {
                    if let Some(value) = properties.get(ours) {
                        client_properties.insert(theirs.to_owned(), value.to_owned());
                    }
                }
            }
        }
        properties.finish()?;
        allowed.extend(crate::local::spellings_of_location(&warehouse).unwrap_or_else(|_| vec![warehouse]));
        Ok(ForeignCatalog {
            name: properties.catalog().to_owned(),
            kind,
            client_properties,
            client: OnceCell::new(),
            scope: StoreScope { allowed, rewrites, properties: properties.storage(), ..StoreScope::default() },
            factory,
        })
    }

    async fn client(&self) -> Result<&Arc<dyn iceberg::Catalog>> {
        let connect = || async {
            let (name, properties) = (self.name.clone(), self.client_properties.clone());
            let storage: Arc<dyn StorageFactory> = Arc::new(SameEverywhere);
            let client: Arc<dyn iceberg::Catalog> = match self.kind {
                #[cfg(feature = "glue")]
                Kind::Glue => {
                    let builder = iceberg_catalog_glue::GlueCatalogBuilder::default().with_storage_factory(storage);
                    Arc::new(builder.load(name, properties).await.map_err(|e| self.failure(e))?)
                }
                #[cfg(feature = "hms")]
                Kind::Hms => {
                    let builder = iceberg_catalog_hms::HmsCatalogBuilder::default().with_storage_factory(storage);
                    Arc::new(builder.load(name, properties).await.map_err(|e| self.failure(e))?)
                }
                _ => {
                    drop((name, properties, storage));
                    return Err(Error::internal(Stage::Catalog, "this kind of catalog is not built"));
                }
            };
            Ok(client)
        };
        self.client.get_or_try_init(connect).await
    }

    async fn metadata_location(&self, name: &TableName) -> Result<String> {
        let namespace = NamespaceIdent::from_vec(name.namespace.clone()).map_err(|e| self.failure(e))?;
        match self.client().await?.load_table(&TableIdent::new(namespace, name.name.clone())).await {
            Ok(table) => table.metadata_location().map(str::to_owned).ok_or_else(|| {
                Error::corrupt(Stage::Catalog, format!("catalog '{}' has no metadata location for table '{name}'", self.name))
            }),
            Err(e) => {
                let known = self.list(None).await.unwrap_or_default();
                // These clients do not tell a missing table from other faults; the list does.
                if known.is_empty() || known.contains(name) {
                    return Err(self.failure(e).context(format!("table '{name}'")));
                }
                Err(unknown_table(&self.name, name, &known))
            }
        }
    }

    fn failure(&self, e: iceberg::Error) -> Error {
        let kind = match e.kind() {
            iceberg::ErrorKind::NamespaceNotFound | iceberg::ErrorKind::TableNotFound => ErrorKind::NotFound,
            iceberg::ErrorKind::FeatureUnsupported => ErrorKind::Unsupported,
            iceberg::ErrorKind::DataInvalid => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, Stage::Catalog, format!("catalog '{}': {}", self.name, e.message()))
            .advice("check the catalog's properties, the credentials of this machine, and that the service can be reached")
    }
}

#[async_trait]
impl Catalog for ForeignCatalog {
    async fn list(&self, namespace: Option<&[String]>) -> Result<Vec<TableName>> {
        let client = self.client().await?;
        let mut tables = Vec::new();
        for found in client.list_namespaces(None).await.map_err(|e| self.failure(e))? {
            if !is_within(&found.clone().inner(), namespace) {
                continue;
            }
            let listed = client.list_tables(&found).await.map_err(|e| self.failure(e))?;
            tables.extend(listed.into_iter().map(|table| TableName::new(table.namespace().clone().inner(), table.name())));
        }
        tables.sort();
        Ok(tables)
    }

    async fn namespaces(&self) -> Result<Vec<Vec<String>>> {
        let listed = self.client().await?.list_namespaces(None).await.map_err(|e| self.failure(e))?;
        Ok(listed.into_iter().map(|namespace| namespace.inner()).collect())
    }

    async fn some_tables(&self) -> Vec<TableName> {
        tokio::time::timeout(SUGGESTED_WITHIN, self.list(None)).await.unwrap_or(Ok(vec![])).unwrap_or_default()
    }

    async fn load(&self, name: &TableName) -> Result<TableState> {
        let metadata_location = self.metadata_location(name).await?;
        let mut scope = self.scope.clone();
        scope.allowed.extend(table_directory(&metadata_location).filter(|directory| !is_local(directory)).map(str::to_owned));
        let store = self.factory.open(scope)?;
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
        let namespaces = self.client().await?.list_namespaces(None).await.map_err(|e| self.failure(e))?;
        Ok(format!("{:?} catalog '{}': {} namespaces", self.kind, self.name, namespaces.len()))
    }
}

impl fmt::Debug for ForeignCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignCatalog").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The storage that has the metadata of one empty table wherever it is asked.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct SameEverywhere;

const EMPTY_TABLE: &str = r#"{"format-version":2,"table-uuid":"00000000-0000-0000-0000-000000000000","location":"none:/","last-sequence-number":0,
"last-updated-ms":0,"last-column-id":1,"current-schema-id":0,"schemas":[{"type":"struct","schema-id":0,"fields":[
{"id":1,"name":"none","required":false,"type":"int"}]}],"default-spec-id":0,"partition-specs":[{"spec-id":0,"fields":[]}],
"last-partition-id":999,"default-sort-order-id":0,"sort-orders":[{"order-id":0,"fields":[]}]}"#;

#[typetag::serde]
impl StorageFactory for SameEverywhere {
    fn build(&self, _config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        Ok(Arc::new(SameEverywhere))
    }
}

fn read_only<T>() -> iceberg::Result<T> {
    Err(iceberg::Error::new(iceberg::ErrorKind::FeatureUnsupported, "catalogs are read, never written"))
}

#[async_trait]
#[typetag::serde]
impl Storage for SameEverywhere {
    async fn exists(&self, _path: &str) -> iceberg::Result<bool> {
        Ok(true)
    }
    async fn metadata(&self, _path: &str) -> iceberg::Result<FileMetadata> {
        Ok(FileMetadata { size: EMPTY_TABLE.len() as u64 })
    }
    async fn read(&self, _path: &str) -> iceberg::Result<Bytes> {
        Ok(Bytes::from_static(EMPTY_TABLE.as_bytes()))
    }
    async fn reader(&self, _path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        read_only()
    }
    async fn write(&self, _path: &str, _bytes: Bytes) -> iceberg::Result<()> {
        read_only()
    }
    async fn writer(&self, _path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        read_only()
    }
    async fn delete(&self, _path: &str) -> iceberg::Result<()> {
        read_only()
    }
    async fn delete_prefix(&self, _path: &str) -> iceberg::Result<()> {
        read_only()
    }
    async fn delete_stream(&self, _paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        read_only()
    }
    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(SameEverywhere), path.to_owned()))
    }
    fn new_output(&self, _path: &str) -> iceberg::Result<OutputFile> {
        read_only()
    }
}
