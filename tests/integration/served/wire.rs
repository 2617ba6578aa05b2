//! Calls as they are on the wire, and their answers to the byte: what no library of ours has smoothed.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, FlightDescriptor, Ticket};
use fastdata_types::proto::ErrorDetail;
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

#[derive(Debug, Clone)]
pub enum Call {
    Info(FlightDescriptor),
    Schema(FlightDescriptor),
    List(String),
    Do(&'static str, Vec<u8>),
    Get(Vec<u8>),
}

/// The status of a refused call.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub code: Code,
    pub message: String,
    pub detail: Option<ErrorDetail>,
    pub details: Vec<u8>,
}

/// A plaintext connection and the token that goes with each call.
#[derive(Clone)]
pub struct Wire {
    pub channel: Channel,
    flight: FlightServiceClient<Channel>,
    token: Option<String>,
}

pub fn command(json: &str) -> FlightDescriptor {
    FlightDescriptor::new_cmd(json.as_bytes().to_vec())
}

pub fn path(parts: &[&str]) -> FlightDescriptor {
    FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect())
}

impl Wire {
    pub async fn to(uri: &str, token: Option<&str>) -> Wire {
        let channel = Endpoint::from_shared(uri.replacen("grpc", "http", 1)).unwrap().connect().await.unwrap();
        Wire { flight: FlightServiceClient::new(channel.clone()), channel, token: token.map(str::to_owned) }
    }

    fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        request
    }

    /// The messages of the answer, each encoded.
    pub async fn ask(&self, call: Call) -> Result<Vec<Vec<u8>>, Box<Refused>> {
        let mut flight = self.flight.clone();
        match call {
            Call::Info(descriptor) => one(flight.get_flight_info(self.request(descriptor)).await),
            Call::Schema(descriptor) => one(flight.get_schema(self.request(descriptor)).await),
            Call::List(namespace) => all(flight.list_flights(self.request(Criteria { expression: namespace.into() })).await).await,
            Call::Do(action, body) => all(flight.do_action(self.request(Action::new(action, body))).await).await,
            Call::Get(ticket) => all(flight.do_get(self.request(Ticket::new(ticket))).await).await,
        }
    }

    /// The answer as messages of a type.
    pub async fn messages<M: Message + Default>(&self, call: Call) -> Vec<M> {
        let answer = self.ask(call.clone()).await.unwrap_or_else(|refused| panic!("{call:?}: {refused:?}"));
        answer.iter().map(|message| M::decode(message.as_slice()).unwrap()).collect()
    }

    /// The JSON that an action answers.
    pub async fn json(&self, action: &'static str, body: &str) -> serde_json::Value {
        let results = self.messages::<arrow_flight::Result>(Call::Do(action, body.as_bytes().to_vec())).await;
        let bytes: Vec<u8> = results.iter().flat_map(|result| result.body.to_vec()).collect();
        serde_json::from_slice(&bytes).unwrap()
    }
}

fn refused(status: Status) -> Box<Refused> {
    let detail = ErrorDetail::from_status(status.details());
    Box::new(Refused { code: status.code(), message: status.message().to_owned(), detail, details: status.details().to_vec() })
}

fn one<M: Message>(answer: Result<Response<M>, Status>) -> Result<Vec<Vec<u8>>, Box<Refused>> {
    answer.map(|response| vec![response.into_inner().encode_to_vec()]).map_err(refused)
}

async fn all<M: Message>(answer: Result<Response<Streaming<M>>, Status>) -> Result<Vec<Vec<u8>>, Box<Refused>> {
    let mut messages = answer.map_err(refused)?.into_inner();
    let mut all = vec![];
    while let Some(message) = messages.message().await.map_err(refused)? {
        all.push(message.encode_to_vec());
    }
    Ok(all)
}
