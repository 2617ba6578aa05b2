//! `serve`: the embedded warehouse or the configured catalogs over Arrow Flight.

use super::args::{Common, ServeArgs};
use super::output::print;
use crate::assemble::{self, Paths};
use crate::config::{self, ClientCertificates, ServerSettings};
use crate::engine::Engine;
use crate::serve::Server;
use crate::telemetry::{Event, Telemetry};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::fmt::Write;
use std::time::Duration;

/// How long a table for the greeting is looked for.
const EXAMPLE_WAIT: Duration = Duration::from_millis(500);

pub async fn run(common: &Common, args: &ServeArgs) -> Result<()> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let mut settings = config::read(&common.overrides(), &environment)?;
    settings.server.listen = args.listen.unwrap_or(settings.server.listen);
    settings.server.admin = args.admin.or(settings.server.admin);
    settings.memory = settings.memory.or_else(config::quarter_of_memory);
    crate::allocator::return_early(settings.memory());
    let engine = assemble::engine(&settings, common.warehouse.as_deref(), Paths::Refused)?;
    if engine.catalogs().is_empty() {
        return Err(Error::new(ErrorKind::Config, Stage::Config, "nothing to serve")
            .advice("give --warehouse DIR, or name catalogs in fastdata.toml"));
    }
    let telemetry = Telemetry::new(args.log_format())?;
    telemetry.log.write(&Event::Start { version: env!("CARGO_PKG_VERSION") });
    let catalogs: Vec<String> = engine.catalogs().keys().cloned().collect();
    let (server, example) = tokio::join!(Server::bind(engine.clone(), &settings, telemetry), example(&engine));
    let server = server?;
    print(&greeting(&server, &settings.server, &catalogs, &example)?)?;
    server.run().await
}

/// The path of a table that is there, in Python; a catalog that takes its time is not waited for.
async fn example(engine: &Engine) -> String {
    let listed = tokio::time::timeout(EXAMPLE_WAIT, engine.tables(None)).await;
    let first = listed.ok().and_then(Result::ok).and_then(|tables| tables.into_iter().next());
    let parts = first.map(|table| table.reference).map(|name| [name.namespace, vec![name.name]].concat());
    let parts = parts.unwrap_or_else(|| vec!["namespace".to_owned(), "table".to_owned()]);
    parts.into_iter().map(|part| serde_json::Value::String(part).to_string()).collect::<Vec<_>>().join(", ")
}

/// Where it listens, what it serves, and lines that pull a table with nothing but pyarrow.
fn greeting(server: &Server, settings: &ServerSettings, catalogs: &[String], example: &str) -> Result<String> {
    let scheme = if settings.tls.is_some() { "grpc+tls" } else { "grpc" };
    let uri = format!("{scheme}://{}", server.address()?);
    let mut text = format!("listening on {uri}\n");
    if let Some(admin) = server.admin_address() {
        let _ = writeln!(text, "health and metrics on http://{admin}");
    }
    let _ = writeln!(text, "serving catalogs: {}\n", catalogs.join(", "));
    let tokens = settings.auth.tokens.is_some() || settings.auth.jwt.is_some();
    let (setup, options) = match tokens && !shows_certificate(settings) {
        true => (
            "token = open(\"token\").read().strip()\n\
             options = fl.FlightCallOptions(headers=[(b\"authorization\", b\"Bearer \" + token.encode())])\n",
            ", options",
        ),
        false => ("", ""),
    };
    let _ = write!(
        text,
        "import pyarrow as pa, pyarrow.flight as fl\nclient = fl.connect(\"{uri}\"{})\n{setup}\
         info = client.get_flight_info(fl.FlightDescriptor.for_path({example}){options})\n\
         table = pa.concat_tables(client.do_get(e.ticket{options}).read_all() for e in info.endpoints)\n",
        certificates(settings)
    );
    Ok(text)
}

/// Whether a caller needs a certificate.
fn shows_certificate(settings: &ServerSettings) -> bool {
    let Some(tls) = settings.tls.as_ref().filter(|tls| tls.client_ca.is_some()) else { return false };
    let others = settings.auth.tokens.is_some() || settings.auth.jwt.is_some();
    tls.client_certificates == ClientCertificates::Required || !others
}

/// The arguments of a connection with TLS: the authority of the server, and what the caller shows.
fn certificates(settings: &ServerSettings) -> String {
    let mut text = String::new();
    if settings.tls.is_some() {
        text.push_str(", tls_root_certs=open(\"ca.pem\").read()");
    }
    if shows_certificate(settings) {
        text.push_str(", cert_chain=open(\"client.pem\").read(), private_key=open(\"client.key\").read()");
    }
    text
}
