//! Stores around a store: one writes down what is asked for, one makes trouble.
//!
//! Problem: an optimisation of I/O is proved by the requests it makes, and an error path by the errors it meets. Contract: [`RecordingStore`] passes
//! everything on and keeps a list; [`FaultStore`] delays, fails or cuts short what its [`Faults`] say, the same calls in the same way for
//! one seed. Both sit directly around the real store, below any cache.

mod fault;
mod recording;

#[cfg(test)]
mod tests;

pub use fault::{FaultStore, Faults};
pub use recording::{Access, RecordingStore};
