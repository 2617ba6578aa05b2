//! Manifest lists and manifests (spec "Manifest Lists", "Manifests"), decoded from bytes.
//!
//! Contract: no I/O; what is read of an entry borrows from its block, and maps and partition tuples are decoded only when they are
//! asked for. Inheritance of sequence numbers and row ids is applied by [`crate::manifests`], which knows the list.

pub(crate) mod entry;
pub(crate) mod list;
pub(crate) mod partition;
pub(crate) mod stats;

#[cfg(test)]
mod tests;

use crate::prune::column::{ColumnStats, PruneColumn};
use entry::ManifestReader;
use fastdata_types::metadata::{PartitionField, PartitionSpec};
use fastdata_types::schema::PrimitiveType;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, Result, Stage};

/// Decodes everything that planning could ask of a manifest and gives the number of entries: a check of bytes that come from
/// anywhere, without a table.
pub fn decode(name: &str, bytes: &[u8]) -> Result<u64> {
    let reader = ManifestReader::open(name, bytes)?;
    let spec = header_spec(&reader)?.unwrap_or(PartitionSpec { id: 0, fields: vec![] });
    let types = spec.fields.iter().map(|_| PrimitiveType::Unknown).collect();
    let partition = reader.partition_reader(&spec, types);
    let columns: Vec<PruneColumn> = (0..8).map(|id| PruneColumn { id, ty: PrimitiveType::Binary, trust_null_count: false }).collect();
    let mut entries = 0;
    reader.for_each(|entry| {
        entry.status()?;
        entry.path()?;
        entry.split_offsets(i64::MAX)?;
        entry.equality_ids()?;
        reader.partition_value(&partition, entry.partition_bytes())?;
        let mut stats = vec![ColumnStats::default(); columns.len()];
        reader.stats(entry, &columns, &mut stats)?;
        entries += 1;
        Ok(())
    })?;
    Ok(entries)
}

/// The same for a manifest list.
pub fn decode_list(name: &str, bytes: &[u8]) -> Result<u64> {
    Ok(list::read(name, bytes)?.len() as u64)
}

/// Longest partition spec in a manifest's header, in bytes: some hundred fields. Each tuple has a value for each field.
const MAX_SPEC_JSON: usize = 64 << 10;

/// The partition spec that the manifest's own header carries: enough to decode its tuples, where there is no table to say what they mean.
pub(crate) fn header_spec(reader: &ManifestReader<'_>) -> Result<Option<PartitionSpec>> {
    let Some(fields) = reader.container.header("partition-spec") else { return Ok(None) };
    let wrong = || {
        Error::corrupt(
            Stage::Plan,
            format!("'{}' is corrupt: its header has a partition spec that cannot be parsed", reader.container.name()),
        )
    };
    if fields.len() > MAX_SPEC_JSON {
        let message = format!("'{}' has a partition spec of more than {MAX_SPEC_JSON} bytes in its header", reader.container.name());
        return Err(Error::limit(Stage::Plan, message).advice("rewrite the table's manifests"));
    }
    let json: serde_json::Value = serde_json::from_slice(fields).map_err(|e| wrong().source(e))?;
    // Some writers put the whole spec there, some its fields only.
    let fields = json.get("fields").unwrap_or(&json).as_array().ok_or_else(wrong)?;
    let number =
        |field: &serde_json::Value, key: &str| field.get(key).and_then(serde_json::Value::as_i64).and_then(|n| i32::try_from(n).ok());
    let text = |field: &serde_json::Value, key: &str| field.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let mut parsed = Vec::with_capacity(fields.len().min(10_000));
    for (field, default_id) in fields.iter().zip(1000..) {
        parsed.push(PartitionField {
            source_id: number(field, "source-id").ok_or_else(wrong)?,
            field_id: number(field, "field-id").unwrap_or(default_id),
            name: text(field, "name").ok_or_else(wrong)?,
            transform: Transform::parse(&text(field, "transform").ok_or_else(wrong)?),
        });
    }
    Ok(Some(PartitionSpec { id: reader.header_spec_id().unwrap_or(0), fields: parsed }))
}
