//! The Parquet schema of a data file (spec "Parquet"), built from the Iceberg schema rather than from Arrow's.
//!
//! Contract: every field carries its Iceberg id (unless ids are left out on purpose), decimals take the narrowest physical type, uuids and
//! timestamps are annotated. [`leaves`] lists the columns in the order of the file.

use crate::manifest::decimal_width;
use crate::misuse;
use fastdata_types::{Error, Field, PrimitiveType, Result, Type};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{GroupTypeBuilder, SchemaDescriptor, Type as ParquetType};
use std::sync::Arc;

/// How the file names things.
#[derive(Debug, Clone, Copy)]
pub struct Naming {
    pub field_ids: bool,
    /// Names of the repeated group and of the element that old Hive writers used.
    pub hive_lists: bool,
}

pub fn descriptor(fields: &[Field], naming: Naming) -> Result<SchemaDescriptor> {
    let members = fields.iter().map(|f| node(f, &f.name, naming)).collect::<Result<Vec<_>>>()?;
    let root = ParquetType::group_type_builder("table").with_fields(members).build().map_err(impossible)?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn impossible(cause: ParquetError) -> Error {
    misuse(format!("no Parquet schema for this table: {cause}"))
}

fn node(field: &Field, name: &str, naming: Naming) -> Result<Arc<ParquetType>> {
    let repetition = if field.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let id = naming.field_ids.then_some(field.id);
    let built = match &field.ty {
        Type::Primitive(primitive) => primitive_node(name, primitive, repetition, id)?,
        Type::Struct(s) => {
            let members = s.fields.iter().map(|f| node(f, &f.name, naming)).collect::<Result<Vec<_>>>()?;
            group(name, members).with_repetition(repetition).with_id(id).build().map_err(impossible)?
        }
        Type::List(l) => {
            let (middle, element) = if naming.hive_lists { ("bag", "array_element") } else { ("list", "element") };
            let repeated = group(middle, vec![node(&l.element, element, naming)?]).with_repetition(Repetition::REPEATED);
            let annotated = group(name, vec![Arc::new(repeated.build().map_err(impossible)?)])
                .with_converted_type(ConvertedType::LIST)
                .with_logical_type(Some(LogicalType::List));
            annotated.with_repetition(repetition).with_id(id).build().map_err(impossible)?
        }
        Type::Map(m) => {
            let middle = if naming.hive_lists { "map" } else { "key_value" };
            let entries = vec![node(&m.key, "key", naming)?, node(&m.value, "value", naming)?];
            let repeated = group(middle, entries).with_repetition(Repetition::REPEATED).build().map_err(impossible)?;
            let annotated =
                group(name, vec![Arc::new(repeated)]).with_converted_type(ConvertedType::MAP).with_logical_type(Some(LogicalType::Map));
            annotated.with_repetition(repetition).with_id(id).build().map_err(impossible)?
        }
    };
    Ok(Arc::new(built))
}

fn primitive_node(name: &str, ty: &PrimitiveType, repetition: Repetition, id: Option<i32>) -> Result<ParquetType> {
    let timestamp = |utc: bool, unit: TimeUnit| Some(LogicalType::timestamp(utc, unit));
    let (physical, logical) = match ty {
        PrimitiveType::Boolean => (Physical::BOOLEAN, None),
        PrimitiveType::Int => (Physical::INT32, None),
        PrimitiveType::Long => (Physical::INT64, None),
        PrimitiveType::Float => (Physical::FLOAT, None),
        PrimitiveType::Double => (Physical::DOUBLE, None),
        PrimitiveType::Decimal { precision, scale } => {
            let physical = match precision {
                0..=9 => Physical::INT32,
                10..=18 => Physical::INT64,
                _ => Physical::FIXED_LEN_BYTE_ARRAY,
            };
            (physical, Some(LogicalType::decimal(i32::from(*scale), i32::from(*precision))))
        }
        PrimitiveType::Date => (Physical::INT32, Some(LogicalType::Date)),
        PrimitiveType::Time => (Physical::INT64, Some(LogicalType::time(false, TimeUnit::MICROS))),
        PrimitiveType::Timestamp => (Physical::INT64, timestamp(false, TimeUnit::MICROS)),
        PrimitiveType::Timestamptz => (Physical::INT64, timestamp(true, TimeUnit::MICROS)),
        PrimitiveType::TimestampNs => (Physical::INT64, timestamp(false, TimeUnit::NANOS)),
        PrimitiveType::TimestamptzNs => (Physical::INT64, timestamp(true, TimeUnit::NANOS)),
        PrimitiveType::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        PrimitiveType::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
        PrimitiveType::Fixed(_) => (Physical::FIXED_LEN_BYTE_ARRAY, None),
        PrimitiveType::Binary => (Physical::BYTE_ARRAY, None),
        PrimitiveType::Unknown | PrimitiveType::Variant | PrimitiveType::Geometry(_) | PrimitiveType::Geography(_) => {
            return Err(misuse(format!("column '{name}': type {ty} is not written")));
        }
    };
    let length = match ty {
        PrimitiveType::Uuid => 16,
        PrimitiveType::Fixed(length) => i32::try_from(*length).map_err(|_| misuse(format!("column '{name}': {ty} is too long")))?,
        PrimitiveType::Decimal { precision, .. } => decimal_width(*precision) as i32,
        _ => -1,
    };
    let (precision, scale) = match ty {
        PrimitiveType::Decimal { precision, scale } => (i32::from(*precision), i32::from(*scale)),
        _ => (-1, -1),
    };
    ParquetType::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_id(id)
        .with_logical_type(logical)
        .with_length(length)
        .with_precision(precision)
        .with_scale(scale)
        .build()
        .map_err(impossible)
}

fn group(name: &str, fields: Vec<Arc<ParquetType>>) -> GroupTypeBuilder<'_> {
    ParquetType::group_type_builder(name).with_fields(fields)
}

/// One column of the file.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub id: i32,
    pub ty: PrimitiveType,
    /// Below a list or a map: its bounds say nothing of rows and are left out.
    pub repeated: bool,
}

pub fn leaves(fields: &[Field]) -> Vec<Leaf> {
    let mut out = Vec::new();
    fields.iter().for_each(|field| collect(field, false, &mut out));
    out
}

fn collect(field: &Field, repeated: bool, out: &mut Vec<Leaf>) {
    match &field.ty {
        Type::Primitive(ty) => out.push(Leaf { id: field.id, ty: ty.clone(), repeated }),
        Type::Struct(s) => s.fields.iter().for_each(|f| collect(f, repeated, out)),
        Type::List(_) | Type::Map(_) => field.ty.children().into_iter().for_each(|f| collect(f, true, out)),
    }
}
