//! Record batches as the messages of a DoGet response, without copying their bodies.
//!
//! Contract: a [`Message`] is one `FlightData` in gRPC's framing: a head (length prefix, IPC message, `app_metadata`, the tag and length of
//! `data_body`) and the body's segments, which are the batch's own buffers. Buffers below [`COPIED`] bytes are copied together, since
//! each segment costs a frame. Dictionaries go before the first batch that uses them. A batch goes out in messages of at most the
//! bytes asked for, a larger single row excepted.
//!
//! A schema and empty batches in the same encoding come from the [`Encoder`] that encodes the rows: what a reader has seen of
//! dictionaries is one state.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::ipc::{CompressionType, MessageHeader, root_as_message};
use bytes::{BufMut, Bytes, BytesMut};
use fastdata_types::request::Compression;
use fastdata_types::size::packed_bytes;
use fastdata_types::{Error, Result, Stage, proto};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Buffers of fewer bytes are copied next to their neighbours.
const COPIED: usize = 8 << 10;

/// Field numbers of `arrow.flight.protocol.FlightData`.
const DATA_HEADER: u32 = 2;
const APP_METADATA: u32 = 3;
const DATA_BODY: u32 = 1000;

/// One IPC message, and whether it is a batch.
#[derive(Clone)]
pub struct Message {
    header: Bytes,
    body: Vec<Bytes>,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Schema,
    Dictionary,
    Batch,
}

impl Message {
    pub fn body_len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    pub fn hash(&self, hasher: &mut Xxh3) {
        self.body.iter().for_each(|segment| hasher.update(segment));
    }

    /// The bytes to send: gRPC's prefix and the message, in segments.
    pub fn frames(self, metadata: Option<&proto::StreamMetadata>) -> Vec<Bytes> {
        let metadata = metadata.map(proto::StreamMetadata::encode_to_vec).unwrap_or_default();
        let body = self.body_len();
        let field = |number: u32, len: usize| key_len(number) + encoded_len_varint(len as u64);
        let mut len = field(DATA_HEADER, self.header.len()) + self.header.len();
        if !metadata.is_empty() {
            len += field(APP_METADATA, metadata.len()) + metadata.len();
        }
        if body > 0 {
            len += field(DATA_BODY, body) + body;
        }
        let mut head = BytesMut::with_capacity(len - body + 5);
        head.put_u8(0);
        head.put_u32(len as u32);
        let start = |number: u32, len: usize, head: &mut BytesMut| {
            encode_key(number, WireType::LengthDelimited, head);
            encode_varint(len as u64, head);
        };
        start(DATA_HEADER, self.header.len(), &mut head);
        head.put_slice(&self.header);
        if !metadata.is_empty() {
            start(APP_METADATA, metadata.len(), &mut head);
            head.put_slice(&metadata);
        }
        if body > 0 {
            start(DATA_BODY, body, &mut head);
        }
        let mut segments = Segments { done: Vec::with_capacity(self.body.len() + 1), small: head };
        self.body.into_iter().for_each(|segment| segments.add(segment));
        segments.finish()
    }
}

/// Joins small neighbours.
struct Segments {
    done: Vec<Bytes>,
    small: BytesMut,
}

impl Segments {
    fn add(&mut self, segment: Bytes) {
        if segment.len() < COPIED {
            self.small.extend_from_slice(&segment);
        } else {
            self.flush();
            self.done.push(segment);
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.done.push(self.small.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.done
    }
}

/// An Arrow buffer as the owner of bytes.
struct Owner(Buffer);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub struct Encoder {
    encoder: StreamEncoder,
    /// Views drag the buffers along that they were cut from: such columns are packed before they are sent.
    packed: bool,
}

/// What a stream begins with.
pub struct Opening {
    pub encoder: Encoder,
    pub schema: Message,
    /// The empty dictionaries that stand until others come: the encoder takes them for sent.
    pub dictionaries: Vec<Message>,
    pub empty: Message,
}

fn failed(error: &ArrowError) -> Error {
    Error::internal(Stage::Serve, format!("encoding a record batch: {error}"))
}

impl Encoder {
    pub fn open(schema: &SchemaRef, compression: Compression) -> Result<Opening> {
        let compression = match compression {
            Compression::None => None,
            Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
            Compression::Zstd => Some(CompressionType::ZSTD),
        };
        let open = || StreamEncoder::try_new_with_options(schema, IpcWriteOptions::default().try_with_compression(compression)?);
        let mut encoder =
            Encoder { encoder: open().map_err(|e| failed(&e))?, packed: schema.fields().iter().any(|f| has_views(f.data_type())) };
        let mut messages = encoder.encode(&RecordBatch::new_empty(Arc::clone(schema)))?;
        let wrong = || Error::internal(Stage::Serve, "the record batch encoder gave no schema and batch");
        let empty = messages.pop().filter(|message| message.kind == Kind::Batch).ok_or_else(wrong)?;
        if messages.first().is_none_or(|message| message.kind != Kind::Schema) {
            return Err(wrong());
        }
        let schema = messages.remove(0);
        Ok(Opening { encoder, schema, dictionaries: messages, empty })
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Message>> {
        let buffers = match self.packed {
            true => self.encoder.encode(&pack(batch).map_err(|e| failed(&e))?),
            false => self.encoder.encode(batch),
        };
        messages_of(buffers.map_err(|e| failed(&e))?)
    }

    /// The messages of a batch, the last of which is the batch itself; `None` where it has more than `most` bytes and more than one row.
    pub fn message(&mut self, batch: &RecordBatch, most: usize) -> Result<Option<Vec<Message>>> {
        if batch.num_rows() > 1 && slice_bytes(batch) > most.saturating_mul(2) {
            return Ok(None);
        }
        let messages = self.encode(batch)?;
        // Dictionaries that were encoded must be sent, or the encoder would not send them again.
        let too_large = batch.num_rows() > 1 && messages.len() == 1 && messages.iter().map(Message::body_len).sum::<usize>() > most;
        Ok((!too_large).then_some(messages))
    }
}

/// Rows of a batch that make about `bytes` of it.
pub fn rows_for(batch: &RecordBatch, bytes: usize) -> usize {
    let total = slice_bytes(batch).max(1);
    (batch.num_rows() as u128 * bytes as u128 / total as u128).clamp(1, batch.num_rows().max(1) as u128) as usize
}

/// What the rows of a batch take on the wire, about; dictionaries go beside them.
fn slice_bytes(batch: &RecordBatch) -> usize {
    let bytes = |column: &ArrayRef| match column.data_type() {
        DataType::Dictionary(keys, _) => (column.len() * keys.primitive_width().unwrap_or(4)) as u64,
        _ => packed_bytes(column),
    };
    usize::try_from(batch.columns().iter().map(bytes).sum::<u64>()).unwrap_or(usize::MAX)
}

fn has_views(ty: &DataType) -> bool {
    match ty {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            has_views(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_views(field.data_type())),
        DataType::Dictionary(_, value) => has_views(value),
        _ => false,
    }
}

fn pack(batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
    let columns: std::result::Result<Vec<ArrayRef>, ArrowError> = batch.columns().iter().map(pack_column).collect();
    RecordBatch::try_new(batch.schema(), columns?)
}

fn pack_column(column: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Utf8View => Ok(Arc::new(column.as_string_view().gc())),
        DataType::BinaryView => Ok(Arc::new(column.as_binary_view().gc())),
        ty if has_views(ty) => {
            // Taking the rows makes lists that hold no more than their own.
            let rows = UInt64Array::from_iter_values(0..column.len() as u64);
            let column = if ty.is_nested() { arrow::compute::take(column, &rows, None)? } else { Arc::clone(column) };
            let data = column.to_data();
            let children: std::result::Result<Vec<_>, ArrowError> =
                data.child_data().iter().map(|child| Ok(pack_column(&arrow::array::make_array(child.clone()))?.to_data())).collect();
            Ok(arrow::array::make_array(data.into_builder().child_data(children?).build()?))
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// Cuts the encoder's IPC stream, which comes in buffers that no message shares, into its messages.
fn messages_of(buffers: Vec<Buffer>) -> Result<Vec<Message>> {
    let wrong = || Error::internal(Stage::Serve, "the record batch encoder gave no IPC messages");
    let mut buffers = buffers.into_iter().filter(|buffer| !buffer.is_empty());
    let mut messages = Vec::new();
    while let Some(prefix) = buffers.next() {
        let len: [u8; 4] = prefix.as_slice().get(4..8).and_then(|len| len.try_into().ok()).ok_or_else(wrong)?;
        let metadata = gather(&mut buffers, u32::from_le_bytes(len) as usize).ok_or_else(wrong)?;
        let [header, ..] = metadata.as_slice() else { return Err(wrong()) };
        let message = root_as_message(header).map_err(|_| wrong())?;
        let kind = match message.header_type() {
            MessageHeader::Schema => Kind::Schema,
            MessageHeader::DictionaryBatch => Kind::Dictionary,
            MessageHeader::RecordBatch => Kind::Batch,
            _ => return Err(wrong()),
        };
        let len = usize::try_from(message.bodyLength()).map_err(|_| wrong())?;
        let body = gather(&mut buffers, len).ok_or_else(wrong)?;
        messages.push(Message { header: header.clone(), body, kind });
    }
    Ok(messages)
}

/// The next buffers, which together have `len` bytes.
fn gather(buffers: &mut impl Iterator<Item = Buffer>, len: usize) -> Option<Vec<Bytes>> {
    let (mut parts, mut left) = (Vec::new(), len);
    while left > 0 {
        let buffer = buffers.next()?;
        left = left.checked_sub(buffer.len())?;
        parts.push(Bytes::from_owner(Owner(buffer)));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BooleanArray, DictionaryArray, Int32Array, Int64Array, LargeListArray, ListArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::datatypes::{Field, Int32Type, Schema};
    use arrow_flight::FlightData;
    use arrow_flight::decode::FlightRecordBatchStream;
    use futures::TryStreamExt;

    fn column(i: i32) -> bool {
        i % 3 == 0
    }

    fn batch(rows: i32) -> RecordBatch {
        let numbers = Int64Array::from_iter((0..rows).map(|i| (!column(i)).then_some(i64::from(i))));
        let text: Vec<String> = (0..rows).map(|i| format!("a text of some length, number {i}")).collect();
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>((0..rows).map(|i| Some((0..i % 5).map(Some))));
        let large = LargeListArray::from_iter_primitive::<Int32Type, _, _>((0..rows).map(|i| column(i).then(|| (0..i % 3).map(Some))));
        let dictionary: DictionaryArray<Int32Type> = (0..rows).map(|i| Some(if column(i) { "x" } else { "y" })).collect();
        let nested = StructArray::from(vec![(
            Arc::new(Field::new("view", DataType::Utf8View, true)),
            Arc::new(StringViewArray::from_iter(text.iter().map(Some))) as ArrayRef,
        )]);
        RecordBatch::try_from_iter_with_nullable([
            ("n", Arc::new(numbers) as ArrayRef, true),
            ("flag", Arc::new(BooleanArray::from_iter((0..rows).map(|i| Some(column(i))))), true),
            ("text", Arc::new(StringArray::from_iter(text.iter().map(Some))), true),
            ("view", Arc::new(StringViewArray::from_iter(text.iter().map(Some))), true),
            ("list", Arc::new(list), true),
            ("large", Arc::new(large), true),
            ("dictionary", Arc::new(dictionary), true),
            ("nested", Arc::new(nested), true),
        ])
        .unwrap()
    }

    /// What a reader that has the frames makes of them.
    fn received(frames: Vec<Bytes>) -> FlightData {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.iter().copied()).collect();
        assert_eq!((bytes[0], u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize), (0, bytes.len() - 5));
        FlightData::decode(&bytes[5..]).unwrap()
    }

    async fn read(messages: Vec<Message>) -> Vec<RecordBatch> {
        let messages: Vec<_> = messages.into_iter().map(|message| Ok(received(message.frames(None)))).collect();
        FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(messages)).try_collect().await.unwrap()
    }

    /// Slices of every type arrive as they are, whatever the size of the messages and the compression.
    #[tokio::test]
    async fn what_is_sent_in_slices_arrives_whole() {
        let whole = batch(1_000).slice(17, 900);
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let Opening { mut encoder, schema, dictionaries, empty } = Encoder::open(&whole.schema(), compression).unwrap();
            let mut messages = vec![schema];
            messages.extend(dictionaries);
            messages.push(empty);
            let mut at = 0;
            for rows in [1, 7, 300, 592] {
                messages.extend(encoder.message(&whole.slice(at, rows), usize::MAX / 4).unwrap().unwrap());
                at += rows;
            }
            let read = read(messages).await;
            assert_eq!(arrow::compute::concat_batches(&whole.schema(), &read).unwrap(), whole, "{compression:?}");
        }
    }

    /// Batches of every kind of column go out in about as many messages as their bytes make.
    #[test]
    fn messages_have_about_the_size_that_was_asked_for() {
        let whole = batch(20_000);
        for column in 0..whole.num_columns() {
            let rows = whole.project(&[column]).unwrap();
            let mut encoder = Encoder::open(&rows.schema(), Compression::None).unwrap().encoder;
            let (mut at, mut messages, mut bytes) = (0, 0, 0);
            let most = 16 << 10;
            while at < rows.num_rows() {
                let rest = rows.slice(at, rows.num_rows() - at);
                let mut take = rows_for(&rest, most);
                let sent = loop {
                    match encoder.message(&rest.slice(0, take), most + most / 4).unwrap() {
                        Some(sent) => break sent,
                        None => take = take.div_ceil(2),
                    }
                };
                at += take;
                messages += 1;
                bytes += sent.last().unwrap().body_len();
            }
            let name = rows.schema().field(0).name().clone();
            assert!(messages <= bytes.div_ceil(most) * 2 + 2, "{name}: {messages} messages for {bytes} bytes");
        }
    }

    #[test]
    fn a_slice_takes_no_more_than_its_rows() {
        let whole = batch(10_000);
        let mut encoder = Encoder::open(&whole.schema(), Compression::None).unwrap().encoder;
        encoder.message(&whole.slice(0, 1), usize::MAX / 4).unwrap();
        let few = encoder.message(&whole.slice(5_000, 10), usize::MAX / 4).unwrap().unwrap();
        let bytes = few.last().unwrap().body_len();
        assert!(bytes < 8_000, "{bytes} bytes for ten rows");
    }

    #[test]
    fn large_buffers_are_not_copied_and_small_ones_share_a_frame() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        let address = column.to_data().buffers()[0].as_ptr();
        let small: ArrayRef = Arc::new(Int32Array::from_iter_values(0..4));
        let large = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let mut encoder = Encoder::open(&large.schema(), Compression::None).unwrap().encoder;
        let frames = encoder.message(&large, usize::MAX / 4).unwrap().unwrap().remove(0).frames(None);
        assert!(frames.iter().any(|frame| frame.as_ptr() == address), "the column's own bytes are sent");
        let narrow = RecordBatch::try_from_iter((0..100).map(|i| (format!("c{i}"), Arc::clone(&small)))).unwrap();
        let mut encoder = Encoder::open(&narrow.schema(), Compression::None).unwrap().encoder;
        assert_eq!(encoder.message(&narrow, usize::MAX / 4).unwrap().unwrap().remove(0).frames(None).len(), 1);
    }

    #[test]
    fn a_batch_that_is_too_large_is_handed_back_and_one_row_never() {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..10).map(|_| "x".repeat(10_000))));
        let large = RecordBatch::try_from_iter([("text", text)]).unwrap();
        let mut encoder = Encoder::open(&large.schema(), Compression::None).unwrap().encoder;
        assert!(encoder.message(&large, 50_000).unwrap().is_none());
        assert!(encoder.message(&large.slice(3, 1), 5_000).unwrap().is_some());
        assert_eq!(rows_for(&large, 50_000), 4);
        assert_eq!(rows_for(&large, 1), 1);
        assert_eq!(rows_for(&RecordBatch::new_empty(Arc::new(Schema::empty())), 5), 1);
    }
}
