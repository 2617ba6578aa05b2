use super::*;
use std::sync::{Arc, Mutex};

/// Where the tests read what was written.
#[derive(Clone, Default)]
pub(in crate::telemetry) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    pub(in crate::telemetry) fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn scan<'a>(stats: &'a ScanStats, table: &'a str, message: Option<&'a str>) -> Event<'a> {
    Event::Scan(Scan {
        principal: "anna",
        peer: Some("127.0.0.1:5".parse().unwrap()),
        table,
        snapshot_id: Some(i64::MAX),
        plan_digest: "0a",
        lane: Some(3),
        outcome: "internal",
        message,
        rows: 7,
        bytes: 8,
        duration: Duration::from_micros(9),
        wire: Duration::from_micros(10),
        stats,
    })
}

#[test]
fn a_line_is_one_json_object_whatever_callers_put_into_it() {
    let stats = ScanStats { decode_us: 11, ..ScanStats::default() };
    for hostile in ["a\"b\\", "line\nbreak\r\n", "\u{1b}[31m", "\u{2028}\0", "ä{}", &"é".repeat(LONGEST)] {
        let line = line(Format::Json, &scan(&stats, hostile, Some(hostile)));
        assert!(!line.contains(char::is_control), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let short = hostile.len() <= LONGEST;
        assert_eq!(read["table"] == hostile && read["message"] == hostile, short, "{line}");
        assert!(line.len() < 4 * LONGEST);
        assert_eq!((&read["event"], &read["snapshotId"], &read["rows"]), (&json!("scan"), &json!(i64::MAX.to_string()), &json!(7)));
        assert_eq!((&read["decodeUs"], &read["wireUs"], &read["lane"]), (&json!(11), &json!(10), &json!(3)));
        chrono::DateTime::parse_from_rfc3339(read["time"].as_str().unwrap()).unwrap();
    }
}

#[test]
fn text_is_for_people_and_cannot_forge_lines_or_fields() {
    let stats = ScanStats::default();
    let line = line(Format::Text, &scan(&stats, "ns.t outcome=ok\nx\u{9b}31m", None));
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line.contains(" scan principal=anna peer=127.0.0.1:5 table=\"ns.t outcome=ok\\nx\u{fffd}31m\" "), "{line}");
    assert!(!line.contains("message"), "what is unknown is left out: {line}");
}

#[test]
fn messages_that_may_quote_a_filter_stay_out() {
    let told = |error: &Error| {
        let event = Event::PlanFailed { principal: "p", peer: None, table: None, error };
        line(Format::Json, &event)
    };
    let secret = "name = 'Anna Smith'";
    assert!(!told(&Error::invalid(Stage::Read, secret)).contains("Anna"));
    assert!(!told(&Error::unsupported(Stage::Request, secret)).contains("Anna"));
    let corrupt = told(&Error::corrupt(Stage::Plan, "file x is short"));
    assert!(corrupt.contains("file x is short") && corrupt.contains("\"outcome\":\"corrupt\",\"stage\":\"plan\""), "{corrupt}");
}

#[test]
fn lines_come_in_order_and_a_flush_waits_for_them() {
    let sink = Sink::default();
    let log = Log::new(Format::Json, Box::new(sink.clone()), Metrics::new()).unwrap();
    for cut in 0..100 {
        log.write(&Event::Stopped { cut });
    }
    log.flush(Duration::from_secs(60));
    let lines = sink.lines();
    assert_eq!(lines.len(), 100);
    assert!(lines.iter().enumerate().all(|(i, line)| line.ends_with(&format!("\"event\":\"stopped\",\"cut\":{i}}}"))), "{lines:?}");
}

/// A pipe whose reader has stopped.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stops_costs_lines_and_no_time() {
    let (release, stuck) = std::sync::mpsc::channel();
    let metrics = Metrics::new();
    let log = Log::new(Format::Json, Box::new(Stuck(stuck)), metrics.clone()).unwrap();
    for cut in 0..QUEUE as u64 + 10 {
        log.write(&Event::Stopped { cut });
    }
    log.flush(Duration::from_millis(1));
    let text = metrics.render();
    let dropped = text.lines().find_map(|line| line.strip_prefix("fastdata_log_lines_dropped_total ")).unwrap();
    assert!(matches!(dropped, "9" | "10"), "one may be on its way: {dropped}");
    drop(release);
}
