//! What filters mean and what is refused, each by the words it is refused with.

use crate::bind;
use fastdata_types::expr::ArithmeticOp;
use fastdata_types::schema::{Field, metadata_column};
use fastdata_types::{Error, ErrorKind, Expr, PrimitiveType, Schema, Type, Value};
use proptest::prelude::*;

fn schema() -> Schema {
    use PrimitiveType as P;
    let address = Type::structure(vec![Field::optional(42, "city", P::String), Field::optional(43, "zip", P::Int)]);
    let mut fields = vec![
        Field::required(1, "id", P::Long),
        Field::optional(2, "n", P::Int),
        Field::optional(3, "f", P::Float),
        Field::optional(4, "d", P::Double),
        Field::optional(5, "price", P::Decimal { precision: 9, scale: 2 }),
        Field::optional(6, "city", P::String),
        Field::optional(7, "day", P::Date),
        Field::optional(8, "at", P::Timestamp),
        Field::optional(9, "tz", P::Timestamptz),
        Field::optional(10, "at_ns", P::TimestampNs),
        Field::optional(11, "u", P::Uuid),
        Field::optional(12, "bin", P::Binary),
        Field::optional(13, "fix", P::Fixed(2)),
        Field::optional(14, "ok", P::Boolean),
        Field::optional(15, "nothing", P::Unknown),
        Field::optional(16, "time", P::Time),
        Field::optional(17, "shape", P::Variant),
        Field::optional(18, "wide", P::Decimal { precision: 38, scale: 0 }),
        Field::optional(19, "tiny", P::Decimal { precision: 38, scale: 38 }),
        Field::optional(20, "odd name", P::Int),
        Field::optional(21, "Order", P::Int),
        Field::optional(22, "order", P::Int),
        Field::optional(23, "tz_ns", P::TimestamptzNs),
        Field::optional(40, "user", Type::structure(vec![Field::optional(41, "address", address)])),
        Field::optional(50, "tags", Type::list(51, false, P::String)),
        Field::optional(60, "a.b", Type::structure(vec![Field::optional(61, "c", P::Int)])),
        Field::optional(62, "a", Type::structure(vec![Field::optional(63, "b.c", P::Int)])),
    ];
    fields.extend(metadata_column::fields(fastdata_types::schema::StructType { fields: vec![] }));
    Schema::new(0, fields).unwrap()
}

fn bound(text: &str) -> Expr {
    bind(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error} ({:?})", error.advice_text()))
}

fn refused(text: &str) -> Error {
    match bind(text, &schema()) {
        Ok(expr) => panic!("{text} became {}", show(&expr)),
        Err(error) => error,
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Boolean(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Long(v) => format!("{v}L"),
        Value::Float(v) => format!("{v:?}f"),
        Value::Double(v) => format!("{v:?}"),
        Value::Decimal { unscaled, precision, scale } => format!("{unscaled}e-{scale}({precision})"),
        Value::String(v) => format!("'{v}'"),
        other => format!("{other:?}"),
    }
}

/// Compact: casts are `expr::type`, NULL carries its type.
fn show(expr: &Expr) -> String {
    let list = |parts: &[Expr], word: &str| format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(word));
    let not = |negated: bool| if negated { "NOT " } else { "" };
    match expr {
        Expr::Column(column) => column.path.join("."),
        Expr::Literal(None, ty) => format!("NULL:{ty}"),
        Expr::Literal(Some(v), ty) => {
            assert_eq!(v.primitive_type().as_ref(), Some(ty));
            value(v)
        }
        Expr::Cast { expr, to } => format!("{}::{to}", show(expr)),
        Expr::Arithmetic { op, left, right, ty } => {
            let op = match op {
                ArithmeticOp::Add => "+",
                ArithmeticOp::Subtract => "-",
                ArithmeticOp::Multiply => "*",
                ArithmeticOp::Divide => "/",
                ArithmeticOp::Modulo => "%",
            };
            format!("({} {op} {}):{ty}", show(left), show(right))
        }
        Expr::Negate(inner) => format!("-{}", show(inner)),
        Expr::Compare { op, left, right } => format!("{} {op:?} {}", show(left), show(right)),
        Expr::InList { expr, values, has_null, negated } => {
            let null = if *has_null { " NULL" } else { "" };
            format!("{} {}IN [{}{null}]", show(expr), not(*negated), values.iter().map(value).collect::<Vec<_>>().join(" "))
        }
        Expr::IsNull { expr, negated } => format!("{} IS {}NULL", show(expr), not(*negated)),
        Expr::Like { expr, pattern, escape, negated, case_insensitive } => {
            format!("{} {}LIKE{} '{pattern}' {escape:?}", show(expr), not(*negated), if *case_insensitive { "i" } else { "" })
        }
        Expr::And(parts) => list(parts, " AND "),
        Expr::Or(parts) => list(parts, " OR "),
        Expr::Not(inner) => format!("NOT {}", show(inner)),
    }
}

/// Every promise of `expr.rs` about types.
fn check_types(expr: &Expr) {
    expr.walk(&mut |part| match part {
        Expr::Compare { left, right, .. } => assert!(left.data_type().is_some() && left.data_type() == right.data_type(), "{}", show(part)),
        Expr::Arithmetic { left, right, ty, .. } => {
            assert!(left.data_type().as_ref() == Some(ty) && right.data_type().as_ref() == Some(ty), "{}", show(part));
        }
        Expr::InList { expr, values, .. } => {
            assert!(!values.is_empty());
            for value in values {
                assert_eq!(value.primitive_type(), expr.data_type(), "{}", show(part));
            }
        }
        Expr::Like { expr, .. } => assert_eq!(expr.data_type(), Some(PrimitiveType::String)),
        Expr::Not(inner) => assert_eq!(inner.data_type(), Some(PrimitiveType::Boolean)),
        Expr::And(parts) | Expr::Or(parts) => {
            assert!(parts.iter().all(|part| part.data_type() == Some(PrimitiveType::Boolean)));
        }
        Expr::Literal(Some(value), ty) => assert_eq!(value.primitive_type().as_ref(), Some(ty)),
        Expr::Cast { expr, .. } => assert!(expr.data_type().is_some()),
        _ => {}
    });
    assert_eq!(expr.data_type(), Some(PrimitiveType::Boolean));
}

#[track_caller]
fn means(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let expr = bound(text);
        check_types(&expr);
        assert_eq!(show(&expr), *expected, "{text}");
    }
}

#[track_caller]
fn refuses(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = refused(text);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{text}: {error}");
        assert!(error.message().contains(expected), "{text}: {}", error.message());
        assert!(error.message().starts_with("filter, "), "{text}: {}", error.message());
    }
}

#[test]
fn precedence_is_that_of_sql() {
    means(&[
        ("id = 1 OR n = 2 AND ok", "(id Eq 1L OR (n Eq 2 AND ok))"),
        ("NOT id = 1 AND ok", "(NOT id Eq 1L AND ok)"),
        ("NOT ok IS NULL", "NOT ok IS NULL"),
        ("n + 2 * 3 = 7", "(n::long + 6L):long Eq 7L"),
        ("(n + 2) * 3 = 7", "((n::long + 2L):long * 3L):long Eq 7L"),
        ("n - 1 - 2 > 0", "((n::long - 1L):long - 2L):long Gt 0L"),
        ("-n < -5", "-n::long Lt -5L"),
        ("n BETWEEN 1 AND 2 AND ok", "((n GtEq 1 AND n LtEq 2) AND ok)"),
        ("(ok AND id = 1) AND n = 2", "(ok AND id Eq 1L AND n Eq 2)"),
        ("id = 1 IS NULL", "id Eq 1L IS NULL"),
        ("n::BIGINT = 5", "n::long Eq 5L"),
        ("ok = (n = 1)", "ok Eq n Eq 1"),
        ("5 > n", "n Lt 5"),
        ("id = 1 -- a comment\n AND /* another */ ok", "(id Eq 1L AND ok)"),
    ]);
}

#[test]
fn a_literal_takes_the_column_type_where_nothing_is_lost() {
    means(&[
        ("n = 5", "n Eq 5"),
        ("n = 5.0", "n Eq 5"),
        ("n = 5e0", "n Eq 5"),
        ("n = '5'", "n Eq 5"),
        ("n = -2147483648", "n Eq -2147483648"),
        ("id = 9223372036854775807", "id Eq 9223372036854775807L"),
        ("f = 0.5", "f Eq 0.5f"),
        ("d = 0.1", "d Eq 0.1"),
        ("d = 1", "d Eq 1.0"),
        ("price = 12.34", "price Eq 1234e-2(9)"),
        ("price = 12", "price Eq 1200e-2(9)"),
        ("price = 1.2e1", "price Eq 1200e-2(9)"),
        ("wide = 99999999999999999999999999999999999999", "wide Eq 99999999999999999999999999999999999999e-0(38)"),
        ("tiny = 0.00000000000000000000000000000000000001", "tiny Eq 1e-38(38)"),
        ("day = DATE '1970-01-03'", "day Eq Date(2)"),
        ("day = '1970-01-03'", "day Eq Date(2)"),
        ("day = TIMESTAMP '1970-01-03 00:00:00'", "day Eq Date(2)"),
        ("at = '1970-01-01T00:00:01'", "at Eq Timestamp(1000000)"),
        ("at = DATE '1970-01-02'", "at Eq Timestamp(86400000000)"),
        ("at_ns = '1970-01-01 00:00:00.000000001'", "at_ns Eq TimestampNs(1)"),
        ("at_ns = TIMESTAMP(9) '1970-01-01 00:00:00.000000001'", "at_ns Eq TimestampNs(1)"),
        ("tz = '1970-01-01 01:00:00+01:00'", "tz Eq Timestamptz(0)"),
        ("tz = TIMESTAMP '1970-01-01 00:00:00'", "tz Eq Timestamptz(0)"),
        ("tz = TIMESTAMP WITH TIME ZONE '1970-01-01 01:00:00+01:00'", "tz Eq Timestamptz(0)"),
        ("tz = TIMESTAMPTZ '1970-01-01'", "tz Eq Timestamptz(0)"),
        ("tz >= DATE '1970-01-02'", "tz GtEq Timestamptz(86400000000)"),
        ("tz_ns = '1970-01-01'", "tz_ns Eq TimestamptzNs(0)"),
        ("time < TIME '00:00:01'", "time Lt Time(1000000)"),
        ("time < '00:01'", "time Lt Time(60000000)"),
        ("u = '00000000-0000-0000-0000-000000000001'", "u Eq Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])"),
        ("u = UUID '00000000-0000-0000-0000-000000000001'", "u Eq Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])"),
        ("bin = X'00fF'", "bin Eq Binary([0, 255])"),
        ("fix = x'00ff'", "fix Eq Fixed([0, 255])"),
        ("ok = TRUE", "ok Eq true"),
        ("ok = 'true'", "ok Eq true"),
        ("city = 'it''s'", "city Eq 'it's'"),
        ("d = CAST('NaN' AS DOUBLE)", "d Eq NaN"),
        ("d < 'Infinity'", "d Lt inf"),
        ("f = CAST('NaN' AS DOUBLE)", "f Eq NaNf"),
        ("price > CAST(5 AS INT) + 1", "price Gt 600e-2(9)"),
    ]);
}

#[test]
fn a_literal_the_column_does_not_hold_restates_the_comparison_exactly() {
    means(&[
        ("n < 3.5", "n LtEq 3"),
        ("n <= 3.5", "n LtEq 3"),
        ("n > 3.5", "n Gt 3"),
        ("n >= -3.5", "n Gt -4"),
        ("3.5 < n", "n Gt 3"),
        ("n = 3.5", "n Lt -2147483648"),
        ("n <> 3.5", "n GtEq -2147483648"),
        ("n < 3000000000", "n GtEq -2147483648"),
        ("n > 3000000000", "n Lt -2147483648"),
        ("n > -3000000000", "n GtEq -2147483648"),
        ("id < 1e30", "id GtEq -9223372036854775808L"),
        ("id = 9223372036854775808", "id Lt -9223372036854775808L"),
        ("n < CAST('NaN' AS DOUBLE)", "n GtEq -2147483648"),
        ("n > CAST('-Infinity' AS DOUBLE)", "n GtEq -2147483648"),
        ("id <= CAST(2.5 AS DOUBLE)", "id LtEq 2L"),
        ("price < 3.145", "price LtEq 314e-2(9)"),
        ("price = 3.145", "price Lt -999999999e-2(9)"),
        ("price < 10000000", "price GtEq -999999999e-2(9)"),
        ("f = 0.1", "f Lt -inff"),
        ("f < 0.1", "f LtEq 0.099999994f"),
        ("f > 1e39", "f Gt 3.4028235e38f"),
        ("f > -1e39", "f Gt -inff"),
        ("d > 1e400", "d Gt 1.7976931348623157e308"),
        ("day < TIMESTAMP '1970-01-03 12:00:00'", "day LtEq Date(2)"),
        ("day > '1970-01-03 12:00:00'", "day Gt Date(2)"),
        ("at < '1970-01-01 00:00:00.000000001'", "at LtEq Timestamp(0)"),
        ("at_ns < '9000-01-01'", "at_ns GtEq TimestampNs(-9223372036854775808)"),
        ("at_ns > TIMESTAMP '1000-01-01 00:00:00'", "at_ns GtEq TimestampNs(-9223372036854775808)"),
    ]);
}

#[test]
fn columns_of_two_types_meet_in_the_type_that_holds_both() {
    means(&[
        ("n = id", "n::long Eq id"),
        ("n < d", "n::double Lt d"),
        ("f = d", "f::double Eq d"),
        ("n = f", "n::double Eq f::double"),
        ("price > n", "price::decimal(12,2) Gt n::decimal(12,2)"),
        ("price > id", "price::decimal(21,2) Gt id::decimal(21,2)"),
        ("price = d", "price::double Eq d"),
        ("price = CAST(0.1 AS DOUBLE)", "price::double Eq 0.1"),
        ("day < at", "day::timestamp Lt at"),
        ("at < at_ns", "at::timestamp_ns Lt at_ns"),
        ("tz = tz_ns", "tz::timestamptz_ns Eq tz_ns"),
        ("fix = bin", "fix::binary Eq bin"),
        ("fix < X'00'", "fix::binary Lt Binary([0])"),
        ("nothing = 5", "nothing::long Eq 5L"),
        ("nothing = city", "nothing::string Eq city"),
        ("nothing LIKE 'a'", "nothing::string LIKE 'a' None"),
        ("nothing", "nothing::boolean"),
    ]);
}

#[test]
fn null_stays_null() {
    means(&[
        ("n = NULL", "n Eq NULL:int"),
        ("NULL", "NULL:boolean"),
        ("NULL = NULL", "NULL:boolean"),
        ("NOT NULL", "NOT NULL:boolean"),
        ("n + NULL > 3", "(n::long + NULL:long):long Gt 3L"),
        ("CAST(NULL AS INT) = n", "n Eq NULL:int"),
        ("city LIKE NULL", "city Eq NULL:string"),
        ("NULL IS NULL", "true"),
        ("n IN (1, NULL)", "n IN [1 NULL]"),
        ("n IN (NULL)", "n Eq NULL:int"),
        ("1 / 0 = 1", "NULL:boolean"),
        ("1 % 0 IS NULL", "true"),
        ("user IS NULL", "user IS NULL"),
        ("tags IS NOT NULL", "tags IS NOT NULL"),
        ("n IS DISTINCT FROM NULL", "n IS NOT NULL"),
        ("n IS NOT DISTINCT FROM NULL", "n IS NULL"),
        ("n IS NOT DISTINCT FROM id", "((n::long Eq id AND n IS NOT NULL AND id IS NOT NULL) OR (n IS NULL AND id IS NULL))"),
        ("ok IS TRUE", "(ok AND ok IS NOT NULL)"),
        ("ok IS NOT FALSE", "NOT (NOT ok AND ok IS NOT NULL)"),
        ("(n = 1) IS UNKNOWN", "n Eq 1 IS NULL"),
    ]);
}

#[test]
fn lists_hold_values_of_the_column_type_sorted_and_once() {
    means(&[
        ("n IN (3, 1, 2, 1)", "n IN [1 2 3]"),
        ("n NOT IN (1, 2)", "n NOT IN [1 2]"),
        ("n IN (1)", "n Eq 1"),
        ("n NOT IN (1)", "n NotEq 1"),
        ("n IN (1, 2.5, 3000000000, 4)", "n IN [1 4]"),
        ("n IN (2.5)", "n Lt -2147483648"),
        ("n NOT IN (2.5, 3.5)", "NOT (n Lt -2147483648 OR n Lt -2147483648)"),
        ("day IN ('1970-01-02', DATE '1970-01-01')", "day IN [Date(0) Date(1)]"),
        ("d IN (0.0, -0.0, 'NaN', 1)", "d IN [0.0 1.0 NaN]"),
        ("n IN (id, 3)", "(n::long Eq id OR n Eq 3)"),
        ("3 IN (n, 4)", "(n Eq 3 OR false)"),
        ("price IN (1.5, 2)", "price IN [150e-2(9) 200e-2(9)]"),
    ]);
    let long: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    let Expr::InList { values, .. } = bound(&format!("id IN ({})", long.join(","))) else { panic!("no list") };
    assert_eq!(values.len(), 10_000);
}

#[test]
fn arithmetic_has_one_type() {
    means(&[
        ("n * 1000 > 5", "(n::long * 1000L):long Gt 5L"),
        ("n * 1.5 > 5", "(n::decimal(12,1) * 15e-1(12)):decimal(12,1) Gt 50e-1(12)"),
        ("price * 1.1 > 5", "(price::decimal(11,3) * 1100e-3(11)):decimal(11,3) Gt 5000e-3(11)"),
        ("price + price > 5", "(price::decimal(10,2) + price::decimal(10,2)):decimal(10,2) Gt 500e-2(10)"),
        ("price / 2 > 5", "(price::double / 2.0):double Gt 5.0"),
        ("n / 2 = 5", "(n::long / 2L):long Eq 5L"),
        ("f + 0.1 > 5", "(f::double + 0.1):double Gt 5.0"),
        ("n % 2 = 1", "(n::long % 2L):long Eq 1L"),
        ("n + 1e0 = 1", "(n::double + 1.0):double Eq 1.0"),
        ("id = 7 / 2", "id Eq 3L"),
        ("id = -7 / 2", "id Eq -3L"),
        ("id = 7.0 / 2", "id Lt -9223372036854775808L"),
        ("price = 1.5 * 1.5", "price Eq 225e-2(9)"),
        ("1 < 2", "true"),
        ("1 = 1.5", "false"),
        ("'a' < 'b'", "true"),
        ("DATE '1970-01-01' = '1970-01-01'", "true"),
        ("+n > 1", "n Gt 1"),
    ]);
    refuses(&[
        ("id > 9223372036854775807 + 1", "'9223372036854775807 + 1' does not fit into the type long"),
        ("city + 1 = 2", "character 1: cannot compute with column 'city' (string): it is no number"),
        ("day + 1 > DATE '2020-01-01'", "cannot compute with column 'day' (date)"),
        ("wide * tiny > 1", "needs more than 38 digits"),
        ("-city = 'a'", "cannot compute with column 'city'"),
        ("id + '5' = 6", "character 6: cannot compute with the string '5'"),
    ]);
}

#[test]
fn casts_follow_the_documented_rules() {
    means(&[
        ("CAST(city AS INT) = 3", "city::int Eq 3"),
        ("CAST(n AS INT) = 3", "n Eq 3"),
        ("CAST(id AS STRING) LIKE '1%'", "id::string LIKE '1%' None"),
        ("id = CAST(2.9 AS BIGINT)", "id Eq 2L"),
        ("id = CAST(-2.9 AS BIGINT)", "id Eq -2L"),
        ("price = CAST(2.345 AS DECIMAL(9, 2))", "price Eq 235e-2(9)"),
        ("CAST(tz AS TIMESTAMP) = at", "tz::timestamp Eq at"),
        ("CAST(at AS DATE) = day", "at::date Eq day"),
        ("CAST(ok AS INT) = 1", "ok::int Eq 1"),
        ("u = CAST('00000000-0000-0000-0000-000000000001' AS UUID)", "u Eq Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])"),
        ("d = 1.5::DOUBLE PRECISION", "d Eq 1.5"),
        ("f = CAST('0.1' AS FLOAT)", "f Eq 0.1f"),
        ("f = CAST(0.1 AS FLOAT)", "f Eq 0.1f"),
        ("f = FLOAT '0.1'", "f Eq 0.1f"),
        ("price = CAST('2.345' AS DECIMAL(9, 2))", "price Eq 235e-2(9)"),
        ("price = DECIMAL(9, 2) '2.34'", "price Eq 234e-2(9)"),
        ("CAST(CAST('2020-01-01' AS DATE) AS STRING) = city", "Date(18262)::string Eq city"),
    ]);
    refuses(&[
        ("CAST('x' AS INT) = n", "character 6: 'x' is no int; one looks like '42'"),
        ("CAST('2.5' AS INT) = n", "'2.5' is not exactly a value of the type int"),
        ("CAST('1e400' AS DOUBLE) = d", "'1e400' does not fit into the type double"),
        ("CAST(1e10 AS INT) = n", "1e10 does not fit into the type int"),
        ("CAST(day AS INT) = 3", "cannot cast column 'day' (date) to int"),
        ("CAST(city AS BINARY) = bin", "cannot cast column 'city' (string) to binary"),
        ("CAST(n AS DECIMAL) = 3", "needs its precision and scale"),
        ("CAST(n AS DECIMAL(39,0)) = 3", "is no decimal type"),
        ("CAST(n AS VARCHAR(5)) = 'a'", "takes no length"),
        ("CAST(n AS MONEY) = 3", "MONEY is not a type that filters know"),
        ("TRY_CAST(city AS INT) = 3", "TRY_CAST is not supported in filters"),
        ("CAST(user AS STRING) = 'a'", "cannot cast column 'user'"),
    ]);
}

#[test]
fn names_reach_into_structs_and_quote_as_in_sql() {
    means(&[
        ("user.address.city = 'Berne'", "user.address.city Eq 'Berne'"),
        ("USER.Address.ZIP = 3", "user.address.zip Eq 3"),
        ("\"user\".\"address\".city IS NULL", "user.address.city IS NULL"),
        ("\"odd name\" = 1", "odd name Eq 1"),
        ("`odd name` = 1", "odd name Eq 1"),
        ("\"Order\" = 1", "Order Eq 1"),
        ("order = 1", "order Eq 1"),
        ("a.b.c = 1", "a.b.c Eq 1"),
        ("time > '00:00:00'", "time Gt Time(0)"),
        ("_file = 'x' AND _pos < 3", "(_file Eq 'x' AND _pos Lt 3L)"),
    ]);
    let id = |text: &str| bound(text).column_ids().into_iter().next().unwrap();
    assert_eq!(id("\"a.b\".c = 1"), 61);
    assert_eq!(id("a.\"b.c\" = 1"), 63);
    refuses(&[
        ("ORDER = 1", "column 'ORDER' is ambiguous: Order, order"),
        ("\"ORDER\" = 1", "column 'ORDER' is ambiguous"),
        ("tags.element = 'a'", "column 'tags.element' lies inside the list 'tags'"),
        ("user.address = 'a'", "cannot compare column 'user.address' (struct<city: string, zip: int>) with the string 'a'"),
    ]);
    for text in ["nope = 1", "user.nope = 1", "\"user.address.city\" = 'a'", "\"a\".b.c.d = 1"] {
        let error = refused(text);
        assert_eq!(error.kind(), ErrorKind::NotFound, "{text}");
        assert!(error.message().starts_with("filter, character 1: no column named"), "{error}");
        assert!(error.advice_text().is_some());
    }
    assert!(refused("id = 1 AND user.address.cite = 'a'").advice_text().unwrap().contains("user.address.city"));
    let error = refused("shape IS NULL");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("column 'shape' has the type variant"), "{error}");
}

#[test]
fn patterns_know_only_the_escape_they_name() {
    means(&[
        ("city LIKE 'a\\_%'", "city LIKE 'a\\_%' None"),
        ("city NOT LIKE 'a!%' ESCAPE '!'", "city NOT LIKE 'a!%' Some('!')"),
        ("city ILIKE 'é_'", "city LIKEi 'é_' None"),
    ]);
    refuses(&[
        ("n LIKE 'a'", "LIKE matches strings, not column 'n' (int)"),
        ("city LIKE city", "character 11: the pattern of LIKE must be a string"),
        ("city LIKE 'a!' ESCAPE '!'", "the pattern ends with its escape character"),
        ("city LIKE 'a' ESCAPE '!!'", "ESCAPE takes one character"),
        ("city LIKE 'a' ESCAPE 3", "ESCAPE takes one character"),
        ("city LIKE ANY ('a')", "LIKE ANY / LIKE ALL is not supported"),
    ]);
}

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
fn repeating_an_operand_cannot_make_the_expression_explode() {
    let nested = (0..40).fold("ok".to_owned(), |inner, _| format!("({inner}) IS TRUE"));
    assert_eq!(refused(&nested).kind(), ErrorKind::LimitExceeded);
    let nested = (0..40).fold("ok".to_owned(), |inner, _| format!("({inner}) BETWEEN FALSE AND TRUE"));
    assert_eq!(refused(&nested).kind(), ErrorKind::LimitExceeded);
    let nested = (0..40).fold("ok".to_owned(), |inner, _| format!("({inner}) IS DISTINCT FROM ok"));
    assert_eq!(refused(&nested).kind(), ErrorKind::LimitExceeded);
}

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
