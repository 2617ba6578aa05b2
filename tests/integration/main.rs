//! The integration tests: one binary, so that the whole tree is linked once.

mod architecture;
mod command_line;
mod corpus;
mod documents;
mod flight;
mod hostile;
mod proto;
mod planned_tables;
mod support;
