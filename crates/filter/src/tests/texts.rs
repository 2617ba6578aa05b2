//! Whatever the text: no panic, and what is bound keeps the promises of types.

use super::{check_types, schema};
use crate::bind;
use proptest::prelude::*;

const PIECES: [&str; 78] = [
    "id",
    "n",
    "f",
    "d",
    "price",
    "city",
    "day",
    "at",
    "tz",
    "at_ns",
    "u",
    "bin",
    "fix",
    "ok",
    "nothing",
    "time",
    "wide",
    "tiny",
    "user",
    "user.address.zip",
    "tags",
    "\"odd name\"",
    "_pos",
    "AND",
    "OR",
    "NOT",
    "IS",
    "NULL",
    "TRUE",
    "FALSE",
    "UNKNOWN",
    "IN",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "ESCAPE",
    "DISTINCT",
    "FROM",
    "CAST",
    "AS",
    "INT",
    "DOUBLE",
    "PRECISION",
    "DECIMAL",
    "TIMESTAMP",
    "WITH",
    "TIME",
    "ZONE",
    "DATE",
    "(",
    ")",
    ",",
    ".",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "<",
    ">=",
    "<>",
    "::",
    "1",
    "2.5",
    "1e400",
    "9223372036854775807",
    "'a'",
    "'2020-01-01'",
    "'5'",
    "'NaN'",
    "X'00ff'",
    "'%_'",
    "''",
    "'",
    "\"",
    "SELECT",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_gives_an_expression_or_an_error(text in "\\PC{0,80}") {
        let _ = bind(&text, &schema());
    }

    #[test]
    fn any_sequence_of_tokens_gives_a_typed_expression_or_an_error(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14)) {
        if let Ok(expr) = bind(&pieces.join(" "), &schema()) {
            check_types(&expr);
        }
    }

    #[test]
    fn any_comparison_is_typed_or_refused(
        l in prop::sample::select(&PIECES[..22]), r in prop::sample::select(&PIECES[..22]), lit in prop::sample::select(&PIECES[63..73]),
        op in prop::sample::select(&["=", "<", "+ 1 >=", "IN (1, NULL,", "IS DISTINCT FROM", "BETWEEN NULL AND", "* 2.5 <"][..])
    ) {
        let close = if op.starts_with("IN") { ")" } else { "" };
        for other in [r, lit] {
            if let Ok(expr) = bind(&format!("{l} {op} {other}{close}"), &schema()) {
                check_types(&expr);
            }
        }
    }
}
