//! What a location in metadata points at.
//!
//! Problem: engines spell the same object in many ways (`s3a://`, `file:/x`, `file:///x`, `/x`, `./x`), and a key may hold characters
//! that URL libraries decode, encode or fold. Contract: reading a location never fails and never changes a byte of an object's
//! key; whether the result may be opened is the policy's question. How: a scheme is what stands before the first `:` if that comes before any
//! `/`; an authority reaches to the next `/`; all the rest is path. Nothing is percent-decoded. Only local paths are made equal where the file
//! system itself sees no difference: empty and `.` segments vanish, relative paths are joined to the working directory.

use std::fmt::Write as _;

/// The object that a location names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An absolute path without empty or `.` segments. `..` stays: resolving it is not a matter of text.
    Local(String),
    /// The key byte for byte as it follows the bucket's slash.
    S3 { bucket: String, key: String },
    /// A scheme that this version does not read, or an S3 location without `//`.
    Other { scheme: String, authority: String, path: String },
}

impl Place {
    /// `base` is the absolute directory that relative paths start from.
    pub(crate) fn parse(location: &str, base: &str) -> Place {
        let Some((scheme, rest)) = split_scheme(location) else {
            return Place::Local(absolute(location, base));
        };
        let scheme = scheme.to_ascii_lowercase();
        let after_slashes = rest.strip_prefix("//");
        match (scheme.as_str(), after_slashes) {
            ("file", hierarchical) => Place::Local(absolute(hierarchical.unwrap_or(rest), base)),
            ("s3" | "s3a" | "s3n", Some(rest)) => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                Place::S3 { bucket: bucket.to_string(), key: key.to_string() }
            }
            (_, Some(rest)) => {
                let border = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(border);
                Place::Other { scheme, authority: authority.to_string(), path: path.to_string() }
            }
            (_, None) => Place::Other { scheme, authority: String::new(), path: rest.to_string() },
        }
    }

    /// A location that stands for everything below it: one trailing slash makes no difference.
    pub(crate) fn parse_prefix(location: &str, base: &str) -> Place {
        let mut place = Place::parse(location, base);
        if let Place::S3 { key: path, .. } | Place::Other { path, .. } = &mut place
            && path.ends_with('/')
        {
            path.pop();
        }
        place
    }

    /// What remains of this place below `prefix`, cut at a segment border; empty where both are the same.
    pub(crate) fn below<'a>(&'a self, prefix: &Place) -> Option<&'a str> {
        match (self, prefix) {
            (Place::Local(path), Place::Local(prefix)) => path_below(path, prefix.trim_end_matches('/')),
            (Place::S3 { bucket, key }, Place::S3 { bucket: of, key: prefix }) if bucket == of => {
                if prefix.is_empty() {
                    Some(key)
                } else {
                    path_below(key, prefix)
                }
            }
            (Place::Other { scheme, authority, path }, Place::Other { scheme: s, authority: a, path: prefix })
                if scheme == s && authority == a =>
            {
                path_below(path, prefix)
            }
            _ => None,
        }
    }

    /// The one spelling of this place.
    pub(crate) fn text(&self) -> String {
        match self {
            Place::Local(path) => path.clone(),
            Place::S3 { bucket, key } => format!("s3://{bucket}/{key}"),
            Place::Other { scheme, authority, path } if authority.is_empty() => format!("{scheme}:{path}"),
            Place::Other { scheme, authority, path } => format!("{scheme}://{authority}{path}"),
        }
    }
}

/// Scheme and what follows the colon; `None` for a plain path.
pub(crate) fn split_scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let mut letters = scheme.bytes();
    let named = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    named.then_some((scheme, rest))
}

pub(crate) fn path_below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn absolute(path: &str, base: &str) -> String {
    let start = if path.starts_with('/') { "" } else { base };
    let mut result = String::with_capacity(start.len() + path.len() + 2);
    for segment in start.split('/').chain(path.split('/')) {
        if !segment.is_empty() && segment != "." {
            result.push('/');
            result.push_str(segment);
        }
    }
    if result.is_empty() {
        result.push('/');
    }
    result
}

/// A location as it may stand in a message: control and odd characters escaped, long ones cut.
pub(crate) fn shown(location: &str) -> String {
    const LIMIT: usize = 240;
    let mut text = String::new();
    for c in location.chars() {
        if text.len() > LIMIT {
            let _ = write!(text, "... ({} bytes)", location.len());
            break;
        }
        if c.is_control() || ('\u{200b}'..='\u{202e}').contains(&c) || ('\u{2060}'..='\u{206f}').contains(&c) || c == '\u{feff}' {
            let _ = write!(text, "{}", c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

/// The working directory, which relative locations start from.
pub(crate) fn working_directory() -> String {
    std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_else(|_| "/".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, key: &str) -> Place {
        Place::S3 { bucket: bucket.into(), key: key.into() }
    }

    fn local(path: &str) -> Place {
        Place::Local(path.into())
    }

    #[test]
    fn locations_are_used_byte_for_byte() {
        for key in ["a//b", "/a", "a/", "a b+c%20%2F#?&=;é.parquet", "a/./b", "x:y@z", "%", "c=\u{1F600}"] {
            assert_eq!(Place::parse(&format!("s3://warehouse/{key}"), "/"), s3("warehouse", key));
        }
        assert_eq!(Place::parse("/a/b%20c+d#e?f", "/"), local("/a/b%20c+d#e?f"));
        assert_eq!(Place::parse("file:///a/b%2e%2e/c", "/"), local("/a/b%2e%2e/c"));
    }

    #[test]
    fn scheme_variants_name_one_place() {
        for text in ["s3://b/k", "s3a://b/k", "s3n://b/k", "S3A://b/k"] {
            assert_eq!(Place::parse(text, "/"), s3("b", "k"), "{text}");
        }
        for text in ["/a/b", "file:/a/b", "file:///a/b", "FILE:///a/b", "file:////a//b", "/a/./b/", "b", "./b", "file:b", "file://b"] {
            assert_eq!(Place::parse(text, "/a"), local("/a/b"), "{text}");
        }
    }

    #[test]
    fn double_slashes_matter_in_keys_and_not_in_paths() {
        assert_ne!(Place::parse("s3://b/a//k", "/"), Place::parse("s3://b/a/k", "/"));
        assert_eq!(Place::parse("/a//k", "/"), Place::parse("/a/k", "/"));
    }

    #[test]
    fn other_schemes_keep_their_parts() {
        assert_eq!(
            Place::parse("hdfs://nn:8020/user/x", "/"),
            Place::Other { scheme: "hdfs".into(), authority: "nn:8020".into(), path: "/user/x".into() }
        );
        assert_eq!(Place::parse("s3:/b/k", "/"), Place::Other { scheme: "s3".into(), authority: "".into(), path: "/b/k".into() });
        for text in ["hdfs://nn:8020/user/x", "gs://b/k", "http://h:1/p?q", "hdfs:/p"] {
            assert_eq!(Place::parse(text, "/").text(), text);
        }
    }

    #[test]
    fn prefixes_end_at_segment_borders() {
        let below = |place: &str, prefix: &str| Place::parse(place, "/").below(&Place::parse_prefix(prefix, "/")).map(str::to_string);
        assert_eq!(below("s3://b/wh/t/f", "s3://b/wh/t/"), Some("f".into()));
        assert_eq!(below("s3://b/wh/t//f", "s3://b/wh/t"), Some("/f".into()));
        assert_eq!(below("s3://b/wh/t-evil/f", "s3://b/wh/t"), None);
        assert_eq!(below("s3://b2/wh/t/f", "s3://b/wh/t"), None);
        assert_eq!(below("s3://b/k", "s3://b"), Some("k".into()));
        assert_eq!(below("/wh/t/f", "/wh/t"), Some("f".into()));
        assert_eq!(below("/wh/t", "/wh/t"), Some("".into()));
        assert_eq!(below("/wh/tt", "/wh/t"), None);
        assert_eq!(below("/wh", "/"), Some("wh".into()));
        assert_eq!(below("/wh", "s3://wh"), None);
    }

    #[test]
    fn messages_show_no_raw_control_characters_and_stay_short() {
        let text = shown(&format!("a\u{0}\n\u{202e}{}", "x".repeat(10_000)));
        assert!(text.starts_with("a\\u{0}\\u{a}\\u{202e}xxx") && text.len() < 300 && text.ends_with("bytes)"), "{text}");
    }
}
