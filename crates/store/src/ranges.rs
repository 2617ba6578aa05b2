//! Which requests serve which ranges of one object.
//!
//! Problem: one request for each column chunk pays a round trip for each, one request for a whole row group runs at the speed of one connection.
//! Contract: a pure function from the wanted ranges to requests. Ranges at most `GAP` apart share a request; no request is longer than
//! `LONGEST`; none begins or ends with bytes that nobody wants. Bytes of a gap are never kept: each request scatters what arrives straight
//! into buffers of the exact length of the ranges. A range that spans several requests is one buffer cut into parts that are joined
//! again without copying.

use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// A gap that costs less to read than another round trip (30 ms at 50 MB/s is 1.5 MB).
pub(crate) const GAP: u64 = 1 << 20;
/// Runs longer than this are cut into equal pieces, each longer than half of it.
pub(crate) const LONGEST: u64 = 16 << 20;

/// One request and the parts of ranges that it fills.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) bytes: Range<u64>,
    pub(crate) parts: Vec<Part>,
}

/// The bytes of range number `range` that one request brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: usize,
    pub(crate) bytes: Range<u64>,
}

/// `ranges` are in any order and may overlap; empty ones need no request.
pub(crate) fn requests(ranges: &[Range<u64>]) -> Vec<Request> {
    let mut wanted: Vec<Part> = ranges
        .iter()
        .enumerate()
        .filter(|(_, bytes)| bytes.start < bytes.end)
        .map(|(range, bytes)| Part { range, bytes: bytes.clone() })
        .collect();
    wanted.sort_by_key(|part| (part.bytes.start, part.bytes.end, part.range));
    let mut result = Vec::new();
    let mut run: Vec<Part> = Vec::new();
    let mut end = 0u64;
    for part in wanted {
        if !run.is_empty() && part.bytes.start > end.saturating_add(GAP) {
            cut(&mut result, &std::mem::take(&mut run), end);
        }
        end = if run.is_empty() { part.bytes.end } else { end.max(part.bytes.end) };
        run.push(part);
    }
    cut(&mut result, &run, end);
    result
}

/// Cuts one run of near ranges, sorted by start, into requests.
fn cut(result: &mut Vec<Request>, run: &[Part], end: u64) {
    let Some(start) = run.first().map(|part| part.bytes.start) else { return };
    let length = end - start;
    let pieces = length.div_ceil(LONGEST).max(1);
    let step = length.div_ceil(pieces);
    // Parts are in order of their start: those that end before a piece are never looked at again for later pieces.
    let mut active: Vec<&Part> = Vec::new();
    let mut coming = run.iter().peekable();
    for piece in 0..pieces {
        let from = start + piece * step;
        let until = end.min(from.saturating_add(step));
        while let Some(part) = coming.next_if(|part| part.bytes.start < until) {
            active.push(part);
        }
        let parts: Vec<Part> = active
            .iter()
            .map(|part| Part { range: part.range, bytes: part.bytes.start.max(from)..part.bytes.end.min(until) })
            .filter(|part| part.bytes.start < part.bytes.end)
            .collect();
        active.retain(|part| part.bytes.end > until);
        let first = parts.iter().map(|part| part.bytes.start).min();
        let last = parts.iter().map(|part| part.bytes.end).max();
        if let (Some(first), Some(last)) = (first, last) {
            result.push(Request { bytes: first..last, parts });
        }
    }
}

/// The parts of one request while its body arrives.
pub(crate) struct Scatter {
    parts: Vec<(Part, BytesMut)>,
    next: u64,
    end: u64,
}

impl Scatter {
    /// Where the next byte must come from.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Takes the next bytes of the object; what lies beyond the end of the request is not looked at.
    pub(crate) fn take(&mut self, chunk: &[u8]) {
        let chunk_end = self.next.saturating_add(chunk.len() as u64).min(self.end);
        for (part, buffer) in &mut self.parts {
            let from = part.bytes.start.max(self.next);
            let until = part.bytes.end.min(chunk_end);
            if from < until {
                let piece = (from - self.next) as usize..(until - self.next) as usize;
                buffer.extend_from_slice(chunk.get(piece).unwrap_or_default());
            }
        }
        self.next = chunk_end;
    }

    pub(crate) fn into_parts(self) -> Vec<(Part, BytesMut)> {
        self.parts
    }
}

/// Buffers for all ranges, handed out to the requests that fill them.
pub(crate) fn scatter(ranges: &[Range<u64>], requests: Vec<Request>) -> Vec<Scatter> {
    let mut rest: Vec<BytesMut> =
        ranges.iter().map(|range| BytesMut::with_capacity(range.end.saturating_sub(range.start) as usize)).collect();
    requests
        .into_iter()
        .map(|request| Scatter {
            next: request.bytes.start,
            end: request.bytes.end,
            // Requests come in the order of their bytes, so that each part is the front of what is left of its range's buffer.
            parts: request
                .parts
                .into_iter()
                .map(|part| {
                    let buffer = match rest.get_mut(part.range) {
                        Some(rest) => {
                            let tail = rest.split_off((part.bytes.end - part.bytes.start) as usize);
                            std::mem::replace(rest, tail)
                        }
                        None => BytesMut::new(),
                    };
                    (part, buffer)
                })
                .collect(),
        })
        .collect()
}

/// Joins filled parts to one `Bytes` for each of `count` ranges.
pub(crate) fn gather(count: usize, mut parts: Vec<(Part, BytesMut)>) -> Vec<Bytes> {
    parts.sort_by_key(|(part, _)| (part.range, part.bytes.start));
    let mut result = vec![BytesMut::new(); count];
    for (part, buffer) in parts {
        if let Some(range) = result.get_mut(part.range) {
            range.unsplit(buffer);
        }
    }
    result.into_iter().map(BytesMut::freeze).collect()
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, clippy::reversed_empty_ranges)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const MIB: u64 = 1 << 20;

    fn spans(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        requests(ranges).into_iter().map(|request| request.bytes).collect()
    }

    #[test]
    fn near_ranges_share_a_request_and_far_ones_do_not() {
        assert_eq!(spans(&[0..10, 20..30, 5..8]), [0..30]);
        assert_eq!(spans(&[0..10, 10 + GAP..20 + GAP]), [0..20 + GAP]);
        assert_eq!(spans(&[0..10, 11 + GAP..20 + GAP]), [0..10, 11 + GAP..20 + GAP]);
        assert_eq!(spans(&[100 * MIB..101 * MIB, 0..MIB]), [0..MIB, 100 * MIB..101 * MIB]);
        assert_eq!(spans(&[5..5, 9..3]), []);
    }

    #[test]
    fn a_large_row_group_is_cut_into_requests_of_8_to_16_mib() {
        assert_eq!(spans(&[0..16 * MIB]), [0..16 * MIB]);
        assert_eq!(spans(&[0..16 * MIB + 2]), [0..8 * MIB + 1, 8 * MIB + 1..16 * MIB + 2]);
        let pieces = spans(&[0..85 * MIB]);
        assert_eq!(pieces.len(), 6);
        assert!(pieces.iter().all(|piece| (8 * MIB..=16 * MIB).contains(&(piece.end - piece.start))));
    }

    #[test]
    fn no_request_begins_or_ends_in_a_gap() {
        let ranges: Vec<_> = (0..40).map(|i| i * MIB..i * MIB + 1000).collect();
        for request in requests(&ranges) {
            assert!(request.parts.iter().any(|part| part.bytes.start == request.bytes.start));
            assert!(request.parts.iter().any(|part| part.bytes.end == request.bytes.end));
        }
    }

    #[test]
    fn whatever_the_ranges_and_chunks_each_range_gets_its_bytes_without_reallocation() {
        let mut rng = StdRng::seed_from_u64(7);
        let object: Vec<u8> = (0..40 * MIB).map(|i| ((i * 2_654_435_761) >> 11) as u8).collect();
        for _ in 0..60 {
            let ranges: Vec<Range<u64>> = (0..rng.random_range(1..20))
                .map(|_| {
                    let start = rng.random_range(0..object.len() as u64);
                    let longest = if rng.random_bool(0.2) { 30 * MIB } else { MIB };
                    start..(start + rng.random_range(0..longest)).min(object.len() as u64)
                })
                .collect();
            let mut parts = Vec::new();
            for mut scatter in scatter(&ranges, requests(&ranges)) {
                assert!(scatter.end() - scatter.position() <= LONGEST);
                while scatter.position() < scatter.end() {
                    let from = scatter.position() as usize;
                    let until = (from + rng.random_range(1..3_000_000)).min(object.len());
                    scatter.take(&object[from..until]);
                }
                parts.extend(scatter.into_parts());
            }
            let first_bytes: Vec<_> = parts.iter().map(|(part, buffer)| (part.clone(), buffer.as_ptr())).collect();
            for (index, (bytes, range)) in gather(ranges.len(), parts).into_iter().zip(&ranges).enumerate() {
                assert!(bytes == object[range.start as usize..range.end as usize], "{range:?}");
                let front = first_bytes.iter().find(|(part, _)| part.range == index && part.bytes.start == range.start);
                assert!(front.is_none_or(|(_, pointer)| *pointer == bytes.as_ptr()), "copied");
            }
        }
    }

    #[test]
    fn ten_thousand_scattered_ranges_are_planned_at_once() {
        let ranges: Vec<_> = (0..10_000u64).map(|i| i * 100_000..i * 100_000 + 50).collect();
        let planned = requests(&ranges);
        let wanted: u64 = planned.iter().flat_map(|request| &request.parts).map(|part| part.bytes.end - part.bytes.start).sum();
        assert_eq!((wanted, planned.len()), (500_000, 60));
        assert!(planned.iter().all(|request| request.bytes.end - request.bytes.start <= LONGEST));
    }
}
