//! Random evolution against an oracle.
