//! `ScanRequest`: one struct for the proto, JSON (its proto3 mapping), the command line and Python.
//!
//! Contract: the JSON form is the proto3 mapping of `proto/fastdata/v1/scan.proto`: lowerCamelCase or the original field names, 64-bit
//! integers as strings or numbers, unknown fields refused by name. A test holds the two against each other.

use crate::error::{Error, Result, Stage};
use crate::lanes::MAX_LANES;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScanRequest {
    /// `catalog.namespace.table`, `namespace.table`, a metadata file, or a table directory.
    pub table: String,
    #[serde(skip_serializing_if = "Option::is_none", alias = "snapshot_id", with = "int64_string")]
    pub snapshot_id: Option<i64>,
    /// A branch or tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// The state as of this time: milliseconds from the epoch.
    #[serde(skip_serializing_if = "Option::is_none", alias = "as_of_ms", with = "int64_string")]
    pub as_of_ms: Option<i64>,
    /// Rows appended after this snapshot ...
    #[serde(skip_serializing_if = "Option::is_none", alias = "from_snapshot_id", with = "int64_string")]
    pub from_snapshot_id: Option<i64>,
    /// ... up to this one.
    #[serde(skip_serializing_if = "Option::is_none", alias = "to_snapshot_id", with = "int64_string")]
    pub to_snapshot_id: Option<i64>,
    /// Read in this schema of the table, instead of the one that goes with the snapshot: what pins a plan for good.
    #[serde(skip_serializing_if = "Option::is_none", alias = "schema_id")]
    pub schema_id: Option<i32>,
    /// Dotted paths, whose parts quote as in SQL; empty means every column of the schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// A SQL boolean expression; empty means all rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
    #[serde(skip_serializing_if = "Option::is_none", with = "int64_string")]
    pub limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Default 65 536.
    #[serde(skip_serializing_if = "Option::is_none", alias = "batch_rows")]
    pub batch_rows: Option<u32>,
    /// Default 8 MiB.
    #[serde(skip_serializing_if = "Option::is_none", alias = "batch_bytes", with = "int64_string")]
    pub batch_bytes: Option<i64>,
    #[serde(skip_serializing_if = "is_default")]
    pub order: Order,
    #[serde(skip_serializing_if = "is_default")]
    pub strings: StringEncoding,
    /// Cut the scan into this many deterministic sequences; fixed for the life of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<u32>,
    /// Permute blocks and rows by a key; needs lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<Shuffle>,
    /// Of the record batches on the wire; an embedded scan has none.
    #[serde(skip_serializing_if = "is_default")]
    pub compression: Compression,
}

/// One order of the rows of a scan, the same on every machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shuffle {
    #[serde(with = "uint64_string")]
    pub seed: u64,
    #[serde(with = "uint64_string")]
    pub epoch: u64,
    /// Cut row groups into blocks of at most about this many rows, each with a place of its own in the order; small blocks mix better and cost
    /// more. Default: row groups as they are.
    #[serde(skip_serializing_if = "Option::is_none", alias = "block_rows")]
    pub block_rows: Option<u32>,
    /// Rows that are permuted together, held in memory. Default 65 536.
    #[serde(skip_serializing_if = "Option::is_none", alias = "window_rows")]
    pub window_rows: Option<u32>,
}

pub const DEFAULT_WINDOW_ROWS: u32 = 65_536;

impl Shuffle {
    pub fn window_rows(&self) -> u64 {
        u64::from(self.window_rows.unwrap_or(DEFAULT_WINDOW_ROWS))
    }
}

/// A deterministic fraction of the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// 0.0 to 1.0.
    pub fraction: f64,
    #[serde(default, with = "uint64_string")]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// As decoded.
    #[default]
    #[serde(rename = "ORDER_FAST", alias = "ORDER_UNSPECIFIED", alias = "fast")]
    Fast,
    /// Table order, the same on any number of threads and at any budget.
    #[serde(rename = "ORDER_STABLE", alias = "stable")]
    Stable,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StringEncoding {
    #[default]
    #[serde(rename = "STRINGS_UTF8", alias = "STRINGS_UNSPECIFIED", alias = "utf8")]
    Utf8,
    #[serde(rename = "STRINGS_UTF8_VIEW", alias = "utf8_view", alias = "view")]
    Utf8View,
    /// Dictionary of Int32 to Utf8.
    #[serde(rename = "STRINGS_DICTIONARY", alias = "dictionary")]
    Dictionary,
}

/// The IPC compression of record batches on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    #[default]
    #[serde(rename = "COMPRESSION_NONE", alias = "COMPRESSION_UNSPECIFIED", alias = "none")]
    None,
    #[serde(rename = "COMPRESSION_LZ4", alias = "lz4")]
    Lz4,
    #[serde(rename = "COMPRESSION_ZSTD", alias = "zstd")]
    Zstd,
}

pub const DEFAULT_BATCH_ROWS: u32 = 65_536;
pub const DEFAULT_BATCH_BYTES: u64 = 8 << 20;

impl ScanRequest {
    pub fn table(name: impl Into<String>) -> Self {
        ScanRequest { table: name.into(), ..Default::default() }
    }

    /// What can be checked without a table.
    pub fn validate(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::invalid(Stage::Request, message));
        if self.table.is_empty() {
            return Err(Error::invalid(Stage::Request, "no table named")
                .advice("give 'table': namespace.table, a metadata file, or a table directory"));
        }
        let chosen = [self.snapshot_id.is_some(), self.r#ref.is_some(), self.as_of_ms.is_some(), self.from_snapshot_id.is_some()];
        if chosen.iter().filter(|set| **set).count() > 1 {
            return Err(
                Error::invalid(Stage::Request, "more than one of snapshot, ref, as-of and from is given").advice("give one of them")
            );
        }
        if self.to_snapshot_id.is_some() && self.from_snapshot_id.is_none() {
            return Err(Error::invalid(Stage::Request, "'to' is given without 'from'")
                .advice("give --from ID: the rows appended after that snapshot are returned"));
        }
        if self.limit.is_some_and(|limit| limit < 0) {
            return invalid(format!("limit is {}; it must not be negative", self.limit.unwrap_or_default()));
        }
        if self.batch_rows == Some(0) || self.batch_bytes.is_some_and(|bytes| bytes <= 0) {
            return invalid("batch rows and batch bytes must be positive".to_owned());
        }
        if let Some(sample) = self.sample
            && !(0.0..=1.0).contains(&sample.fraction)
        {
            return invalid(format!("sample is {}; it must be between 0 and 1", sample.fraction));
        }
        self.validate_lanes()
    }

    fn validate_lanes(&self) -> Result<()> {
        let refuse = |message: String, advice: &str| Err(Error::invalid(Stage::Request, message).advice(advice));
        if let Some(lanes) = self.lanes
            && !(1..=MAX_LANES).contains(&lanes)
        {
            return refuse(format!("{lanes} lanes; a scan has 1 to {MAX_LANES}"), "64 lanes serve up to 64 ranks times workers");
        }
        if self.shuffle.is_some() && self.lanes.is_none() {
            return refuse("a shuffle without lanes".to_owned(), "give lanes: their number is part of the order and fixed for a run");
        }
        if let Some(shuffle) = self.shuffle
            && (shuffle.block_rows == Some(0) || shuffle.window_rows == Some(0))
        {
            return refuse("a shuffle's block rows and window rows must be positive".to_owned(), "leave them out for the defaults");
        }
        if self.limit.is_some() && (self.shuffle.is_some() || self.lanes.is_some_and(|lanes| lanes > 1)) {
            return refuse(
                "a limit over several lanes or a shuffle".to_owned(),
                "take the rows wanted from the lanes, or leave out lanes and shuffle",
            );
        }
        Ok(())
    }

    /// The same request at the snapshot and in the schema that a plan of it chose, whatever is committed meanwhile.
    pub fn pinned(&self, snapshot_id: Option<i64>, schema_id: Option<i32>) -> ScanRequest {
        let mut request = self.clone();
        match request.from_snapshot_id {
            Some(_) => request.to_snapshot_id = request.to_snapshot_id.or(snapshot_id),
            None => {
                (request.r#ref, request.as_of_ms) = (None, None);
                request.snapshot_id = snapshot_id;
            }
        }
        request.schema_id = schema_id.or(request.schema_id);
        request
    }

    pub fn batch_rows(&self) -> usize {
        self.batch_rows.unwrap_or(DEFAULT_BATCH_ROWS) as usize
    }

    pub fn batch_bytes(&self) -> u64 {
        self.batch_bytes.map_or(DEFAULT_BATCH_BYTES, |bytes| bytes.max(1) as u64)
    }

    /// The canonical JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::internal(Stage::Request, format!("encoding the scan request: {e}")).source(e))
    }

    /// Unknown and mistyped fields are named.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            Error::invalid(Stage::Request, format!("scan request: {e}"))
                .advice("send the JSON form of fastdata.v1.ScanRequest, e.g. {\"table\": \"ns.table\", \"columns\": [\"id\"], \"filter\": \"id > 3\"}")
        })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number<T> {
    Plain(T),
    Text(String),
}

fn parse_number<'de, D: Deserializer<'de>, T: std::str::FromStr + Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    match Option::<Number<T>>::deserialize(d)? {
        None => Ok(None),
        Some(Number::Plain(value)) => Ok(Some(value)),
        Some(Number::Text(text)) => text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("'{text}' is no 64-bit integer"))),
    }
}

/// 64-bit integers are strings in proto3 JSON; numbers are accepted.
pub(crate) mod int64_string {
    use super::*;
    pub fn serialize<S: Serializer>(value: &Option<i64>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.serialize_str(&value.to_string()),
            None => s.serialize_none(),
        }
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
        parse_number(d)
    }
}

pub(crate) mod uint64_string {
    use super::*;
    pub fn serialize<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.to_string())
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        Ok(parse_number(d)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_takes_both_spellings_and_names_unknown_fields() {
        let a = ScanRequest::from_json(br#"{"table":"a.b","snapshotId":"9007199254740993","columns":["id"]}"#).unwrap();
        let b = ScanRequest::from_json(br#"{"table":"a.b","snapshot_id":9007199254740993,"columns":["id"]}"#).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.snapshot_id, Some(9_007_199_254_740_993));
        let error = ScanRequest::from_json(br#"{"table":"a.b","colums":["id"]}"#).unwrap_err();
        assert!(error.message().contains("colums"), "{error}");
        assert_eq!(ScanRequest::from_json(a.to_json().unwrap().as_bytes()).unwrap(), a);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut request = ScanRequest::table("a.b");
        assert!(request.validate().is_ok());
        request.snapshot_id = Some(1);
        request.r#ref = Some("main".into());
        assert!(request.validate().is_err());
        let with = |change: fn(&mut ScanRequest)| {
            let mut request = ScanRequest::table("a.b");
            change(&mut request);
            request.validate()
        };
        assert!(with(|r| r.lanes = Some(MAX_LANES)).is_ok());
        assert!(with(|r| r.lanes = Some(1_000_000)).unwrap_err().message().contains("1000000 lanes"));
        assert!(with(|r| r.lanes = Some(0)).is_err());
        assert!(with(|r| r.shuffle = Some(Shuffle::default())).is_err());
        assert!(with(|r| (r.shuffle, r.lanes) = (Some(Shuffle { window_rows: Some(0), ..Default::default() }), Some(1))).is_err());
        assert!(with(|r| (r.limit, r.lanes) = (Some(1), Some(1))).is_ok());
        assert!(with(|r| (r.limit, r.lanes) = (Some(1), Some(2))).is_err());
    }
}
