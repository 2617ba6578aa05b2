//! A catalog as one caller sees it, and what a caller may be told of a table.
//!
//! Contract: what a caller may not see answers exactly as what is not there: the same kind, the same words, suggestions from visible names only.
//! A namespace is visible where a table in it or below it is. Of a table that is visible in part, the metadata tell neither
//! hidden columns (schemas, partition specs, sort orders, name mapping, properties) nor where files lie, nor counts that hidden rows are part of.

use async_trait::async_trait;
use fastdata_types::catalog::{SUGGESTED_WITHIN, unknown_table};
use fastdata_types::metadata::{ManifestSource, PartitionSpec, Snapshot, SortOrder, TableMetadata};
use fastdata_types::{Access, Catalog, Error, ErrorKind, Grant, Result, Schema, TableName, TableState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::timeout;

/// Entries of a snapshot's summary that count all rows and files and name no column.
const COUNTS: [&str; 10] = [
    "added-data-files",
    "added-records",
    "added-files-size",
    "deleted-data-files",
    "deleted-records",
    "total-records",
    "total-files-size",
    "total-data-files",
    "total-delete-files",
    "total-position-deletes",
];

/// A catalog without the tables that its caller may not see.
#[derive(Debug)]
pub(crate) struct SeenCatalog {
    name: String,
    inner: Arc<dyn Catalog>,
    access: Arc<dyn Access>,
}

impl SeenCatalog {
    pub(crate) fn new(name: String, inner: Arc<dyn Catalog>, access: Arc<dyn Access>) -> SeenCatalog {
        SeenCatalog { name, inner, access }
    }

    fn sees(&self, table: &TableName) -> bool {
        self.access.grant(&self.name, table).is_some()
    }

    /// As a catalog says it of a table that it does not have. Where nothing visible is in its namespace, what is suggested does not depend on the name:
    /// namespaces that are called almost so could be hidden ones.
    async fn unknown(&self, wanted: &TableName) -> Error {
        let near = match wanted.namespace.is_empty() {
            true => vec![],
            false => timeout(SUGGESTED_WITHIN, self.list(Some(&wanted.namespace))).await.unwrap_or(Ok(vec![])).unwrap_or_default(),
        };
        let known = if near.is_empty() { self.some_tables().await } else { near };
        unknown_table(&self.name, wanted, &known)
    }
}

#[async_trait]
impl Catalog for SeenCatalog {
    async fn list(&self, namespace: Option<&[String]>) -> Result<Vec<TableName>> {
        let listed = match self.inner.list(namespace).await {
            // A namespace that the catalog does not have, or does not open, is one in which nothing is visible.
            Err(e) if namespace.is_some() && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => vec![],
            listed => listed?,
        };
        Ok(listed.into_iter().filter(|table| self.sees(table)).collect())
    }

    async fn namespaces(&self) -> Result<Vec<Vec<String>>> {
        let tables = self.list(None).await?;
        let above = |table: &TableName| (1..=table.namespace.len()).map(|depth| table.namespace[..depth].to_vec()).collect::<Vec<_>>();
        let visible: BTreeSet<Vec<String>> = tables.iter().flat_map(above).collect();
        Ok(visible.into_iter().collect())
    }

    async fn some_tables(&self) -> Vec<TableName> {
        let mut tables = self.inner.some_tables().await;
        tables.retain(|table| self.sees(table));
        tables
    }

    async fn load(&self, name: &TableName) -> Result<TableState> {
        if !self.sees(name) {
            return Err(self.unknown(name).await);
        }
        match self.inner.load(name).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Err(self.unknown(name).await),
            loaded => loaded,
        }
    }

    async fn check(&self) -> Result<String> {
        self.inner.check().await
    }
}

/// The state of a table as a caller with this grant may be told it. It describes the table; it is not planned from.
pub(crate) fn told(state: TableState, grant: &Grant) -> Result<TableState> {
    if grant.is_whole() {
        return Ok(state);
    }
    let metadata = Arc::new(told_metadata(&state.metadata, grant)?);
    Ok(TableState { metadata, metadata_location: String::new(), notes: vec![], ..state })
}

fn told_metadata(metadata: &TableMetadata, grant: &Grant) -> Result<TableMetadata> {
    let current = metadata.current_schema();
    let mut schemas = BTreeMap::new();
    for (id, schema) in &metadata.schemas {
        let told = Schema::new(schema.id, grant.table_fields(current, schema))?;
        let identifiers = schema.identifier_field_ids.iter().copied().filter(|id| told.field_by_id(*id).is_some()).collect();
        schemas.insert(*id, Arc::new(told.with_identifier_field_ids(identifiers)));
    }
    let told = |source_id: i32| schemas.values().any(|schema| schema.field_by_id(source_id).is_some());
    let spec = |spec: &PartitionSpec| PartitionSpec {
        id: spec.id,
        fields: spec.fields.iter().filter(|field| told(field.source_id)).cloned().collect(),
    };
    let order = |order: &SortOrder| SortOrder {
        id: order.id,
        fields: order.fields.iter().filter(|field| told(field.source_id)).cloned().collect(),
    };
    let partition_specs = metadata.partition_specs.iter().map(|(id, known)| (*id, Arc::new(spec(known)))).collect();
    let sort_orders = metadata.sort_orders.iter().map(|(id, known)| (*id, order(known))).collect();
    Ok(TableMetadata {
        location: String::new(),
        schemas,
        partition_specs,
        sort_orders,
        properties: BTreeMap::new(),
        snapshots: metadata.snapshots.iter().map(|snapshot| Arc::new(told_snapshot(snapshot, grant))).collect(),
        next_row_id: None,
        name_mapping: None,
        ..metadata.clone()
    })
}

fn told_snapshot(snapshot: &Snapshot, grant: &Grant) -> Snapshot {
    let counts = |key: &str| !grant.hides_rows() && COUNTS.contains(&key);
    Snapshot {
        manifests: ManifestSource::Inline(vec![]),
        summary: snapshot.summary.iter().filter(|(key, _)| counts(key)).map(|(key, value)| (key.clone(), value.clone())).collect(),
        first_row_id: None,
        key_id: None,
        ..snapshot.clone()
    }
}
