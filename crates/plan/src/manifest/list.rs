//! A manifest list: which manifests a snapshot has, and what their partition fields range over.

use crate::avro::container::Container;
use crate::avro::cursor::Cursor;
use crate::avro::record::{Program, Slot, Want, Wanted};
use crate::avro::schema::{Node, NodeId};
use fastdata_types::{Error, Result, Stage};

const PATH: usize = 0;
const SPEC_ID: usize = 1;
const CONTENT: usize = 2;
const SEQUENCE_NUMBER: usize = 3;
const ADDED_SNAPSHOT_ID: usize = 4;
const ADDED_FILES: usize = 5;
const EXISTING_FILES: usize = 6;
const PARTITIONS: usize = 7;
const FIRST_ROW_ID: usize = 8;
const KEY_METADATA: usize = 9;
const LENGTH: usize = 10;
const SLOTS: usize = 11;

/// Spec "Manifest Lists". The counts have had two names.
static MANIFEST_FILE: [Wanted; SLOTS] = [
    Wanted { id: 500, names: &["manifest_path"], want: Want::Bytes(PATH) },
    Wanted { id: 502, names: &["partition_spec_id"], want: Want::Long(SPEC_ID) },
    Wanted { id: 517, names: &["content"], want: Want::Long(CONTENT) },
    Wanted { id: 515, names: &["sequence_number"], want: Want::Long(SEQUENCE_NUMBER) },
    Wanted { id: 503, names: &["added_snapshot_id"], want: Want::Long(ADDED_SNAPSHOT_ID) },
    Wanted { id: 504, names: &["added_files_count", "added_data_files_count"], want: Want::Long(ADDED_FILES) },
    Wanted { id: 505, names: &["existing_files_count", "existing_data_files_count"], want: Want::Long(EXISTING_FILES) },
    Wanted { id: 507, names: &["partitions"], want: Want::Span(PARTITIONS) },
    Wanted { id: 520, names: &["first_row_id"], want: Want::Long(FIRST_ROW_ID) },
    Wanted { id: 519, names: &["key_metadata"], want: Want::Bytes(KEY_METADATA) },
    Wanted { id: 501, names: &["manifest_length"], want: Want::Long(LENGTH) },
];

/// Spec "Manifest Lists", `field_summary`.
static SUMMARY: [Wanted; 4] = [
    Wanted { id: 509, names: &["contains_null"], want: Want::Long(0) },
    Wanted { id: 518, names: &["contains_nan"], want: Want::Long(1) },
    Wanted { id: 510, names: &["lower_bound"], want: Want::Bytes(2) },
    Wanted { id: 511, names: &["upper_bound"], want: Want::Bytes(3) },
];

/// More manifests than any list that is of use.
const MAX_MANIFESTS: usize = 1_000_000;
/// No spec has this many fields; summaries beyond are not kept.
const MAX_SUMMARIES: usize = 1_000;
/// Memory for the summaries of all manifests of a list: one byte of the file can become a summary of sixty. Those of the manifests beyond are
/// not kept, and nothing is pruned by them.
const MAX_SUMMARY_BYTES: usize = 64 << 20;

/// One manifest, as its list describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ManifestFile {
    pub path: String,
    /// Its size in bytes as the list has it, which may be wrong.
    pub stated_length: Option<u64>,
    /// `None` where only the manifest itself knows.
    pub spec_id: Option<i32>,
    pub holds_deletes: bool,
    /// 0 in version 1.
    pub sequence_number: i64,
    pub added_snapshot_id: Option<i64>,
    /// Counts of entries; `None` means "not zero" (spec "Manifest Lists").
    pub added_files: Option<i64>,
    pub existing_files: Option<i64>,
    /// By field of the spec.
    pub partitions: Option<Vec<FieldSummary>>,
    pub first_row_id: Option<i64>,
    /// Whether the manifest needs a key. Some writers put empty key metadata where they mean none.
    pub encrypted: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldSummary {
    pub contains_null: bool,
    pub contains_nan: Option<bool>,
    pub lower: Option<Vec<u8>>,
    pub upper: Option<Vec<u8>>,
}

impl ManifestFile {
    /// A manifest that a version 1 snapshot names directly.
    pub fn inline(path: &str) -> Self {
        ManifestFile {
            path: path.to_owned(),
            stated_length: None,
            spec_id: None,
            holds_deletes: false,
            sequence_number: 0,
            added_snapshot_id: None,
            added_files: None,
            existing_files: None,
            partitions: None,
            first_row_id: None,
            encrypted: false,
        }
    }

    /// Whether there is certainly no live file in it.
    pub fn is_empty(&self) -> bool {
        self.added_files == Some(0) && self.existing_files == Some(0)
    }

    /// Memory that its summaries take.
    fn summary_bytes(&self) -> usize {
        let bound = |bound: &Option<Vec<u8>>| bound.as_ref().map_or(0, Vec::capacity);
        let of = |summary: &FieldSummary| size_of::<FieldSummary>() + bound(&summary.lower) + bound(&summary.upper);
        self.partitions.iter().flatten().map(of).sum()
    }

    /// How many live files the list says there are.
    pub fn live_files(&self) -> Option<u64> {
        u64::try_from(self.added_files?.checked_add(self.existing_files?)?).ok()
    }
}

pub(crate) fn read(name: &str, bytes: &[u8]) -> Result<Vec<ManifestFile>> {
    let container = Container::open(name, bytes)?;
    let schema = &container.schema;
    let program: Program<SLOTS> =
        Program::compile(schema, schema.root(), &MANIFEST_FILE).map_err(|_| container.corrupt("it is no manifest list"))?;
    if program.node(PATH).is_none() {
        return Err(container.corrupt("it is no manifest list: it names no manifests"));
    }
    let summaries = program.node(PARTITIONS).and_then(|node| Summaries::of(&container, node));
    let mut manifests = Vec::new();
    let mut summary_bytes = 0;
    let mut slots = [Slot::Null; SLOTS];
    container.blocks(|count, block| {
        let mut cursor = Cursor::new(block);
        for _ in 0..count {
            program.read(schema, &mut cursor, &mut slots).map_err(|fault| container.corrupt(fault))?;
            if manifests.len() >= MAX_MANIFESTS {
                return Err(Error::limit(Stage::Plan, format!("'{name}' lists more than {MAX_MANIFESTS} manifests"))
                    .advice("rewrite the table's manifests"));
            }
            let mut manifest = manifest(&container, block, &slots, summaries.as_ref())?;
            let bytes = manifest.summary_bytes();
            if summary_bytes + bytes > MAX_SUMMARY_BYTES {
                manifest.partitions = None;
            } else {
                summary_bytes += bytes;
            }
            manifests.push(manifest);
        }
        if cursor.is_empty() { Ok(()) } else { Err(container.corrupt("a block has bytes after its last entry")) }
    })?;
    Ok(manifests)
}

fn manifest(container: &Container<'_>, block: &[u8], slots: &[Slot; SLOTS], summaries: Option<&Summaries>) -> Result<ManifestFile> {
    let long = |slot: usize| if let Slot::Long(value) = slots[slot] { Some(value) } else { None };
    let span = |slot: usize| if let Slot::Span(start, end) = slots[slot] { block.get(start..end) } else { None };
    let path = span(PATH).and_then(|path| std::str::from_utf8(path).ok()).filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| container.corrupt("an entry has no manifest path"))?.to_owned();
    let holds_deletes = match long(CONTENT) {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(container.corrupt("a manifest holds neither data nor deletes")),
    };
    let spec_id = long(SPEC_ID).map(i32::try_from).transpose().map_err(|_| container.corrupt("a partition spec id is out of range"))?;
    let partitions = match (summaries, span(PARTITIONS)) {
        (Some(summaries), Some(bytes)) => summaries.read(container, bytes)?,
        _ => None,
    };
    Ok(ManifestFile {
        path,
        stated_length: long(LENGTH).and_then(|length| u64::try_from(length).ok()),
        spec_id,
        holds_deletes,
        sequence_number: long(SEQUENCE_NUMBER).unwrap_or(0),
        added_snapshot_id: long(ADDED_SNAPSHOT_ID),
        added_files: long(ADDED_FILES),
        existing_files: long(EXISTING_FILES),
        partitions,
        first_row_id: long(FIRST_ROW_ID),
        encrypted: span(KEY_METADATA).is_some_and(|key| !key.is_empty()),
    })
}

/// How the file writes the summaries of partition fields.
struct Summaries {
    field: NodeId,
    list: NodeId,
    item: NodeId,
    program: Program<4>,
}

impl Summaries {
    /// `None` where they cannot be understood: nothing is pruned by them then.
    fn of(container: &Container<'_>, field: NodeId) -> Option<Self> {
        let schema = &container.schema;
        let list = schema.unwrap_optional(field);
        let Node::Array(item) = schema.node(list) else { return None };
        Some(Summaries { field, list, item: *item, program: Program::compile(schema, *item, &SUMMARY).ok()? })
    }

    fn read(&self, container: &Container<'_>, bytes: &[u8]) -> Result<Option<Vec<FieldSummary>>> {
        let schema = &container.schema;
        let read = || {
            let mut cursor = Cursor::new(bytes);
            if cursor.branch(schema, self.field)? != self.list {
                return Ok(None);
            }
            let mut summaries = Vec::new();
            let mut slots = [Slot::Null; 4];
            cursor.items(|cursor| {
                let record = cursor.branch(schema, self.item)?;
                if !matches!(schema.node(record), Node::Record(_)) {
                    return Err("a partition summary is null");
                }
                self.program.read(schema, cursor, &mut slots)?;
                let flag = |slot: usize| if let Slot::Long(value) = slots[slot] { Some(value != 0) } else { None };
                let bound =
                    |slot: usize| if let Slot::Span(start, end) = slots[slot] { bytes.get(start..end).map(<[u8]>::to_vec) } else { None };
                if summaries.len() < MAX_SUMMARIES {
                    let contains_null = flag(0).unwrap_or(true);
                    summaries.push(FieldSummary { contains_null, contains_nan: flag(1), lower: bound(2), upper: bound(3) });
                }
                Ok(())
            })?;
            Ok(Some(summaries))
        };
        read().map_err(|fault| container.corrupt(fault))
    }
}
