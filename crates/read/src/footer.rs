//! The footer of one Parquet data file: read in one request, parsed once, checked before anything is allocated by it.
//!
//! Contract: [`Tail::read`] brings the end of the file and says how heavy the footer is; [`Footer::read`] returns metadata whose row groups and
//! column chunks lie inside the file and whose counts agree with one another. What is wrong is a `corrupt` error that names the file. The size
//! stated in the manifest is not trusted: the footer is found from the real end of the file. (Parquet specification, "File Format".)

use crate::thrift;
use bytes::{Bytes, BytesMut};
use fastdata_types::{Error, MemoryBudget, Result, Stage, Store};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of the first tail read; most footers fit.
pub(crate) const TAIL_BYTES: u64 = 64 << 10;
/// The footer's length and the magic number behind it.
const TRAILER_BYTES: usize = 8;
const MAGIC: &[u8] = b"PAR1";
/// `encryption_algorithm` of parquet.thrift's `FileMetaData`: there where columns are encrypted and the footer is not.
const ENCRYPTION_ALGORITHM: i64 = 8;
/// Metadata in memory is larger than in the file, at worst by about this factor.
const PARSED_FACTOR: u64 = 8;

#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) metadata: ParquetMetaData,
    /// Position in the file of the first row of each row group.
    first_rows: Vec<u64>,
}

/// The end of a data file, from byte `start` on.
#[derive(Debug)]
pub(crate) struct Tail {
    start: u64,
    bytes: Bytes,
    /// Length of the footer's metadata, which may begin before the tail.
    metadata: u64,
}

impl Tail {
    /// The last bytes of a file: `first_read` at least where it has as many.
    pub(crate) async fn read(store: &dyn Store, path: &str, first_read: u64) -> Result<Tail> {
        let (bytes, size) = store.read_tail(path, first_read.max(TAIL_BYTES)).await.map_err(|e| in_file(path, e))?;
        let metadata = metadata_length(&bytes, size).map_err(|e| in_file(path, e))?;
        Ok(Tail { start: size - bytes.len() as u64, bytes, metadata })
    }

    /// Bytes that the parsed footer takes in memory at most.
    pub(crate) fn parsed_at_most(&self) -> u64 {
        self.metadata.saturating_mul(PARSED_FACTOR)
    }

    pub(crate) fn is_whole_file(&self) -> bool {
        self.start == 0
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes of a range of the file, if it lies inside.
    pub(crate) fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let end = start.checked_add(usize::try_from(range.end.checked_sub(range.start)?).ok()?)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl Footer {
    /// The footer of the file that the tail is of.
    pub(crate) async fn read(store: &dyn Store, path: &str, budget: &MemoryBudget, tail: &Tail) -> Result<Footer> {
        let _parsing = budget.acquire(tail.parsed_at_most(), &format!("the footer of data file '{path}'")).await?;
        let (size, length) = (tail.start + tail.len(), tail.metadata as usize);
        let inside = length + TRAILER_BYTES;
        let start = size - inside as u64;
        let tail = &tail.bytes;
        let bytes = if inside <= tail.len() {
            tail.slice(tail.len() - inside..tail.len() - TRAILER_BYTES)
        } else {
            let missing = start..size - tail.len() as u64;
            let front = store.read_ranges(path, std::slice::from_ref(&missing)).await.map_err(|e| in_file(path, e))?;
            let mut joined = BytesMut::with_capacity(length);
            front.iter().for_each(|part| joined.extend_from_slice(part));
            joined.extend_from_slice(&tail[..tail.len() - TRAILER_BYTES]);
            joined.freeze()
        };
        Footer::parse(&bytes, start).map_err(|e| in_file(path, e))
    }

    /// Bytes that the parsed footer takes in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.metadata.memory_size() as u64
    }

    /// `data_end` is where the footer starts: column chunks end before it.
    fn parse(bytes: &Bytes, data_end: u64) -> Result<Footer> {
        if has_encrypted_columns(bytes) {
            return Err(Error::unsupported(Stage::Read, "its columns are encrypted, which is not supported"));
        }
        let metadata = catch_unwind(AssertUnwindSafe(|| ParquetMetaDataReader::decode_metadata(bytes)))
            .map_err(|_| corrupt("its footer cannot be parsed"))?
            .map_err(|e| corrupt(format!("its footer cannot be parsed: {e}")))?;
        let mut first_rows = Vec::with_capacity(metadata.num_row_groups());
        let mut rows = 0u64;
        for (number, row_group) in metadata.row_groups().iter().enumerate() {
            first_rows.push(rows);
            let count = u64::try_from(row_group.num_rows()).map_err(|_| corrupt(format!("row group {number} has a negative row count")))?;
            rows = rows.checked_add(count).filter(|rows| *rows < 1 << 48).ok_or_else(|| corrupt("its row counts are impossible"))?;
            for column in row_group.columns() {
                check_chunk(column, data_end).map_err(|e| e.context(format!("row group {number}")))?;
            }
        }
        if u64::try_from(metadata.file_metadata().num_rows()).ok() != Some(rows) {
            return Err(corrupt(format!("its footer states {} rows and its row groups hold {rows}", metadata.file_metadata().num_rows())));
        }
        Ok(Footer { metadata, first_rows })
    }

    /// Positions in the file of the rows of a row group.
    pub(crate) fn rows(&self, row_group: usize) -> Range<u64> {
        let first = self.first_rows.get(row_group).copied().unwrap_or(0);
        let count = self.metadata.row_groups().get(row_group).map_or(0, |group| group.num_rows().max(0) as u64);
        first..first + count
    }

    /// Where in the file a row group starts: what decides which block it belongs to.
    pub(crate) fn start(row_group: &RowGroupMetaData) -> u64 {
        row_group.columns().first().map_or(0, |column| chunk_range(column).start)
    }
}

/// Whether the footer says that columns are encrypted. The decoder skips that word and would take their bytes for pages. What is no
/// footer is left to the decoder to name.
pub(crate) fn has_encrypted_columns(metadata: &[u8]) -> bool {
    thrift::has_member(metadata, ENCRYPTION_ALGORITHM) == Ok(true)
}

/// Where a column chunk lies. Some writers state a dictionary page where there is none; such an offset is not before the data.
pub(crate) fn chunk_range(column: &ColumnChunkMetaData) -> Range<u64> {
    let data = column.data_page_offset();
    let start = column.dictionary_page_offset().filter(|offset| *offset >= MAGIC.len() as i64 && *offset < data).unwrap_or(data);
    let (start, length) = (start.max(0) as u64, column.compressed_size().max(0) as u64);
    start..start.saturating_add(length)
}

fn check_chunk(column: &ColumnChunkMetaData, data_end: u64) -> Result<()> {
    let wrong = |what: &str| Err(corrupt(format!("column '{}': {what}", column.column_path().string())));
    if column.file_path().is_some_and(|path| !path.is_empty()) {
        return Err(Error::unsupported(Stage::Read, "it keeps columns in other files"));
    }
    if column.data_page_offset() < 0 || column.compressed_size() < 0 || column.uncompressed_size() < 0 || column.num_values() < 0 {
        return wrong("an offset, size or count is negative");
    }
    let range = chunk_range(column);
    if range.end > data_end || (range.start < MAGIC.len() as u64 && range.end > range.start) {
        return wrong("its bytes lie outside the file's data");
    }
    Ok(())
}

fn metadata_length(tail: &[u8], size: u64) -> Result<u64> {
    let Some((front, magic)) = tail.split_last_chunk::<4>() else {
        return Err(corrupt(format!("it is {size} bytes long: too short for a Parquet file")));
    };
    match magic {
        b"PAR1" => {}
        b"PARE" => return Err(Error::unsupported(Stage::Read, "it is encrypted, which is not supported")),
        _ => return Err(corrupt("it does not end as a Parquet file does")),
    }
    let Some((_, length)) = front.split_last_chunk::<4>() else {
        return Err(corrupt(format!("it is {size} bytes long: too short for a Parquet file")));
    };
    let length = u64::from(u32::from_le_bytes(*length));
    // Magic numbers stand at both ends.
    if length + TRAILER_BYTES as u64 + MAGIC.len() as u64 > size {
        return Err(corrupt(format!("its footer says it is {length} bytes long and the file has {size}")));
    }
    Ok(length)
}

fn corrupt(why: impl Into<String>) -> Error {
    Error::corrupt(Stage::Read, why)
}

fn in_file(path: &str, error: Error) -> Error {
    let error = if error.stage() == Stage::Read { error.context(format!("data file '{path}'")) } else { error };
    error.or_advice("the file is damaged or was replaced: restore it, or remove it from the table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{MemoryStore, parquet_bytes, sample};
    use fastdata_types::ErrorKind;

    async fn read_from(store: &MemoryStore) -> Result<Footer> {
        let tail = Tail::read(store, "f", 0).await?;
        Footer::read(store, "f", &MemoryBudget::new(64 << 20), &tail).await
    }

    async fn read(bytes: Vec<u8>) -> Result<Footer> {
        read_from(&MemoryStore::new([("f".to_owned(), bytes)])).await
    }

    #[tokio::test]
    async fn a_footer_longer_than_the_first_read_takes_a_second_one() {
        let columns: Vec<String> = (0..2000).map(|i| format!("a_rather_long_name_of_a_column_{i}")).collect();
        let batch = arrow::array::RecordBatch::try_from_iter(
            columns.iter().map(|name| (name, std::sync::Arc::new(arrow::array::Int32Array::from(vec![1, 2])) as arrow::array::ArrayRef)),
        )
        .unwrap();
        let store = MemoryStore::new([("f".to_owned(), parquet_bytes(&[batch], Default::default()))]);
        let footer = read_from(&store).await.unwrap();
        assert_eq!(footer.metadata.row_group(0).num_columns(), 2000);
        assert_eq!(store.requests(), 2);
    }

    #[tokio::test]
    async fn no_cut_or_flipped_footer_panics_and_each_error_names_the_file() {
        let bytes = parquet_bytes(&[sample(0..100)], Default::default());
        for cut in 0..bytes.len() {
            let error = read(bytes[..cut].to_vec()).await.unwrap_err();
            assert!(error.message().contains("'f'") && error.kind() == ErrorKind::Corrupt, "{cut}: {error}");
        }
        let footer = bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
        for at in footer..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut hurt = bytes.clone();
                hurt[at] ^= flip;
                if let Ok(footer) = read(hurt).await {
                    let end = bytes.len() as u64;
                    assert!(footer.metadata.row_groups().iter().flat_map(|g| g.columns()).all(|c| chunk_range(c).end <= end));
                }
            }
        }
    }

    #[tokio::test]
    async fn an_encrypted_footer_is_refused_by_name() {
        let mut bytes = parquet_bytes(&[sample(0..10)], Default::default());
        let end = bytes.len();
        bytes[end - 1] = b'E';
        let error = read(bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("encrypted"), "{error}");
    }

    #[tokio::test]
    async fn encrypted_columns_under_a_plain_footer_are_refused_by_name() {
        let bytes = parquet_bytes(&[sample(0..10)], Default::default());
        let (front, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
        let length = u32::from_le_bytes(trailer[..4].try_into().unwrap());
        // Member 8, a union whose first member is an empty struct: AES_GCM_V1 with defaults. The stop byte moves behind it.
        let member = [0x0c, 0x10, 0x1c, 0x00, 0x00, 0x00];
        let longer = length - 1 + member.len() as u32;
        let encrypted = [&front[..front.len() - 1], &member, &longer.to_le_bytes(), MAGIC].concat();
        let error = read(encrypted).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("'f'") && error.message().contains("encrypted"), "{error}");
    }
}
