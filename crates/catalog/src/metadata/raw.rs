//! The JSON of a metadata file, as it stands there.
//!
//! Contract: what this version does not know is skipped without being kept. A key that is known and comes twice is refused, in
//! objects as in maps, so that two readers of one file cannot see two tables. Unknown keys may repeat.

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Read on its own first: everything else depends on it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Version {
    pub format_version: Option<i64>,
    /// Tells the metadata of a view, which looks alike.
    pub view_uuid: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Table {
    pub table_uuid: Option<String>,
    pub location: String,
    pub last_updated_ms: Option<i64>,
    pub last_sequence_number: Option<i64>,
    pub schema: Option<Schema>,
    pub schemas: Option<Vec<Schema>>,
    pub current_schema_id: Option<i32>,
    pub partition_spec: Option<Vec<PartitionField>>,
    pub partition_specs: Option<Vec<PartitionSpec>>,
    pub default_spec_id: Option<i32>,
    pub last_partition_id: Option<i32>,
    pub sort_orders: Option<Vec<SortOrder>>,
    pub default_sort_order_id: Option<i32>,
    pub properties: Option<Map<Option<Text>>>,
    pub current_snapshot_id: Option<SnapshotId>,
    pub snapshots: Option<Vec<Snapshot>>,
    pub snapshot_log: Option<Vec<LogEntry>>,
    pub refs: Option<Map<Ref>>,
    pub next_row_id: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Schema {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub schema_id: Option<i32>,
    pub fields: Vec<Field>,
    pub identifier_field_ids: Option<Vec<i32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Field {
    pub id: i32,
    pub name: String,
    pub required: bool,
    #[serde(rename = "type")]
    pub ty: Type,
    pub doc: Option<String>,
    pub initial_default: Option<Box<RawValue>>,
}

pub enum Type {
    Named(String),
    Nested(Box<Nested>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nested {
    #[serde(rename = "type")]
    pub kind: String,
    pub fields: Option<Vec<Field>>,
    pub element_id: Option<i32>,
    pub element: Option<Type>,
    pub element_required: Option<bool>,
    pub key_id: Option<i32>,
    pub key: Option<Type>,
    pub value_id: Option<i32>,
    pub value: Option<Type>,
    pub value_required: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartitionSpec {
    pub spec_id: i32,
    pub fields: Vec<PartitionField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartitionField {
    pub source_id: Option<i32>,
    pub source_ids: Option<Vec<i32>>,
    pub field_id: Option<i32>,
    pub name: String,
    pub transform: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SortOrder {
    pub order_id: i32,
    pub fields: Vec<SortField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SortField {
    pub source_id: Option<i32>,
    pub source_ids: Option<Vec<i32>>,
    pub transform: String,
    pub direction: String,
    pub null_order: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    pub snapshot_id: SnapshotId,
    pub parent_snapshot_id: Option<SnapshotId>,
    pub sequence_number: Option<i64>,
    pub timestamp_ms: i64,
    pub manifest_list: Option<String>,
    pub manifests: Option<Vec<String>>,
    pub summary: Option<Map<Option<Text>>>,
    pub schema_id: Option<i32>,
    pub first_row_id: Option<i64>,
    pub key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogEntry {
    pub timestamp_ms: i64,
    pub snapshot_id: SnapshotId,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ref {
    pub snapshot_id: SnapshotId,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MappedField {
    pub field_id: Option<i32>,
    pub names: Option<Vec<String>>,
    pub fields: Option<Vec<MappedField>>,
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TypeVisitor;
        impl<'de> Visitor<'de> for TypeVisitor {
            type Value = Type;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the name of a type or an object")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Type, E> {
                Ok(Type::Named(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Type, A::Error> {
                Nested::deserialize(de::value::MapAccessDeserializer::new(map)).map(|nested| Type::Nested(Box::new(nested)))
            }
        }
        deserializer.deserialize_any(TypeVisitor)
    }
}

/// The specification says a signed 64-bit number. Ids above that occur; their 64 bits are kept, so that they stay distinct.
#[derive(Clone, Copy)]
pub struct SnapshotId(pub i64);

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = SnapshotId;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a snapshot id")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<SnapshotId, E> {
                Ok(SnapshotId(v))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<SnapshotId, E> {
                Ok(SnapshotId(v.cast_signed()))
            }
        }
        deserializer.deserialize_i64(IdVisitor)
    }
}

/// An object whose keys are data. A key that comes twice is refused.
pub struct Map<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Map<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for MapVisitor<V> {
            type Value = Map<V>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map<V>, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if out.insert(key, value).is_some() {
                        return Err(de::Error::duplicate_field("of a map"));
                    }
                }
                Ok(Map(out))
            }
        }
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

/// A property or summary value. The specification says strings; some engines write numbers and booleans.
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string, number or boolean")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}
