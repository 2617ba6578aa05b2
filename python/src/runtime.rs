//! Waiting for the engine from a Python thread.
//!
//! Contract: a wait holds no interpreter lock, and ends within [`SLICE`] of a signal that Python answers with an exception. There is one set of I/O
//! threads for a process; a fork has none of its parent's threads, so it gets a set of its own, and what belonged to the parent's is
//! refused ([`Here::check`]) and never torn down here.

use crate::error::ForkError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long Ctrl-C may take to be noticed.
const SLICE: Duration = Duration::from_millis(50);

static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

fn runtime() -> PyResult<&'static Runtime> {
    let mut known = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let here = std::process::id();
    match *known {
        Some((process, runtime)) if process == here => Ok(runtime),
        _ => {
            let made = Builder::new_multi_thread().enable_all().thread_name("fastdata-io").build();
            let made = made.map_err(|e| PyRuntimeError::new_err(format!("starting the I/O threads: {e}")))?;
            // It lives as long as the process: interpreters end without a good moment to stop threads.
            let runtime: &'static Runtime = Box::leak(Box::new(made));
            *known = Some((here, runtime));
            Ok(runtime)
        }
    }
}

/// Waits without the interpreter's lock. The future is dropped where a signal ends the wait.
pub fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    py.detach(|| wait_detached(future))
}

/// The same from a thread that does not hold the lock.
pub fn wait_detached<T>(future: impl Future<Output = T>) -> PyResult<T> {
    let runtime = runtime()?;
    let mut future = std::pin::pin!(future);
    loop {
        match runtime.block_on(async { tokio::time::timeout(SLICE, future.as_mut()).await }) {
            Ok(done) => return Ok(done),
            // An interpreter that is ending has no signals to tell of.
            Err(_) => Python::try_attach(|py| py.check_signals()).transpose()?.unwrap_or_default(),
        }
    }
}

/// Something of this process.
pub struct Here<T> {
    process: u32,
    value: ManuallyDrop<T>,
}

impl<T> Here<T> {
    pub fn new(value: T) -> Here<T> {
        Here { process: std::process::id(), value: ManuallyDrop::new(value) }
    }

    pub fn get(&self) -> PyResult<&T> {
        let here = std::process::id();
        if self.process != here {
            return Err(ForkError::new_err(format!(
                "process {here} is a fork of process {}, which opened this: its threads and connections stayed there; open it again in this process",
                self.process
            )));
        }
        Ok(&self.value)
    }
}

impl<T> Drop for Here<T> {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: it is dropped here only, and never used again.
            #[expect(unsafe_code, reason = "a value that must not be dropped in a fork")]
            unsafe {
                ManuallyDrop::drop(&mut self.value);
            }
        }
    }
}
