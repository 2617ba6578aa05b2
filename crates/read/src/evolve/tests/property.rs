//! Random schemas, values and evolutions, held against an oracle that works on one value at a time.

use super::*;
use proptest::prelude::*;

/// A small deterministic generator, so that a failing case is one number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
    fn chance(&mut self, one_in: u64) -> bool {
        self.roll(one_in) == 0
    }
    fn id(&mut self, next: &mut i32) -> i32 {
        *next += 1 + self.roll(3) as i32;
        *next
    }

    fn primitive(&mut self) -> PrimitiveType {
        match self.roll(15) {
            0 => PrimitiveType::Boolean,
            1 => PrimitiveType::Int,
            2 => PrimitiveType::Long,
            3 => PrimitiveType::Float,
            4 => PrimitiveType::Double,
            5 => PrimitiveType::Decimal { precision: 5 + self.roll(20) as u8, scale: 2 },
            6 => PrimitiveType::Date,
            7 => PrimitiveType::Time,
            8 => PrimitiveType::Timestamp,
            9 => PrimitiveType::TimestamptzNs,
            10 => PrimitiveType::Uuid,
            11 => PrimitiveType::Fixed(5),
            12 => PrimitiveType::Binary,
            _ => PrimitiveType::String,
        }
    }

    fn fields(&mut self, depth: u32, next: &mut i32) -> Vec<IcebergField> {
        let count = 1 + self.roll(4);
        (0..count).map(|_| self.field(depth, next)).collect()
    }

    fn field(&mut self, depth: u32, next: &mut i32) -> IcebergField {
        let id = self.id(next);
        IcebergField::new(id, format!("f{id}"), self.chance(3), self.ty(depth, next))
    }

    fn ty(&mut self, depth: u32, next: &mut i32) -> Type {
        match self.roll(if depth == 0 { 1 } else { 6 }) {
            3 => Type::structure(self.fields(depth - 1, next)),
            4 => Type::list(self.id(next), self.chance(2), self.ty(depth - 1, next)),
            5 => Type::map(self.id(next), self.ty(0, next), self.id(next), self.chance(2), self.ty(depth - 1, next)),
            _ => Type::Primitive(self.primitive()),
        }
    }

    fn value(&mut self, field: &IcebergField) -> Option<Value> {
        (field.required || !self.chance(3)).then(|| self.value_of(&field.ty))
    }

    fn value_of(&mut self, ty: &Type) -> Value {
        let int = self.roll(2_000_000) as i32 - 1_000_000;
        match ty {
            Type::Struct(s) => Value::Struct(s.fields.iter().map(|f| self.value(f)).collect()),
            Type::List(list) => Value::List((0..self.roll(4)).map(|_| self.value(&list.element)).collect()),
            Type::Map(map) => Value::Map((0..self.roll(3)).map(|_| (self.value_of(&map.key.ty), self.value(&map.value))).collect()),
            Type::Primitive(primitive) => match primitive {
                PrimitiveType::Boolean => Value::Boolean(int > 0),
                PrimitiveType::Int => Value::Int(int),
                PrimitiveType::Long => Value::Long(i64::from(int)),
                PrimitiveType::Float => Value::Float(int as f32 / 4.0),
                PrimitiveType::Double => Value::Double(f64::from(int) / 4.0),
                PrimitiveType::Decimal { precision, scale } => {
                    Value::Decimal { unscaled: i128::from(int) % 10i128.pow(u32::from(*precision)), precision: *precision, scale: *scale }
                }
                PrimitiveType::Date => Value::Date(int / 20),
                PrimitiveType::Time => Value::Time(i64::from(int).abs()),
                PrimitiveType::Timestamp => Value::Timestamp(i64::from(int)),
                PrimitiveType::TimestampNs => Value::TimestampNs(i64::from(int)),
                PrimitiveType::TimestamptzNs => Value::TimestamptzNs(i64::from(int)),
                PrimitiveType::Uuid => Value::Uuid([int as u8; 16]),
                PrimitiveType::Fixed(length) => Value::Fixed(vec![int as u8; *length as usize]),
                PrimitiveType::Binary => Value::Binary(vec![int as u8; self.roll(20) as usize]),
                _ => Value::String("abcdefghijklmnopqrst"[..self.roll(20) as usize].to_owned()),
            },
        }
    }

    /// The fields of a level some schema changes later.
    fn evolve(&mut self, fields: &[IcebergField], next: &mut i32) -> Vec<IcebergField> {
        let mut out: Vec<IcebergField> = Vec::new();
        for field in fields {
            if self.chance(5) {
                continue;
            }
            let mut field = IcebergField { ty: self.evolve_type(&field.ty, next), ..field.clone() };
            field.required &= !self.chance(2);
            if self.chance(3) {
                field.name = format!("renamed{}", field.id);
            }
            out.push(field);
        }
        while self.chance(2) || out.is_empty() {
            let mut added = self.field(1, next);
            if added.required || self.chance(2) {
                added.initial_default = Some(self.value_of(&added.ty));
            }
            out.push(added);
        }
        for at in (1..out.len()).rev() {
            out.swap(at, self.roll(at as u64 + 1) as usize);
        }
        out
    }

    fn evolve_type(&mut self, ty: &Type, next: &mut i32) -> Type {
        let mut child = |dice: &mut Dice, field: &IcebergField| IcebergField { ty: dice.evolve_type(&field.ty, next), ..field.clone() };
        match ty {
            Type::Struct(s) => Type::structure(self.evolve(&s.fields, next)),
            Type::List(list) => {
                let element = child(self, &list.element);
                Type::list(element.id, element.required && !self.chance(2), element.ty)
            }
            Type::Map(map) => {
                let (key, value) = (child(self, &map.key), child(self, &map.value));
                Type::map(key.id, key.ty, value.id, value.required && !self.chance(2), value.ty)
            }
            Type::Primitive(primitive) if self.chance(2) => Type::Primitive(match primitive {
                PrimitiveType::Int => PrimitiveType::Long,
                PrimitiveType::Float => PrimitiveType::Double,
                PrimitiveType::Decimal { precision, scale } => {
                    PrimitiveType::Decimal { precision: precision + self.roll(10) as u8, scale: *scale }
                }
                PrimitiveType::Date if self.chance(2) => PrimitiveType::Timestamp,
                PrimitiveType::Date => PrimitiveType::TimestampNs,
                other => other.clone(),
            }),
            Type::Primitive(primitive) => Type::Primitive(primitive.clone()),
        }
    }
}

/// What the specification says a field of the target is, given the value of its parent in the file.
fn oracle(
    siblings: &[IcebergField],
    values: &[Option<Value>],
    target: &IcebergField,
    constants: &HashMap<i32, Option<Value>>,
) -> Option<Value> {
    match siblings.iter().position(|f| f.id == target.id) {
        Some(at) => projected(values[at].as_ref()?, &siblings[at].ty, &target.ty, constants),
        None => constants.get(&target.id).cloned().unwrap_or_else(|| target.initial_default.clone()),
    }
}

fn projected(value: &Value, from: &Type, to: &Type, constants: &HashMap<i32, Option<Value>>) -> Option<Value> {
    let child = |value: &Option<Value>, from: &IcebergField, to: &IcebergField| projected(value.as_ref()?, &from.ty, &to.ty, constants);
    Some(match (value, from, to) {
        (Value::Struct(values), Type::Struct(from), Type::Struct(to)) => {
            Value::Struct(to.fields.iter().map(|field| oracle(&from.fields, values, field, constants)).collect())
        }
        (Value::List(items), Type::List(from), Type::List(to)) => {
            Value::List(items.iter().map(|item| child(item, &from.element, &to.element)).collect())
        }
        (Value::Map(entries), Type::Map(from), Type::Map(to)) => {
            let entry = |(key, value): &(Value, Option<Value>)| {
                (child(&Some(key.clone()), &from.key, &to.key).expect("keys are not null"), child(value, &from.value, &to.value))
            };
            Value::Map(entries.iter().map(entry).collect())
        }
        (_, _, Type::Primitive(to)) => match (value, to) {
            (Value::Int(v), PrimitiveType::Long) => Value::Long(i64::from(*v)),
            (Value::Float(v), PrimitiveType::Double) => Value::Double(f64::from(*v)),
            (Value::Decimal { unscaled, .. }, PrimitiveType::Decimal { precision, scale }) => {
                Value::Decimal { unscaled: *unscaled, precision: *precision, scale: *scale }
            }
            (Value::Date(v), PrimitiveType::Timestamp) => Value::Timestamp(i64::from(*v) * 86_400_000_000),
            (Value::Date(v), PrimitiveType::TimestampNs) => Value::TimestampNs(i64::from(*v) * 86_400_000_000_000),
            _ => value.clone(),
        },
        _ => unreachable!("evolution keeps shapes"),
    })
}

fn check(seed: u64) {
    let dice = &mut Dice(seed);
    let mut next = 0;
    let file = schema(dice.fields(3, &mut next));
    let target = schema(dice.evolve(&file.fields, &mut next));
    let rows: Vec<Row> = (0..dice.roll(12) + 1).map(|_| file.fields.iter().map(|f| dice.value(f)).collect()).collect();
    let added: Vec<&IcebergField> = target.fields.iter().filter(|f| !f.required && f.ty.as_primitive().is_some()).collect();
    let mut constants = HashMap::new();
    for field in added {
        if dice.chance(3) {
            constants.insert(field.id, (!dice.chance(3)).then(|| dice.value_of(&field.ty)));
        }
    }
    let expected: Vec<Row> =
        rows.iter().map(|row| target.fields.iter().map(|field| oracle(&file.fields, row, field, &constants)).collect()).collect();
    for (bytes, mapping) in
        [(write(&file, &rows), None), (write_without_ids(&file, &rows), Some(NameMapping { fields: mapping_of(&file.fields) }))]
    {
        for strings in [StringEncoding::Utf8, StringEncoding::Utf8View, StringEncoding::Dictionary] {
            let views = dice.chance(2);
            let reading = Reading { mapping: mapping.clone(), constants: constants.clone(), strings, views, ..reading(&target) };
            assert_eq!(reading.rows(&bytes).expect("evolution within the rules"), expected, "seed {seed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_evolution_reads_what_the_specification_says_of_each_value(seed in any::<u64>()) {
        check(seed);
    }
}
