//! Table metadata from the bytes of a metadata file (spec "Table Metadata"), format versions 1, 2 and 3.
//!
//! Contract: [`parse_metadata`] gives a [`TableMetadata`] whose references hold, or a typed error: `unsupported` for format version 4
//! and later, for types of later versions and for encrypted files, `limit-exceeded` for files that are too large or nest too deep,
//! `corrupt` for everything that contradicts the specification or itself. Messages name fields and positions, never content.
//! A key known to this version that comes twice is refused; unknown keys are skipped.
//!
//! How: unfold (gzip or zstd, capped), bound the nesting by a scan of the bytes, read the version, read the rest into the shapes of
//! [`raw`], then build and check. Memory is a small multiple of the file's size.

mod inflate;
mod mapping;
mod parts;
mod raw;
mod schema;
#[cfg(test)]
mod tests;

use fastdata_types::metadata::{Snapshot, TableMetadata};
use fastdata_types::{Error, Result, Stage};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Largest metadata file that is read, unfolded, in bytes. The largest ones seen in practice are a tenth of it.
pub const MAX_METADATA_BYTES: u64 = 128 << 20;
/// Deepest nesting of JSON: room for the deepest type that is accepted, short of the JSON reader's own limit of 128.
const MAX_JSON_DEPTH: usize = 100;
const NEWEST_FORMAT_VERSION: i64 = 3;
/// The start of a file in Iceberg's AES-GCM stream format.
const ENCRYPTED_MAGIC: &[u8] = b"AGS1";

/// Parses a metadata file: JSON, plain or compressed.
pub fn parse_metadata(bytes: &[u8]) -> Result<TableMetadata> {
    if bytes.starts_with(ENCRYPTED_MAGIC) {
        return Err(Error::unsupported(Stage::Catalog, "the metadata file is encrypted, and encrypted tables are not read"));
    }
    let json = inflate::inflate(bytes, MAX_METADATA_BYTES)?;
    check_depth(&json)?;
    let version = read_version(&json)?;
    let raw: raw::Table = serde_json::from_slice(&json).map_err(|e| json_error(&e))?;
    drop(json);
    build(version, raw)
}

fn read_version(json: &[u8]) -> Result<u8> {
    let raw::Version { format_version, view_uuid } = serde_json::from_slice(json).map_err(|e| json_error(&e))?;
    if view_uuid.is_some() {
        return Err(Error::unsupported(Stage::Catalog, "this is the metadata of a view, not of a table"));
    }
    let format_version = format_version.ok_or_else(|| missing("format-version"))?;
    if format_version > NEWEST_FORMAT_VERSION {
        return Err(Error::unsupported(
            Stage::Catalog,
            format!("table format version {format_version}; this version reads 1 to {NEWEST_FORMAT_VERSION}"),
        ));
    }
    u8::try_from(format_version)
        .ok()
        .filter(|v| *v >= 1)
        .ok_or_else(|| Error::corrupt(Stage::Catalog, format!("table format version {format_version} does not exist")))
}

fn build(version: u8, raw: raw::Table) -> Result<TableMetadata> {
    let (schemas, current_schema_id) = parts::schemas(version, raw.schemas, raw.schema, raw.current_schema_id)?;
    if version >= 2 && raw.last_partition_id.is_none() {
        return Err(missing("last-partition-id"));
    }
    let (partition_specs, default_spec_id) = parts::partition_specs(version, raw.partition_specs, raw.partition_spec, raw.default_spec_id)?;
    let (sort_orders, default_sort_order_id) = parts::sort_orders(version, raw.sort_orders, raw.default_sort_order_id)?;
    let properties = parts::text_map(raw.properties);
    let name_mapping = properties.get(mapping::PROPERTY).map(|json| mapping::parse(json)).transpose()?.map(Arc::new);
    let (snapshots, snapshot_index) = parts::snapshots(raw.snapshots.unwrap_or_default())?;
    // Appendix F: writers of version 1 say -1 where there is no snapshot.
    let current_snapshot_id = raw.current_snapshot_id.map(|id| id.0).filter(|id| *id != -1);
    if let Some(id) = current_snapshot_id.filter(|id| !snapshot_index.contains_key(id)) {
        return Err(Error::corrupt(Stage::Catalog, format!("the current snapshot {id} is not among the table's snapshots")));
    }
    let refs = parts::refs(raw.refs, current_snapshot_id)?;
    Ok(TableMetadata {
        format_version: version,
        uuid: raw.table_uuid,
        location: raw.location,
        last_updated_ms: raw.last_updated_ms.unwrap_or(0),
        last_sequence_number: raw.last_sequence_number.unwrap_or(0),
        schemas,
        current_schema_id,
        partition_specs,
        default_spec_id,
        sort_orders,
        default_sort_order_id,
        properties,
        current_snapshot_id,
        snapshots,
        snapshot_index,
        snapshot_log: parts::snapshot_log(raw.snapshot_log.unwrap_or_default()),
        refs,
        next_row_id: raw.next_row_id,
        name_mapping,
    })
}

type SnapshotIndex = (Vec<Arc<Snapshot>>, HashMap<i64, usize>);
type ById<T> = (BTreeMap<i32, T>, i32);

fn missing(field: &str) -> Error {
    Error::corrupt(Stage::Catalog, format!("table metadata lacks the field `{field}`"))
}

/// Bounds the nesting of JSON without recursion. Text that is no JSON passes: the reader behind will say so.
pub(crate) fn check_depth(json: &[u8]) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(Error::limit(Stage::Catalog, format!("the JSON nests deeper than {MAX_JSON_DEPTH} levels")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// An error of the JSON reader without the content it may quote: only names of our own fields and the position stay.
pub(crate) fn json_error(e: &serde_json::Error) -> Error {
    let (line, column) = (e.line(), e.column());
    let text = e.to_string();
    let what = if e.is_eof() {
        "the JSON ends too early".to_owned()
    } else if e.is_syntax() {
        "this is no JSON".to_owned()
    } else if text.starts_with("missing field") || text.starts_with("duplicate field") {
        text.split(" at line").next().unwrap_or_default().to_owned()
    } else {
        "a value has the wrong type or range".to_owned()
    };
    Error::corrupt(Stage::Catalog, format!("{what} (line {line}, column {column})"))
}
