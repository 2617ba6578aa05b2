//! `token`: a new token for a caller of a server.
//!
//! Contract: standard output gets the token and nothing else, standard error the line that makes it known and nothing else, so that each can be sent
//! where it belongs. The token is shown this once and kept nowhere.

use super::args::TokenArgs;
use super::output::print;
use crate::auth::tokens;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::io::Write;

pub fn run(args: &TokenArgs) -> Result<()> {
    let issued = tokens::issue(&args.principal, &args.groups)?;
    // First the line: a token that nothing knows is worth nothing.
    writeln!(std::io::stderr(), "{}", issued.line)
        .map_err(|e| Error::new(ErrorKind::Output, Stage::Output, format!("standard error: {e}")).source(e))?;
    print(&format!("{}\n", issued.token))
}
