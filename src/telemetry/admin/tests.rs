use super::*;
use crate::telemetry::Format;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

struct Server {
    address: SocketAddr,
    telemetry: Telemetry,
}

async fn started(life: Duration) -> Server {
    let telemetry = Telemetry::with_sink(Format::Json, Box::new(std::io::sink())).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_for(life, listener, telemetry.clone()));
    Server { address, telemetry }
}

/// The whole answer to what was sent; ends when the server closes.
async fn ask(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await.expect("the server closes").unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await
}

#[tokio::test]
async fn readiness_follows_the_server_and_liveness_does_not() {
    let Server { address, telemetry } = started(LIFE).await;
    for (advance, status, word) in [
        (None, "503", "starting"),
        (Some(super::super::Readiness::serving as fn(&super::super::Readiness)), "200", "serving"),
        (Some(super::super::Readiness::draining), "503", "draining"),
    ] {
        if let Some(advance) = advance {
            advance(&telemetry.readiness);
        }
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with(&format!("HTTP/1.1 {status} ")) && ready.ends_with(&format!("\r\n\r\n{word}\n")), "{ready}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        let figure = if word == "serving" { "\nfastdata_ready 1\n" } else { "\nfastdata_ready 0\n" };
        assert!(get(address, "/metrics").await.contains(figure));
    }
}

#[tokio::test]
async fn metrics_have_the_type_that_prometheus_asks_for() {
    let Server { address, .. } = started(LIFE).await;
    let answer = get(address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("# EOF\n"));
}

#[tokio::test]
async fn nothing_else_is_there() {
    let Server { address, .. } = started(LIFE).await;
    for path in ["/", "/metrics/", "/../etc/passwd", "/debug", "/healthz/x"] {
        assert!(get(address, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let posted = ask(address, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
}

#[tokio::test]
async fn slow_clients_are_cut_and_do_not_keep_others_out() {
    let Server { address, .. } = started(Duration::from_millis(300)).await;
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HT").await.unwrap();
        slow.push(stream);
    }
    let began = Instant::now();
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "), "they hold every place, for a time");
    // hyper's own time for headers is 30 s: it is not what cuts them.
    assert!(began.elapsed() < Duration::from_secs(20));
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await.expect("a slow client is cut");
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_flag() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = bind(taken.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.retryable() && error.advice_text().unwrap().contains("--admin"), "{error:?}");
}
