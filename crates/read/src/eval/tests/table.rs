//! A table with a column of every type, its rows as values, and batches of them in every encoding.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, NullArray, RecordBatch, StringArray,
    StringViewArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Int32Type, Schema as ArrowSchema};
use fastdata_types::expr::Column;
use fastdata_types::schema::Field;
use fastdata_types::{Expr, PrimitiveType, Schema, Type, Value};
use std::sync::Arc;

pub const MONEY: PrimitiveType = PrimitiveType::Decimal { precision: 9, scale: 2 };

/// Id, names from the top and type of every leaf. The ids tell nothing of the positions.
pub fn leaves() -> Vec<(i32, &'static [&'static str], PrimitiveType)> {
    use PrimitiveType as P;
    vec![
        (101, &["b"], P::Boolean),
        (14, &["i"], P::Int),
        (13, &["l"], P::Long),
        (12, &["f"], P::Float),
        (11, &["d"], P::Double),
        (10, &["m"], MONEY),
        (9, &["s"], P::String),
        (8, &["day"], P::Date),
        (7, &["at"], P::Timestamp),
        (6, &["tz"], P::Timestamptz),
        (5, &["ns"], P::TimestampNs),
        (4, &["time"], P::Time),
        (3, &["u"], P::Uuid),
        (2, &["x"], P::Fixed(2)),
        (1, &["y"], P::Binary),
        (30, &["nothing"], P::Unknown),
        (41, &["st", "i"], P::Int),
        (42, &["st", "s"], P::String),
        (44, &["st", "in", "d"], P::Double),
    ]
}

pub fn schema() -> Schema {
    let leaf = |id: i32| {
        let (_, path, ty) = leaves().into_iter().find(|(leaf, ..)| *leaf == id).unwrap();
        Field::optional(id, *path.last().unwrap(), ty)
    };
    let inner = Field::optional(43, "in", Type::structure(vec![leaf(44)]));
    let mut fields: Vec<Field> = leaves().iter().filter(|(_, path, _)| path.len() == 1).map(|(id, ..)| leaf(*id)).collect();
    fields.insert(3, Field::optional(40, "st", Type::structure(vec![leaf(42), leaf(41), inner])));
    Schema::new(0, fields).unwrap()
}

pub fn column(name: &str) -> Expr {
    let schema = schema();
    let path = schema.resolve(name).unwrap();
    let field = path.last().unwrap();
    Expr::Column(Column { id: field.id, path: path.iter().map(|f| f.name.clone()).collect(), ty: field.ty.clone() })
}

/// The leaves' values and which structs are null.
#[derive(Debug, Clone)]
pub struct Row {
    pub leaves: Vec<Option<Value>>,
    pub st_null: bool,
    pub in_null: bool,
}

impl Row {
    /// What a filter sees: nothing below a null struct.
    pub fn value(&self, id: i32) -> Option<Value> {
        let at = leaves().iter().position(|(leaf, ..)| *leaf == id).unwrap();
        let hidden = (matches!(id, 41 | 42 | 44) && self.st_null) || (id == 44 && self.in_null);
        if hidden { None } else { self.leaves[at].clone() }
    }

    pub fn is_null(&self, id: i32) -> bool {
        match id {
            40 => self.st_null,
            43 => self.st_null || self.in_null,
            leaf => self.value(leaf).is_none(),
        }
    }
}

/// How strings and binary values are laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Encoding {
    Plain,
    Large,
    View,
    Dictionary,
    /// A dictionary of more entries than rows, one of them NULL.
    WideDictionary,
    LargeDictionary,
}

pub const ENCODINGS: [Encoding; 6] =
    [Encoding::Plain, Encoding::Large, Encoding::View, Encoding::Dictionary, Encoding::WideDictionary, Encoding::LargeDictionary];

macro_rules! values {
    ($values:expr, $variant:ident, $native:ty) => {
        $values
            .iter()
            .map(|v| v.as_ref().map(|v| if let Value::$variant(v) = v { v.clone() } else { panic!("{v:?}") }))
            .collect::<Vec<Option<$native>>>()
    };
}

pub fn array(values: &[Option<Value>], ty: &PrimitiveType, encoding: Encoding) -> ArrayRef {
    use PrimitiveType as P;
    match ty {
        P::Boolean => Arc::new(BooleanArray::from(values!(values, Boolean, bool))),
        P::Int => Arc::new(Int32Array::from(values!(values, Int, i32))),
        P::Long => Arc::new(Int64Array::from(values!(values, Long, i64))),
        P::Float => Arc::new(Float32Array::from(values!(values, Float, f32))),
        P::Double => Arc::new(Float64Array::from(values!(values, Double, f64))),
        P::Decimal { precision, scale } => {
            let unscaled =
                values.iter().map(|v| v.as_ref().map(|v| if let Value::Decimal { unscaled, .. } = v { *unscaled } else { panic!() }));
            Arc::new(unscaled.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale as i8).unwrap())
        }
        P::Date => Arc::new(Date32Array::from(values!(values, Date, i32))),
        P::Time => Arc::new(Time64MicrosecondArray::from(values!(values, Time, i64))),
        P::Timestamp => Arc::new(TimestampMicrosecondArray::from(values!(values, Timestamp, i64))),
        P::Timestamptz => Arc::new(TimestampMicrosecondArray::from(values!(values, Timestamptz, i64)).with_timezone("+00:00")),
        P::TimestampNs => Arc::new(TimestampNanosecondArray::from(values!(values, TimestampNs, i64))),
        P::TimestamptzNs => Arc::new(TimestampNanosecondArray::from(values!(values, TimestamptzNs, i64)).with_timezone("UTC")),
        P::String => strings(&values!(values, String, String), encoding),
        P::Uuid => fixed(values!(values, Uuid, [u8; 16]).into_iter().map(|v| v.map(|v| v.to_vec())).collect(), 16),
        P::Fixed(length) => fixed(values!(values, Fixed, Vec<u8>), *length as i32),
        P::Binary => {
            let bytes = values!(values, Binary, Vec<u8>);
            let bytes = bytes.iter().map(|v| v.as_deref());
            match encoding {
                Encoding::View => Arc::new(bytes.collect::<BinaryViewArray>()),
                Encoding::Large => Arc::new(bytes.collect::<LargeBinaryArray>()),
                _ => Arc::new(bytes.collect::<BinaryArray>()),
            }
        }
        P::Unknown => Arc::new(NullArray::new(values.len())),
        other => panic!("{other}"),
    }
}

fn fixed(values: Vec<Option<Vec<u8>>>, length: i32) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), length).unwrap())
}

fn strings(values: &[Option<String>], encoding: Encoding) -> ArrayRef {
    let texts = values.iter().map(|v| v.as_deref());
    match encoding {
        Encoding::Plain => Arc::new(texts.collect::<StringArray>()),
        Encoding::Large => Arc::new(texts.collect::<LargeStringArray>()),
        Encoding::View => Arc::new(texts.collect::<StringViewArray>()),
        Encoding::Dictionary => Arc::new(texts.collect::<DictionaryArray<Int32Type>>()),
        Encoding::WideDictionary | Encoding::LargeDictionary => {
            let mut entries: Vec<Option<&str>> = texts.clone().collect();
            // Entries that no row uses, and NULL as an entry.
            entries.extend([Some("unused"), None, Some("not a number")]);
            let null = entries.iter().position(Option::is_none).unwrap() as i32;
            let keys: Int32Array =
                texts.enumerate().map(|(row, text)| if text.is_none() { Some(null) } else { Some(row as i32) }).collect();
            let entries: ArrayRef = match encoding {
                Encoding::WideDictionary => Arc::new(entries.into_iter().collect::<StringArray>()),
                _ => Arc::new(entries.into_iter().collect::<LargeStringArray>()),
            };
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, entries).unwrap())
        }
    }
}

/// The rows as a batch, cut out of a larger one.
pub fn batch(rows: &[Row], encoding: Encoding) -> RecordBatch {
    let mut padded = rows.to_vec();
    if let Some(first) = rows.first() {
        padded.insert(0, first.clone());
        padded.push(first.clone());
    }
    let by_id = |id: i32| -> ArrayRef {
        let at = leaves().iter().position(|(leaf, ..)| *leaf == id).unwrap();
        let values: Vec<Option<Value>> = padded.iter().map(|row| row.leaves[at].clone()).collect();
        array(&values, &leaves()[at].2, encoding)
    };
    let structure = |children: Vec<(&str, ArrayRef)>, null: &dyn Fn(&Row) -> bool| -> ArrayRef {
        let fields: Fields = children.iter().map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), true)).collect();
        let valid: NullBuffer = padded.iter().map(|row| !null(row)).collect();
        Arc::new(StructArray::new(fields, children.into_iter().map(|(_, array)| array).collect(), Some(valid)))
    };
    let mut columns: Vec<(&str, ArrayRef)> =
        leaves().iter().filter(|(_, path, _)| path.len() == 1).map(|(id, path, _)| (path[0], by_id(*id))).collect();
    let inner = structure(vec![("d", by_id(44))], &|row| row.in_null);
    columns.insert(3, ("st", structure(vec![("s", by_id(42)), ("i", by_id(41)), ("in", inner)], &|row| row.st_null)));
    let fields: Vec<ArrowField> = columns.iter().map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
    assert!(batch.columns().iter().all(|column| *column.data_type() != DataType::Null || column.len() == padded.len()));
    if rows.is_empty() { batch } else { batch.slice(1, rows.len()) }
}
