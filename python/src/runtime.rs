//! Waiting for the engine from a Python thread.
//!
//! Contract: a wait holds no interpreter lock, and ends within [`SLICE`] of a signal that Python answers with an exception. There is one set of I/O
//! threads for a process; a fork has none of its parent's threads, so it gets a set of its own, and what belonged to the parent's is
//! refused ([`Here::get`]) and never torn down here.

use crate::error::ForkError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long Ctrl-C may take to be noticed.
const SLICE: Duration = Duration::from_millis(50);

/// The runtime of the process that made it. It lives as long as that process: interpreters end without a good moment to stop threads.
struct Made {
    process: u32,
    runtime: Runtime,
}

/// No lock: a fork could find one held by a thread that it does not have.
static MADE: AtomicPtr<Made> = AtomicPtr::new(std::ptr::null_mut());

/// What was made and is never freed.
fn known(made: *mut Made) -> Option<&'static Made> {
    // SAFETY: it is null, or came from a box that was leaked whole.
    #[expect(unsafe_code, reason = "an atomic holds a pointer")]
    unsafe {
        made.as_ref()
    }
}

fn runtime() -> PyResult<&'static Runtime> {
    let here = std::process::id();
    let before = MADE.load(Ordering::Acquire);
    if let Some(made) = known(before).filter(|made| made.process == here) {
        return Ok(&made.runtime);
    }
    let runtime = Builder::new_multi_thread().enable_all().thread_name("fastdata-io").build();
    let runtime = runtime.map_err(|e| PyRuntimeError::new_err(format!("starting the I/O threads: {e}")))?;
    let made = Box::into_raw(Box::new(Made { process: here, runtime }));
    let winner = match MADE.compare_exchange(before, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => made,
        // Another thread was faster; ours idles beside its.
        Err(other) => other,
    };
    known(winner).map(|made| &made.runtime).ok_or_else(|| PyRuntimeError::new_err("there are no I/O threads"))
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
