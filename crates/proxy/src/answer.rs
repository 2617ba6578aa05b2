//! Answers that do not come from the server behind: errors as S3 words them, and objects under a key that holds others.

use crate::faults::Fault;
use bytes::Bytes;
use std::fmt::Write as _;

/// A whole answer. Its `content-length` is its body's, whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// What a request was signed with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    pub access_key_id: Option<String>,
    pub signature: Option<String>,
    pub session_token: Option<String>,
}

impl Signed {
    /// From the headers of a request.
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Signed {
        let of_signature = |name: &str, end: char| header("authorization")?.split_once(name)?.1.split(end).next().map(str::to_owned);
        Signed {
            access_key_id: of_signature("Credential=", '/'),
            signature: of_signature("Signature=", ','),
            session_token: header("x-amz-security-token").map(str::to_owned),
        }
    }
}

impl Answer {
    /// An error with a code, as S3 answers it: with what the request was signed with, which nobody who reads it may hand on.
    pub fn error(status: u16, code: &str, signed: &Signed) -> Answer {
        let mut body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>made for a test</Message>");
        let said =
            [("AWSAccessKeyId", &signed.access_key_id), ("SignatureProvided", &signed.signature), ("Token-0", &signed.session_token)];
        for (name, value) in said {
            if let Some(value) = value {
                let _ = write!(body, "<{name}>{value}</{name}>");
            }
        }
        body.push_str("</Error>");
        Answer { status, headers: vec![("content-type", "application/xml".to_owned())], body: body.into() }
    }

    /// What a fault answers instead of the object; `None` where the object is answered, or nothing at all.
    pub fn refusal(fault: &Fault, signed: &Signed) -> Option<Answer> {
        Some(match fault {
            Fault::Unavailable => Answer::error(503, Fault::code(503), signed),
            Fault::RetryAfter(status, seconds) => {
                let mut answer = Answer::error(*status, Fault::code(*status), signed);
                answer.headers.push(("retry-after", seconds.to_string()));
                answer
            }
            Fault::Denied => Answer::error(403, "AccessDenied", signed),
            Fault::ExpiredToken => Answer::error(400, "ExpiredToken", signed),
            Fault::Status(status, code) => Answer::error(*status, code, signed),
            Fault::Truncate(_) | Fault::Reset(_) | Fault::Hang(_) => return None,
        })
    }

    /// An object, or the range of it that is asked for (RFC 9110, Range Requests).
    pub fn object(bytes: &Bytes, etag: &str, range: Option<&str>) -> Answer {
        let size = bytes.len() as u64;
        let mut headers = vec![("etag", etag.to_owned()), ("accept-ranges", "bytes".to_owned())];
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
            return Answer { status: 200, headers, body: bytes.clone() };
        };
        let Some((from, until)) = satisfy(range, size) else {
            let mut answer = Answer::error(416, "InvalidRange", &Signed::default());
            answer.headers.push(("content-range", format!("bytes */{size}")));
            return answer;
        };
        headers.push(("content-range", format!("bytes {from}-{}/{size}", until - 1)));
        Answer { status: 206, headers, body: bytes.slice(from as usize..until as usize) }
    }

    /// As HTTP/1.1 has it.
    pub(crate) fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} -\r\ncontent-length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// First byte and end of `0-9`, `5-` or `-3` in an object of `size` bytes.
fn satisfy(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    let (from, until) = match (first, last) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(size)),
    };
    (from < until).then_some((from, until))
}
