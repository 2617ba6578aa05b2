//! What keeps one store, or one request, from holding up everything else.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_hung_store_does_not_hold_up_another() {
    let (hung, well) = (S3Server::start().await, S3Server::start().await);
    well.put("wh", "f", content(10));
    let stores = Stores::with_environment(BTreeMap::new());
    hung.fail(vec![Fault::Hang(Duration::from_secs(60)); 1000]);
    let mut patient = scope(&hung);
    patient.properties.insert("s3.request-timeout".into(), "60".into());
    let waiting = stores.open(patient).unwrap();
    let reads: Vec<_> = (0..300)
        .map(|_| {
            let waiting = waiting.clone();
            tokio::spawn(async move { waiting.read_all("s3://wh/f", 10).await })
        })
        .collect();
    while hung.log_length() < 96 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // No more at once, but for what is hedged.
    assert!((96..=104).contains(&hung.log_length()), "{}", hung.log_length());
    let read = tokio::time::timeout(Duration::from_secs(2), stores.open(scope(&well)).unwrap().read_all("s3://wh/f", 10)).await;
    assert_eq!(read.expect("the other store is well").unwrap().len(), 10);
    reads.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Answers one request for a range of an object of `size` bytes with so many of them every 20 ms.
async fn drip(mut stream: TcpStream, size: usize, bytes: usize) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let from: usize = request.split_once("bytes=").unwrap().1.split_once('-').unwrap().0.parse().unwrap();
    let head = format!(
        "HTTP/1.1 206 Partial\r\nconnection: close\r\netag: \"e\"\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{size}\r\n\r\n",
        size - from,
        size - 1
    );
    stream.write_all(head.as_bytes()).await?;
    let mut sent = from;
    while sent < size {
        let chunk = bytes.min(size - sent);
        stream.write_all(&vec![7; chunk]).await?;
        sent += chunk;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Answers each request like that.
async fn dripping(size: usize, bytes: usize) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(drip(stream, size, bytes));
        }
    });
    (endpoint, task)
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_given_up_and_a_slow_one_is_not() {
    let read = async |size: usize, bytes: usize| {
        let (endpoint, task) = dripping(size, bytes).await;
        let mut scope = StoreScope { allowed: vec!["s3://wh".into()], ..StoreScope::default() };
        let properties = [
            ("s3.endpoint", endpoint.as_str()),
            ("s3.anonymous", "true"),
            ("s3.request-timeout", "0.3"),
            ("fastdata.s3.retry-timeout", "1"),
        ];
        scope.properties = properties.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let (store, started) = (open(scope), Instant::now());
        let read = tokio::time::timeout(Duration::from_secs(20), store.read_all("s3://wh/f", 1 << 20)).await.expect("it ends");
        task.abort();
        (read, started.elapsed(), store.counters().retries)
    };
    let (slow, took, retries) = read(8_000, 100).await;
    assert!(slow.unwrap().len() == 8_000 && retries == 0 && took > Duration::from_secs(1), "{retries} in {took:?}");
    let (dripping, took, retries) = read(8_000, 1).await;
    let error = dripping.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.message().contains("less than 1024 bytes a second"), "{error}");
    assert!(retries > 0 && took < Duration::from_secs(5), "{retries} in {took:?}");
}
