//! The answers of ListObjectsV2.
//!
//! Contract: one page of XML, asked for with `encoding-type=url` and `/` as delimiter, gives the names directly below the prefix and the token of the
//! next page. A page that cannot be read is an error, never an empty listing; so are pages that lead nowhere, for they would never end.

use crate::location::shown;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A page holds at most 1000 keys of at most 1024 bytes, each at most three times as long when encoded.
pub(crate) const PAGE_LIMIT: usize = 16 << 20;
const MAX_NAMES: usize = 1_000_000;
/// Pages without a new name in one listing.
const MAX_BARREN: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Entry>,
    #[serde(default)]
    common_prefixes: Vec<Folder>,
    /// Every listing says this, and little else does.
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Folder {
    prefix: String,
}

/// What the pages of one listing hold.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) names: Vec<String>,
    barren: usize,
    /// Of the tokens so far; they may be long.
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Listing {
    /// Adds the page's names and gives the token of the next page.
    pub(crate) fn read_page(&mut self, location: &str, prefix: &str, body: &[u8]) -> Result<Option<String>> {
        let before = self.names.len();
        let Some(token) = read_page(location, prefix, body, &mut self.names)? else { return Ok(None) };
        self.barren += usize::from(self.names.len() == before);
        if self.barren > MAX_BARREN {
            return Err(unreadable(location, "its pages hold no names and do not end"));
        }
        if !self.hashes.insert(self.hasher.hash_one(&token)) {
            return Err(unreadable(location, "it leads back to a page that was there before"));
        }
        Ok(Some(token))
    }
}

fn unreadable(location: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, Stage::Store, format!("{}: the store's listing cannot be read: {why}", shown(location)))
        .with_retryable(false)
        .advice("check that s3.endpoint is an S3 endpoint")
}

fn read_page(location: &str, prefix: &str, body: &[u8], names: &mut Vec<String>) -> Result<Option<String>> {
    let unreadable = |why: &str| unreadable(location, why);
    let page: Page = quick_xml::de::from_reader(body).map_err(|_| unreadable("it is not the XML of ListObjectsV2"))?;
    let encoded = page.encoding_type.as_deref() == Some("url");
    let keys = page.contents.into_iter().map(|entry| entry.key).chain(page.common_prefixes.into_iter().map(|folder| folder.prefix));
    for key in keys {
        let key = if encoded { decode(&key).ok_or_else(|| unreadable("a key is not UTF-8"))? } else { key };
        let name = key.strip_prefix(prefix).ok_or_else(|| unreadable("a key lies outside the prefix asked for"))?;
        let name = name.strip_suffix('/').unwrap_or(name);
        if !name.is_empty() {
            names.push(name.to_string());
        }
    }
    if names.len() > MAX_NAMES {
        return Err(Error::limit(Stage::Store, format!("{}: more than {MAX_NAMES} names in one directory", shown(location))));
    }
    match (page.is_truncated, page.next_continuation_token) {
        (false, _) => Ok(None),
        (true, Some(token)) if !token.is_empty() => Ok(Some(token)),
        (true, _) => Err(unreadable("it is cut short and names no next page")),
    }
}

fn decode(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|key| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> (Result<Option<String>>, Vec<String>) {
        let mut names = Vec::new();
        let body = format!("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3\"><Name>b</Name>{inner}</ListBucketResult>");
        (read_page("s3://b/p/", "p/", body.as_bytes(), &mut names), names)
    }

    #[test]
    fn names_directly_below_the_prefix_are_listed_decoded() {
        let (next, names) = page(
            "<IsTruncated>true</IsTruncated><Contents><Key>p/a%2Bb+c</Key><Size>3</Size></Contents><CommonPrefixes><Prefix>p/d%26/</Prefix></CommonPrefixes>\
             <Contents><Key>p/</Key></Contents><EncodingType>url</EncodingType><NextContinuationToken>t&amp;1</NextContinuationToken>",
        );
        assert_eq!((next.unwrap().as_deref(), names), (Some("t&1"), vec!["a+b c".to_string(), "d&".to_string()]));
        assert_eq!(page("<IsTruncated>false</IsTruncated><Contents><Key>p/a%41+&lt;</Key></Contents>").1, ["a%41+<"]);
        assert!(page("<IsTruncated>false</IsTruncated>").0.unwrap().is_none());
    }

    #[test]
    fn a_listing_that_leads_back_or_nowhere_ends() {
        let page = |names: &str, token: &str| {
            let next = format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>");
            format!("<ListBucketResult>{names}{next}</ListBucketResult>")
        };
        let name = |n: usize| format!("<Contents><Key>{n}</Key></Contents>");
        let mut leading_back = Listing::default();
        for (n, token) in ["a", "b", "c"].iter().enumerate() {
            assert_eq!(leading_back.read_page("s3://b", "", page(&name(n), token).as_bytes()).unwrap().as_deref(), Some(*token));
        }
        let error = leading_back.read_page("s3://b", "", page(&name(4), "a").as_bytes()).unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && !error.retryable(), "{error}");
        let mut barren = Listing::default();
        let pages = (0..5000).take_while(|n| barren.read_page("s3://b", "", page("", &n.to_string()).as_bytes()).is_ok()).count();
        assert_eq!(pages, MAX_BARREN);
        let mut long = Listing::default();
        assert!((0..5000).all(|n| long.read_page("s3://b", "", page(&name(n), &n.to_string()).as_bytes()).is_ok()));
    }

    #[test]
    fn a_listing_that_cannot_be_read_is_never_an_empty_one() {
        for inner in
            ["<Contents><Key>q/a</Key></Contents>", "<Contents></Contents>", "<IsTruncated>true</IsTruncated>", "<Contents><Key>p/"]
        {
            assert_eq!(page(inner).0.unwrap_err().kind(), ErrorKind::Unavailable, "{inner}");
        }
        for inner in ["", "<IsTruncated>true</IsTruncated>", "<IsTruncated>maybe</IsTruncated>"] {
            assert_eq!(page(inner).0.unwrap_err().kind(), ErrorKind::Unavailable, "{inner}");
        }
        assert!(read_page("s3://b", "", b"<html>hello</html><p>", &mut Vec::new()).is_err());
    }
}
