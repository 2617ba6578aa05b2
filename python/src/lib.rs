//! The Python package's native half: the engine and the client for interpreters.
//!
//! Problem: a notebook or a training step wants rows without a second implementation and without a heavy dependency. Contract: what crosses is JSON
//! (requests, facts, cursors, statistics) and Arrow through capsules; nothing here decides what a scan means. Calls that may wait give up the
//! interpreter's lock and look for signals ([`runtime`]); objects know the process that made them.

mod batch;
mod capsule;
mod column;
mod error;
mod lake;
mod objects;
mod runtime;
mod stream;

use fastdata::facts::{Explanation, parsed};
use fastdata_types::lanes::Cursor;
use pyo3::prelude::*;
use std::ffi::OsString;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        batch::{Batch, Schema},
        column::{Buffer, Column},
        error::{ForkError, NativeError},
        lake::{Lake, Plan},
        merge_cursors, render_explanation, run_command,
        stream::{Feed, Stream},
    };
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        fastdata::cli::init_tracing();
        fastdata::cli::quiet_decoders();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs the `fastdata` command; the arguments do not have the program's name.
#[pyfunction]
fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let arguments = std::iter::once(OsString::from("fastdata")).chain(arguments);
    py.detach(|| fastdata::cli::main(arguments))
}

#[pyfunction]
fn merge_cursors(cursors: Vec<String>) -> PyResult<String> {
    let cursors: Vec<Cursor> = cursors.iter().map(|text| lake::cursor_of(text)).collect::<PyResult<_>>()?;
    let merged = Cursor::merge(cursors).map_err(error::raised)?;
    lake::json(&merged)
}

#[pyfunction]
fn render_explanation(answer: &str) -> PyResult<String> {
    let explanation: Explanation = parsed(answer.as_bytes(), "Explain").map_err(error::raised)?;
    Ok(fastdata::cli::plan_text(&explanation))
}
