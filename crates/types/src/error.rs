//! One error type for every stage: few kinds, each defined by what the caller should do next.
//!
//! Contract: an error carries a kind (machine readable), the stage it arose in, whether the same call may succeed when
//! repeated, a message that names the thing at fault, and advice with the next step. A message never contains the content of a
//! file or a secret.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what the caller must do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong: a filter that does not type-check, a negative limit. Change the request.
    InvalidRequest,
    /// The named table, column, ref or snapshot does not exist. Choose another name.
    NotFound,
    /// The table uses a feature this version does not read; the message names it. Nothing was returned.
    Unsupported,
    /// Metadata, a manifest, a data file or a delete file contradicts the specification or itself. Repair the table.
    Corrupt,
    /// A file that the table refers to is not there. Repair the table, or check the rewrites.
    MissingFile,
    /// A reference leaves the locations that this catalog allows. Nothing was opened.
    LocationNotAllowed,
    /// One page, row or delete set does not fit in the memory budget; the message says how much it takes.
    BudgetTooSmall,
    /// A cap on request, metadata or plan size was exceeded.
    LimitExceeded,
    /// A catalog or store could not be reached or answered with a passing fault.
    Unavailable,
    /// Credentials are missing, wrong or expired.
    Unauthenticated,
    /// The credentials are good and do not permit this.
    PermissionDenied,
    /// The deadline passed first.
    DeadlineExceeded,
    /// The caller went away or asked to stop.
    Cancelled,
    /// A cursor or position belongs to another plan, snapshot or epoch. Resume with what it was made with, or start again.
    PlanMismatch,
    /// A ticket was good once and has expired. Plan again and go on from the last position.
    TicketExpired,
    /// The configuration is unreadable or contradicts itself; every problem is listed.
    Config,
    /// Writing the output failed.
    Output,
    /// A fault of ours. Report it.
    Internal,
}

impl ErrorKind {
    pub const ALL: [ErrorKind; 18] = [
        ErrorKind::InvalidRequest,
        ErrorKind::NotFound,
        ErrorKind::Unsupported,
        ErrorKind::Corrupt,
        ErrorKind::MissingFile,
        ErrorKind::LocationNotAllowed,
        ErrorKind::BudgetTooSmall,
        ErrorKind::LimitExceeded,
        ErrorKind::Unavailable,
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Cancelled,
        ErrorKind::PlanMismatch,
        ErrorKind::TicketExpired,
        ErrorKind::Config,
        ErrorKind::Output,
        ErrorKind::Internal,
    ];

    /// The kind's spelling in messages, JSON and `ErrorDetail`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidRequest => "invalid-request",
            ErrorKind::NotFound => "not-found",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::MissingFile => "missing-file",
            ErrorKind::LocationNotAllowed => "location-not-allowed",
            ErrorKind::BudgetTooSmall => "budget-too-small",
            ErrorKind::LimitExceeded => "limit-exceeded",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::PermissionDenied => "permission-denied",
            ErrorKind::DeadlineExceeded => "deadline-exceeded",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::PlanMismatch => "plan-mismatch",
            ErrorKind::TicketExpired => "ticket-expired",
            ErrorKind::Config => "config",
            ErrorKind::Output => "output",
            ErrorKind::Internal => "internal",
        }
    }

    pub fn from_name(name: &str) -> Option<ErrorKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the same call may succeed when repeated, unless the error says otherwise.
    pub fn retryable(self) -> bool {
        matches!(self, ErrorKind::Unavailable)
    }

    /// The exit status of the `fastdata` command.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::InvalidRequest | ErrorKind::NotFound | ErrorKind::PlanMismatch | ErrorKind::Config => 2,
            ErrorKind::Unsupported => 3,
            ErrorKind::Corrupt | ErrorKind::MissingFile => 4,
            ErrorKind::LocationNotAllowed | ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::TicketExpired => 5,
            ErrorKind::BudgetTooSmall | ErrorKind::LimitExceeded => 6,
            ErrorKind::Unavailable => 7,
            ErrorKind::DeadlineExceeded => 8,
            ErrorKind::Output => 9,
            ErrorKind::Internal => 70,
            ErrorKind::Cancelled => 130,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where an error arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Request,
    Config,
    Catalog,
    Plan,
    Read,
    Store,
    Serve,
    Client,
    Output,
}

impl Stage {
    pub const ALL: [Stage; 9] =
        [Stage::Request, Stage::Config, Stage::Catalog, Stage::Plan, Stage::Read, Stage::Store, Stage::Serve, Stage::Client, Stage::Output];

    pub fn from_name(name: &str) -> Option<Stage> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Stage::Request => "request",
            Stage::Config => "config",
            Stage::Catalog => "catalog",
            Stage::Plan => "plan",
            Stage::Read => "read",
            Stage::Store => "store",
            Stage::Serve => "serve",
            Stage::Client => "client",
            Stage::Output => "output",
        }
    }
}

/// The target of the events of `tracing` that tell what failed and is tried again, at the level DEBUG; their field `error` says it to people.
pub const RETRIED: &str = "fastdata::retried";

/// The error of every stage. Boxed: a `Result` on the hot path stays one word wider than its value.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    stage: Stage,
    retryable: bool,
    message: String,
    advice: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, stage: Stage, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, stage, retryable: kind.retryable(), message: message.into(), advice: None, source: None }))
    }

    /// The next step for the person who reads the error, one sentence.
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds advice only where the error has none yet.
    pub fn or_advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice.get_or_insert_with(|| advice.into());
        self
    }

    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Puts what was being done in front of the message: `context: message`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same error for another who waited for it, without its source.
    pub fn copy(&self) -> Self {
        let Inner { kind, stage, retryable, message, advice, source: _ } = &*self.0;
        Error(Box::new(Inner {
            kind: *kind,
            stage: *stage,
            retryable: *retryable,
            message: message.clone(),
            advice: advice.clone(),
            source: None,
        }))
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    pub fn stage(&self) -> Stage {
        self.0.stage
    }
    pub fn retryable(&self) -> bool {
        self.0.retryable
    }
    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn advice_text(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    pub fn invalid(stage: Stage, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidRequest, stage, message)
    }
    pub fn not_found(stage: Stage, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, stage, message)
    }
    pub fn unsupported(stage: Stage, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unsupported, stage, message)
    }
    pub fn corrupt(stage: Stage, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, stage, message)
    }
    pub fn limit(stage: Stage, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::LimitExceeded, stage, message)
    }
    pub fn internal(stage: Stage, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, stage, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("stage", &self.0.stage)
            .field("message", &self.0.message)
            .field("advice", &self.0.advice)
            .field("source", &self.0.source.as_ref().map(|s| s.to_string()))
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

/// The names nearest to `wanted` by edit distance, at most three, for "did you mean" messages.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().take(64).collect();
    let mut scored: Vec<(usize, &str)> = names
        .into_iter()
        .take(10_000)
        .map(|name| (distance(&wanted, &name.to_lowercase().chars().take(64).collect::<Vec<_>>()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(wanted.len()) / 2)
        .collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Letters to change, add or take away between two short names.
pub fn edit_distance(a: &str, b: &str) -> usize {
    distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
}

fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_names_are_unique_and_round_trip() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn nearest_finds_a_misspelling_and_ignores_strangers() {
        assert_eq!(nearest("lineitme", ["orders", "lineitem", "nation"]), vec!["lineitem"]);
        assert!(nearest("zzzzzz", ["orders", "lineitem"]).is_empty());
    }
}
