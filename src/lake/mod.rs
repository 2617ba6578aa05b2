//! A lake, whether this process reads it or a server does.
//!
//! Problem: a program that pulls rows should not have two halves, one for each. Contract: embedded and served give the same facts, rows, order,
//! cursors and errors; every stream that is open has a share of one memory budget for itself ([`shares`]), so that streams which wait for
//! one another never hold each other up. Embedded, a share bounds what is decoded; served, what was pulled and not taken.
//!
//! [`planned`] is a scan whose snapshot and schema are fixed, with its rows; [`feed`] gives the lanes of one rank as batches of an exact size, with
//! a cursor ([`steps`] says how many); [`exact`] cuts any stream so. What a lake's timeout caps is in [`within`](mod@within).

mod exact;
mod feed;
mod planned;
mod shares;
mod steps;
mod within;

pub use exact::join;
pub use feed::{Feed, FeedOptions};
pub use planned::{PlanFacts, Planned, Rows};
pub use steps::{Last, Steps};
pub use within::within;

use crate::engine::Engine;
use crate::facts::{self, actions};
use fastdata_client::Client;
use fastdata_types::listing::TableEntry;
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage};
use shares::Shares;
use std::sync::Arc;
use std::time::Duration;

/// Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    way: Way,
    shares: Arc<Shares>,
    timeout: Option<Duration>,
}

#[derive(Clone)]
enum Way {
    Embedded(Engine),
    Served(Box<Client>),
}

impl Lake {
    /// Reads in this process, within the engine's budget.
    pub fn embedded(engine: Engine) -> Lake {
        let shares = Shares::new(engine.budget().total());
        Lake { way: Way::Embedded(engine), shares, timeout: None }
    }

    /// Pulls from a server, `memory` bytes ahead of whoever consumes.
    pub fn served(client: Client, memory: u64) -> Lake {
        Lake { way: Way::Served(Box::new(client)), shares: Shares::new(memory), timeout: None }
    }

    /// With a cap on what a question, a plan, a scan or a batch of a feed may take.
    pub fn with_timeout(self, timeout: Option<Duration>) -> Lake {
        Lake { timeout, ..self }
    }

    /// The budget that the streams share, in bytes.
    pub fn memory(&self) -> u64 {
        self.shares.total()
    }

    /// Every table, or those of one namespace (`ns` or `catalog.ns`).
    pub async fn tables(&self, namespace: Option<&str>) -> Result<Vec<TableEntry>> {
        let listed = async {
            match &self.way {
                Way::Embedded(engine) if engine.catalogs().is_empty() => {
                    Err(Error::new(ErrorKind::Config, Stage::Config, "no catalog is configured")
                        .advice("give --warehouse DIR, or name catalogs in fastdata.toml"))
                }
                Way::Embedded(engine) => facts::tables(engine, namespace).await,
                Way::Served(client) => client.tables(namespace).await,
            }
        };
        within(self.timeout, "listing tables", listed).await
    }

    /// The JSON that an action of [`actions`] answers.
    pub async fn ask(&self, action: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        within(self.timeout, action, self.answer(action, body)).await
    }

    async fn answer(&self, action: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        match &self.way {
            Way::Served(client) => client.action(action, body).await,
            Way::Embedded(engine) => {
                let share = match actions::READING.contains(&action) {
                    true => Some(self.shares.take()?),
                    false => None,
                };
                let engine = share.as_ref().map_or_else(|| engine.clone(), |share| engine.within(share.bytes()));
                let answer = actions::run(&engine, action, &body).await?;
                answer.ok_or_else(|| {
                    let known: Vec<&str> = actions::ACTIONS.iter().map(|(name, _)| *name).collect();
                    Error::invalid(Stage::Request, format!("there is no action '{action}'"))
                        .advice(format!("the actions are: {}", known.join(", ")))
                })
            }
        }
    }

    /// Plans a scan; its snapshot and its schema stay as they are now.
    pub async fn plan(&self, request: &ScanRequest) -> Result<Planned> {
        let planned = async {
            match &self.way {
                Way::Embedded(engine) => {
                    let plan = Arc::new(engine.plan(request).await?);
                    let lanes = engine.lanes(plan, request)?;
                    Planned::embedded(engine.clone(), lanes, Arc::clone(&self.shares), self.timeout)
                }
                Way::Served(client) => Ok(Planned::served(client.plan(request).await?, Arc::clone(&self.shares), self.timeout)),
            }
        };
        within(self.timeout, "planning", planned).await
    }
}
