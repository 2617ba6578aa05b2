//! A server instead of the embedded engine: one place that connects, and one that gets facts from either side.

use super::args::{Common, ServerArgs};
use crate::facts::{Answer, Body};
use fastdata_client::{Client, ConnectOptions, Token};
use fastdata_types::{Error, ErrorKind, Result, Stage};

/// Where a token is looked for that no file holds.
pub const TOKEN_VARIABLE: &str = "FASTDATA_TOKEN";

/// The server that the flags name, if they name one.
pub async fn connect(args: &ServerArgs) -> Result<Option<Client>> {
    let Some(server) = &args.server else { return Ok(None) };
    let options = ConnectOptions {
        token: token(args)?,
        ca: args.ca.clone(),
        certificate: args.certificate.clone().zip(args.key.clone()),
        ..Default::default()
    };
    Client::connect(server, options).await.map(Some).map_err(|e| advised(e, args))
}

/// Tokens come from files and variables, never from the command line, which everybody on the machine can read.
fn token(args: &ServerArgs) -> Result<Option<Token>> {
    if let Some(path) = &args.token_file {
        let read = std::fs::read_to_string(path).map_err(|e| {
            Error::invalid(Stage::Client, format!("{}: {e}", path.display())).advice("name a readable file that holds the token alone")
        })?;
        return Token::new(&read).map(Some);
    }
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(|token| Token::new(&token)).transpose()
}

/// The client's error with the flags that mend it.
pub fn advised(error: Error, args: &ServerArgs) -> Error {
    let no_token = args.token_file.is_none() && std::env::var_os(TOKEN_VARIABLE).is_none_or(|token| token.is_empty());
    let asked = error.kind() == ErrorKind::Unauthenticated && error.message().contains("credentials");
    if asked && no_token && args.certificate.is_none() {
        return error.advice(format!(
            "give --token-file FILE or set {TOKEN_VARIABLE}; where the server asks for a certificate: --certificate and --key"
        ));
    }
    error
}

/// What the embedded engine or the server says.
pub async fn facts<T: Answer>(common: &Common, server: &ServerArgs, request: &T::Request) -> Result<T> {
    let Some(client) = connect(server).await? else { return T::of(&super::engine(common)?, request).await };
    let answer = client.action(T::ACTION, request.to_bytes()?).await.map_err(|e| advised(e, server))?;
    crate::facts::parsed(&answer, T::ACTION)
}
