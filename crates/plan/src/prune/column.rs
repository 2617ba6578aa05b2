//! A column that the filter reads, and its statistics in one file.

use super::domain::{Domain, Upper};
use fastdata_types::Value;
use fastdata_types::schema::PrimitiveType;

/// A primitive column, possibly in a struct, never in a list or map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PruneColumn {
    pub id: i32,
    pub ty: PrimitiveType,
    /// Whether a null count of zero means "no nulls": below an optional struct, writers differ in what they count.
    pub trust_null_count: bool,
}

/// What a manifest entry says of one column.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ColumnStats<'a> {
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
    pub values: Option<i64>,
    pub nulls: Option<i64>,
    pub nans: Option<i64>,
}

impl ColumnStats<'_> {
    /// Missing statistics leave everything possible: the file may lack the column, whose value is then a default.
    pub fn domain(&self, column: &PruneColumn, record_count: u64) -> Domain {
        let bound = |bytes: Option<&[u8]>| bytes.and_then(|b| Value::from_bytes(b, &column.ty)).filter(|value| !value.is_nan());
        // Counts are used only where they count what the specification says they count.
        let all_rows = self.values.and_then(|n| u64::try_from(n).ok()).is_some_and(|n| n == record_count) && record_count > 0;
        let all_null = all_rows && self.nulls.is_some() && self.nulls == self.values;
        let no_null = self.nulls == Some(0) && column.trust_null_count && (all_rows || self.values.is_none());
        if all_null {
            return Domain::only_null();
        }
        Domain {
            null: !no_null,
            nan: column.ty.is_float() && self.nans != Some(0),
            value: true,
            lower: bound(self.lower),
            upper: bound(self.upper).map(Upper::exact),
            buckets: vec![],
        }
        .checked()
    }
}
