//! Questions beside scans: a server's actions and its list of tables.

use crate::{Client, RETRY_QUESTION_FOR};
use arrow_flight::Action;
use bytes::Bytes;
use fastdata_types::listing::TableEntry;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use futures::TryStreamExt;

/// An answer beyond this is no answer about a table.
const MOST_BYTES: usize = 512 << 20;

impl Client {
    /// What an action answers. A long answer comes in several messages; this is all of it.
    pub async fn action(&self, kind: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        let action = Action { r#type: kind.to_owned(), body: body.into() };
        self.question(|| self.ask(kind, action.clone())).await
    }

    /// The same for a program that must go on: asked again for as long as a broken lane is. Also how often that was.
    pub async fn patient_action(&self, kind: &str, body: Vec<u8>) -> Result<(Vec<u8>, u64)> {
        let action = Action { r#type: kind.to_owned(), body: body.into() };
        self.patiently(self.retry_for, || self.ask(kind, action.clone())).await
    }

    async fn question<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn() -> F) -> Result<T> {
        // Whatever else may pass, such as a limit that is reached, is the caller's to judge.
        let asked = self.patiently(RETRY_QUESTION_FOR.min(self.retry_for), || async {
            match ask().await {
                Err(error) if error.kind() != ErrorKind::Unavailable => Ok(Err(error)),
                answer => answer.map(Ok),
            }
        });
        asked.await?.0
    }

    async fn ask(&self, kind: &str, action: Action) -> Result<Vec<u8>> {
        let mut messages = self.flight().await?.do_action(action).await.map_err(|e| self.error_of(e))?;
        let mut answer = Vec::new();
        while let Some(part) = messages.try_next().await.map_err(|e| self.error_of(e))? {
            if answer.len() + part.len() > MOST_BYTES {
                return Err(Error::limit(Stage::Client, format!("the answer to {kind} has more than {MOST_BYTES} bytes"))
                    .advice("ask about less: a filter, a snapshot, a partition"));
            }
            answer.extend_from_slice(&part);
        }
        Ok(answer)
    }

    /// Every table that the server lists, or those of one namespace (`ns` or `catalog.ns`).
    pub async fn tables(&self, namespace: Option<&str>) -> Result<Vec<TableEntry>> {
        self.question(|| self.list(namespace)).await
    }

    async fn list(&self, namespace: Option<&str>) -> Result<Vec<TableEntry>> {
        let criteria = Bytes::from(namespace.unwrap_or_default().to_owned());
        let flights = self.flight().await?.list_flights(criteria).await.map_err(|e| self.error_of(e))?;
        let entry = |flight: arrow_flight::FlightInfo| {
            let entry = serde_json::from_slice(&flight.app_metadata).map_err(|e| {
                Error::corrupt(Stage::Client, format!("the server's list of tables does not decode: {e}"))
                    .advice("check that a fastdata server of this version answers there")
            });
            futures::future::ready(entry)
        };
        flights.map_err(|e| self.error_of(e)).and_then(entry).try_collect().await
    }
}
