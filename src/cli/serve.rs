//! `serve`: the embedded warehouse or the configured catalogs over Arrow Flight.

use super::args::{Common, ServeArgs};
use super::output::print;
use crate::assemble::{self, Paths};
use crate::{config, serve};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::sync::Arc;

pub async fn run(common: &Common, args: &ServeArgs) -> Result<()> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let settings = config::read(&common.overrides(), &environment)?;
    crate::allocator::return_early(settings.memory);
    let engine = assemble::engine(&settings, common.warehouse.as_deref(), Paths::Refused)?;
    if engine.catalogs().is_empty() {
        return Err(Error::new(ErrorKind::Config, Stage::Config, "nothing to serve")
            .advice("give --warehouse DIR, or name catalogs in fastdata.toml"));
    }
    let names: Vec<String> = engine.catalogs().keys().cloned().collect();
    let listener = serve::bind(args.listen).await?;
    let address = listener.local_addr().map_err(|e| Error::internal(Stage::Serve, format!("the listener's address: {e}")))?;
    print(&format!(
        "listening on grpc://{address}\nserving catalogs: {}\n\nimport pyarrow.flight as fl\nclient = fl.connect(\"grpc://{address}\")\n\
         info = client.get_flight_info(fl.FlightDescriptor.for_path(\"namespace\", \"table\"))\n\
         table = client.do_get(info.endpoints[0].ticket).read_all()\n",
        names.join(", ")
    ))?;
    serve::run(Arc::new(engine), listener).await
}
