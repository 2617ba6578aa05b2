//! The integration tests: one binary, so that the whole tree is linked once.

mod access;
mod architecture;
mod bad_input;
mod bench;
mod catalogs;
mod cells;
mod command_line;
mod corpus;
mod deploy;
mod documents;
mod facts;
mod faults;
mod fuzzed;
mod hostile;
mod hostile_files;
mod lanes;
mod memory;
mod planned_tables;
mod properties;
mod proto;
mod queries;
mod remote;
mod served;
mod services;
mod support;
mod terminal;
