//! What filters mean.

use super::{bound, means, refused, refuses};
use fastdata_types::{ErrorKind, Expr};

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
