//! Errors of the engine as Python exceptions. The package turns a `NativeError` into the class of its kind.

use fastdata_types::Error;
use pyo3::prelude::*;
use pyo3::{create_exception, exceptions};

create_exception!(fastdata._native, NativeError, exceptions::PyException, "(kind, stage, message, advice, retryable)");
create_exception!(fastdata._native, ForkError, exceptions::PyRuntimeError, "Used in a fork of the process that made it.");

pub fn raised(error: Error) -> PyErr {
    let mut message = error.message().to_owned();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(&format!(": {text}"));
        }
        source = cause.source();
    }
    let advice = error.advice_text().map(str::to_owned);
    NativeError::new_err((error.kind().name(), error.stage().name(), message, advice, error.retryable()))
}

/// What went wrong, for a library that takes a text alone.
pub fn text_of(error: &PyErr, py: Python<'_>) -> String {
    match error.value(py).getattr("args").and_then(|args| args.extract::<(String, String, String, Option<String>, bool)>()) {
        Ok((kind, _, message, Some(advice), _)) => format!("{kind}: {message}; {advice}"),
        Ok((kind, _, message, None, _)) => format!("{kind}: {message}"),
        Err(_) => error.value(py).to_string(),
    }
}
