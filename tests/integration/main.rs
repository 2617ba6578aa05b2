//! The integration tests: one binary, so that the whole tree is linked once.

mod architecture;
mod bad_input;
mod cells;
mod command_line;
mod corpus;
mod documents;
mod flight;
mod hostile;
mod lanes;
mod planned_tables;
mod proto;
mod queries;
mod support;
mod terminal;
