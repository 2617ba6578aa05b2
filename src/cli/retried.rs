//! What failed last and was tried again: what a command that ran out of time was probably waiting for.
//!
//! Contract: the stages say it as an event of the target [`RETRIED`] with the field `error`, which holds no secret; [`layer`] keeps the last one, whether
//! or not anything is logged, and [`last`] tells it.

use fastdata_types::error::RETRIED;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// As events go to one subscriber of the whole process.
static LAST: Mutex<Option<(Instant, String)>> = Mutex::new(None);

struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut error = ErrorField(String::new());
        event.record(&mut error);
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error.0));
    }
}

struct ErrorField(String);

impl Visit for ErrorField {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "error" {
            self.0 = format!("{value:?}");
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error" {
            value.clone_into(&mut self.0);
        }
    }
}

pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    Keep.with_filter(Targets::new().with_target(RETRIED, LevelFilter::DEBUG))
}

/// The last failure and how long ago it was.
pub fn last() -> Option<(Duration, String)> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(at, error)| (at.elapsed(), error.clone()))
}
