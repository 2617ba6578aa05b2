//! Rows side by side: what is missing, what is too much, what is out of order.

use arrow::array::RecordBatch;
use fastdata_types::{Result, Schema, Value};
use fastdata_write::values;

/// One line of text per row, exact: NaN is itself, -0.0 is not 0.0.
pub fn lines<'a>(rows: impl IntoIterator<Item = &'a Vec<Option<Value>>>) -> Vec<String> {
    rows.into_iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" | ")).collect()
}

fn text(value: &Option<Value>) -> String {
    value.as_ref().map_or("NULL".to_owned(), |v| format!("{v:?}"))
}

/// Compares what a scan gave with the rows it should give, in that order or in any. `None` if they are the same; otherwise the first
/// differences, for the message of an assertion.
pub fn differences(wanted: &[Vec<Option<Value>>], given: &[RecordBatch], schema: &Schema, ordered: bool) -> Result<Option<String>> {
    let mut found = Vec::new();
    for batch in given {
        found.extend(values::rows(batch, schema)?);
    }
    let (mut wanted, mut found) = (lines(wanted), lines(&found));
    if !ordered {
        wanted.sort();
        found.sort();
    }
    if wanted == found {
        return Ok(None);
    }
    let counts = format!("{} rows wanted, {} given", wanted.len(), found.len());
    let mut out = vec![counts];
    if ordered {
        let at = wanted.iter().zip(&found).position(|(w, f)| w != f).unwrap_or(wanted.len().min(found.len()));
        let of = |rows: &[String]| rows.get(at).cloned().unwrap_or("nothing".to_owned());
        out.push(format!("first difference at row {at}\n  wanted {}\n  given  {}", of(&wanted), of(&found)));
    }
    let show = |label: &str, these: &[String], those: &[String]| {
        let mut rest = those.to_vec();
        let lacking = these.iter().filter(|line| match rest.iter().position(|other| other == *line) {
            Some(at) => {
                rest.swap_remove(at);
                false
            }
            None => true,
        });
        lacking.take(5).map(|line| format!("  {label} {line}")).collect::<Vec<_>>()
    };
    out.extend(show("missing", &wanted, &found));
    out.extend(show("too much", &found, &wanted));
    Ok(Some(out.join("\n")))
}
