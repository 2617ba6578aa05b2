//! The rules one by one, and all of them against an oracle.

mod oracle;
mod rules;
