//! What a ticket of the thin server holds: the request, pinned to a snapshot and a schema, as JSON.
//!
//! It carries no rights: whoever may reach the server may ask for the same by name.

use crate::engine::{Engine, Pin, Scan};
use fastdata_types::request::Compression;
use fastdata_types::{Error, Result, ScanPlan, ScanRequest, Stage};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    request: ScanRequest,
    pin: Pin,
}

impl Ticket {
    pub fn of(request: &ScanRequest, plan: &ScanPlan) -> Ticket {
        Ticket { request: request.clone(), pin: Pin::of(plan) }
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal(Stage::Serve, format!("encoding the ticket: {e}")).source(e))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Ticket> {
        serde_json::from_slice(bytes).map_err(|_| {
            Error::invalid(Stage::Serve, "this is no ticket of this server")
                .advice("call GetFlightInfo and send back a ticket from its answer, unchanged")
        })
    }

    /// How the record batches are to be compressed on the wire.
    pub fn compression(&self) -> Compression {
        self.request.compression
    }

    pub async fn open(&self, engine: &Engine) -> Result<Scan> {
        let plan = engine.plan_pinned(&self.request, &self.pin).await?;
        engine.read(std::sync::Arc::new(plan), &self.request)
    }
}
