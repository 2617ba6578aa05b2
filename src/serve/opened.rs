//! The files of `[server]` and the rules of `[[policy]]`: opened and checked before anything listens.
//!
//! Contract: every file that is missing or broken and every filter that does not parse is a line, with its key; one problem hides no other. A server starts with
//! what was opened, `fastdata doctor` prints the lines.

use super::caller::Door;
use super::seal::Keyring;
use crate::auth::{Authenticator, Policy, Tls};
use crate::config::{self, Rule, Settings};
use crate::engine::check_filter;
use fastdata_types::Result;
use std::sync::Arc;

pub struct Opened {
    pub(super) keys: Keyring,
    pub(super) door: Door,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Opened {
    /// Opens everything, or refuses with all that is wrong.
    pub fn of(settings: &Settings) -> Result<Opened> {
        let mut problems = Vec::new();
        let server = &settings.server;
        if let Err(error) = server.check_listen() {
            problems.push(format!("server.listen: {}; {}", error.message(), error.advice_text().unwrap_or_default()));
        }
        let mut add = |error: &fastdata_types::Error| problems.push(error.message().to_owned());
        let keys = server.tickets.keys.as_deref().map_or_else(Keyring::ephemeral, Keyring::read).inspect_err(&mut add);
        let authenticator = Authenticator::open(server).inspect_err(|errors| errors.iter().for_each(&mut add));
        let tls = server.tls.as_ref().map(Tls::open).transpose().inspect_err(|errors| errors.iter().for_each(&mut add));
        problems.extend(unparsed(&settings.policy));
        match (keys, authenticator, tls, config::refusal(problems)) {
            (Ok(keys), Ok(authenticator), Ok(tls), None) => {
                let door = Door { authenticator, policy: Policy::new(settings.policy.clone()) };
                Ok(Opened { keys, door, tls: tls.map(Arc::new) })
            }
            (.., refusal) => Err(refusal.unwrap_or_else(|| {
                fastdata_types::Error::internal(fastdata_types::Stage::Serve, "a file of the configuration was not opened")
            })),
        }
    }
}

/// Rules count from 1, as in other problems of the configuration.
fn unparsed(rules: &[Rule]) -> impl Iterator<Item = String> {
    (1..).zip(rules).filter_map(|(number, rule)| {
        let error = check_filter(rule.filter.as_deref()?).err()?;
        Some(format!("policy[{number}].filter: {}", error.message()))
    })
}
