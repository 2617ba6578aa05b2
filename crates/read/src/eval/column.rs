//! A column of the filter in a batch: found by field id, put into the Arrow type that its Iceberg type has.

use super::operand::{fault, internal, nulls, spread};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Decimal128Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use fastdata_types::arrow_type::primitive_arrow_type;
use fastdata_types::expr::Column;
use fastdata_types::request::StringEncoding;
use fastdata_types::{PrimitiveType, Result, Schema, Type};
use std::sync::Arc;

pub(super) struct ColumnPath {
    /// Position in the batch, then in each struct below.
    steps: Vec<usize>,
    /// `None` for a nested column, of which only the nulls are asked for.
    ty: Option<PrimitiveType>,
    /// The Arrow type of `ty`, strings as `Utf8`.
    data_type: DataType,
    name: String,
}

impl ColumnPath {
    pub fn new(column: &Column, schema: &Schema) -> Result<ColumnPath> {
        let name = column.path.join(".");
        let missing = || internal(format!("column '{name}' (field {}) is not among the columns that were read for it", column.id));
        let ancestry = schema.ancestry(column.id).ok_or_else(missing)?;
        let mut siblings: Vec<i32> = schema.fields.iter().map(|field| field.id).collect();
        let mut steps = Vec::with_capacity(ancestry.len());
        for (depth, field) in ancestry.iter().enumerate() {
            steps.push(siblings.iter().position(|id| *id == field.id).ok_or_else(missing)?);
            if let Type::Struct(structure) = &field.ty {
                siblings = structure.fields.iter().map(|child| child.id).collect();
            } else if depth + 1 < ancestry.len() {
                return Err(internal(format!("column '{name}' lies inside a list or map")));
            }
        }
        let ty = match &column.ty {
            Type::Primitive(ty) => Some(ty.clone()),
            _ => None,
        };
        let data_type = match &ty {
            Some(ty) => primitive_arrow_type(ty, StringEncoding::Utf8)?,
            None => DataType::Null,
        };
        Ok(ColumnPath { steps, ty, data_type, name })
    }

    /// The values, null wherever a struct above is null.
    pub fn values(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let (array, above) = self.find(batch)?;
        let array = self.as_declared(array)?;
        match above {
            Some(above) => nullif(array.as_ref(), &BooleanArray::new(!above.inner(), None)).map_err(fault),
            None => Ok(array),
        }
    }

    /// The nulls alone, those of the structs above included.
    pub fn nulls(&self, batch: &RecordBatch) -> Result<Option<NullBuffer>> {
        let (array, above) = self.find(batch)?;
        let own = if self.ty == Some(PrimitiveType::Unknown) { Some(NullBuffer::new_null(array.len())) } else { array.logical_nulls() };
        Ok(NullBuffer::union(above.as_ref(), own.as_ref()))
    }

    fn find(&self, batch: &RecordBatch) -> Result<(ArrayRef, Option<NullBuffer>)> {
        let missing = || internal(format!("column '{}' is not in the batch", self.name));
        let (first, below) = self.steps.split_first().ok_or_else(missing)?;
        let mut array = batch.columns().get(*first).ok_or_else(missing)?.clone();
        let mut above: Option<NullBuffer> = None;
        for step in below {
            let structure = array.as_struct_opt().ok_or_else(missing)?;
            above = NullBuffer::union(above.as_ref(), structure.nulls());
            let child = structure.columns().get(*step).ok_or_else(missing)?.clone();
            array = child;
        }
        Ok((array, above.filter(|above| above.null_count() > 0)))
    }

    /// The array in the type that comparisons expect: strings and binary values in any encoding, everything else in one.
    fn as_declared(&self, array: ArrayRef) -> Result<ArrayRef> {
        use DataType as D;
        let wrong = || internal(format!("column '{}' comes as {}, not as {}", self.name, array.data_type(), self.data_type));
        if self.ty == Some(PrimitiveType::Unknown) {
            return Ok(nulls(array.len()));
        }
        let leaf = match array.data_type() {
            D::Dictionary(_, leaf) => leaf.as_ref(),
            other => other,
        };
        match (leaf, &self.data_type) {
            (D::Null, _) => Ok(new_null_array(&self.data_type, array.len())),
            (D::Utf8 | D::LargeUtf8 | D::Utf8View, D::Utf8) => Ok(array),
            (D::Binary | D::LargeBinary | D::BinaryView, D::Binary) => Ok(array),
            (same, declared) if same == declared => spread(&array),
            (D::Timestamp(TimeUnit::Microsecond, _), D::Timestamp(TimeUnit::Microsecond, zone)) => {
                let plain = spread(&array)?;
                Ok(Arc::new(plain.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(zone.clone())))
            }
            (D::Timestamp(TimeUnit::Nanosecond, _), D::Timestamp(TimeUnit::Nanosecond, zone)) => {
                let plain = spread(&array)?;
                Ok(Arc::new(plain.as_primitive::<TimestampNanosecondType>().clone().with_timezone_opt(zone.clone())))
            }
            (D::Decimal128(_, scale), D::Decimal128(precision, declared)) if scale == declared => {
                let plain = spread(&array)?;
                let decimals = plain.as_primitive::<Decimal128Type>().clone();
                Ok(Arc::new(decimals.with_precision_and_scale(*precision, *declared).map_err(|_| wrong())?))
            }
            _ => Err(wrong()),
        }
    }
}
