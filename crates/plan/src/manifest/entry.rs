//! One manifest: its entries, read one by one as borrowed views.

use super::partition::PartitionReader;
use super::stats::MapShape;
use crate::avro::Fault;
use crate::avro::container::Container;
use crate::avro::cursor::Cursor;
use crate::avro::record::{Program, Slot, Want, Wanted};
use crate::prune::column::{ColumnStats, PruneColumn};
use fastdata_types::metadata::PartitionSpec;
use fastdata_types::schema::PrimitiveType;
use fastdata_types::{Result, Value};

const STATUS: usize = 0;
const SNAPSHOT_ID: usize = 1;
const SEQUENCE_NUMBER: usize = 2;
const CONTENT: usize = 3;
const FILE_PATH: usize = 4;
const FILE_FORMAT: usize = 5;
const PARTITION: usize = 6;
const RECORD_COUNT: usize = 7;
const FILE_SIZE: usize = 8;
const VALUE_COUNTS: usize = 9;
const NULL_COUNTS: usize = 10;
const NAN_COUNTS: usize = 11;
const LOWER_BOUNDS: usize = 12;
const UPPER_BOUNDS: usize = 13;
const KEY_METADATA: usize = 14;
const SPLIT_OFFSETS: usize = 15;
const EQUALITY_IDS: usize = 16;
const SORT_ORDER_ID: usize = 17;
const FIRST_ROW_ID: usize = 18;
const REFERENCED_DATA_FILE: usize = 19;
const CONTENT_OFFSET: usize = 20;
const CONTENT_SIZE: usize = 21;
const SLOTS: usize = 22;

/// Spec "Manifest Entry Fields".
static ENTRY: [Wanted; 4] = [
    Wanted { id: 0, names: &["status"], want: Want::Long(STATUS) },
    Wanted { id: 1, names: &["snapshot_id"], want: Want::Long(SNAPSHOT_ID) },
    Wanted { id: 3, names: &["sequence_number"], want: Want::Long(SEQUENCE_NUMBER) },
    Wanted { id: 2, names: &["data_file"], want: Want::Record(&DATA_FILE) },
];

/// Spec "Data File Fields".
static DATA_FILE: [Wanted; 19] = [
    Wanted { id: 134, names: &["content"], want: Want::Long(CONTENT) },
    Wanted { id: 100, names: &["file_path"], want: Want::Bytes(FILE_PATH) },
    Wanted { id: 101, names: &["file_format"], want: Want::Bytes(FILE_FORMAT) },
    Wanted { id: 102, names: &["partition"], want: Want::Span(PARTITION) },
    Wanted { id: 103, names: &["record_count"], want: Want::Long(RECORD_COUNT) },
    Wanted { id: 104, names: &["file_size_in_bytes"], want: Want::Long(FILE_SIZE) },
    Wanted { id: 109, names: &["value_counts"], want: Want::Span(VALUE_COUNTS) },
    Wanted { id: 110, names: &["null_value_counts"], want: Want::Span(NULL_COUNTS) },
    Wanted { id: 137, names: &["nan_value_counts"], want: Want::Span(NAN_COUNTS) },
    Wanted { id: 125, names: &["lower_bounds"], want: Want::Span(LOWER_BOUNDS) },
    Wanted { id: 128, names: &["upper_bounds"], want: Want::Span(UPPER_BOUNDS) },
    Wanted { id: 131, names: &["key_metadata"], want: Want::Bytes(KEY_METADATA) },
    Wanted { id: 132, names: &["split_offsets"], want: Want::Span(SPLIT_OFFSETS) },
    Wanted { id: 135, names: &["equality_ids"], want: Want::Span(EQUALITY_IDS) },
    Wanted { id: 140, names: &["sort_order_id"], want: Want::Long(SORT_ORDER_ID) },
    Wanted { id: 142, names: &["first_row_id"], want: Want::Long(FIRST_ROW_ID) },
    Wanted { id: 143, names: &["referenced_data_file"], want: Want::Bytes(REFERENCED_DATA_FILE) },
    Wanted { id: 144, names: &["content_offset"], want: Want::Long(CONTENT_OFFSET) },
    Wanted { id: 145, names: &["content_size_in_bytes"], want: Want::Long(CONTENT_SIZE) },
];

/// The maps of column statistics: slot, and the field ids of their keys and values.
const MAPS: [(usize, i32, i32); 5] =
    [(VALUE_COUNTS, 119, 120), (NULL_COUNTS, 121, 122), (NAN_COUNTS, 138, 139), (LOWER_BOUNDS, 126, 127), (UPPER_BOUNDS, 129, 130)];

/// More than this many split offsets say nothing useful: the file is one block then.
const MAX_SPLIT_OFFSETS: usize = 100_000;
const MAX_EQUALITY_IDS: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Existing,
    Added,
    Deleted,
}

pub(crate) struct ManifestReader<'a> {
    pub container: Container<'a>,
    program: Program<SLOTS>,
    maps: [Option<MapShape>; MAPS.len()],
}

impl<'a> ManifestReader<'a> {
    pub fn open(name: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let container = Container::open(name, bytes)?;
        let schema = &container.schema;
        let program: Program<SLOTS> = Program::compile(schema, schema.root(), &ENTRY).map_err(|fault| container.corrupt(fault))?;
        let required = [
            (STATUS, "it is no manifest: its entries have no status"),
            (FILE_PATH, "it is no manifest: its entries have no file path"),
            (FILE_FORMAT, "its entries have no file format"),
            (RECORD_COUNT, "its entries have no record count"),
            (FILE_SIZE, "its entries have no file size"),
        ];
        for (slot, fault) in required {
            if program.node(slot).is_none() {
                return Err(container.corrupt(fault));
            }
        }
        let maps = MAPS.map(|(slot, key, value)| MapShape::of(schema, program.node(slot)?, key, value));
        Ok(ManifestReader { container, program, maps })
    }

    /// Format versions before 2 have no sequence numbers.
    pub fn has_sequence_numbers(&self) -> bool {
        self.program.node(SEQUENCE_NUMBER).is_some()
    }

    pub fn header_spec_id(&self) -> Option<i32> {
        std::str::from_utf8(self.container.header("partition-spec-id")?).ok()?.trim().parse().ok()
    }

    /// Calls `visit` for each entry, in file order.
    pub fn for_each(&self, mut visit: impl FnMut(&Entry<'_>) -> Result<()>) -> Result<()> {
        let schema = &self.container.schema;
        let mut slots = [Slot::Null; SLOTS];
        self.container.blocks(|count, block| {
            let mut cursor = Cursor::new(block);
            for _ in 0..count {
                self.program.read(schema, &mut cursor, &mut slots).map_err(|fault| self.container.corrupt(fault))?;
                visit(&Entry { reader: self, block, slots: &slots })?;
            }
            if cursor.is_empty() { Ok(()) } else { Err(self.container.corrupt("a block has bytes after its last entry")) }
        })
    }

    pub fn partition_reader(&self, spec: &PartitionSpec, types: Vec<PrimitiveType>) -> PartitionReader {
        PartitionReader::new(&self.container.schema, self.program.node(PARTITION), spec, types)
    }

    pub fn partition_value(&self, partition: &PartitionReader, bytes: &[u8]) -> Result<Vec<Option<Value>>> {
        partition.read(&self.container.schema, bytes).map_err(|fault| self.container.corrupt(fault))
    }

    /// The statistics of the given columns, one for each, in the same order; what the entry lacks stays as it is.
    pub fn stats<'b>(&self, entry: &Entry<'b>, columns: &[PruneColumn], stats: &mut [ColumnStats<'b>]) -> Result<()> {
        for ((slot, ..), shape) in MAPS.iter().zip(&self.maps) {
            let (Some(shape), Some(bytes)) = (shape, entry.span(*slot)) else { continue };
            let schema = &self.container.schema;
            let read = match *slot {
                VALUE_COUNTS => shape.longs(schema, bytes, columns, |at, n| stats[at].values = n),
                NULL_COUNTS => shape.longs(schema, bytes, columns, |at, n| stats[at].nulls = n),
                NAN_COUNTS => shape.longs(schema, bytes, columns, |at, n| stats[at].nans = n),
                LOWER_BOUNDS => shape.bytes(schema, bytes, columns, |at, bound| stats[at].lower = bound),
                _ => shape.bytes(schema, bytes, columns, |at, bound| stats[at].upper = bound),
            };
            read.map_err(|fault| self.container.corrupt(fault))?;
        }
        Ok(())
    }
}

/// One entry, valid while its block is.
pub(crate) struct Entry<'b> {
    reader: &'b ManifestReader<'b>,
    block: &'b [u8],
    slots: &'b [Slot; SLOTS],
}

impl<'b> Entry<'b> {
    fn long(&self, slot: usize) -> Option<i64> {
        match self.slots.get(slot) {
            Some(Slot::Long(value)) => Some(*value),
            _ => None,
        }
    }

    fn span(&self, slot: usize) -> Option<&'b [u8]> {
        match self.slots.get(slot) {
            Some(Slot::Span(start, end)) => self.block.get(*start..*end),
            _ => None,
        }
    }

    fn text(&self, slot: usize, fault: Fault) -> Result<Option<&'b str>> {
        self.span(slot).map(std::str::from_utf8).transpose().map_err(|_| self.reader.container.corrupt(fault))
    }

    pub fn corrupt(&self, fault: Fault) -> fastdata_types::Error {
        self.reader.container.corrupt(fault)
    }

    pub fn status(&self) -> Result<Status> {
        match self.long(STATUS) {
            Some(0) => Ok(Status::Existing),
            Some(1) => Ok(Status::Added),
            Some(2) => Ok(Status::Deleted),
            _ => Err(self.corrupt("an entry has a status that is neither existing, added nor deleted")),
        }
    }

    pub fn snapshot_id(&self) -> Option<i64> {
        self.long(SNAPSHOT_ID)
    }

    pub fn sequence_number(&self) -> Option<i64> {
        self.long(SEQUENCE_NUMBER)
    }

    /// 0 data, 1 position deletes (deletion vectors too), 2 equality deletes.
    pub fn content(&self) -> i64 {
        self.long(CONTENT).unwrap_or(0)
    }

    pub fn path(&self) -> Result<&'b str> {
        match self.text(FILE_PATH, "a file path is not UTF-8")? {
            Some(path) if !path.is_empty() => Ok(path),
            _ => Err(self.corrupt("an entry has no file path")),
        }
    }

    pub fn format(&self) -> Result<&'b str> {
        Ok(self.text(FILE_FORMAT, "a file format is not UTF-8")?.unwrap_or_default())
    }

    /// The encoded partition tuple.
    pub fn partition_bytes(&self) -> &'b [u8] {
        self.span(PARTITION).unwrap_or_default()
    }

    pub fn record_count(&self) -> Result<u64> {
        let count = self.long(RECORD_COUNT).and_then(|count| u64::try_from(count).ok());
        count.ok_or_else(|| self.corrupt("an entry has no record count, or a negative one"))
    }

    pub fn file_size(&self) -> Result<u64> {
        let size = self.long(FILE_SIZE).and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0);
        size.ok_or_else(|| self.corrupt("an entry has no file size, or one that is not positive"))
    }

    /// Whether the file needs a key. Some writers put empty key metadata where they mean none.
    pub fn encrypted(&self) -> bool {
        self.span(KEY_METADATA).is_some_and(|key| !key.is_empty())
    }

    pub fn sort_order_id(&self) -> Option<i32> {
        self.long(SORT_ORDER_ID).and_then(|id| i32::try_from(id).ok())
    }

    pub fn first_row_id(&self) -> Option<i64> {
        self.long(FIRST_ROW_ID)
    }

    pub fn referenced_data_file(&self) -> Result<Option<&'b str>> {
        self.text(REFERENCED_DATA_FILE, "a referenced data file is not UTF-8")
    }

    pub fn content_offset(&self) -> Option<i64> {
        self.long(CONTENT_OFFSET)
    }

    pub fn content_size(&self) -> Option<i64> {
        self.long(CONTENT_SIZE)
    }

    /// The split offsets; empty where they are missing or invalid (not ascending, or beyond the file).
    pub fn split_offsets(&self, file_size: i64) -> Result<Vec<i64>> {
        let mut offsets = Vec::new();
        let mut valid = true;
        let mut last = -1;
        self.longs(SPLIT_OFFSETS, |offset| {
            valid = valid && offset > last && offset < file_size && offsets.len() < MAX_SPLIT_OFFSETS;
            last = offset;
            if valid {
                offsets.push(offset);
            }
        })?;
        Ok(if valid { offsets } else { Vec::new() })
    }

    pub fn equality_ids(&self) -> Result<Vec<i32>> {
        let mut ids = Vec::new();
        let mut valid = true;
        self.longs(EQUALITY_IDS, |id| match i32::try_from(id) {
            Ok(id) if ids.len() < MAX_EQUALITY_IDS => ids.push(id),
            _ => valid = false,
        })?;
        if valid { Ok(ids) } else { Err(self.corrupt("an entry has equality ids that are no field ids")) }
    }

    fn longs(&self, slot: usize, mut take: impl FnMut(i64)) -> Result<()> {
        let (Some(bytes), Some(node)) = (self.span(slot), self.reader.program.node(slot)) else { return Ok(()) };
        super::stats::list_of_longs(&self.reader.container.schema, node, bytes, &mut take).map_err(|fault| self.corrupt(fault))
    }
}
