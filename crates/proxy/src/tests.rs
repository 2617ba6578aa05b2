use super::*;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BODY: usize = 200_000;

/// A server that keeps what it got and answers by the path, on one connection after the other.
async fn server() -> (SocketAddr, Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
    let kept = seen.clone();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(converse(stream, kept.clone()));
        }
    });
    (address, seen, task)
}

async fn converse(mut stream: TcpStream, seen: Arc<Mutex<Vec<u8>>>) {
    while let Some(head) = head(&mut stream).await {
        if head.contains("100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        }
        let mut body = vec![0; length(&head)];
        stream.read_exact(&mut body).await.unwrap();
        seen.lock().unwrap().extend([head.as_bytes(), &body].concat());
        let answer = match head.split(' ').nth(1).unwrap() {
            "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nrows\r\n0\r\n\r\n".to_vec(),
            "/to-the-end" => b"HTTP/1.1 200 OK\r\n\r\nto the end".to_vec(),
            "/large" => [format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n").into_bytes(), vec![b'x'; BODY]].concat(),
            _ if head.starts_with("HEAD") => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nX-Odd-Case: a  b\r\nContent-Length: 4\r\n\r\nrows".to_vec(),
        };
        stream.write_all(&answer).await.unwrap();
        if head.contains("/to-the-end") {
            return;
        }
    }
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    line.map_or(0, |length| length.parse().unwrap())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// Everything that comes on a new connection until it ends, and whether it ends with a reset.
async fn talk(proxy: &Proxy, request: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    (String::from_utf8(answer).unwrap(), end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset))
}

/// One request whose connection is closed after it.
async fn ask(proxy: &Proxy, path: &str) -> String {
    talk(proxy, &get(path).replace("host: x", "connection: close")).await.0
}

#[tokio::test]
async fn requests_and_answers_pass_byte_for_byte_on_one_connection() {
    let (address, seen, _task) = server().await;
    let proxy = Proxy::start(address, Conditions::default()).await.unwrap();
    let requests = [
        "GET /a%2Fb//c?x=%20&y HTTP/1.1\r\nHoSt: 127.0.0.1:1\r\nX-Odd:  two  spaces \r\nRange: bytes=0-3\r\n\r\n",
        "PUT /put HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\n\r\nbytes",
        "HEAD /head HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /chunked HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /to-the-end HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let (answers, reset) = talk(&proxy, &requests.concat()).await;
    assert_eq!(String::from_utf8(seen.lock().unwrap().clone()).unwrap(), requests.concat());
    let plain = "HTTP/1.1 200 OK\r\nX-Odd-Case: a  b\r\nContent-Length: 4\r\n\r\nrows";
    let wanted = [
        plain,
        plain,
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nrows\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nto the end",
    ];
    assert_eq!((answers, reset), (wanted.concat(), false));
    let log = proxy.take_log();
    assert_eq!(log[0].line(), "GET /a%2Fb//c bytes=0-3");
    assert_eq!(
        log.iter().map(|logged| (logged.status, logged.bytes)).collect::<Vec<_>>(),
        [(200, 4), (200, 4), (200, 0), (200, 14), (200, 10)]
    );
    assert!(log.iter().all(|logged| logged.connection == 0 && logged.fault.is_none() && logged.ended.is_some()), "{log:?}");
    assert!(proxy.take_log().is_empty());
}

#[tokio::test]
async fn a_body_that_waits_for_leave_is_sent_after_it() {
    let (address, seen, _task) = server().await;
    let proxy = Proxy::start(address, Conditions::default()).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"PUT /put HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await.unwrap();
    assert_eq!(head(&mut stream).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"bytes").await.unwrap();
    assert!(head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(seen.lock().unwrap().ends_with(b"\r\n\r\nbytes"));
}

#[tokio::test]
async fn queued_faults_come_in_order_to_the_paths_they_are_for() {
    let (address, _, _task) = server().await;
    let proxy = Proxy::start(address, Conditions::default()).await.unwrap();
    let faults = [
        (Fault::Unavailable, 503, "SlowDown"),
        (Fault::RetryAfter(503, 3), 503, "retry-after: 3"),
        (Fault::RetryAfter(500, 0), 500, "retry-after: 0"),
        (Fault::RetryAfter(429, 60), 429, "TooManyRequests"),
        (Fault::Status(429, "TooMany"), 429, "TooMany"),
        (Fault::ExpiredToken, 400, "ExpiredToken"),
    ];
    proxy.fail("/large", faults.iter().map(|(fault, ..)| fault.clone()));
    assert!(ask(&proxy, "/other").await.contains(" 200 OK"));
    for (_, status, text) in faults {
        let answer = ask(&proxy, "/large").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text), "{answer}");
        assert_eq!(length(&answer), answer.split_once("\r\n\r\n").unwrap().1.len());
    }
    proxy.fail("", [Fault::Reset(0), Fault::Reset(50_000), Fault::Truncate(70_000)]);
    assert_eq!(talk(&proxy, &get("/large")).await, (String::new(), true));
    for (bytes, is_reset) in [(50_000, true), (70_000, false)] {
        let (answer, reset) = talk(&proxy, &get("/large")).await;
        assert_eq!((answer.split_once("\r\n\r\n").unwrap().1.len(), reset), (bytes, is_reset));
    }
    assert_eq!(ask(&proxy, "/large").await.split_once("\r\n\r\n").unwrap().1.len(), BODY);
    proxy.fail("", [Fault::Denied]);
    proxy.forgive();
    assert!(ask(&proxy, "/large").await.contains(" 200 OK"));
    let log = proxy.take_log();
    let suffered: Vec<_> = log.iter().map(|logged| (logged.status, logged.fault.is_some(), logged.bytes as usize)).collect();
    assert_eq!(suffered[1].0, 503);
    assert_eq!(suffered[7..], [(0, true, 0), (200, true, 50_000), (200, true, 70_000), (200, false, BODY), (200, false, BODY)]);
}

#[tokio::test]
async fn latency_bandwidth_and_hangs_take_their_time() {
    let (address, _, _task) = server().await;
    let slow = Conditions { latency: Duration::from_millis(60), bandwidth_per_connection: Some(1_000_000), ..Conditions::default() };
    let proxy = Proxy::start(address, slow).await.unwrap();
    proxy.fail("", [Fault::Hang(Duration::from_millis(100))]);
    assert_eq!(ask(&proxy, "/large").await.split_once("\r\n\r\n").unwrap().1.len(), BODY);
    let log = proxy.take_log();
    assert!(log[0].first_byte.unwrap() >= Duration::from_millis(160), "{log:?}");
    assert!(log[0].ended.unwrap() - log[0].came >= Duration::from_millis(360), "{log:?}");
    proxy.set(Conditions::default());
    ask(&proxy, "/large").await;
    let log = proxy.take_log();
    assert!(log[0].ended.unwrap() - log[0].came < Duration::from_millis(160), "{log:?}");
}

/// A client that gives a hanging request up is not waited for.
#[tokio::test]
async fn a_client_that_goes_during_a_hang_ends_its_request() {
    let (address, seen, _task) = server().await;
    let proxy = Proxy::start(address, Conditions::default()).await.unwrap();
    proxy.fail("", [Fault::Hang(Duration::from_secs(3600))]);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(get("/x").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(proxy.take_log()[0].ended.is_some());
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn credentials_end_when_told_and_a_refusal_repeats_them() {
    let (address, _, _task) = server().await;
    let proxy = Proxy::start(address, Conditions::default()).await.unwrap();
    let ask = async |id: &str, token: &str| {
        let signature = format!("AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/s3/aws4_request, Signature=5f3759df");
        let request = format!("GET /x HTTP/1.1\r\nconnection: close\r\nAuthorization: {signature}\r\n{token}\r\n");
        talk(&proxy, &request).await.0
    };
    proxy.expire("a", Instant::now() + Duration::from_millis(300));
    assert!(ask("a", "X-Amz-Security-Token: 1\r\n").await.contains(" 200 OK"));
    tokio::time::sleep(Duration::from_millis(350)).await;
    let refused = ask("a", "x-amz-security-token: 2\r\n").await;
    for said in ["HTTP/1.1 400 ", ">ExpiredToken<", "<AWSAccessKeyId>a<", "<SignatureProvided>5f3759df<", "<Token-0>2<"] {
        assert!(refused.contains(said), "{said}: {refused}");
    }
    assert!(ask("c", "").await.contains(" 200 OK"));
    let log = proxy.take_log();
    assert_eq!(log[0].signed.session_token.as_deref(), Some("1"));
    assert_eq!((log[2].signed.access_key_id.as_deref(), log[2].fault.clone()), (Some("c"), None));
}

#[tokio::test]
async fn a_replaced_object_shows_under_another_etag_and_in_ranges() {
    let (address, _, _task) = server().await;
    let change = Change { bucket: "b".into(), key: "k k".into(), after: 1, bytes: Bytes::from_static(b"0123456789") };
    let faults = Faults { change: Some(change), ..Faults::default() };
    let proxy = Proxy::start(address, Conditions { faults, ..Conditions::default() }).await.unwrap();
    assert!(ask(&proxy, "/b/k%20k").await.ends_with("\r\n\r\nrows"));
    let ranged = "GET /b/k%20k HTTP/1.1\r\nrange: bytes=-3\r\nconnection: close\r\n\r\n";
    let (answer, _) = talk(&proxy, ranged).await;
    assert!(answer.starts_with("HTTP/1.1 206 ") && answer.contains("etag: \"changed\"") && answer.ends_with("\r\n\r\n789"), "{answer}");
    assert!(answer.contains("content-range: bytes 7-9/10"), "{answer}");
    assert!(ask(&proxy, "/b/other").await.ends_with("\r\n\r\nrows"));
}

#[tokio::test]
async fn a_server_that_is_gone_resets_and_one_that_is_back_answers() {
    let (address, _, task) = server().await;
    let proxy = Proxy::start(address, Conditions::default()).await.unwrap();
    let mut kept = TcpStream::connect(proxy.address()).await.unwrap();
    kept.write_all(get("/x").as_bytes()).await.unwrap();
    head(&mut kept).await.unwrap();
    task.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(talk(&proxy, &get("/x")).await, (String::new(), true));
    assert_eq!(proxy.take_log().last().unwrap().status, 0);
    // The connection that was open before is the next to go.
    kept.write_all(get("/x").as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    assert!(kept.read_to_end(&mut rest).await.is_err());
}
