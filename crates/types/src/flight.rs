//! What a server says beside the rows, as JSON in Flight's `app_metadata`.
//!
//! Contract: a [`PlanFacts`] stands in the `FlightInfo` of a plan, a [`ScanEnd`] on the last message of a stream. Clients that do not
//! know them lose nothing but these words.

use crate::stats::ScanStats;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanFacts {
    /// What the person who asked should know: snapshots that contribute nothing, metadata that was guessed.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanEnd {
    pub stats: ScanStats,
}

/// The status metadata that carry an error's parts beside its message.
pub mod error_metadata {
    pub const KIND: &str = "fastdata-error-kind";
    /// `true` or `false`.
    pub const RETRYABLE: &str = "fastdata-error-retryable";
    /// UTF-8 text.
    pub const ADVICE: &str = "fastdata-error-advice-bin";
}
