//! The answers of ListObjectsV2.
//!
//! Contract: one page of XML, asked for with `encoding-type=url` and `/` as delimiter, gives the names directly below the prefix and the token of the
//! next page. A page that cannot be read is an error, never an empty listing.

use crate::location::shown;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// A page holds at most 1000 keys of at most 1024 bytes, each at most three times as long when encoded.
pub(crate) const PAGE_LIMIT: usize = 16 << 20;
const MAX_NAMES: usize = 1_000_000;

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

/// Adds the page's names to `names` and gives the token of the next page.
pub(crate) fn read_page(location: &str, prefix: &str, body: &[u8], names: &mut Vec<String>) -> Result<Option<String>> {
    let unreadable = |why: &str| {
        Error::new(ErrorKind::Unavailable, Stage::Store, format!("{}: the store's listing cannot be read: {why}", shown(location)))
            .with_retryable(false)
            .advice("check that s3.endpoint is an S3 endpoint")
    };
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
