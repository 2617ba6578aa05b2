//! `ScanRequest` is one thing in the proto, in JSON and in the code; our description of Flight is what the `arrow-flight` crate speaks.

use crate::support::root;
use fastdata_types::ScanRequest;
use fastdata_types::proto;
use fastdata_types::request::{Compression, Order, Sample, Shuffle, StringEncoding};
use fastdata_types::stats::ScanStats;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage};
use std::collections::BTreeSet;

fn message(name: &str) -> MessageDescriptor {
    let files = protox::compile(["fastdata/v1/stream.proto"], [root().join("proto")]).expect("the proto compiles");
    let pool = DescriptorPool::from_file_descriptor_set(files).expect("the descriptors are whole");
    pool.get_message_by_name(name).expect("the message is there")
}

fn full_request() -> ScanRequest {
    ScanRequest {
        table: "a.b".into(),
        snapshot_id: Some(i64::MAX),
        r#ref: Some("main".into()),
        as_of_ms: Some(-1),
        from_snapshot_id: Some(1),
        to_snapshot_id: Some(2),
        schema_id: Some(-6),
        columns: vec!["id".into(), "user.city".into()],
        filter: "id > 3".into(),
        limit: Some(7),
        sample: Some(Sample { fraction: 0.25, seed: u64::MAX }),
        batch_rows: Some(1024),
        batch_bytes: Some(1 << 40),
        order: Order::Stable,
        strings: StringEncoding::Dictionary,
        lanes: Some(64),
        shuffle: Some(Shuffle { seed: u64::MAX, epoch: 3, block_rows: Some(5), window_rows: Some(6) }),
        compression: Compression::Zstd,
    }
}

/// Our bytes, read by the proto's own descriptor, know no field that it does not; what it writes, we read.
fn assert_same_message<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, ours: &M) {
    let descriptor = message(&format!("fastdata.v1.{name}"));
    let dynamic = DynamicMessage::decode(descriptor, ours.encode_to_vec().as_slice()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(dynamic.unknown_fields().count(), 0, "{name}");
    let fields: Vec<String> = dynamic.descriptor().fields().filter(|f| !dynamic.has_field(f)).map(|f| f.name().to_owned()).collect();
    let allowed = if name == "StreamMetadata" { 1 } else { 0 };
    assert!(fields.len() <= allowed, "{name}: the example sets every field, and {fields:?} did not arrive");
    assert_eq!(M::decode(dynamic.encode_to_vec().as_slice()).unwrap(), *ours, "{name}");
}

#[test]
fn our_messages_are_those_of_the_proto_files() {
    let stats = proto::ScanStats {
        rows: 1,
        batches: 2,
        bytes_returned: 3,
        rows_decoded: 4,
        rows_deleted: 5,
        rows_filtered: 6,
        files_read: 7,
        row_groups_read: 8,
        row_groups_pruned: 9,
        delete_files_read: 10,
        requests: 11,
        bytes_fetched: 12,
        retries: 13,
        planning_us: 14,
        storage_us: 15,
        decode_us: 16,
        filter_us: 17,
        delete_us: 18,
        consumer_us: 19,
        total_us: 20,
        wire_us: 21,
        hedges: 22,
        first_batch_us: 23,
    };
    let hint = proto::Hint { part: 1, offset: 2, check: 3 };
    let position = proto::LanePosition { rows: 4, hint: Some(hint) };
    let end = proto::EndRecord { rows: 1, bytes: 2, checksum: 3, position: Some(position), stats: Some(stats) };
    let shuffle = proto::ShuffleKey { seed: 1, epoch: 2 };
    assert_same_message("ScanRequest", &proto::ScanRequest::from(&full_request()));
    assert_same_message("ScanStats", &stats);
    assert_same_message(
        "ErrorDetail",
        &proto::ErrorDetail { kind: "a".into(), stage: "b".into(), retryable: true, message: "c".into(), advice: "d".into() },
    );
    assert_same_message(
        "PlanMetadata",
        &proto::PlanMetadata {
            plan_digest: "00".into(),
            snapshot_id: Some(-1),
            lanes: 2,
            lane_rows: vec![1, 2],
            table_uuid: "u".into(),
            notes: vec!["n".into()],
            planning_us: 1,
            expires_at_ms: 2,
            schema_id: Some(3),
            planning: Some(stats),
        },
    );
    assert_same_message("LanePosition", &position);
    assert_same_message(
        "Cursor",
        &proto::Cursor {
            plan_digest: "00".into(),
            snapshot_id: Some(7),
            schema_id: Some(0),
            shuffle: Some(shuffle),
            lanes: 3,
            positions: [(2, position)].into(),
        },
    );
    assert_same_message("Ticket", &proto::Ticket { sealed: vec![1], start: Some(position) });
    assert_same_message("StreamMetadata", &proto::StreamMetadata { of: Some(proto::StreamEvent::Position(position)) });
    assert_same_message("StreamMetadata", &proto::StreamMetadata { of: Some(proto::StreamEvent::End(end)) });
}

fn keys(json: &serde_json::Value) -> BTreeSet<String> {
    json.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_json_form_is_the_proto3_mapping_of_the_proto() {
    let descriptor = message("fastdata.v1.ScanRequest");
    for request in [full_request(), ScanRequest::table("x.y")] {
        let ours = request.to_json().unwrap();
        let mut json = serde_json::Deserializer::from_str(&ours);
        let dynamic = DynamicMessage::deserialize(descriptor.clone(), &mut json).expect("protobuf's own JSON reader takes our JSON");
        let theirs = serde_json::to_string(&dynamic).unwrap();
        assert_eq!(ScanRequest::from_json(theirs.as_bytes()).expect("our reader takes protobuf's JSON"), request);
    }
}

#[test]
fn every_field_of_the_proto_is_a_field_of_the_request() {
    let descriptor = message("fastdata.v1.ScanRequest");
    let proto: BTreeSet<String> = descriptor.fields().map(|f| f.json_name().to_owned()).collect();
    let ours = keys(&serde_json::from_str(&full_request().to_json().unwrap()).unwrap());
    assert_eq!(proto, ours);
    let proto_names: BTreeSet<String> = descriptor.fields().map(|f| f.name().to_owned()).collect();
    for name in proto_names {
        // The original proto names are accepted as well (proto3 JSON).
        let value = match name.as_str() {
            "columns" => serde_json::json!(["a"]),
            "sample" => serde_json::json!({"fraction": 0.5}),
            "order" => serde_json::json!("ORDER_STABLE"),
            "strings" => serde_json::json!("STRINGS_UTF8_VIEW"),
            "shuffle" => serde_json::json!({"block_rows": 1, "windowRows": 2, "seed": "3"}),
            "compression" => serde_json::json!("COMPRESSION_LZ4"),
            "table" | "ref" | "filter" => serde_json::json!("x"),
            _ => serde_json::json!(1),
        };
        let text = serde_json::json!({ name.clone(): value }).to_string();
        assert!(ScanRequest::from_json(text.as_bytes()).is_ok(), "{name} by its original name: {text}");
    }
}

#[test]
fn statistics_have_the_fields_of_the_proto() {
    let proto: BTreeSet<String> = message("fastdata.v1.ScanStats").fields().map(|f| f.name().to_owned()).collect();
    assert_eq!(proto, keys(&serde_json::to_value(ScanStats::default()).unwrap()));
}

/// docs/scan-request.md maps each field to its spelling on every surface.
#[test]
fn the_table_of_spellings_is_complete_and_true() {
    let text = std::fs::read_to_string(root().join("docs/scan-request.md")).unwrap();
    let command = <fastdata::cli::args::Cli as clap::CommandFactory>::command();
    let scan = command.find_subcommand("scan").unwrap();
    let flags: BTreeSet<String> = scan.get_arguments().filter_map(|a| a.get_long().map(|l| format!("--{l}"))).collect();
    for field in message("fastdata.v1.ScanRequest").fields() {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", field.name())))
            .unwrap_or_else(|| panic!("docs/scan-request.md has no row for {}", field.name()));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2], format!("`{}`", field.json_name()), "the JSON name in: {row}");
        for flag in cells[3].split('`').filter(|part| part.starts_with("--")) {
            assert!(flags.contains(flag), "{flag} in docs/scan-request.md is no flag of scan");
        }
    }
}

/// What the server hands out by reflection.
fn served() -> DescriptorPool {
    DescriptorPool::decode(fastdata::serve::reflection::DESCRIPTORS).expect("the descriptors are whole")
}

/// The `arrow-flight` crate's message with every field set, through our description of it and back.
fn assert_same_flight_message<M: Message + Default + PartialEq + std::fmt::Debug>(theirs: &M) {
    let whole = std::any::type_name::<M>();
    let name = whole.rsplit("::").next().unwrap();
    let descriptor = served().get_message_by_name(&format!("arrow.flight.protocol.{name}")).unwrap_or_else(|| panic!("no {name}"));
    let dynamic = DynamicMessage::decode(descriptor, theirs.encode_to_vec().as_slice()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(dynamic.unknown_fields().count(), 0, "{name}");
    let debug = format!("{theirs:?}");
    for field in dynamic.descriptor().fields() {
        assert!(dynamic.has_field(&field), "{name}.{}: the example sets every field", field.name());
        assert!(debug.contains(&format!("{}: ", field.name())), "{name}.{} has another name there: {debug}", field.name());
    }
    assert_eq!(M::decode(dynamic.encode_to_vec().as_slice()).unwrap(), *theirs, "{name}");
}

#[test]
fn our_description_of_flight_is_what_arrow_flight_speaks() {
    use arrow_flight as flight;
    let time = prost_reflect::prost_types::Timestamp { seconds: 1, nanos: 2 };
    let bytes = || bytes::Bytes::from_static(b"b");
    let descriptor = flight::FlightDescriptor { r#type: 2, cmd: bytes(), path: vec!["a".into(), "b".into()] };
    let ticket = flight::Ticket { ticket: bytes() };
    let location = flight::Location { uri: "u".into() };
    let endpoint = flight::FlightEndpoint {
        ticket: Some(ticket.clone()),
        location: vec![location.clone()],
        expiration_time: Some(time),
        app_metadata: bytes(),
    };
    let info = flight::FlightInfo {
        schema: bytes(),
        flight_descriptor: Some(descriptor.clone()),
        endpoint: vec![endpoint.clone(), endpoint.clone()],
        total_records: -1,
        total_bytes: 2,
        ordered: true,
        app_metadata: bytes(),
    };
    let poll = flight::PollInfo {
        info: Some(info.clone()),
        flight_descriptor: Some(descriptor.clone()),
        progress: Some(0.5),
        expiration_time: Some(time),
    };
    let data =
        flight::FlightData { flight_descriptor: Some(descriptor.clone()), data_header: bytes(), app_metadata: bytes(), data_body: bytes() };
    assert_same_flight_message(&descriptor);
    assert_same_flight_message(&ticket);
    assert_same_flight_message(&location);
    assert_same_flight_message(&endpoint);
    assert_same_flight_message(&info);
    assert_same_flight_message(&poll);
    assert_same_flight_message(&data);
    assert_same_flight_message(&flight::HandshakeRequest { protocol_version: 1, payload: bytes() });
    assert_same_flight_message(&flight::HandshakeResponse { protocol_version: 1, payload: bytes() });
    assert_same_flight_message(&flight::BasicAuth { username: "u".into(), password: "p".into() });
    assert_same_flight_message(&flight::Empty {});
    assert_same_flight_message(&flight::ActionType { r#type: "t".into(), description: "d".into() });
    assert_same_flight_message(&flight::Criteria { expression: bytes() });
    assert_same_flight_message(&flight::Action { r#type: "t".into(), body: bytes() });
    assert_same_flight_message(&flight::CancelFlightInfoRequest { info: Some(info) });
    assert_same_flight_message(&flight::RenewFlightEndpointRequest { endpoint: Some(endpoint) });
    assert_same_flight_message(&flight::Result { body: bytes() });
    assert_same_flight_message(&flight::CancelFlightInfoResult { status: 3 });
    assert_same_flight_message(&flight::SchemaResult { schema: bytes() });
    assert_same_flight_message(&flight::PutResult { app_metadata: bytes() });
    let described = served().all_messages().filter(|m| m.parent_file().package_name() == "arrow.flight.protocol").count();
    assert_eq!(described, 20, "a message that is described is compared above");
    for (name, number) in [("UNKNOWN", 0), ("PATH", 1), ("CMD", 2)] {
        let kind = served().get_enum_by_name("arrow.flight.protocol.FlightDescriptor.DescriptorType").unwrap();
        assert_eq!(kind.get_value_by_name(name).unwrap().number(), number);
        assert_eq!(flight::flight_descriptor::DescriptorType::try_from(number).unwrap().as_str_name(), name);
    }
    for status in served().get_enum_by_name("arrow.flight.protocol.CancelStatus").unwrap().values() {
        assert_eq!(flight::CancelStatus::try_from(status.number()).unwrap().as_str_name(), status.name());
    }
}

#[test]
fn the_flight_service_is_described_call_by_call() {
    let service = served().get_service_by_name("arrow.flight.protocol.FlightService").unwrap();
    let found: Vec<String> = service
        .methods()
        .map(|method| {
            let stream = |streams: bool| if streams { "stream " } else { "" };
            let (input, output) = (method.input(), method.output());
            let (sends, answers) = (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
            format!("{}({sends}{}) {answers}{}", method.name(), input.name(), output.name())
        })
        .collect();
    // As arrow_flight::flight_service_server::FlightService has them.
    let expected = [
        "Handshake(stream HandshakeRequest) stream HandshakeResponse",
        "ListFlights(Criteria) stream FlightInfo",
        "GetFlightInfo(FlightDescriptor) FlightInfo",
        "PollFlightInfo(FlightDescriptor) PollInfo",
        "GetSchema(FlightDescriptor) SchemaResult",
        "DoGet(Ticket) stream FlightData",
        "DoPut(stream FlightData) stream PutResult",
        "DoExchange(stream FlightData) stream FlightData",
        "DoAction(Action) stream Result",
        "ListActions(Empty) stream ActionType",
    ];
    assert_eq!(found, expected);
    for method in service.methods() {
        let path = format!("/{}/{}", service.full_name(), method.name());
        assert_eq!(fastdata::telemetry::metrics::Rpc::of_path(&path).name(), method.name(), "requests are counted by these names");
    }
}
