//! Flight actions: what is asked of a table without reading it, and of tickets.
//!
//! Contract: bodies and answers are in docs/protocol.md. A body that does not parse is refused by the name of its action.

use super::caller::Caller;
use super::flight::Flight;
use crate::facts;
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, RenewFlightEndpointRequest, Ticket};
use bytes::Bytes;
use fastdata_types::{Error, Result, Stage};
use prost::Message;

const SPLIT: &str = "fastdata.v1.Split";
const CANCEL: &str = "CancelFlightInfo";
const RENEW: &str = "RenewFlightEndpoint";

const OF_TICKETS: [(&str, &str); 3] = [
    (SPLIT, "Cuts what is left of a lane in two. Body: a ticket, with its start. Answers: one or two FlightEndpoint"),
    (CANCEL, "Ends the streams of a plan on this server. Body: CancelFlightInfoRequest. Answer: CancelFlightInfoResult"),
    (RENEW, "Gives an endpoint another lifetime. Body: RenewFlightEndpointRequest. Answer: FlightEndpoint"),
];

/// Every action and what it does.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    facts::actions::ACTIONS.iter().copied().chain(OF_TICKETS)
}

/// A longer answer comes in several results: clients refuse messages of more than 4 MiB unless told otherwise.
const ANSWER_BYTES: usize = 1 << 20;

/// The bodies of an action's results.
pub async fn run(flight: &Flight, caller: &Caller, action: &Action) -> Result<Vec<Bytes>> {
    let kind = action.r#type.as_str();
    match kind {
        SPLIT => {
            let endpoints = flight.split(caller, &Ticket::new(action.body.clone())).await?;
            Ok(endpoints.iter().map(encoded).collect())
        }
        CANCEL => {
            let request = CancelFlightInfoRequest::decode(action.body.as_ref()).map_err(|_| unreadable(kind))?;
            let cancelled = flight.cancel(caller, &request.info.ok_or_else(|| unreadable(kind))?)?;
            let status = if cancelled { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
            Ok(vec![encoded(&CancelFlightInfoResult::new(status))])
        }
        RENEW => {
            let request = RenewFlightEndpointRequest::decode(action.body.as_ref()).map_err(|_| unreadable(kind))?;
            Ok(vec![encoded(&flight.renew(caller, &request.endpoint.ok_or_else(|| unreadable(kind))?)?)])
        }
        _ => {
            flight.check_size(&action.body)?;
            let answer = flight.asked(caller, kind, &action.body).await?;
            let answer = Bytes::from(answer.ok_or_else(|| unknown(kind))?);
            Ok((0..answer.len()).step_by(ANSWER_BYTES).map(|at| answer.slice(at..answer.len().min(at + ANSWER_BYTES))).collect())
        }
    }
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn unreadable(action: &str) -> Error {
    Error::invalid(Stage::Serve, format!("{action}: the body is not what this action takes")).advice("ListActions tells each action's body")
}

fn unknown(action: &str) -> Error {
    let known: Vec<&str> = all().map(|(name, _)| name).collect();
    let action: String = action.chars().take(100).collect();
    Error::invalid(Stage::Serve, format!("no action '{action}'")).advice(format!("the actions are: {}", known.join(", ")))
}
