//! The one function that every reference passes before anything is opened.
//!
//! Problem: locations stand in metadata that anybody may have written; following them blindly reads other people's files and buckets, or
//! asks hosts inside the network. Contract: `admit` gives a place only where it lies, after rewrites, at or below one of the allowed
//! prefixes, compared at segment borders on the same bytes that will be opened; everything else is `location-not-allowed`, and nothing was
//! opened. How: no normalisation that could be fooled. What a lower layer might resolve differently (`..` in any encoding, control
//! characters, userinfo) is refused instead of resolved. A `..` in an allowed prefix itself is the operator's and is kept.

use crate::location::{Place, shown};
use crate::rewrite::Rewrites;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};

/// Longer than any path (4096 bytes) or key (1024 bytes) that can exist.
const MAX_LOCATION_BYTES: usize = 8192;

#[derive(Debug)]
pub(crate) struct Policy {
    allowed: Vec<Place>,
    rewrites: Rewrites,
    /// Whether a refusal advises `--moved`.
    advises_moved: bool,
}

/// A place that may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// `beneath` is relative to `root`, which the operator named; it is empty where the prefix itself was asked for.
    Local {
        root: String,
        beneath: String,
    },
    S3 {
        bucket: String,
        key: String,
    },
}

impl Policy {
    /// `allowed` prefixes count as they are given and as the rewrites map them.
    pub(crate) fn new(allowed: &[String], rewrites: Rewrites, base: &str) -> Result<Policy> {
        let mut places = Vec::new();
        for prefix in allowed {
            if prefix.is_empty() {
                return Err(Error::new(ErrorKind::Config, Stage::Store, "an allowed location prefix is empty")
                    .advice("name a directory or bucket prefix; '/' allows every local file"));
            }
            let given = Place::parse_prefix(prefix, base);
            let mapped = Place::parse_prefix(&rewrites.place(prefix).text(), base);
            for place in [given, mapped] {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        // The widest prefix comes first: below it a symbolic link may point at everything that is allowed around it.
        places.sort_by_key(|place| place.text().len());
        Ok(Policy { allowed: places, rewrites, advises_moved: false })
    }

    pub(crate) fn advising_moved(self, advises_moved: bool) -> Policy {
        Policy { advises_moved, ..self }
    }

    pub(crate) fn spelling(&self, location: &str) -> String {
        self.rewrites.place(location).text()
    }

    pub(crate) fn admit(&self, location: &str) -> Result<Admitted> {
        if let Some(why) = malformed(location) {
            return Err(self.refused(location, why));
        }
        let place = self.rewrites.place(location);
        let Some((prefix, beneath)) = self.allowed.iter().find_map(|prefix| place.below(prefix).map(|rest| (prefix, rest))) else {
            return Err(self.refused(location, "it is outside the locations allowed here"));
        };
        if climbs(beneath) {
            return Err(self.refused(location, "'..' in a location is refused in every encoding"));
        }
        match (&place, prefix) {
            (Place::Local(_), Place::Local(root)) => Ok(Admitted::Local { root: root.clone(), beneath: beneath.to_string() }),
            (Place::S3 { bucket, .. }, _) if !valid_bucket(bucket) => Err(self.refused(location, "its bucket name is not valid")),
            (Place::S3 { key, .. }, _) if key.split('/').any(|segment| matches!(segment, "." | "..")) => {
                Err(self.refused(location, "a '.' segment cannot be addressed over HTTP"))
            }
            (Place::S3 { bucket, key }, _) => Ok(Admitted::S3 { bucket: bucket.clone(), key: key.clone() }),
            (Place::Other { scheme, .. }, _) => Err(Error::unsupported(
                Stage::Store,
                format!("location '{}': storage scheme '{scheme}' is not supported", shown(location)),
            )
            .advice(
                "this version reads local files and S3; copy the table there and pass --rewrite FROM=TO, or --moved with its directory",
            )),
            (Place::Local(_), _) => Err(self.refused(location, "it is outside the locations allowed here")),
        }
    }

    /// The error for a location that may not be opened, from whichever layer found out.
    pub(crate) fn refused(&self, location: &str, why: &str) -> Error {
        let scheme_note = match self.rewrites.place(location) {
            Place::Other { scheme, .. } => format!(" (scheme '{}')", shown(&scheme)),
            _ => String::new(),
        };
        let moved = if self.advises_moved { "if the table was copied here, pass --moved; " } else { "" };
        Error::new(ErrorKind::LocationNotAllowed, Stage::Store, format!("location '{}'{scheme_note}: {why}", shown(location)))
            .advice(format!("{moved}if its prefix changed, --rewrite FROM=TO; if its files belong elsewhere, --allow PREFIX"))
    }
}

fn malformed(location: &str) -> Option<&'static str> {
    if location.is_empty() {
        return Some("it is empty");
    }
    if location.len() > MAX_LOCATION_BYTES {
        return Some("it is longer than any path or key");
    }
    if location.contains(char::is_control) {
        return Some("it holds a control character");
    }
    let authority = location.split_once("://").map(|(_, rest)| rest.split(['/', '\\']).next().unwrap_or(rest));
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Some("it holds a user name before '@'");
    }
    None
}

/// Whether any reading of the text, percent-decoded once or several times and with `\` for `/`, holds a `..` segment. What is
/// encoded more often than that is taken for an attack.
fn climbs(path: &str) -> bool {
    let mut text = path.as_bytes().to_vec();
    for _ in 0..8 {
        if text.split(|b| matches!(b, b'/' | b'\\')).any(|segment| segment == b"..") {
            return true;
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode(&text).collect();
        if decoded.len() == text.len() {
            return false;
        }
        text = decoded;
    }
    true
}

/// The names that S3 has ever allowed; none of them can change the host or the path of a request.
fn valid_bucket(bucket: &str) -> bool {
    bucket.len() <= 255
        && bucket.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !bucket.contains("..")
}

#[cfg(test)]
mod tests;
