//! What filters are refused, and in which words.

use super::{bound, refused, refuses, schema};
use crate::bind;
use fastdata_types::{ErrorKind, Expr};

#[test]
fn mistakes_are_named_with_position_and_types() {
    refuses(&[
        ("id > 1 AND city = 3", "filter, character 12: cannot compare column 'city' (string) with the integer 3"),
        ("city = 3.5", "with the number 3.5"),
        ("city > DATE '2020-01-01'", "with the date DATE '2020-01-01'"),
        ("ok = 1", "cannot compare column 'ok' (boolean) with the integer 1"),
        ("u = city", "cannot compare column 'u' (uuid) with column 'city' (string)"),
        ("bin = 'ab'", "cannot compare column 'bin' (binary) with the string 'ab'"),
        ("at = tz", "cannot compare column 'at' (timestamp) with column 'tz' (timestamptz)"),
        ("day = tz", "cannot compare column 'day' (date) with column 'tz'"),
        ("at = TIMESTAMPTZ '2020-01-01 00:00:00Z'", "cannot compare column 'at' (timestamp) with the timestamptz"),
        ("at = '2020-01-01 00:00:00+02:00'", "character 6: '2020-01-01 00:00:00+02:00' has a time zone"),
        ("day = '2020-13-01'", "character 7: '2020-13-01' is no date; one looks like '2024-02-29'"),
        ("DATE '2020-13-01' = day", "character 1: DATE '2020-13-01' is no date"),
        ("n IN (1, 'x')", "character 10: 'x' is no int"),
        ("n IN (1, DATE '2020-01-01')", "cannot compare column 'n' (int) with the date"),
        ("u = 'zz'", "is no uuid"),
        ("n", "the filter must be a condition, not column 'n' (int)"),
        ("5", "the filter must be a condition, not the integer 5"),
        ("n AND ok", "character 1: an operand of AND must be a condition"),
        ("NOT n", "character 5: the operand of NOT must be a condition"),
        ("wide = tiny", "cannot compare column 'wide' (decimal(38,0)) with column 'tiny'"),
        ("id = 1\n AND city = 3", "filter, line 2, character 6: cannot compare column 'city'"),
        ("'äöü' = city AND city = 3", "filter, character 18: cannot compare"),
        ("n = ", "character 5: expected a value, found the end of the filter"),
        ("n = 1 n = 2", "character 7: expected AND, OR or the end of the filter, found 'n'"),
        ("(n = 1", "character 7: expected ')', found the end"),
        ("n = 1)", "expected AND, OR or the end of the filter, found ')'"),
        ("", "the filter is empty"),
        ("  -- nothing", "the filter is empty"),
        ("n = 'a", "character 5: this string has no closing quote"),
        ("\"n = 1", "character 1: this quoted name has no closing quote"),
        ("n = 1 /* ", "character 7: this comment has no end"),
        ("n = 5abc", "character 5: '5abc' is neither a number nor a name"),
        ("n = X'abc'", "X'...' holds an even number of hexadecimal digits"),
        ("n = 1 § 2", "a filter does not contain the character"),
        ("1 < n < 3", "character 7: comparisons do not chain"),
        ("n IN ()", "expected at least one value"),
        ("n IN 3", "expected a list in parentheses after IN"),
        ("n IS 3", "expected NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM after IS"),
        ("n BETWEEN 1 OR 2", "expected AND between the bounds of BETWEEN"),
        ("n. = 1", "expected a name after '.'"),
        ("AND", "expected a value, found 'AND'"),
    ]);
    assert!(refused("at = tz").advice_text().unwrap().contains("CAST"));
    assert!(refused("bin = 'ab'").advice_text().unwrap().contains("X'"));
}

#[test]
fn what_filters_do_not_know_is_refused_by_name() {
    refuses(&[
        ("id IN (SELECT 1)", "a subquery is not supported"),
        ("(SELECT * FROM t) = 1", "a subquery is not supported"),
        ("EXISTS (SELECT 1)", "a subquery is not supported"),
        ("lower(city) = 'a'", "character 1: the function 'lower' is not supported"),
        ("count(*) > 1", "the aggregate function 'count' is not supported"),
        ("a.f(1) = 2", "the function 'a.f' is not supported"),
        ("CASE WHEN ok THEN 1 END = 1", "CASE is not supported"),
        ("day > INTERVAL '1' DAY", "INTERVAL is not supported"),
        ("city || 'a' = 'b'", "the operator '||' is not supported"),
        ("city ~ 'a'", "the operator '~' is not supported"),
        ("city RLIKE 'a'", "the operator RLIKE is not supported"),
        ("city SIMILAR TO 'a'", "the operator SIMILAR is not supported"),
        ("tz AT TIME ZONE 'UTC' = at", "the operator AT is not supported"),
        ("tags[1] = 'a'", "a subscript is not supported"),
        ("id == 1", "'==' is not supported"),
        ("id <=> 1", "'<=>' is not supported"),
        ("id = ?", "a parameter is not supported"),
        ("id = $1", "a filter does not contain the character '$'"),
        ("(id, n) = (1, 2)", "a row of several values is not supported"),
        ("city = E'a'", "a literal of the kind E'...' is not supported"),
        ("id BETWEEN SYMMETRIC 2 AND 1", "BETWEEN SYMMETRIC is not supported"),
        ("*", "'*' is not supported"),
        ("user.* = 1", "'*' is not supported"),
        ("id = 1; id = 2", "expected AND, OR or the end of the filter, found ';'"),
    ]);
}

#[test]
fn depth_and_length_are_limited_and_long_chains_are_not() {
    for (open, close) in
        [("(", ")"), ("NOT ", ""), ("- ", ""), ("CAST(", " AS INT)"), ("n IN (", ")"), ("n = (", ")"), ("n BETWEEN (", ") AND 2")]
    {
        let error = refused(&format!("{}n{}", open.repeat(5000), close.repeat(5000)));
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{open}: {error}");
    }
    assert_eq!(refused(&format!("n{} = 1", " + 1".repeat(500))).kind(), ErrorKind::LimitExceeded);
    assert_eq!(refused(&format!("n{}", " IS NULL".repeat(500))).kind(), ErrorKind::LimitExceeded);
    assert_eq!(refused(&format!("n = 1{}", " ".repeat(70_000))).kind(), ErrorKind::LimitExceeded);
    bound(&format!("{}ok{}", "(".repeat(150), ")".repeat(150)));
    bound(&format!("{}ok", "NOT ".repeat(150)));
    for word in ["AND", "OR"] {
        let (Expr::And(parts) | Expr::Or(parts)) = bound(&format!("ok{}", format!(" {word} ok").repeat(7000))) else { panic!() };
        assert_eq!(parts.len(), 7001);
    }
}

#[test]
fn the_deepest_filters_need_little_stack() {
    let work = || {
        for (open, close) in
            [("(", ")"), ("NOT ", ""), ("NOT (", ")"), ("ok = (", ")"), ("(ok AND ", ")"), ("(ok OR NOT ", ")"), ("ok IN (n = 1, ", ")")]
        {
            for levels in [60, 95, 190] {
                let _ = bind(&format!("{}ok{}", open.repeat(levels), close.repeat(levels)), &schema());
            }
        }
        for (open, close) in
            [("- ", ""), ("CAST(", " AS BIGINT)"), ("CAST(CAST(", " AS BIGINT) AS INT)"), ("n + (", ")"), ("-CAST(-", " AS INT)")]
        {
            for levels in [60, 95, 190] {
                let _ = bind(&format!("{}n{} = 1", open.repeat(levels), close.repeat(levels)), &schema());
            }
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn repeating_an_operand_cannot_make_the_expression_explode() {
    let nested = (0..40).fold("ok".to_owned(), |inner, _| format!("({inner}) IS TRUE"));
    assert_eq!(refused(&nested).kind(), ErrorKind::LimitExceeded);
    let nested = (0..40).fold("ok".to_owned(), |inner, _| format!("({inner}) BETWEEN FALSE AND TRUE"));
    assert_eq!(refused(&nested).kind(), ErrorKind::LimitExceeded);
    let nested = (0..40).fold("ok".to_owned(), |inner, _| format!("({inner}) IS DISTINCT FROM ok"));
    assert_eq!(refused(&nested).kind(), ErrorKind::LimitExceeded);
}
