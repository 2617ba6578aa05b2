//! `serve`: the embedded warehouse or the configured catalogs over Arrow Flight.

use super::args::{Common, ServeArgs};
use super::output::print;
use crate::assemble::{self, Paths};
use crate::config;
use crate::serve::Server;
use crate::telemetry::{Event, Telemetry};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::fmt::Write;

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
    let server = Server::bind(engine, &settings, telemetry).await?;
    print(&greeting(&server, &catalogs)?)?;
    server.run().await
}

/// Where it listens, what it serves, and lines that pull a table with nothing but pyarrow.
fn greeting(server: &Server, catalogs: &[String]) -> Result<String> {
    let scheme = if server.is_encrypted() { "grpc+tls" } else { "grpc" };
    let uri = format!("{scheme}://{}", server.address()?);
    let mut text = format!("listening on {uri}\n");
    if let Some(admin) = server.admin_address() {
        let _ = writeln!(text, "health and metrics on http://{admin}");
    }
    let _ = writeln!(text, "serving catalogs: {}\n", catalogs.join(", "));
    let (setup, options) = match server.knows_callers() {
        true => ("options = fl.FlightCallOptions(headers=[(b\"authorization\", b\"Bearer TOKEN\")])\n", ", options"),
        false => ("", ""),
    };
    let _ = write!(
        text,
        "import pyarrow as pa, pyarrow.flight as fl\nclient = fl.connect(\"{uri}\")\n{setup}\
         info = client.get_flight_info(fl.FlightDescriptor.for_path(\"namespace\", \"table\"){options})\n\
         table = pa.concat_tables(client.do_get(e.ticket{options}).read_all() for e in info.endpoints)\n"
    );
    Ok(text)
}
