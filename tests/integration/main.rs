//! The integration tests: one binary, so that the whole tree is linked once.

mod architecture;
mod command_line;
mod documents;
mod flight;
mod proto;
mod support;
