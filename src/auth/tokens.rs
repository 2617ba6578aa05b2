//! Static tokens: a file that knows them by their hashes.
//!
//! Contract: a line is `sha256:HEX PRINCIPAL [GROUP,GROUP]`; empty lines and those that begin with `#` say nothing. Whoever reads the file cannot call with what is
//! in it. A token is looked up by its hash, so that the time it takes tells nothing about the tokens there are. A file with a wrong line is refused as a
//! whole, each such line by its number.

use super::{Identity, config_error, read_file};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastdata_types::{Error, Result, Stage};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// What our own tokens begin with, so that scanners of secrets find them.
const PREFIX: &str = "fd_";
/// Problems of a file that are listed.
const LISTED: usize = 10;

type Hash = [u8; 32];
type Known = HashMap<Hash, Identity>;

pub struct Tokens {
    file: PathBuf,
    known: RwLock<Arc<Known>>,
}

impl Tokens {
    pub fn open(file: &Path) -> Result<Tokens> {
        Ok(Tokens { file: file.to_owned(), known: RwLock::new(Arc::new(read(file)?)) })
    }

    pub fn find(&self, token: &str) -> Option<Identity> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        known.get(&hash_of(token)).cloned()
    }

    /// Reads the file again. Where it is wrong the former tokens stay.
    pub fn reload(&self) -> Result<()> {
        let known = Arc::new(read(&self.file)?);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }
}

/// A new token, and the line that makes it known. It is shown once and kept nowhere.
pub struct Issued {
    pub token: String,
    pub line: String,
}

/// Makes a token of 256 random bits.
pub fn issue(principal: &str, groups: &[String]) -> Result<Issued> {
    let refuse = |what: &str, name: &str| {
        Error::invalid(
            Stage::Request,
            format!("'{name}' is no {what}: it must not be empty, nor hold spaces, commas or control characters"),
        )
        .advice("use a name such as trainer or alice@example.com")
    };
    if !is_name(principal) || principal.starts_with('#') {
        return Err(refuse("principal", principal));
    }
    if let Some(wrong) = groups.iter().find(|group| !is_name(group)) {
        return Err(refuse("group", wrong));
    }
    let mut random = [0u8; 32];
    SystemRandom::new().fill(&mut random).map_err(|_| Error::internal(Stage::Config, "the system gives no random bytes"))?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let groups = if groups.is_empty() { String::new() } else { format!(" {}", groups.join(",")) };
    let line = format!("sha256:{} {principal}{groups}", hex(&hash_of(&token)));
    Ok(Issued { token, line })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
}

fn hash_of(token: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(file: &Path) -> Result<Known> {
    let bytes = read_file("server.auth.tokens", file)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| config_error(format!("server.auth.tokens: {}: not UTF-8", file.display())))?;
    parse(text).map_err(|problems| {
        let more = if problems.len() > LISTED { format!("\n  and {} more", problems.len() - LISTED) } else { String::new() };
        let listed = problems.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n  ");
        config_error(format!("server.auth.tokens: {}:\n  {listed}{more}", file.display()))
    })
}

/// Problems name lines, never what stands in them: it may be a token.
fn parse(text: &str) -> Result<Known, Vec<String>> {
    let (mut known, mut problems) = (Known::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Some((hash, identity)) if !known.contains_key(&hash) => drop(known.insert(hash, identity)),
            Some(_) => problems.push(format!("line {number}: the same token as on a line before")),
            None => problems.push(format!("line {number}: write sha256:HEX PRINCIPAL [GROUP,GROUP], as `fastdata token` prints it")),
        }
    }
    if problems.is_empty() { Ok(known) } else { Err(problems) }
}

fn parse_line(line: &str) -> Option<(Hash, Identity)> {
    let mut words = line.split_whitespace();
    let digits = words.next()?.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii())?;
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2).filter(|pair| !pair.contains('+'))?, 16).ok()?;
    }
    let principal = words.next().filter(|name| is_name(name))?.to_owned();
    let groups: Vec<String> = words.next().map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default();
    if words.next().is_some() || groups.iter().any(|group| !is_name(group)) {
        return None;
    }
    Some((hash, Identity { principal, groups }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &Path, lines: &[&str]) {
        std::fs::write(file, lines.join("\n")).unwrap();
    }

    #[test]
    fn an_issued_token_is_known_by_its_line_and_no_other_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let (a, b) = (issue("alice", &["ml".to_owned(), "ops".to_owned()]).unwrap(), issue("bob", &[]).unwrap());
        assert!(a.token.starts_with(PREFIX) && a.token.len() == PREFIX.len() + 43 && a.token != b.token);
        assert!(!a.line.contains(&a.token[PREFIX.len()..]), "the file does not hold tokens");
        write(&file, &["# ours", "", &a.line]);
        let tokens = Tokens::open(&file).unwrap();
        let alice = Identity { principal: "alice".to_owned(), groups: vec!["ml".to_owned(), "ops".to_owned()] };
        assert_eq!(tokens.find(&a.token), Some(alice));
        let hash = a.line.split(' ').next().unwrap();
        for wrong in [&b.token, &a.token[..a.token.len() - 1], "", hash, &hash["sha256:".len()..]] {
            assert_eq!(tokens.find(wrong), None);
        }
    }

    #[test]
    fn a_reload_takes_the_new_file_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let (a, b) = (issue("alice", &[]).unwrap(), issue("bob", &[]).unwrap());
        write(&file, &[&a.line]);
        let tokens = Tokens::open(&file).unwrap();
        write(&file, &[&b.line, &a.token, "sha256:12 x", &b.line]);
        let error = tokens.reload().unwrap_err();
        for part in ["line 2:", "line 3:", "line 4: the same token"] {
            assert!(error.message().contains(part), "{error}");
        }
        assert!(!error.message().contains(&a.token), "what stands in the file may be a token");
        assert!(tokens.find(&a.token).is_some() && tokens.find(&b.token).is_none());
        std::fs::remove_file(&file).unwrap();
        assert!(tokens.reload().is_err() && tokens.find(&a.token).is_some());
        write(&file, &[&b.line]);
        tokens.reload().unwrap();
        assert!(tokens.find(&a.token).is_none() && tokens.find(&b.token).is_some());
    }

    #[test]
    fn names_that_would_break_the_line_are_refused() {
        for principal in ["", "a b", "a,b", "#a", "a\n"] {
            assert!(issue(principal, &[]).is_err(), "{principal:?}");
        }
        assert!(issue("a", &["g h".to_owned()]).is_err());
    }
}
