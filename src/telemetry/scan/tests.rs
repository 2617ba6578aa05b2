use super::*;
use crate::telemetry::Format;
use crate::telemetry::log::tests::Sink;
use fastdata_types::Stage;
use serde_json::Value;

struct Room {
    telemetry: Telemetry,
    sink: Sink,
    stats: Arc<StatsCollector>,
}

impl Room {
    fn new() -> Room {
        let sink = Sink::default();
        Room { telemetry: Telemetry::with_sink(Format::Json, Box::new(sink.clone())).unwrap(), sink, stats: Arc::default() }
    }

    fn record(&self) -> ScanRecord {
        let facts = ScanFacts { principal: "anna".into(), table: "ns.t".into(), lane: Some(2), ..ScanFacts::default() };
        self.telemetry.scan(facts, Arc::clone(&self.stats))
    }

    fn line(&self) -> Value {
        self.telemetry.log.flush(Duration::from_secs(60));
        let lines = self.sink.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        serde_json::from_str(&lines[0]).unwrap()
    }

    fn counts(&self, series: &str) -> bool {
        self.telemetry.metrics.render().lines().any(|line| line == series)
    }
}

#[test]
fn a_whole_stream_writes_its_figures_once() {
    let room = Room::new();
    let mut record = room.record();
    assert_eq!(room.telemetry.metrics.streams_open(), 1);
    StatsCollector::add(&room.stats.decode_us, 5_000_000);
    StatsCollector::add(&room.stats.wire_us, 7);
    record.sent(10, 100);
    record.sent(5, 50);
    record.complete();
    // What comes after the end changes nothing.
    record.fail(&Error::internal(Stage::Serve, "late"));
    drop(record);
    let line = room.line();
    for (field, expected) in [("rows", 15), ("bytes", 150), ("wireUs", 7), ("decodeUs", 5_000_000), ("lane", 2)] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert_eq!((&line["outcome"], &line["principal"], line.get("message")), (&Value::from("ok"), &Value::from("anna"), None));
    assert!(room.counts("fastdata_streams_finished_total{outcome=\"ok\"} 1"));
    assert!(room.counts("fastdata_streams_open 0"));
    assert!(room.counts("fastdata_stage_seconds_total{stage=\"decode\"} 5.0"));
    assert!(room.counts("fastdata_rows_sent_total 15"));
}

#[test]
fn a_stream_whose_client_went_away_is_cancelled() {
    let room = Room::new();
    drop(room.record());
    assert_eq!(room.line()["outcome"], "cancelled");
    assert!(room.counts("fastdata_streams_finished_total{outcome=\"cancelled\"} 1"));
}

#[test]
fn a_failed_stream_says_why() {
    let room = Room::new();
    room.record().fail(&Error::corrupt(Stage::Read, "file f is short"));
    let line = room.line();
    assert_eq!((&line["outcome"], &line["message"]), (&Value::from("corrupt"), &Value::from("file f is short")));
    assert!(room.counts("fastdata_streams_finished_total{outcome=\"corrupt\"} 1"));
}

#[test]
fn a_stream_that_panicked_is_not_blamed_on_its_client() {
    let room = Room::new();
    let record = room.record();
    let panicked = std::thread::spawn(move || {
        let _record = record;
        panic!("a bug");
    });
    assert!(panicked.join().is_err());
    assert_eq!(room.line()["outcome"], "internal");
}
