//! Avro object container files with the schema text exactly as given.
//!
//! Problem: Iceberg's manifests depend on schema attributes (`field-id`, `element-id`, `logicalType: map`) that general Avro writers
//! rewrite or drop, and on a sync marker that they draw at random. Contract: the header holds the schema and metadata byte for byte, the
//! sync marker is the caller's. How: rows are encoded with [`Row`] in schema order; blocks are deflated (Avro specification, "Object
//! Container Files").

use flate2::{Compression, write::DeflateEncoder};
use std::io::Write;

const ROWS_PER_BLOCK: usize = 1000;

/// One value of a record schema, encoded field by field.
#[derive(Debug, Default, Clone)]
pub struct Row(Vec<u8>);

impl Row {
    pub fn long(&mut self, value: i64) -> &mut Self {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            self.0.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        self.0.push(zigzag as u8);
        self
    }

    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.long(value.len() as i64).fixed(value)
    }

    /// Bytes of a fixed type, or of a float: no length in front.
    pub fn fixed(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    pub fn string(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// A value of the union `["null", T]`.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => self.long(0),
            Some(value) => {
                self.long(1);
                write(self, value);
                self
            }
        }
    }

    pub fn optional_long(&mut self, value: Option<i64>) -> &mut Self {
        self.optional(value, |row, v| {
            row.long(v);
        })
    }

    pub fn array<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) -> &mut Self {
        if items.len() > 0 {
            self.long(items.len() as i64);
            items.for_each(|item| write(self, item));
        }
        self.long(0)
    }
}

/// The bytes of a container file.
pub fn container(schema: &str, metadata: &[(&str, String)], rows: &[Row], sync: [u8; 16]) -> std::io::Result<Vec<u8>> {
    let mut file = Row(b"Obj\x01".to_vec());
    let own = [("avro.schema", schema.to_owned()), ("avro.codec", "deflate".to_owned())];
    let entries: Vec<&(&str, String)> = own.iter().chain(metadata).collect();
    file.array(entries.into_iter(), |row, (key, value)| {
        row.string(key).string(value);
    });
    file.fixed(&sync);
    for block in rows.chunks(ROWS_PER_BLOCK) {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        for row in block {
            deflate.write_all(&row.0)?;
        }
        file.long(block.len() as i64).bytes(&deflate.finish()?).fixed(&sync);
    }
    Ok(file.0)
}

/// An Avro name for any text (Iceberg specification, "Avro", sanitised names): letters, digits and underscores.
pub fn sanitised(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '_' => out.push(c),
            '0'..='9' if !out.is_empty() => out.push(c),
            '0'..='9' => out.extend(['_', c]),
            _ => out.push_str(&format!("_x{:X}", u32::from(c))),
        }
    }
    out
}
