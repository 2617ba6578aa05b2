//! A server instead of the embedded engine: one place that connects, and one that gets facts from either side.

use super::args::{Common, ServerArgs};
use crate::facts::{Answer, Body};
use fastdata_client::Client;
use fastdata_types::{Error, Result, Stage};

/// The server that the flags name, if they name one.
pub async fn connect(args: &ServerArgs) -> Result<Option<Client>> {
    let Some(server) = &args.server else { return Ok(None) };
    if args.token_file.is_some() || args.ca.is_some() {
        return Err(Error::unsupported(Stage::Client, "this version sends no tokens and checks no certificates")
            .advice("leave --token-file and --ca out: `fastdata serve` listens on loopback only"));
    }
    Client::connect(server).await.map(Some)
}

/// What the embedded engine or the server says.
pub async fn facts<T: Answer>(common: &Common, server: &ServerArgs, request: &T::Request) -> Result<T> {
    let Some(client) = connect(server).await? else { return T::of(&super::engine(common)?, request).await };
    let answer = client.action(T::ACTION, request.to_bytes()?).await?;
    serde_json::from_slice(&answer).map_err(|e| {
        Error::corrupt(Stage::Client, format!("the server's answer to {} does not decode: {e}", T::ACTION))
            .advice("check that a fastdata server of this version answers there")
    })
}
