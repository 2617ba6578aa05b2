//! The object container file: header, blocks, sync markers (Avro specification, "Object Container Files").
//!
//! Contract: nothing is taken on trust: a file that is cut, a sync marker that differs, or a block with more records than bytes is
//! `corrupt` and names the file; a codec that is not known, or an encrypted file, is `unsupported`.

use super::Fault;
use super::codec::{Codec, Inflater};
use super::cursor::Cursor;
use super::schema::WriterSchema;
use fastdata_types::{Error, Result, Stage};

const MAGIC: &[u8] = b"Obj\x01";
/// The start of a file in Iceberg's AES-GCM stream format.
const ENCRYPTED_MAGIC: &[u8] = b"AGS1";
const SYNC_LENGTH: usize = 16;

#[derive(Debug)]
pub(crate) struct Container<'a> {
    /// The file's location, for messages.
    name: &'a str,
    metadata: Vec<(&'a [u8], &'a [u8])>,
    pub schema: WriterSchema,
    codec: Codec,
    sync: &'a [u8],
    body: &'a [u8],
}

impl<'a> Container<'a> {
    pub fn open(name: &'a str, bytes: &'a [u8]) -> Result<Self> {
        if bytes.starts_with(ENCRYPTED_MAGIC) {
            return Err(Error::unsupported(Stage::Plan, format!("'{name}' is encrypted, and encrypted tables are not read")));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(corrupt(name, "it is no Avro file"));
        }
        let mut cursor = Cursor::new(bytes);
        let (metadata, sync) = header(&mut cursor).map_err(|fault| corrupt(name, fault))?;
        let find = |key: &[u8]| metadata.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
        let schema = find(b"avro.schema").ok_or_else(|| corrupt(name, "its header has no schema"))?;
        let schema = WriterSchema::parse(schema).map_err(|fault| corrupt(name, fault))?;
        let codec = find(b"avro.codec").unwrap_or(b"null");
        let codec = Codec::parse(codec).ok_or_else(|| {
            let codec: String = String::from_utf8_lossy(codec).chars().filter(char::is_ascii_graphic).take(20).collect();
            Error::unsupported(
                Stage::Plan,
                format!("'{name}' is compressed with '{codec}'; Avro files with null, deflate, snappy and zstandard are read"),
            )
        })?;
        let body = bytes.get(cursor.position()..).unwrap_or_default();
        Ok(Container { name, metadata, schema, codec, sync, body })
    }

    pub fn name(&self) -> &'a str {
        self.name
    }

    /// A value of the file's header, e.g. `partition-spec-id`.
    pub fn header(&self, key: &str) -> Option<&'a [u8]> {
        self.metadata.iter().find(|(k, _)| *k == key.as_bytes()).map(|(_, value)| *value)
    }

    pub fn corrupt(&self, fault: Fault) -> Error {
        corrupt(self.name, fault)
    }

    /// Calls `visit` with the number of records and the content of each block.
    pub fn blocks(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut inflater = Inflater::new(self.codec);
        let mut cursor = Cursor::new(self.body);
        while !cursor.is_empty() {
            let (count, block) = self.block(&mut cursor).map_err(|fault| self.corrupt(fault))?;
            let content = inflater.inflate(block).map_err(|e| e.context(format!("'{}'", self.name)))?;
            // Every record of a manifest takes bytes, so that the count bounds the work.
            if count > content.len() as u64 {
                return Err(self.corrupt("a block claims more records than it has bytes"));
            }
            visit(count, content)?;
        }
        Ok(())
    }

    fn block(&self, cursor: &mut Cursor<'a>) -> Result<(u64, &'a [u8]), Fault> {
        const CUT: Fault = "it is cut off inside a block";
        let count = cursor.long().map_err(|_| CUT)?;
        let size = cursor.long().map_err(|_| CUT)?;
        let count = u64::try_from(count).map_err(|_| "a block has a negative record count")?;
        let size = usize::try_from(size).map_err(|_| "a block has a negative size")?;
        let block = cursor.take(size).map_err(|_| CUT)?;
        let sync = cursor.take(SYNC_LENGTH).map_err(|_| CUT)?;
        if sync == self.sync { Ok((count, block)) } else { Err("a sync marker does not match") }
    }
}

type Header<'a> = (Vec<(&'a [u8], &'a [u8])>, &'a [u8]);

fn header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>, Fault> {
    const CUT: Fault = "it is cut off inside its header";
    cursor.take(MAGIC.len())?;
    let mut metadata = Vec::new();
    loop {
        let count = cursor.long().map_err(|_| CUT)?;
        if count == 0 {
            break;
        }
        if count < 0 {
            cursor.long().map_err(|_| CUT)?;
        }
        for _ in 0..count.unsigned_abs() {
            let key = cursor.bytes().map_err(|_| CUT)?;
            metadata.push((key, cursor.bytes().map_err(|_| CUT)?));
            if metadata.len() > 10_000 {
                return Err("its header has too many entries");
            }
        }
    }
    Ok((metadata, cursor.take(SYNC_LENGTH).map_err(|_| CUT)?))
}

fn corrupt(name: &str, fault: Fault) -> Error {
    Error::corrupt(Stage::Plan, format!("'{name}' is corrupt: {fault}"))
        .advice("restore the file from a backup, or roll the table back to a snapshot that does not need it")
}
