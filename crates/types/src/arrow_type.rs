//! The Arrow type of each Iceberg type. The specification has no such table: this is ours.
//!
//! Contract: each field carries its Iceberg id in its metadata under `PARQUET:field_id`. A type that cannot be read is a typed
//! error that names the column.

use crate::error::{Error, Result, Stage};
use crate::request::StringEncoding;
use crate::schema::{Field, PrimitiveType, Schema, Type};
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema as ArrowSchema, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// The metadata key under which Arrow and Parquet keep a field's id.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";

pub fn arrow_schema(schema: &Schema, strings: StringEncoding) -> Result<ArrowSchema> {
    let fields = schema.fields.iter().map(|field| arrow_field(field, strings)).collect::<Result<Vec<_>>>()?;
    Ok(ArrowSchema::new(fields))
}

pub fn arrow_field(field: &Field, strings: StringEncoding) -> Result<ArrowField> {
    let data_type = arrow_data_type(&field.ty, strings).map_err(|e| e.context(format!("column '{}'", field.name)))?;
    let mut metadata = HashMap::from([(FIELD_ID_KEY.to_owned(), field.id.to_string())]);
    if field.ty == Type::Primitive(PrimitiveType::Uuid) {
        metadata.insert("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned());
    }
    let nullable = !field.required || field.ty == Type::Primitive(PrimitiveType::Unknown);
    Ok(ArrowField::new(&field.name, data_type, nullable).with_metadata(metadata))
}

pub fn arrow_data_type(ty: &Type, strings: StringEncoding) -> Result<DataType> {
    Ok(match ty {
        Type::Primitive(primitive) => primitive_arrow_type(primitive, strings)?,
        Type::Struct(s) => DataType::Struct(s.fields.iter().map(|f| arrow_field(f, strings)).collect::<Result<Fields>>()?),
        Type::List(l) => DataType::List(Arc::new(arrow_field(&l.element, strings)?)),
        Type::Map(m) => {
            let entries = Fields::from(vec![arrow_field(&m.key, strings)?, arrow_field(&m.value, strings)?]);
            DataType::Map(Arc::new(ArrowField::new("entries", DataType::Struct(entries), false)), false)
        }
    })
}

pub fn primitive_arrow_type(primitive: &PrimitiveType, strings: StringEncoding) -> Result<DataType> {
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        PrimitiveType::String => match strings {
            StringEncoding::Utf8 => DataType::Utf8,
            StringEncoding::Utf8View => DataType::Utf8View,
            StringEncoding::Dictionary => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        },
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => DataType::FixedSizeBinary(
            i32::try_from(*length).map_err(|_| Error::unsupported(Stage::Plan, format!("type {primitive}: longer than 2 GiB")))?,
        ),
        PrimitiveType::Binary => DataType::Binary,
        PrimitiveType::Unknown => DataType::Null,
        PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_) => {
            return Err(Error::unsupported(Stage::Plan, format!("type {primitive} is not supported yet"))
                .advice("leave the column out with --select"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_carry_their_ids_and_unreadable_types_name_the_column() {
        let schema =
            Schema::new(0, vec![Field::required(1, "id", PrimitiveType::Uuid), Field::optional(2, "v", PrimitiveType::Variant)]).unwrap();
        let error = arrow_schema(&schema, StringEncoding::Utf8).unwrap_err();
        assert!(error.message().contains("'v'") && error.message().contains("variant"), "{error}");
        let field = arrow_field(&schema.fields[0], StringEncoding::Utf8).unwrap();
        assert_eq!(field.metadata()[FIELD_ID_KEY], "1");
        assert_eq!(field.data_type(), &DataType::FixedSizeBinary(16));
    }
}
