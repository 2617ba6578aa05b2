use super::*;
use clap::CommandFactory;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn columns_split_at_commas_outside_quotes() {
    assert_eq!(split_columns("a, b.c,\"x,y\"").unwrap(), ["a", "b.c", "\"x,y\""]);
    assert_eq!(split_columns(r#""odd, ""q""".b,c"#).unwrap(), [r#""odd, ""q""".b"#, "c"]);
    assert!(split_columns("a,,b").is_err());
    assert!(split_columns("\"a").is_err());
}

#[test]
fn times_and_durations_parse() {
    assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(1000));
    assert_eq!(parse_time("1970-01-02"), Ok(86_400_000));
    assert_eq!(parse_time("17"), Ok(17));
    assert!(parse_time("yesterday").is_err());
    for (given, time) in [("--timeout=30", Some(30)), ("--timeout=1d", Some(86_400)), ("--timeout=0", None)] {
        let cli = Cli::try_parse_from(["fastdata", "tables", given]);
        assert_eq!(cli.ok().and_then(|cli| cli.common.timeout), time.map(Duration::from_secs), "{given}");
    }
}
