//! Schemas and types from their JSON form (spec "Appendix C: JSON serialization").
//!
//! Contract: a type that no version of the specification up to 3 knows is `unsupported` and names the column; an impossible
//! parameter, a default of the wrong type or an id used twice is `corrupt`. Nesting is bounded by the depth check on the bytes.

use super::raw;
use fastdata_types::schema::StructType;
use fastdata_types::{Error, Field, PrimitiveType, Result, Schema, Stage, Type, Value};

/// Fields in all schemas of one table together. A table of a thousand schemas with a thousand columns each is within it.
const MAX_FIELDS: usize = 2_000_000;
/// Bytes of JSON of one default value.
const MAX_DEFAULT_BYTES: usize = 1 << 20;

/// Memory for the default values of all schemas of one table together: a few bytes of JSON may stand for a large value.
const MAX_DEFAULTS_TOGETHER: usize = 64 << 20;

/// Converts schemas, counting the fields and the default values of all of them.
#[derive(Default)]
pub struct Schemas {
    fields_seen: usize,
    default_bytes: usize,
}

impl Schemas {
    pub fn convert(&mut self, raw: raw::Schema) -> Result<Schema> {
        let id = raw.schema_id.unwrap_or(0);
        if raw.kind.as_deref() != Some("struct") {
            return Err(Error::corrupt(Stage::Catalog, format!("schema {id} is not of type struct")));
        }
        let fields = self.fields(raw.fields)?;
        let schema = Schema::new(id, fields).map_err(|e| e.context(format!("schema {id}")))?;
        Ok(schema.with_identifier_field_ids(raw.identifier_field_ids.unwrap_or_default()))
    }

    fn fields(&mut self, raw: Vec<raw::Field>) -> Result<Vec<Field>> {
        raw.into_iter().map(|field| self.field(field)).collect()
    }

    fn field(&mut self, raw: raw::Field) -> Result<Field> {
        self.count()?;
        let ty = self.convert_type(raw.ty, &raw.name)?;
        let initial_default = match raw.initial_default {
            Some(json) => default_value(json.get(), &ty).map_err(|e| e.context(format!("column '{}'", short(&raw.name))))?,
            None => None,
        };
        self.default_bytes += initial_default.as_ref().map_or(0, Value::heap_bytes);
        if self.default_bytes > MAX_DEFAULTS_TOGETHER {
            return Err(Error::limit(Stage::Catalog, format!("default values take more than {MAX_DEFAULTS_TOGETHER} bytes together"))
                .advice("expire old schemas of the table"));
        }
        Ok(Field { id: raw.id, name: raw.name, required: raw.required, ty, doc: raw.doc, initial_default })
    }

    fn convert_type(&mut self, raw: raw::Type, column: &str) -> Result<Type> {
        let nested = match raw {
            raw::Type::Named(name) => return primitive(&name, column).map(Type::Primitive),
            raw::Type::Nested(nested) => *nested,
        };
        let incomplete =
            || Error::corrupt(Stage::Catalog, format!("the {} type of column '{}' is incomplete", short(&nested.kind), short(column)));
        match nested.kind.as_str() {
            "struct" => Ok(Type::Struct(StructType { fields: self.fields(nested.fields.ok_or_else(incomplete)?)? })),
            "list" => {
                self.count()?;
                let id = nested.element_id.ok_or_else(incomplete)?;
                let required = nested.element_required.ok_or_else(incomplete)?;
                let element = nested.element.ok_or_else(incomplete)?;
                Ok(Type::list(id, required, self.convert_type(element, column)?))
            }
            "map" => {
                self.count()?;
                self.count()?;
                let (key_id, value_id) = nested.key_id.zip(nested.value_id).ok_or_else(incomplete)?;
                let required = nested.value_required.ok_or_else(incomplete)?;
                let (key, value) = (nested.key.ok_or_else(incomplete)?, nested.value.ok_or_else(incomplete)?);
                Ok(Type::map(key_id, self.convert_type(key, column)?, value_id, required, self.convert_type(value, column)?))
            }
            other => Err(unknown_type(other, column)),
        }
    }

    fn count(&mut self) -> Result<()> {
        self.fields_seen += 1;
        if self.fields_seen > MAX_FIELDS {
            return Err(Error::limit(Stage::Catalog, format!("the schemas of the table have more than {MAX_FIELDS} fields together"))
                .advice("expire old schemas of the table"));
        }
        Ok(())
    }
}

fn default_value(json: &str, ty: &Type) -> Result<Option<Value>> {
    if json.len() > MAX_DEFAULT_BYTES {
        return Err(Error::limit(Stage::Catalog, format!("the default value is larger than {MAX_DEFAULT_BYTES} bytes")));
    }
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|e| Error::corrupt(Stage::Catalog, "the default value is no JSON").source(e))?;
    Value::from_json(&value, ty)
}

fn primitive(name: &str, column: &str) -> Result<PrimitiveType> {
    let lower = name.to_ascii_lowercase();
    let inside = |prefix: &str, open: char, close: char| -> Option<String> {
        Some(lower.strip_prefix(prefix)?.trim_start().strip_prefix(open)?.strip_suffix(close)?.to_owned())
    };
    Ok(match lower.as_str() {
        "boolean" => PrimitiveType::Boolean,
        "int" => PrimitiveType::Int,
        "long" => PrimitiveType::Long,
        "float" => PrimitiveType::Float,
        "double" => PrimitiveType::Double,
        "date" => PrimitiveType::Date,
        "time" => PrimitiveType::Time,
        "timestamp" => PrimitiveType::Timestamp,
        "timestamptz" => PrimitiveType::Timestamptz,
        "timestamp_ns" => PrimitiveType::TimestampNs,
        "timestamptz_ns" => PrimitiveType::TimestamptzNs,
        "string" => PrimitiveType::String,
        "uuid" => PrimitiveType::Uuid,
        "binary" => PrimitiveType::Binary,
        "unknown" => PrimitiveType::Unknown,
        "variant" => PrimitiveType::Variant,
        _ if lower.starts_with("geometry") => PrimitiveType::Geometry(short(name)),
        _ if lower.starts_with("geography") => PrimitiveType::Geography(short(name)),
        _ => {
            if let Some(length) = inside("fixed", '[', ']') {
                let length = length.trim().parse().ok().filter(|n| *n <= i32::MAX as u32);
                return length.map(PrimitiveType::Fixed).ok_or_else(|| impossible(name, column));
            }
            if let Some(parameters) = inside("decimal", '(', ')') {
                return decimal(&parameters).ok_or_else(|| impossible(name, column));
            }
            return Err(unknown_type(name, column));
        }
    })
}

fn decimal(parameters: &str) -> Option<PrimitiveType> {
    let (precision, scale) = parameters.split_once(',')?;
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<u8>().ok()?);
    ((1..=38).contains(&precision) && scale <= precision).then_some(PrimitiveType::Decimal { precision, scale })
}

fn impossible(name: &str, column: &str) -> Error {
    Error::corrupt(Stage::Catalog, format!("column '{}' has the impossible type '{}'", short(column), short(name)))
}

fn unknown_type(name: &str, column: &str) -> Error {
    Error::unsupported(Stage::Catalog, format!("column '{}' has the type '{}', which is not known here", short(column), short(name)))
}

/// Names come from the file: a message shows at most this much of one.
pub fn short(name: &str) -> String {
    name.chars().take(80).collect()
}
