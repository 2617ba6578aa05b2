//! Heads of HTTP/1.1 messages: what is asked, what is answered, and where the body ends.
//!
//! Contract: a head is read and never written anew; what cannot be understood is an error, because a body whose end is not known cannot be
//! handed on.

use crate::answer::Signed;
use std::io;

/// A longer head is refused.
pub(crate) const LONGEST: usize = 64 << 10;
const MOST_HEADERS: usize = 128;

/// Where a body ends (RFC 9112, Message Body Length).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    ToTheEnd,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) range: Option<String>,
    pub(crate) signed: Signed,
    pub(crate) framing: Framing,
    pub(crate) closes: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Response {
    pub(crate) status: u16,
    framing: Framing,
    pub(crate) closes: bool,
}

impl Request {
    /// The head at the front of `bytes` and its length; `None` where it is not complete.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(invalid)? else { return Ok(None) };
        let target = parsed.path.unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let framing = framing(parsed.headers)?.unwrap_or(Framing::None);
        let request = Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            range: value(parsed.headers, "range").map(str::to_owned),
            signed: Signed::read(|name| value(parsed.headers, name)),
            framing,
            closes: closes(parsed.headers, parsed.version),
        };
        Ok(Some((request, length)))
    }
}

impl Response {
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<(Response, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(invalid)? else { return Ok(None) };
        let framing = framing(parsed.headers)?.unwrap_or(Framing::ToTheEnd);
        let closes = closes(parsed.headers, parsed.version);
        Ok(Some((Response { status: parsed.code.unwrap_or_default(), framing, closes }, length)))
    }

    /// `100 Continue` and its like: the answer is yet to come.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    pub(crate) fn framing(&self, method: &str) -> Framing {
        match method == "HEAD" || matches!(self.status, 204 | 304) {
            true => Framing::None,
            false => self.framing,
        }
    }
}

pub(crate) fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn value<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok().map(str::trim)
}

fn framing(headers: &[httparse::Header<'_>]) -> io::Result<Option<Framing>> {
    if let Some(encoding) = value(headers, "transfer-encoding") {
        let is_chunked = encoding.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"));
        return Ok(is_chunked.then_some(Framing::Chunked));
    }
    let Some(length) = value(headers, "content-length") else { return Ok(None) };
    length.parse().map(|length| Some(Framing::Length(length))).map_err(invalid)
}

fn closes(headers: &[httparse::Header<'_>], version: Option<u8>) -> bool {
    let asked = value(headers, "connection").unwrap_or_default().to_ascii_lowercase();
    asked.contains("close") || (version == Some(0) && !asked.contains("keep-alive"))
}
