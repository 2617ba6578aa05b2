//! Which snapshot a request means, and which schema goes with it.
//!
//! Contract: no I/O. The current state and branches use the table's current schema; ids, tags and as-of use the snapshot's own
//! schema, else the current one; incremental ranges the current one (as the Java reference does, where the specification
//! is silent). As-of goes by the snapshot log (spec "Point in Time Reads"). Every refusal says which snapshots there are.

use fastdata_types::error::nearest;
use fastdata_types::metadata::{Snapshot, TableMetadata};
use fastdata_types::schema::{Schema, SchemaRef, metadata_column};
use fastdata_types::{Error, Result, ScanRequest, Stage};
use std::collections::HashSet;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// How many snapshots a message lists.
const LISTED: usize = 20;

/// What a scan reads: a snapshot, or the appends of a range of snapshots, under one schema.
#[derive(Debug, Clone)]
pub struct Selection {
    snapshot: Option<Arc<Snapshot>>,
    schema: SchemaRef,
    pub(crate) appends: Option<Appends>,
}

/// The snapshots of an incremental range, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Appends {
    pub snapshots: Vec<Arc<Snapshot>>,
    /// Those that are no appends: id and operation.
    pub skipped: Vec<(i64, String)>,
}

impl Selection {
    /// `None` for a table without snapshots. Of an incremental range: its end.
    pub fn snapshot_id(&self) -> Option<i64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.id)
    }

    /// The table's schema, without metadata columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// The schema that columns and filters are resolved in: the table's columns, then the metadata columns (`_file`, `_pos`, ...)
    /// whose names and ids no column has.
    pub fn bindable_schema(&self, metadata: &TableMetadata) -> Result<Schema> {
        let mut fields = self.schema.fields.clone();
        let taken: HashSet<i32> = self.schema.ids().collect();
        for field in metadata_column::fields(metadata.unified_partition_type()) {
            let name_taken = self.schema.fields.iter().any(|column| column.name == field.name);
            // Partition field ids begin at 1000, where a wide table has columns of its own.
            let id_taken = taken.contains(&field.id) || field.ty.children().iter().any(|child| taken.contains(&child.id));
            if !name_taken && !id_taken {
                fields.push(field);
            }
        }
        Ok(Schema::new(self.schema.id, fields)?.with_identifier_field_ids(self.schema.identifier_field_ids.clone()))
    }
}

/// What the request asks for, in a table as it is now.
pub fn select(metadata: &TableMetadata, request: &ScanRequest) -> Result<Selection> {
    let selection = select_snapshot(metadata, request)?;
    let Some(id) = request.schema_id else { return Ok(selection) };
    let schema = metadata.schemas.get(&id).ok_or_else(|| {
        let known: Vec<String> = metadata.schemas.keys().take(LISTED).map(i32::to_string).collect();
        Error::not_found(Stage::Request, format!("the table has no schema {id}")).advice(format!("its schemas are: {}", known.join(", ")))
    })?;
    Ok(Selection { schema: Arc::clone(schema), ..selection })
}

fn select_snapshot(metadata: &TableMetadata, request: &ScanRequest) -> Result<Selection> {
    let current = metadata.current_schema();
    let at = |snapshot: &Arc<Snapshot>, schema: SchemaRef| Selection { snapshot: Some(Arc::clone(snapshot)), schema, appends: None };
    if let Some(from) = request.from_snapshot_id {
        return incremental(metadata, from, request.to_snapshot_id);
    }
    if let Some(id) = request.snapshot_id {
        let snapshot = metadata.snapshot(id).ok_or_else(|| unknown_snapshot(metadata, id))?;
        return Ok(at(snapshot, schema_of(metadata, snapshot)?));
    }
    if let Some(name) = &request.r#ref {
        return by_ref(metadata, name);
    }
    if let Some(time) = request.as_of_ms {
        let snapshot = as_of(metadata, time)?;
        return Ok(at(snapshot, schema_of(metadata, snapshot)?));
    }
    match metadata.current_snapshot_id {
        None => Ok(Selection { snapshot: None, schema: Arc::clone(current), appends: None }),
        Some(id) => {
            let snapshot = metadata.snapshot(id).ok_or_else(|| dangling(&format!("the current snapshot is {id}")))?;
            Ok(at(snapshot, Arc::clone(current)))
        }
    }
}

/// The same request at the snapshot and schema that an earlier plan chose: commits made since do not show.
pub fn select_pinned(metadata: &TableMetadata, request: &ScanRequest, snapshot_id: Option<i64>, schema_id: i32) -> Result<Selection> {
    let schema = metadata.schemas.get(&schema_id).ok_or_else(|| {
        Error::not_found(Stage::Plan, format!("schema {schema_id}, which the scan was planned with, is no longer in the table"))
            .advice("plan the scan again")
    })?;
    let gone = |id: i64| unknown_snapshot(metadata, id).context("the scan was planned with a snapshot that is gone");
    let selection = match (snapshot_id, request.from_snapshot_id) {
        (None, _) => return Ok(Selection { snapshot: None, schema: Arc::clone(schema), appends: None }),
        (Some(to), Some(from)) => incremental(metadata, from, Some(to))?,
        (Some(id), None) => {
            let snapshot = metadata.snapshot(id).ok_or_else(|| gone(id))?;
            Selection { snapshot: Some(Arc::clone(snapshot)), schema: Arc::clone(schema), appends: None }
        }
    };
    Ok(Selection { schema: Arc::clone(schema), ..selection })
}

fn schema_of(metadata: &TableMetadata, snapshot: &Snapshot) -> Result<SchemaRef> {
    match snapshot.schema_id {
        None => Ok(Arc::clone(metadata.current_schema())),
        Some(id) => metadata.schemas.get(&id).cloned().ok_or_else(|| dangling(&format!("snapshot {} has schema {id}", snapshot.id))),
    }
}

fn by_ref(metadata: &TableMetadata, name: &str) -> Result<Selection> {
    let Some(reference) = metadata.refs.get(name) else {
        if name == "main" && metadata.current_snapshot_id.is_none() {
            return Ok(Selection { snapshot: None, schema: Arc::clone(metadata.current_schema()), appends: None });
        }
        let near = nearest(name, metadata.refs.keys().map(String::as_str));
        let error = Error::not_found(Stage::Request, format!("no branch or tag named '{name}'"));
        let names: Vec<&str> = metadata.refs.keys().map(String::as_str).take(LISTED).collect();
        return Err(match (near.is_empty(), names.is_empty()) {
            (false, _) => error.advice(format!("did you mean: {}", near.join(", "))),
            (true, false) => error.advice(format!("the branches and tags are: {}", names.join(", "))),
            (true, true) => error.advice("the table has no branches and no tags"),
        });
    };
    let id = reference.snapshot_id;
    let snapshot = metadata.snapshot(id).ok_or_else(|| dangling(&format!("'{name}' names snapshot {id}")))?;
    let schema = if reference.is_branch { Arc::clone(metadata.current_schema()) } else { schema_of(metadata, snapshot)? };
    Ok(Selection { snapshot: Some(Arc::clone(snapshot)), schema, appends: None })
}

/// The last entry of the snapshot log that is not later.
fn as_of(metadata: &TableMetadata, time: i64) -> Result<&Arc<Snapshot>> {
    let log = &metadata.snapshot_log;
    let Some(entry) = log.iter().rfind(|entry| entry.timestamp_ms <= time) else {
        let earliest = match log.first() {
            Some(first) => format!("the first snapshot, {}, is of {}", first.snapshot_id, time_text(first.timestamp_ms)),
            None => "its snapshot log is empty".to_owned(),
        };
        return Err(Error::not_found(Stage::Request, format!("the table has no snapshot as of {}: {earliest}", time_text(time)))
            .advice(format!("ask for a later time, or for one of the {}", listing(metadata))));
    };
    metadata.snapshot(entry.snapshot_id).ok_or_else(|| {
        let message = format!("as of {} the current snapshot was {}, which has expired", time_text(time), entry.snapshot_id);
        Error::not_found(Stage::Request, message).advice(format!("ask for one of the {}", listing(metadata)))
    })
}

/// The snapshots after `from` up to `to`, sorted into appends and others.
fn incremental(metadata: &TableMetadata, from: i64, to: Option<i64>) -> Result<Selection> {
    let schema = Arc::clone(metadata.current_schema());
    let end = match to.or(metadata.current_snapshot_id) {
        Some(id) => metadata.snapshot(id).ok_or_else(|| unknown_snapshot(metadata, id))?,
        None => return Err(unknown_snapshot(metadata, from)),
    };
    let range = snapshots_after(metadata, from, end)?;
    let mut appends = Appends::default();
    for snapshot in range.into_iter().rev() {
        match snapshot.operation.as_deref() {
            Some("append") => appends.snapshots.push(Arc::clone(snapshot)),
            other => appends.skipped.push((snapshot.id, other.unwrap_or("unknown").to_owned())),
        }
    }
    Ok(Selection { snapshot: Some(Arc::clone(end)), schema, appends: Some(appends) })
}

/// From `end` back to `from`, that one excluded. `from` may have expired, as long as it is the parent of one that has not.
fn snapshots_after<'a>(metadata: &'a TableMetadata, from: i64, end: &'a Arc<Snapshot>) -> Result<Vec<&'a Arc<Snapshot>>> {
    let mut range = Vec::new();
    let mut seen = HashSet::new();
    let mut at = Some(end);
    while let Some(snapshot) = at {
        if snapshot.id == from {
            return Ok(range);
        }
        // Parents that go in a circle are no history.
        if !seen.insert(snapshot.id) {
            break;
        }
        range.push(snapshot);
        if snapshot.parent_id == Some(from) {
            return Ok(range);
        }
        at = snapshot.parent_id.and_then(|parent| metadata.snapshot(parent));
    }
    let message = match metadata.snapshot(from) {
        Some(_) => format!("snapshot {from} is no ancestor of snapshot {}", end.id),
        None => format!("there is no snapshot {from}, nor is it the parent of an ancestor of snapshot {}", end.id),
    };
    let ancestors: Vec<String> = range.iter().take(LISTED).map(|s| describe(s)).collect();
    let cut = if range.len() > LISTED { ", ..." } else { "" };
    Err(Error::not_found(Stage::Request, message).advice(format!(
        "the snapshots that lead to {} are: {}{cut}",
        end.id,
        ancestors.join(", ")
    )))
}

fn unknown_snapshot(metadata: &TableMetadata, id: i64) -> Error {
    let near = nearest(&id.to_string(), metadata.snapshots.iter().map(|s| s.id.to_string()).collect::<Vec<_>>().iter().map(String::as_str))
        .join(", ");
    let near = if near.is_empty() || metadata.snapshots.len() <= LISTED { String::new() } else { format!("nearest: {near}; ") };
    Error::not_found(Stage::Request, format!("there is no snapshot {id}")).advice(format!("{near}ask for one of the {}", listing(metadata)))
}

/// The newest snapshots, as a phrase.
fn listing(metadata: &TableMetadata) -> String {
    let total = metadata.snapshots.len();
    if total == 0 {
        return "snapshots of the table: it has none".to_owned();
    }
    let listed: Vec<String> = metadata.snapshots.iter().rev().take(LISTED).map(|s| describe(s)).collect();
    let cut = if total > LISTED { format!(" and {} older ones", total - LISTED) } else { String::new() };
    format!("snapshots {}{cut}", listed.join(", "))
}

fn describe(snapshot: &Snapshot) -> String {
    format!("{} ({})", snapshot.id, time_text(snapshot.timestamp_ms))
}

fn time_text(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| format!("{ms} ms"), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

fn dangling(what: &str) -> Error {
    Error::corrupt(Stage::Plan, format!("the table metadata is corrupt: {what}, which it does not hold"))
}
