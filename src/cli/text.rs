//! How figures and lists look to a person.

use comfy_table::{ContentArrangement, Table, presets};

/// Instead of a figure that a policy hides.
pub const HIDDEN: &str = "hidden";

/// `1.2 GiB`, `640 B`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1 234 567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `2026-01-31 12:00:00 UTC` of milliseconds from the epoch.
pub fn time(milliseconds: i64) -> String {
    chrono::DateTime::from_timestamp_millis(milliseconds)
        .map_or_else(|| format!("{milliseconds} ms"), |time| time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())
}

/// Milliseconds with one decimal of microseconds.
pub fn micros(us: u64) -> String {
    if us >= 10_000_000 { format!("{:.1} s", us as f64 / 1e6) } else { format!("{:.1} ms", us as f64 / 1e3) }
}

/// Terminals that do not know how wide they are say 0.
const NARROWEST: u16 = 20;

/// A table with a header, as wide as the terminal at most.
pub fn table(header: &[&str]) -> Table {
    let mut table = headless_table();
    table.set_header(header.to_vec());
    table
}

pub fn headless_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let fits =
        if table.width().is_some_and(|width| width < NARROWEST) { ContentArrangement::Disabled } else { ContentArrangement::Dynamic };
    table.set_content_arrangement(fits);
    table
}

/// Text from a table or a name, with control characters shown, so that it cannot drive the terminal.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(bytes(640), "640 B");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(count(1234567), "1 234 567");
        assert_eq!(count(12), "12");
        assert_eq!(time(0), "1970-01-01 00:00:00.000 UTC");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
