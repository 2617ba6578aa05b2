use super::*;
use http_body_util::{BodyExt, StreamBody};
use std::convert::Infallible;
use tower::service_fn;

type Frames = Vec<Frame<Bytes>>;

fn trailers(code: &str) -> Frame<Bytes> {
    let mut map = http::HeaderMap::new();
    map.insert("grpc-status", code.parse().unwrap());
    Frame::trailers(map)
}

/// What the metrics say after an answer of these frames; `None` drops it unread.
async fn counted(status_in_headers: Option<&str>, frames: Frames, read: bool) -> String {
    let metrics = Metrics::new();
    let status = status_in_headers.map(str::to_owned);
    let mut service = Requests::new(metrics.clone(), REQUEST_TIME).layer(service_fn(move |_: http::Request<tonic::body::Body>| {
        let body = StreamBody::new(futures::stream::iter(frames.iter().map(copy).map(Ok::<_, Infallible>).collect::<Vec<_>>()));
        let mut answer = http::Response::new(body);
        if let Some(status) = &status {
            answer.headers_mut().insert("grpc-status", status.parse().unwrap());
        }
        std::future::ready(Ok::<_, Infallible>(answer))
    }));
    let request = http::Request::post("/arrow.flight.protocol.FlightService/DoGet").body(tonic::body::Body::empty()).unwrap();
    let answer = service.call(request).await.unwrap();
    assert!(metrics.render().contains("fastdata_requests_open 1\n"));
    if read {
        let _ = answer.into_body().collect().await;
    } else {
        drop(answer);
    }
    let text = metrics.render();
    assert!(text.contains("fastdata_requests_open 0\n"));
    let one = text.lines().filter(|line| line.starts_with("fastdata_requests_total{rpc=\"DoGet\"") && line.ends_with(" 1"));
    one.map(|line| line.split("code=\"").nth(1).unwrap().split('"').next().unwrap()).collect::<Vec<_>>().join(",")
}

fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (_, trailers) => Frame::trailers(trailers.cloned().unwrap_or_default()),
    }
}

#[tokio::test]
async fn an_answer_is_counted_once_by_the_code_that_the_client_saw() {
    let data = || Frame::data(Bytes::from_static(b"x"));
    assert_eq!(counted(None, vec![data(), trailers("0")], true).await, "OK");
    assert_eq!(counted(None, vec![data(), trailers("15")], true).await, "DATA_LOSS");
    assert_eq!(counted(Some("5"), vec![], true).await, "NOT_FOUND");
    assert_eq!(counted(None, vec![data()], true).await, "UNKNOWN", "an end without a status");
    assert_eq!(counted(None, vec![data(), trailers("0")], false).await, "CANCELLED", "the client went away");
}

/// A body that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Status;
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_deadline_exceeded_with_advice() {
    let mut body = Timely { body: tonic::body::Body::new(Endless), until: None, began: Instant::now(), within: Duration::from_millis(20) };
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(error.message().contains("20ms") && error.message().contains("at once"), "{error}");
}

#[tokio::test]
async fn an_error_that_a_caller_is_told_is_counted_by_its_kind() {
    let metrics = Metrics::new();
    let mut service = Requests::new(metrics.clone(), REQUEST_TIME).layer(service_fn(|_: http::Request<tonic::body::Body>| {
        let error = Error::corrupt(Stage::Read, "file f is short");
        std::future::ready(Ok::<_, Infallible>(status_of(&error).into_http::<tonic::body::Body>()))
    }));
    let request = http::Request::post("/arrow.flight.protocol.FlightService/DoGet").body(tonic::body::Body::empty()).unwrap();
    drop(service.call(request).await.unwrap());
    let text = metrics.render();
    assert!(text.contains("fastdata_errors_total{kind=\"corrupt\"} 1\n"));
    assert!(text.contains("fastdata_requests_total{rpc=\"DoGet\",code=\"DATA_LOSS\"} 1\n"));
}
