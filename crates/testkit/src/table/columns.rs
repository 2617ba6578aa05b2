//! Schemas, and values for their columns: common ones, and those at the edges of their types.

use super::shape::Columns;
use fastdata_types::{Field, PrimitiveType, Schema, Type, Value};
use rand::Rng;
use rand::rngs::StdRng;

/// Of the columns that every table has.
pub const ID: i32 = 1;
pub const CATEGORY: i32 = 2;
pub const DAY: i32 = 3;
pub const AT: i32 = 4;

const CATEGORIES: [&str; 5] = ["alpha", "alps", "beta/€ =%41", "", "gamma"];
const CITIES: [&str; 3] = ["Oslo", "Århus", "Lagos"];

pub fn schema(columns: Columns, format: u8) -> fastdata_types::Result<Schema> {
    let decimal = |precision, scale| PrimitiveType::Decimal { precision, scale };
    let mut fields = vec![
        Field::required(ID, "id", PrimitiveType::Long),
        Field::optional(CATEGORY, "category", PrimitiveType::String),
        Field::optional(DAY, "day", PrimitiveType::Date),
        Field::optional(AT, "at", PrimitiveType::Timestamptz),
        Field::optional(5, "score", PrimitiveType::Double),
        Field::optional(6, "small", PrimitiveType::Int),
        Field::optional(7, "ratio", PrimitiveType::Float),
        Field::optional(8, "price", decimal(9, 2)),
        Field::optional(9, "note", PrimitiveType::String),
    ];
    let mut next = fields.len() as i32;
    let mut id = || {
        next += 1;
        next
    };
    match columns {
        Columns::Flat => {}
        Columns::Primitives => {
            let mut types = vec![
                PrimitiveType::Boolean,
                PrimitiveType::Int,
                PrimitiveType::Long,
                PrimitiveType::Float,
                PrimitiveType::Double,
                decimal(9, 9),
                decimal(18, 0),
                decimal(38, 10),
                PrimitiveType::Date,
                PrimitiveType::Time,
                PrimitiveType::Timestamp,
                PrimitiveType::Timestamptz,
                PrimitiveType::String,
                PrimitiveType::Uuid,
                PrimitiveType::Fixed(5),
                PrimitiveType::Binary,
            ];
            if format >= 3 {
                types.extend([PrimitiveType::TimestampNs, PrimitiveType::TimestamptzNs, PrimitiveType::Unknown]);
            }
            for (nth, ty) in types.into_iter().enumerate() {
                let name = format!("c{nth}_{}", ty.to_string().replace(['(', ')', ',', '[', ']'], "_"));
                fields.push(Field::optional(id(), name, ty));
            }
        }
        Columns::Nested => {
            let user = id();
            let address = Type::structure(vec![
                Field::optional(id(), "city", PrimitiveType::String),
                Field::required(id(), "zip", PrimitiveType::Int),
            ]);
            let members = vec![
                Field::optional(id(), "name", PrimitiveType::String),
                Field::optional(id(), "address", address),
                Field::optional(id(), "labels", Type::list(id(), false, PrimitiveType::String)),
            ];
            fields.push(Field::optional(user, "user", Type::structure(members)));
            let point =
                Type::structure(vec![Field::optional(id(), "x", PrimitiveType::Double), Field::optional(id(), "y", PrimitiveType::Int)]);
            fields.push(Field::optional(id(), "points", Type::list(id(), false, point)));
            let measure =
                Type::structure(vec![Field::optional(id(), "n", PrimitiveType::Int), Field::optional(id(), "unit", PrimitiveType::String)]);
            fields.push(Field::optional(id(), "measures", Type::map(id(), PrimitiveType::String, id(), false, measure)));
            let inner = Type::list(id(), false, PrimitiveType::Long);
            fields.push(Field::optional(id(), "matrix", Type::list(id(), false, inner)));
            fields.push(Field::required(id(), "flags", Type::list(id(), true, PrimitiveType::Boolean)));
        }
    }
    Schema::new(0, fields)
}

/// One row of the schema. `id` is the row's own; columns that tables are partitioned by have few values.
pub fn row(schema: &Schema, id: i64, rng: &mut StdRng) -> Vec<Option<Value>> {
    schema.fields.iter().map(|field| column(field, id, rng)).collect()
}

fn column(field: &Field, id: i64, rng: &mut StdRng) -> Option<Value> {
    if field.id == ID {
        return Some(Value::Long(id));
    }
    if !field.required && rng.random_bool(0.15) {
        return None;
    }
    Some(match field.id {
        CATEGORY => Value::String(CATEGORIES[rng.random_range(0..CATEGORIES.len())].to_owned()),
        DAY => Value::Date([-1, 0, 19_723, 19_724][rng.random_range(0..4)]),
        // From the day before the epoch to three days after it.
        AT => Value::Timestamptz(rng.random_range(-30..60) * 3_600_000_000 + rng.random_range(0..3)),
        _ => return any(&field.ty, &field.name, rng),
    })
}

fn any(ty: &Type, name: &str, rng: &mut StdRng) -> Option<Value> {
    let nullable =
        |field: &Field, rng: &mut StdRng| if !field.required && rng.random_bool(0.2) { None } else { any(&field.ty, &field.name, rng) };
    Some(match ty {
        Type::Primitive(PrimitiveType::Unknown) => return None,
        Type::Primitive(_) if name == "city" => Value::String(CITIES[rng.random_range(0..CITIES.len())].to_owned()),
        Type::Primitive(primitive) => primitive_value(primitive, rng),
        Type::Struct(s) => Value::Struct(s.fields.iter().map(|f| nullable(f, rng)).collect()),
        Type::List(l) => Value::List((0..rng.random_range(0..4)).map(|_| nullable(&l.element, rng)).collect()),
        Type::Map(m) => {
            let key = |nth: usize, rng: &mut StdRng| match &m.key.ty {
                Type::Primitive(PrimitiveType::String) => Some(Value::String(format!("k{nth}"))),
                ty => any(ty, "", rng),
            };
            let entries = (0..rng.random_range(0..3)).filter_map(|nth| Some((key(nth, rng)?, nullable(&m.value, rng))));
            Value::Map(entries.collect())
        }
    })
}

fn primitive_value(ty: &PrimitiveType, rng: &mut StdRng) -> Value {
    let edge = rng.random_bool(0.2);
    let small = rng.random_range(-20i64..20);
    let long = |rng: &mut StdRng| if edge { [i64::MIN, i64::MAX, 0, -1][rng.random_range(0..4)] } else { small };
    // About a century around the epoch, so that every transform and every engine can take it.
    let instant = |per_second: i64, rng: &mut StdRng| {
        rng.random_range(-1_500_000_000i64..1_500_000_000) * per_second + rng.random_range(0..per_second)
    };
    let double = |rng: &mut StdRng| {
        if edge { [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0][rng.random_range(0..5)] } else { small as f64 / 4.0 }
    };
    match ty {
        PrimitiveType::Boolean => Value::Boolean(rng.random_bool(0.5)),
        PrimitiveType::Int if edge => Value::Int([i32::MIN, i32::MAX][rng.random_range(0..2)]),
        PrimitiveType::Int => Value::Int(small as i32),
        PrimitiveType::Long => Value::Long(long(rng)),
        PrimitiveType::Float => Value::Float(double(rng) as f32),
        PrimitiveType::Double => Value::Double(double(rng)),
        PrimitiveType::Decimal { precision, scale } => {
            let largest = 10i128.pow(u32::from(*precision)) - 1;
            let unscaled = if edge { [largest, -largest, 0][rng.random_range(0..3)] } else { i128::from(small) * 25 };
            Value::Decimal { unscaled, precision: *precision, scale: *scale }
        }
        PrimitiveType::Date => Value::Date((instant(1, rng) / 86_400) as i32),
        PrimitiveType::Time => Value::Time(rng.random_range(0..86_400_000_000)),
        PrimitiveType::Timestamp => Value::Timestamp(instant(1_000_000, rng)),
        PrimitiveType::Timestamptz => Value::Timestamptz(instant(1_000_000, rng)),
        PrimitiveType::TimestampNs => Value::TimestampNs(instant(1_000_000_000, rng)),
        PrimitiveType::TimestamptzNs => Value::TimestamptzNs(instant(1_000_000_000, rng)),
        PrimitiveType::Uuid => Value::Uuid(rng.random()),
        PrimitiveType::Fixed(length) => Value::Fixed((0..*length).map(|_| rng.random()).collect()),
        PrimitiveType::Binary => {
            let length = if edge { 0 } else { rng.random_range(1..30) };
            Value::Binary((0..length).map(|_| if edge { 0xff } else { rng.random() }).collect())
        }
        _ if edge => Value::String(
            ["", "\u{10ffff}", "a\0b", "\u{e9}\u{301}", "a very long text that no bound keeps whole"][rng.random_range(0..5)].to_owned(),
        ),
        _ => Value::String(format!("text {small}")),
    }
}
