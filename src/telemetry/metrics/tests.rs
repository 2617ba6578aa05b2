use super::*;
use fastdata_types::Stage;
use std::collections::BTreeSet;

/// The value of a series.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn everything_that_is_told_shows() {
    let metrics = Metrics::new();
    metrics.sample(|| Levels { memory_total: 64 << 20, memory_in_use: 5, plan_cache_entries: 3 });
    metrics.planned();
    metrics.plan_cache_hit();
    metrics.plan_cache_miss();
    let error = Error::limit(Stage::Serve, "too many");
    metrics.plan_failed(&error);
    metrics.error(error.kind());
    metrics.refused(Refusal::Limit);
    metrics.accept_failed();
    metrics.reloaded(false);
    metrics.request(Rpc::of_path("/arrow.flight.protocol.FlightService/DoGet"), Code::ResourceExhausted, Duration::from_millis(3));
    metrics.sent(10, 2_000);
    let before = ScanStats { decode_us: 1_000_000, requests: 2, ..ScanStats::default() };
    let now = ScanStats {
        decode_us: 3_000_000,
        consumer_us: 500_000,
        wire_us: 1_500_000,
        requests: 5,
        bytes_fetched: 7,
        retries: 4,
        hedges: 1,
        ..ScanStats::default()
    };
    metrics.progressed(&before, &now);
    metrics.planning_read(&StoreCounters { requests: 10, bytes: 20, retries: 30, hedges: 40 });
    let (_connection, _waiting) = (metrics.connected(), metrics.waiting());
    for (series, expected) in [
        ("fastdata_memory_budget_bytes", (64 << 20) as f64),
        ("fastdata_memory_in_use_bytes", 5.0),
        ("fastdata_plan_cache_entries", 3.0),
        ("fastdata_plans_total{outcome=\"ok\"}", 1.0),
        ("fastdata_plans_total{outcome=\"limit-exceeded\"}", 1.0),
        ("fastdata_plan_cache_requests_total{result=\"hit\"}", 1.0),
        ("fastdata_plan_cache_requests_total{result=\"miss\"}", 1.0),
        ("fastdata_errors_total{kind=\"limit-exceeded\"}", 1.0),
        ("fastdata_errors_total{kind=\"internal\"}", 0.0),
        ("fastdata_connections_refused_total{reason=\"limit\"}", 1.0),
        ("fastdata_connections_open", 1.0),
        ("fastdata_connections_accepted_total", 1.0),
        ("fastdata_accept_errors_total", 1.0),
        ("fastdata_reloads_total{outcome=\"failed\"}", 1.0),
        ("fastdata_requests_total{rpc=\"DoGet\",code=\"RESOURCE_EXHAUSTED\"}", 1.0),
        ("fastdata_request_duration_seconds_bucket{le=\"0.001\",rpc=\"DoGet\"}", 0.0),
        ("fastdata_request_duration_seconds_bucket{le=\"0.005\",rpc=\"DoGet\"}", 1.0),
        ("fastdata_rows_sent_total", 10.0),
        ("fastdata_sent_bytes_total", 2000.0),
        ("fastdata_stage_seconds_total{stage=\"decode\"}", 2.0),
        ("fastdata_stage_seconds_total{stage=\"client\"}", 0.5),
        ("fastdata_stage_seconds_total{stage=\"wire\"}", 1.5),
        ("fastdata_storage_requests_total", 13.0),
        ("fastdata_storage_read_bytes_total", 27.0),
        ("fastdata_storage_retries_total", 34.0),
        ("fastdata_storage_hedges_total", 41.0),
        ("fastdata_streams_waiting", 1.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
    assert!(value(&metrics, "fastdata_process_resident_memory_bytes") > 1e6);
    assert!(value(&metrics, "fastdata_process_start_time_seconds") > 1.7e9);
    assert_eq!(value(&metrics, &format!("fastdata_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    drop((_connection, _waiting));
    assert_eq!((value(&metrics, "fastdata_connections_open"), value(&metrics, "fastdata_streams_waiting")), (0.0, 0.0));
}

#[test]
fn two_servers_of_one_process_count_apart() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.clone().planned();
    assert_eq!(value(&one, "fastdata_plans_total{outcome=\"ok\"}"), 1.0);
    assert_eq!(value(&other, "fastdata_plans_total{outcome=\"ok\"}"), 0.0);
}

#[test]
fn what_callers_send_makes_no_new_series() {
    let metrics = Metrics::new();
    let series =
        |metrics: &Metrics| metrics.render().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<BTreeSet<_>>();
    let before = series(&metrics);
    for path in ["/a.B/C", "/arrow.flight.protocol.FlightService/Nope", "/arrow.flight.protocol.FlightService/Health.Check", "", "//", "*"]
    {
        assert_eq!(Rpc::of_path(path), Rpc::OTHER, "{path}");
        metrics.request(Rpc::of_path(path), Code::Ok, Duration::ZERO);
    }
    assert_eq!(series(&metrics), before);
    assert_eq!(value(&metrics, "fastdata_requests_total{rpc=\"other\",code=\"OK\"}"), 6.0);
    assert_eq!(Rpc::of_path("/grpc.health.v1.Health/Check").name(), "Health.Check");
    assert_eq!(Rpc::of_path("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo").name(), "ServerReflectionInfo");
}

/// The format that Prometheus takes: help and type before the samples, one block per family, an end.
#[test]
fn the_text_is_open_metrics() {
    let text = Metrics::new().render();
    assert!(text.ends_with("# EOF\n"));
    let mut families = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} twice");
            assert!(name.starts_with("fastdata_") && help.len() > 8, "{line}");
            current = name.to_owned();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} belongs to no {current}");
        }
    }
    assert!(families.len() > 25, "{families:?}");
}

#[test]
fn codes_have_the_names_of_the_specification() {
    let names: BTreeSet<&str> = (0..17).map(|code| code_name(Code::from(code))).collect();
    assert_eq!(names.len(), 17);
    for code in (0..17).map(Code::from) {
        assert_eq!(code_name(code).replace('_', "").to_lowercase(), format!("{code:?}").to_lowercase());
    }
}
