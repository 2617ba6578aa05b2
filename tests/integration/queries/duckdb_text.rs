//! Values as DuckDB's tests spell them.
//!
//! Problem: the expected rows are text: NULL is `NULL`, a blob `\x01a`, a struct `{'a': 1}`, a map `{k=v}`, a timestamp with a zone
//! stands in the session's zone. Contract: two values have the same text here exactly where they are equal. How: `cell` writes one of our
//! JSON values by the type that `describe` tells; `restated` removes from an expected text what depends on the session or on who wrote the
//! test: the zone, booleans as numbers, more digits than a float has.

use chrono::{NaiveDateTime, TimeDelta};
use serde_json::Value;

/// One value of a scan's jsonl; `field` is its column in `describe`.
pub fn cell(value: &Value, field: &Value) -> String {
    match spelled(value, field, false) {
        text if text.is_empty() => "(empty)".to_owned(),
        text => text,
    }
}

fn spelled(value: &Value, field: &Value, nested: bool) -> String {
    let (ty, children) = (field["type"].as_str().unwrap(), field["fields"].as_array());
    let all = |values: Vec<String>| values.join(", ");
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) if ty.starts_with("list<") => {
            format!("[{}]", all(items.iter().map(|item| spelled(item, &children.unwrap()[0], true)).collect()))
        }
        Value::Object(entries) if ty.starts_with("map<") => {
            let value_type = &children.unwrap()[1];
            format!(
                "{{{}}}",
                all(entries.iter().map(|(key, value)| format!("{}={}", quoted(key), spelled(value, value_type, true))).collect())
            )
        }
        Value::Object(values) if ty.starts_with("struct<") => {
            let named = |child: &Value| {
                let name = child["name"].as_str().unwrap();
                format!("'{name}': {}", spelled(&values[name], child, true))
            };
            format!("{{{}}}", all(children.unwrap().iter().map(named).collect()))
        }
        Value::String(text) => match ty {
            "binary" => blob(text),
            fixed if fixed.starts_with("fixed[") => blob(text),
            timestamp if timestamp.starts_with("timestamp") => in_quotes_if(nested, instant(text)),
            "time" => in_quotes_if(nested, shortened(text)),
            "string" if nested => quoted(text),
            _ => text.clone(),
        },
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        other => panic!("no text for {other} of type {ty}"),
    }
}

fn in_quotes_if(nested: bool, text: String) -> String {
    if nested { format!("'{text}'") } else { text }
}

/// A text within a nested value is quoted where it could be mistaken.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.trim() == text
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(['{', '}', '[', ']', '(', ')', ',', ':', '=', '"', '\'']);
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "\\'")) }
}

/// Hexadecimal digits as a blob: printable ASCII as it is, all else `\xAB`.
fn blob(hex: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let spelled = |byte: u8| match byte {
        b'\\' | b'\'' | b'"' => format!("\\x{byte:02X}"),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    };
    (0..hex.len()).step_by(2).map(|at| spelled(byte(at))).collect()
}

/// `2026-01-31T12:34:56.120000+00:00` as `2026-01-31 12:34:56.12+00`.
fn instant(text: &str) -> String {
    match text.strip_suffix("+00:00") {
        Some(text) => format!("{}+00", shortened(&text.replace('T', " "))),
        None => shortened(&text.replace('T', " ")),
    }
}

/// A fraction of a second without the zeros at its end.
fn shortened(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').to_owned() } else { text.to_owned() }
}

/// An expected cell of a column of this type, free of the session's settings.
pub fn restated(expected: &str, ty: &str) -> String {
    match (ty, expected, expected.parse::<f32>()) {
        ("boolean", "1", _) => return "true".to_owned(),
        ("boolean", "0", _) => return "false".to_owned(),
        // Some tests write the digits of a double.
        ("float", _, Ok(nearest)) => return format!("{nearest:?}"),
        _ => {}
    }
    let mut out = String::new();
    let mut rest = expected;
    while let Some(first) = rest.chars().next() {
        if let Some((utc, after)) = zoned(rest) {
            out.push_str(&utc);
            rest = after;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The timestamp with a zone that a text begins with, in UTC, and what comes after it.
fn zoned(text: &str) -> Option<(String, &str)> {
    let (local, rest) = NaiveDateTime::parse_and_remainder(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    let sign = match rest.chars().next()? {
        '+' => -1,
        '-' => 1,
        _ => return None,
    };
    let hours: i64 = rest.get(1..3)?.parse().ok()?;
    let minutes: Option<i64> = rest.get(3..6).and_then(|part| part.strip_prefix(':')).and_then(|digits| digits.parse().ok());
    let utc = local.checked_add_signed(TimeDelta::minutes(sign * (hours * 60 + minutes.unwrap_or(0))))?;
    let after = &rest[if minutes.is_some() { 6 } else { 3 }..];
    Some((format!("{}+00", shortened(&utc.format("%Y-%m-%d %H:%M:%S%.f").to_string())), after))
}

/// A line of what a command lists as the cells that a function of DuckDB gives: `describe` as DESCRIBE; of `files` path, format,
/// rows and data sequence number of ICEBERG_METADATA; of `snapshots` whether ICEBERG_SNAPSHOTS has no manifest list.
pub fn listed(command: &str, row: &Value) -> Vec<String> {
    let text = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{key} missing in {row}")).to_owned();
    match command {
        "describe" => {
            let nullable = if row["required"] == true { "NO" } else { "YES" };
            [text("name"), text("type").to_uppercase(), nullable.to_owned(), "NULL".to_owned(), "NULL".to_owned(), "NULL".to_owned()]
                .to_vec()
        }
        "files" => vec![text("path"), text("format").to_uppercase(), text("rows"), text("sequenceNumber")],
        "snapshots" => vec![row["manifestList"].is_null().to_string()],
        other => panic!("{other} lists nothing"),
    }
}

#[test]
fn values_are_spelled_as_duckdb_spells_them() {
    let field = |ty: &str| serde_json::json!({"name": "c", "type": ty});
    let of = |ty: &str, value: Value| cell(&value, &field(ty));
    assert_eq!(of("binary", "01ff61".into()), "\\x01\\xFFa");
    assert_eq!(of("string", "".into()), "(empty)");
    assert_eq!(of("long", Value::Null), "NULL");
    assert_eq!(of("timestamptz", "2026-01-31T12:00:00.120000+00:00".into()), "2026-01-31 12:00:00.12+00");
    assert_eq!(of("timestamp", "2026-01-31T12:00:00".into()), "2026-01-31 12:00:00");
    let nested = serde_json::json!({"name": "c", "type": "struct<s: string, t: time>", "fields": [
        {"name": "s", "type": "string"}, {"name": "t", "type": "time"}]});
    assert_eq!(cell(&serde_json::json!({"s": "a, b", "t": "12:00:00"}), &nested), "{'s': 'a, b', 't': '12:00:00'}");
}

#[test]
fn expected_texts_lose_what_depends_on_the_session_and_nothing_else() {
    assert_eq!(restated("2023-05-15 16:30:45+02", "timestamptz"), "2023-05-15 14:30:45+00");
    assert_eq!(
        restated("{'t': '1970-01-01 01:00:00.012345+01', 'n': NULL}", "struct<>"),
        "{'t': '1970-01-01 00:00:00.012345+00', 'n': NULL}"
    );
    assert_eq!(restated("2023-05-15 16:30:45-03:30", "timestamptz"), "2023-05-15 20:00:45+00");
    assert_eq!(restated("2023-05-15 16:30:45", "timestamp"), "2023-05-15 16:30:45");
    assert_eq!((restated("1", "boolean").as_str(), restated("1", "int").as_str()), ("true", "1"));
    assert_eq!(restated("3.141592653589793", "float"), "3.1415927");
    assert_eq!(restated("Zoë", "string"), "Zoë");
}
