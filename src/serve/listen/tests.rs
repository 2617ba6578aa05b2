//! Raw sockets against the whole of it: accept loop, HTTP/2 limits, request times, with gRPC health as the service.

use super::*;
use crate::serve::http2::{HEADER_LIST_BYTES, PING_AFTER, PING_TIMEOUT, limited};
use crate::serve::requests::Requests;
use crate::serve::{health, reflection};
use crate::telemetry::{Format, Telemetry};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fmt::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Longer than anything here takes, where the promise holds.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);
const PATIENT: Limits = Limits { connections: 64, handshake: LONG, first_request: LONG };

struct Room {
    address: SocketAddr,
    telemetry: Telemetry,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

async fn room(limits: Limits, tls: Option<TlsSource>, request_time: Duration) -> Room {
    room_that_pings(limits, tls, request_time, (PING_AFTER, PING_TIMEOUT)).await
}

async fn room_that_pings(limits: Limits, tls: Option<TlsSource>, request_time: Duration, ping: (Duration, Duration)) -> Room {
    let telemetry = Telemetry::with_sink(Format::Json, Box::new(std::io::sink())).unwrap();
    telemetry.readiness.serving();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = incoming(listener, limits, tls, telemetry.metrics.clone());
    let server = limited(Server::builder(), 100, ping.0, ping.1)
        .layer(Requests::new(telemetry.metrics.clone(), request_time))
        .add_service(health::service(telemetry.readiness.clone()))
        .add_service(reflection::v1().unwrap())
        .add_service(reflection::v1alpha().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let served = tokio::spawn(async move { server.serve_with_incoming_shutdown(connections, stopped).await.unwrap() });
    Room { address, telemetry, stop, served }
}

impl Room {
    fn figure(&self, series: &str) -> f64 {
        let text = self.telemetry.metrics.render();
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    fn refused(&self, why: Refusal) -> f64 {
        self.figure(&format!("fastdata_connections_refused_total{{reason=\"{}\"}}", why.name()))
    }

    async fn until(&self, what: &str, holds: impl Fn(&Room) -> bool) {
        let waited = tokio::time::timeout(LONG, async {
            while !holds(self) {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "never: {what}");
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    /// A good client is served.
    async fn serves(&self) {
        let mut client = self.client().await;
        let checked = tokio::time::timeout(LONG, client.check(HealthCheckRequest::default())).await.expect("in time").unwrap();
        assert_eq!(checked.into_inner().status, 1);
    }

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Waits until the server closes, and answers what it sent before.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut sent = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut sent)).await.expect("the server closes the connection");
    sent
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The preface and empty SETTINGS.
fn opening() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()
}

/// A header field in HPACK without the dynamic table (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127);
        bytes.push(text.len() as u8);
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn headers(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.into_iter().flat_map(|(name, value)| field(name, value)).collect()
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;

/// Types of the frames in what a server sent.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        kinds.push(bytes[3]);
        bytes = &bytes[(9 + length).min(bytes.len())..];
    }
    kinds
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_preface_is_closed() {
    let room = room(Limits { handshake: SHORT, ..PATIENT }, None, LONG).await;
    for said in [&b""[..], &opening()[..10], &opening()[..24]] {
        let mut stream = room.raw().await;
        stream.write_all(said).await.unwrap();
        closed(&mut stream).await;
    }
    assert_eq!(room.refused(Refusal::Late), 3.0);
    room.until("places return", |room| room.figure("fastdata_connections_open") == 0.0).await;
    room.serves().await;
}

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed() {
    let room = room(Limits { handshake: LONG, first_request: SHORT, ..PATIENT }, None, LONG).await;
    // The longer of the two holds for a first request: nothing is closed before.
    assert_eq!(room.refused(Refusal::Late), 0.0);
    let room = self::room(Limits { handshake: SHORT, first_request: 2 * SHORT, ..PATIENT }, None, LONG).await;
    let half = frame(HEADERS, 0, 1, &headers(CHECK));
    for said in [opening(), [opening(), half].concat()] {
        let mut stream = room.raw().await;
        let began = Instant::now();
        stream.write_all(&said).await.unwrap();
        closed(&mut stream).await;
        assert!(began.elapsed() >= SHORT + SHORT / 2, "the preface bought time for a request");
    }
    assert_eq!(room.refused(Refusal::Late), 2.0);
    // One that has asked stays, however long it is silent afterwards.
    let mut client = room.client().await;
    client.check(HealthCheckRequest::default()).await.unwrap();
    tokio::time::sleep(3 * SHORT).await;
    client.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(room.figure("fastdata_connections_accepted_total"), 3.0);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_the_others_work() {
    let room = room(Limits { connections: 2, ..PATIENT }, None, LONG).await;
    let mut one = room.client().await;
    one.check(HealthCheckRequest::default()).await.unwrap();
    let mut other = room.client().await;
    other.check(HealthCheckRequest::default()).await.unwrap();
    let mut third = room.raw().await;
    assert!(closed(&mut third).await.is_empty());
    assert_eq!(room.refused(Refusal::Limit), 1.0);
    for client in [&mut one, &mut other] {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
    drop(one);
    room.until("its place returns", |room| room.figure("fastdata_connections_open") == 1.0).await;
    room.serves().await;
}

#[tokio::test]
async fn silent_connections_give_way_to_new_ones() {
    let room = room(Limits { connections: 8, ..PATIENT }, None, LONG).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(room.raw().await);
    }
    room.serves().await;
    // The oldest went first; four are kept, and the good client took the place of one.
    for mut stream in silent.drain(..16) {
        closed(&mut stream).await;
    }
    assert!(room.refused(Refusal::Displaced) >= 16.0);
    assert_eq!(room.refused(Refusal::Limit), 0.0);
}

/// A certificate for localhost that signs itself, and its key.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.der().clone(), PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap())
}

fn roots(certificate: CertificateDer<'static>) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    roots
}

/// A server's certificate, and settings with it that take clients of `client` where one is given.
fn authority(client: Option<CertificateDer<'static>>) -> (CertificateDer<'static>, TlsSource) {
    let (certificate, key) = certificate();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots(client)), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(vec![certificate.clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    (certificate, Arc::new(move || Arc::clone(&config)))
}

type ClientTls = tokio_rustls::client::TlsStream<TcpStream>;

/// A TLS client that trusts `server` and shows `own`.
async fn tls_client(
    socket: TcpStream,
    server: CertificateDer<'static>,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> io::Result<ClientTls> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(server));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket);
    tokio::time::timeout(LONG, connecting).await.expect("in time")
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_cut_and_holds_nobody_up() {
    let (certificate, tls) = authority(None);
    let room = room(Limits { handshake: 2 * SHORT, first_request: LONG, ..PATIENT }, Some(tls), LONG).await;
    let mut silent = room.raw().await;
    // The head of a ClientHello.
    let mut half = room.raw().await;
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await.unwrap();
    let mut nonsense = room.raw().await;
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    closed(&mut nonsense).await;
    room.until("the refusal is counted", |room| room.refused(Refusal::Handshake) == 1.0).await;

    let mut good = tls_client(room.raw().await, certificate, None).await.unwrap();
    good.write_all(&opening()).await.unwrap();
    let mut settings = [0; 9];
    good.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "the server speaks HTTP/2 below TLS");

    closed(&mut silent).await;
    closed(&mut half).await;
    assert_eq!(room.refused(Refusal::Late), 2.0);
}

#[tokio::test]
async fn a_flood_of_resets_closes_its_connection_and_no_other() {
    let room = room(PATIENT, None, LONG).await;
    let mut good = room.client().await;
    good.check(HealthCheckRequest::default()).await.unwrap();
    let stream = room.raw().await;
    let (mut answers, mut requests) = stream.into_split();
    let flood = tokio::spawn(async move {
        let block = headers(CHECK);
        if requests.write_all(&opening()).await.is_err() {
            return 0;
        }
        for number in 0..100_000u32 {
            let id = 2 * number + 1;
            let both = [frame(HEADERS, END_HEADERS, id, &block), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat();
            if requests.write_all(&both).await.is_err() {
                return number;
            }
        }
        100_000
    });
    let mut sent = Vec::new();
    let _ = tokio::time::timeout(LONG, answers.read_to_end(&mut sent)).await.expect("the connection is closed");
    assert!(kinds(&sent).contains(&GOAWAY), "{:?}", kinds(&sent));
    assert!(flood.await.unwrap() < 100_000, "the server took every one of them");
    good.check(HealthCheckRequest::default()).await.unwrap();
    room.until("nothing of the flood is left", |room| room.figure("fastdata_requests_open") == 0.0).await;
}

#[tokio::test]
async fn a_header_list_that_is_too_large_is_refused() {
    let room = room(PATIENT, None, LONG).await;
    let mut client = room.client().await;
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let mut large = String::new();
    while large.len() <= HEADER_LIST_BYTES as usize {
        let _ = write!(large, "{:016}", large.len());
    }
    request.metadata_mut().insert("x-large", large.parse().unwrap());
    tokio::time::timeout(LONG, client.check(request)).await.expect("in time").unwrap_err();
    assert_eq!(room.figure("fastdata_requests_total{rpc=\"Health.Check\",code=\"OK\"}"), 0.0);
    room.serves().await;
}

#[tokio::test]
async fn a_header_block_that_never_ends_closes_its_connection() {
    let room = room(PATIENT, None, LONG).await;
    let mut stream = room.raw().await;
    let block = field("x-large", &"a".repeat(100)).repeat(100);
    let mut bytes = [opening(), frame(HEADERS, 0, 1, &headers(CHECK))].concat();
    for _ in 0..100 {
        bytes.extend(frame(CONTINUATION, 0, 1, &block));
    }
    // What the server does not take any more is an error here, and no matter.
    let _ = stream.write_all(&bytes).await;
    let sent = closed(&mut stream).await;
    assert!(kinds(&sent).contains(&GOAWAY), "{:?}", kinds(&sent));
    room.serves().await;
}

#[tokio::test]
async fn more_streams_than_allowed_wait_or_are_refused() {
    let room = room(PATIENT, None, LONG).await;
    let mut stream = room.raw().await;
    let block = headers("/grpc.health.v1.Health/Watch");
    let mut bytes = opening();
    // Without END_STREAM: each of them stays open.
    for number in 0..101u32 {
        bytes.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &block));
    }
    stream.write_all(&bytes).await.unwrap();
    let mut sent = Vec::new();
    let refused = tokio::time::timeout(LONG, async {
        while !kinds(&sent).contains(&RST_STREAM) && !kinds(&sent).contains(&GOAWAY) {
            assert_ne!(stream.read_buf(&mut sent).await.unwrap(), 0);
        }
    });
    refused.await.expect("the stream over the limit is refused");
    assert!(room.figure("fastdata_requests_open") <= 100.0);
}

#[tokio::test]
async fn a_request_that_never_ends_gives_its_stream_back() {
    let room = room(PATIENT, None, SHORT).await;
    let mut stream = room.raw().await;
    stream.write_all(&[opening(), frame(HEADERS, END_HEADERS, 1, &headers(CHECK))].concat()).await.unwrap();
    let late = "fastdata_requests_total{rpc=\"Health.Check\",code=\"DEADLINE_EXCEEDED\"}";
    room.until("the request is ended", |room| room.telemetry.metrics.render().contains(&format!("{late} 1\n"))).await;
    assert_eq!(room.figure("fastdata_requests_open"), 0.0);
    room.serves().await;
}

#[tokio::test]
async fn stopping_closes_the_socket_and_lets_requests_end() {
    let room = room(PATIENT, None, LONG).await;
    let mut client = room.client().await;
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    room.stop.cancel();
    tokio::time::timeout(LONG, async {
        while TcpStream::connect(room.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the socket closes");
    room.telemetry.readiness.draining();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2, "a running stream hears of it");
    assert_eq!(watch.message().await.unwrap(), None);
    tokio::time::timeout(LONG, room.served).await.expect("nothing holds up the exit").unwrap();
}

#[tokio::test]
async fn reflection_lists_and_describes_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
    let room = room(PATIENT, None, LONG).await;
    let mut client = ServerReflectionClient::new(room.channel().await);
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let wanted = ["arrow.flight.protocol.FlightService", "fastdata.v1.ScanRequest", "grpc.health.v1.Health", "google.protobuf.Timestamp"];
    let symbols = wanted.map(|symbol| ask(MessageRequest::FileContainingSymbol(symbol.into())));
    let requests = [ask(MessageRequest::ListServices(String::new()))].into_iter().chain(symbols);
    let answers = client.server_reflection_info(futures::stream::iter(requests.collect::<Vec<_>>())).await.unwrap().into_inner();
    let answers: Vec<ServerReflectionResponse> = answers.map(Result::unwrap).collect().await;
    let Some(MessageResponse::ListServicesResponse(services)) = &answers[0].message_response else { panic!("{:?}", answers[0]) };
    let names: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"arrow.flight.protocol.FlightService") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
    for (answer, wanted) in answers[1..].iter().zip(wanted) {
        let Some(MessageResponse::FileDescriptorResponse(files)) = &answer.message_response else { panic!("{wanted}: {answer:?}") };
        assert!(!files.file_descriptor_proto.is_empty(), "{wanted}");
    }
}

#[tokio::test]
async fn requests_know_the_peer_and_its_certificate() {
    let (own, key) = certificate();
    let (server, tls) = authority(Some(own.clone()));
    let metrics = Metrics::new();
    for (tls, certificate) in [(None, None), (Some(tls), Some(own.clone()))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let secure = tls.is_some();
        let mut connections = incoming(listener, PATIENT, tls, metrics.clone());
        let socket = TcpStream::connect(address).await.unwrap();
        let local = socket.local_addr().unwrap();
        let client = tokio::spawn({
            let (server, own, key) = (server.clone(), own.clone(), key.clone_key());
            async move {
                if secure {
                    tls_client(socket, server, Some((own, key))).await.unwrap();
                }
            }
        });
        let connection = tokio::time::timeout(LONG, connections.next()).await.expect("in time").unwrap().unwrap();
        let peer = tonic::transport::server::Connected::connect_info(&connection);
        assert_eq!((peer.address, peer.certificate.as_deref()), (local, certificate.as_deref()));
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_of_another_authority_is_refused() {
    let (own, _) = certificate();
    let (server, tls) = authority(Some(own));
    let room = room(PATIENT, Some(tls), LONG).await;
    for (refused, shown) in [(1.0, None), (2.0, Some(certificate()))] {
        // With TLS 1.3 the client learns of it with its first read.
        if let Ok(mut stream) = tls_client(room.raw().await, server.clone(), shown).await {
            let mut byte = [0];
            assert!(tokio::time::timeout(LONG, stream.read_exact(&mut byte)).await.expect("in time").is_err());
        }
        room.until("it is counted", |room| room.refused(Refusal::Handshake) == refused).await;
    }
}

#[tokio::test]
async fn headers_of_a_later_request_that_never_end_close_the_connection() {
    let room = room_that_pings(PATIENT, None, LONG, (SHORT, SHORT)).await;
    let mut idle = room.client().await;
    idle.check(HealthCheckRequest::default()).await.unwrap();
    let mut stream = room.raw().await;
    let first = frame(HEADERS, END_HEADERS, 1, &headers(CHECK));
    // Nothing may stand between the frames of a header block, so a client that stops there cannot answer a ping.
    stream.write_all(&[opening(), first, frame(HEADERS, 0, 3, &headers(CHECK))].concat()).await.unwrap();
    closed(&mut stream).await;
    idle.check(HealthCheckRequest::default()).await.expect("one that answers pings stays");
    assert_eq!(room.figure("fastdata_connections_accepted_total"), 2.0);
}

#[tokio::test]
async fn failures_to_accept_end_nothing() {
    let (metrics, listener) = (Metrics::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let socket = listener.accept().await.unwrap().0;
    // No file descriptors, no memory, a peer that is gone.
    let failures = [24, 12, 103].map(|errno| Err(io::Error::from_raw_os_error(errno)));
    let sockets = futures::stream::iter(failures.into_iter().chain([Ok(socket)])).chain(futures::stream::pending());
    let mut connections = start(Box::pin(sockets), PATIENT, None, metrics.clone());
    let next = tokio::time::timeout(LONG, connections.next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(tonic::transport::server::Connected::connect_info(&next).address, client.local_addr().unwrap());
    assert!(metrics.render().contains("fastdata_accept_errors_total 3\n"));
}
