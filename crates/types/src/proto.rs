//! The messages of `proto/fastdata/v1` as Rust structs, and their way into the contracts and back.
//!
//! Contract: field numbers and types are those of the `.proto` files (a test holds each message against its descriptor). What arrives is
//! checked here: an enum value that is not known or a digest that is none is refused by name.

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::lanes;
use crate::request;
use crate::stats;
use prost::Message;
use std::collections::HashMap;

/// `google.protobuf.Any`'s type URL of a scan request; the part before the slash is not looked at.
pub const SCAN_REQUEST_TYPE: &str = "type.googleapis.com/fastdata.v1.ScanRequest";

const ERROR_DETAIL_TYPE: &str = "type.googleapis.com/fastdata.v1.ErrorDetail";

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScanRequest {
    #[prost(string, tag = "1")]
    pub table: String,
    #[prost(int64, optional, tag = "2")]
    pub snapshot_id: Option<i64>,
    #[prost(string, optional, tag = "3")]
    pub r#ref: Option<String>,
    #[prost(int64, optional, tag = "4")]
    pub as_of_ms: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    pub from_snapshot_id: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    pub to_snapshot_id: Option<i64>,
    #[prost(string, repeated, tag = "7")]
    pub columns: Vec<String>,
    #[prost(string, tag = "8")]
    pub filter: String,
    #[prost(int64, optional, tag = "9")]
    pub limit: Option<i64>,
    #[prost(message, optional, tag = "10")]
    pub sample: Option<Sample>,
    #[prost(uint32, optional, tag = "11")]
    pub batch_rows: Option<u32>,
    #[prost(int64, optional, tag = "12")]
    pub batch_bytes: Option<i64>,
    #[prost(int32, tag = "13")]
    pub order: i32,
    #[prost(int32, tag = "14")]
    pub strings: i32,
    #[prost(uint32, optional, tag = "15")]
    pub lanes: Option<u32>,
    #[prost(message, optional, tag = "16")]
    pub shuffle: Option<Shuffle>,
    #[prost(int32, tag = "17")]
    pub compression: i32,
    #[prost(int32, optional, tag = "18")]
    pub schema_id: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    #[prost(double, tag = "1")]
    pub fraction: f64,
    #[prost(uint64, tag = "2")]
    pub seed: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Shuffle {
    #[prost(uint64, tag = "1")]
    pub seed: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint32, optional, tag = "3")]
    pub block_rows: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub window_rows: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ScanStats {
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    #[prost(uint64, tag = "2")]
    pub batches: u64,
    #[prost(uint64, tag = "3")]
    pub bytes_returned: u64,
    #[prost(uint64, tag = "4")]
    pub rows_decoded: u64,
    #[prost(uint64, tag = "5")]
    pub rows_deleted: u64,
    #[prost(uint64, tag = "6")]
    pub rows_filtered: u64,
    #[prost(uint64, tag = "7")]
    pub files_read: u64,
    #[prost(uint64, tag = "8")]
    pub row_groups_read: u64,
    #[prost(uint64, tag = "9")]
    pub row_groups_pruned: u64,
    #[prost(uint64, tag = "10")]
    pub delete_files_read: u64,
    #[prost(uint64, tag = "11")]
    pub requests: u64,
    #[prost(uint64, tag = "12")]
    pub bytes_fetched: u64,
    #[prost(uint64, tag = "13")]
    pub retries: u64,
    #[prost(uint64, tag = "14")]
    pub planning_us: u64,
    #[prost(uint64, tag = "15")]
    pub storage_us: u64,
    #[prost(uint64, tag = "16")]
    pub decode_us: u64,
    #[prost(uint64, tag = "17")]
    pub filter_us: u64,
    #[prost(uint64, tag = "18")]
    pub delete_us: u64,
    #[prost(uint64, tag = "19")]
    pub consumer_us: u64,
    #[prost(uint64, tag = "20")]
    pub total_us: u64,
    #[prost(uint64, tag = "21")]
    pub wire_us: u64,
    #[prost(uint64, tag = "22")]
    pub hedges: u64,
    #[prost(uint64, tag = "23")]
    pub first_batch_us: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ErrorDetail {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub stage: String,
    #[prost(bool, tag = "3")]
    pub retryable: bool,
    #[prost(string, tag = "4")]
    pub message: String,
    #[prost(string, tag = "5")]
    pub advice: String,
}

/// `google.rpc.Status`, which gRPC carries beside a status.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlanMetadata {
    #[prost(string, tag = "1")]
    pub plan_digest: String,
    #[prost(int64, optional, tag = "2")]
    pub snapshot_id: Option<i64>,
    #[prost(uint32, tag = "3")]
    pub lanes: u32,
    #[prost(uint64, repeated, tag = "4")]
    pub lane_rows: Vec<u64>,
    #[prost(string, tag = "5")]
    pub table_uuid: String,
    #[prost(string, repeated, tag = "6")]
    pub notes: Vec<String>,
    #[prost(uint64, tag = "7")]
    pub planning_us: u64,
    #[prost(int64, tag = "8")]
    pub expires_at_ms: i64,
    #[prost(int32, optional, tag = "9")]
    pub schema_id: Option<i32>,
    #[prost(message, optional, tag = "10")]
    pub planning: Option<ScanStats>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ShuffleKey {
    #[prost(uint64, tag = "1")]
    pub seed: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct LanePosition {
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    #[prost(message, optional, tag = "2")]
    pub hint: Option<Hint>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Hint {
    #[prost(uint32, tag = "1")]
    pub part: u32,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(fixed32, tag = "3")]
    pub check: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Cursor {
    #[prost(string, tag = "1")]
    pub plan_digest: String,
    #[prost(int64, optional, tag = "2")]
    pub snapshot_id: Option<i64>,
    #[prost(message, optional, tag = "3")]
    pub shuffle: Option<ShuffleKey>,
    #[prost(uint32, tag = "4")]
    pub lanes: u32,
    #[prost(map = "uint32, message", tag = "5")]
    pub positions: HashMap<u32, LanePosition>,
    #[prost(int32, optional, tag = "6")]
    pub schema_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ticket {
    #[prost(bytes = "vec", tag = "1")]
    pub sealed: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub start: Option<LanePosition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamMetadata {
    #[prost(oneof = "StreamEvent", tags = "1, 2")]
    pub of: Option<StreamEvent>,
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
#[expect(clippy::large_enum_variant, reason = "one for each batch: moving 300 bytes then is nothing")]
pub enum StreamEvent {
    #[prost(message, tag = "1")]
    Position(LanePosition),
    #[prost(message, tag = "2")]
    End(EndRecord),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct EndRecord {
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    #[prost(fixed64, tag = "3")]
    pub checksum: u64,
    #[prost(message, optional, tag = "4")]
    pub position: Option<LanePosition>,
    #[prost(message, optional, tag = "5")]
    pub stats: Option<ScanStats>,
}

/// Conversions both ways between two structs of the same fields.
macro_rules! same_fields {
    ($a:path, $b:path: $($field:ident),*) => {
        impl From<$a> for $b {
            fn from(from: $a) -> Self {
                Self { $($field: from.$field),* }
            }
        }
        impl From<$b> for $a {
            fn from(from: $b) -> Self {
                Self { $($field: from.$field),* }
            }
        }
    };
}

same_fields!(request::Sample, Sample: fraction, seed);
same_fields!(request::Shuffle, Shuffle: seed, epoch, block_rows, window_rows);
same_fields!(lanes::ShuffleKey, ShuffleKey: seed, epoch);
same_fields!(lanes::Hint, Hint: part, offset, check);
same_fields!(
    stats::ScanStats, ScanStats: rows, batches, bytes_returned, rows_decoded, rows_deleted, rows_filtered, files_read, row_groups_read,
    row_groups_pruned, delete_files_read, requests, bytes_fetched, retries, hedges, planning_us, storage_us, decode_us, filter_us,
    delete_us, consumer_us, total_us, wire_us, first_batch_us
);

impl From<lanes::LanePosition> for LanePosition {
    fn from(position: lanes::LanePosition) -> Self {
        LanePosition { rows: position.rows, hint: position.hint.map(Into::into) }
    }
}

impl From<LanePosition> for lanes::LanePosition {
    fn from(position: LanePosition) -> Self {
        lanes::LanePosition { rows: position.rows, hint: position.hint.map(Into::into) }
    }
}

impl From<lanes::Cursor> for Cursor {
    fn from(cursor: lanes::Cursor) -> Self {
        Cursor {
            plan_digest: cursor.plan_digest.to_string(),
            snapshot_id: cursor.snapshot_id,
            schema_id: cursor.schema_id,
            shuffle: cursor.shuffle.map(Into::into),
            lanes: cursor.lanes,
            positions: cursor.positions.into_iter().map(|(lane, position)| (lane, position.into())).collect(),
        }
    }
}

impl TryFrom<Cursor> for lanes::Cursor {
    type Error = Error;
    fn try_from(cursor: Cursor) -> Result<Self> {
        Ok(lanes::Cursor {
            plan_digest: cursor.plan_digest.parse()?,
            snapshot_id: cursor.snapshot_id,
            schema_id: cursor.schema_id,
            shuffle: cursor.shuffle.map(Into::into),
            lanes: cursor.lanes,
            positions: cursor.positions.into_iter().map(|(lane, position)| (lane, position.into())).collect(),
        })
    }
}

impl From<&Error> for ErrorDetail {
    fn from(error: &Error) -> Self {
        ErrorDetail {
            kind: error.kind().name().to_owned(),
            stage: error.stage().name().to_owned(),
            retryable: error.retryable(),
            message: error.message().to_owned(),
            advice: error.advice_text().unwrap_or_default().to_owned(),
        }
    }
}

impl ErrorDetail {
    /// As the details of a gRPC status: a `google.rpc.Status` with this inside.
    pub fn to_status(&self, code: i32) -> Vec<u8> {
        let detail = Any { type_url: ERROR_DETAIL_TYPE.to_owned(), value: self.encode_to_vec() };
        // The message is in the detail: headers are short.
        RpcStatus { code, message: String::new(), details: vec![detail] }.encode_to_vec()
    }

    /// From the details of a gRPC status, if they are ours.
    pub fn from_status(details: &[u8]) -> Option<ErrorDetail> {
        let status = RpcStatus::decode(details).ok()?;
        let detail = status.details.iter().find(|detail| detail.type_url.rsplit('/').next() == ERROR_DETAIL_TYPE.rsplit('/').next())?;
        ErrorDetail::decode(detail.value.as_slice()).ok()
    }

    /// The error as it was on the other side; a kind of a later version is `internal` here.
    pub fn into_error(self) -> Error {
        let kind = ErrorKind::from_name(&self.kind).unwrap_or(ErrorKind::Internal);
        let stage = Stage::from_name(&self.stage).unwrap_or(Stage::Serve);
        let error = Error::new(kind, stage, self.message).with_retryable(self.retryable);
        if self.advice.is_empty() { error } else { error.advice(self.advice) }
    }
}

/// Enums of the request: number in the proto, value here.
const ORDERS: [(i32, request::Order); 3] = [(1, request::Order::Fast), (2, request::Order::Stable), (0, request::Order::Fast)];
const STRINGS: [(i32, request::StringEncoding); 4] = [
    (1, request::StringEncoding::Utf8),
    (2, request::StringEncoding::Utf8View),
    (3, request::StringEncoding::Dictionary),
    (0, request::StringEncoding::Utf8),
];
const COMPRESSIONS: [(i32, request::Compression); 4] =
    [(1, request::Compression::None), (2, request::Compression::Lz4), (3, request::Compression::Zstd), (0, request::Compression::None)];

fn number_of<T: PartialEq + Copy>(known: &[(i32, T)], value: T) -> i32 {
    known.iter().find(|(_, known)| *known == value).map_or(0, |(number, _)| *number)
}

fn value_of<T: Copy>(known: &[(i32, T)], number: i32, field: &str) -> Result<T> {
    known.iter().find(|(known, _)| *known == number).map(|(_, value)| *value).ok_or_else(|| {
        Error::invalid(Stage::Request, format!("scan request: {field} has the value {number}, which this version does not know"))
    })
}

impl From<&request::ScanRequest> for ScanRequest {
    fn from(request: &request::ScanRequest) -> Self {
        let request = request.clone();
        ScanRequest {
            table: request.table,
            snapshot_id: request.snapshot_id,
            r#ref: request.r#ref,
            as_of_ms: request.as_of_ms,
            from_snapshot_id: request.from_snapshot_id,
            to_snapshot_id: request.to_snapshot_id,
            schema_id: request.schema_id,
            columns: request.columns,
            filter: request.filter,
            limit: request.limit,
            sample: request.sample.map(Into::into),
            batch_rows: request.batch_rows,
            batch_bytes: request.batch_bytes,
            order: number_of(&ORDERS, request.order),
            strings: number_of(&STRINGS, request.strings),
            lanes: request.lanes,
            shuffle: request.shuffle.map(Into::into),
            compression: number_of(&COMPRESSIONS, request.compression),
        }
    }
}

impl TryFrom<ScanRequest> for request::ScanRequest {
    type Error = Error;
    fn try_from(request: ScanRequest) -> Result<Self> {
        Ok(request::ScanRequest {
            table: request.table,
            snapshot_id: request.snapshot_id,
            r#ref: request.r#ref,
            as_of_ms: request.as_of_ms,
            from_snapshot_id: request.from_snapshot_id,
            to_snapshot_id: request.to_snapshot_id,
            schema_id: request.schema_id,
            columns: request.columns,
            filter: request.filter,
            limit: request.limit,
            sample: request.sample.map(Into::into),
            batch_rows: request.batch_rows,
            batch_bytes: request.batch_bytes,
            order: value_of(&ORDERS, request.order, "order")?,
            strings: value_of(&STRINGS, request.strings, "strings")?,
            lanes: request.lanes,
            shuffle: request.shuffle.map(Into::into),
            compression: value_of(&COMPRESSIONS, request.compression, "compression")?,
        })
    }
}

impl request::ScanRequest {
    /// A command: a scan request as JSON, or as protobuf in an `Any`.
    pub fn from_command(bytes: &[u8]) -> Result<Self> {
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            return Self::from_json(bytes);
        }
        let unknown = || {
            Error::invalid(Stage::Request, "the command is no scan request").advice(
                "send JSON, e.g. {\"table\": \"ns.table\", \"columns\": [\"id\"], \"filter\": \"id > 3\"}, or fastdata.v1.ScanRequest in a google.protobuf.Any",
            )
        };
        let any = Any::decode(bytes).map_err(|_| unknown())?;
        if any.type_url.rsplit('/').next() != SCAN_REQUEST_TYPE.rsplit('/').next() {
            return Err(unknown());
        }
        let request = ScanRequest::decode(any.value.as_slice())
            .map_err(|error| Error::invalid(Stage::Request, format!("scan request: {error}")).advice("send fastdata.v1.ScanRequest"))?;
        request.try_into()
    }

    /// As protobuf in an `Any`.
    pub fn to_command(&self) -> Vec<u8> {
        Any { type_url: SCAN_REQUEST_TYPE.to_owned(), value: ScanRequest::from(self).encode_to_vec() }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_json_or_protobuf_in_an_any() {
        let request = request::ScanRequest {
            columns: vec!["id".into()],
            lanes: Some(3),
            shuffle: Some(request::Shuffle { seed: u64::MAX, ..Default::default() }),
            strings: request::StringEncoding::Dictionary,
            ..request::ScanRequest::table("a.b")
        };
        assert_eq!(request::ScanRequest::from_command(&request.to_command()).unwrap(), request);
        assert_eq!(request::ScanRequest::from_command(format!(" \n{}", request.to_json().unwrap()).as_bytes()).unwrap(), request);
        let other = Any { type_url: "type.googleapis.com/other.Message".into(), value: vec![] }.encode_to_vec();
        for bad in [b"".as_slice(), b"SELECT 1", &[0xff; 40], &other] {
            let error = request::ScanRequest::from_command(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
        let unknown = ScanRequest { table: "a.b".into(), strings: 77, ..Default::default() };
        let unknown = Any { type_url: SCAN_REQUEST_TYPE.into(), value: unknown.encode_to_vec() }.encode_to_vec();
        assert!(request::ScanRequest::from_command(&unknown).unwrap_err().message().contains("strings has the value 77"));
    }

    #[test]
    fn an_error_arrives_as_it_was_sent() {
        let error = Error::new(ErrorKind::Unavailable, Stage::Store, "store s3://x").with_retryable(false).advice("wait");
        let sent = ErrorDetail::from(&error).encode_to_vec();
        let arrived = ErrorDetail::decode(sent.as_slice()).unwrap().into_error();
        assert_eq!(format!("{arrived:?}"), format!("{error:?}"));
        assert!(!arrived.retryable() && arrived.advice_text() == Some("wait"));
    }
}
