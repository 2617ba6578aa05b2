//! Page headers: the little of Thrift's compact protocol that they need.
//!
//! The decoder's own page reader trusts what a header says before it looks at the page: sizes are allocated and gzip or brotli
//! pages inflate without end. So headers are parsed here, in bounded memory and depth, and [`super::PageSource`] checks each
//! figure against the bytes that are there. Fields that reading does not need (statistics, sorting) are skipped, not kept.
//! (Parquet specification, "Data Pages" and parquet.thrift `PageHeader`.)

use parquet::basic::Encoding;

/// A header may carry statistics with long values; longer than this is no header.
pub(crate) const MAX_HEADER_BYTES: usize = 16 << 20;

/// Structs in structs deeper than this do not occur.
const MAX_DEPTH: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PageHeader {
    pub(crate) kind: PageKind,
    /// Bytes of the page in the file, after the header.
    pub(crate) compressed: u32,
    pub(crate) uncompressed: u32,
    pub(crate) crc: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PageKind {
    Data {
        values: u32,
        encoding: Encoding,
        definition: Encoding,
        repetition: Encoding,
    },
    DataV2 {
        values: u32,
        nulls: u32,
        rows: u32,
        encoding: Encoding,
        definition_bytes: u32,
        repetition_bytes: u32,
        compressed: bool,
    },
    Dictionary {
        values: u32,
        encoding: Encoding,
    },
    /// An index page: nothing to read.
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// The bytes end before the header does.
    Truncated,
    Malformed(&'static str),
}

type Parsed<T> = Result<T, HeaderFault>;

/// Parses the header at the start of `bytes`; also returns how many bytes it takes.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<(PageHeader, usize)> {
    let mut input = Input { bytes, at: 0 };
    let mut raw = RawHeader::default();
    input.structure(0, &mut |input, id, ty| match id {
        1 => input.keep(&mut raw.kind, ty),
        2 => input.keep(&mut raw.uncompressed, ty),
        3 => input.keep(&mut raw.compressed, ty),
        4 => input.keep(&mut raw.crc, ty),
        5 => raw.data.read(input, ty),
        7 => raw.dictionary.read(input, ty),
        8 => raw.data_v2.read(input, ty),
        _ => input.skip(ty, 1),
    })?;
    Ok((raw.check()?, input.at))
}

#[derive(Default)]
struct RawHeader {
    kind: Option<i64>,
    uncompressed: Option<i64>,
    compressed: Option<i64>,
    crc: Option<i64>,
    data: Members,
    dictionary: Members,
    data_v2: Members,
}

/// The integer (and boolean) members of one of the three inner structs, by field id.
#[derive(Default)]
struct Members {
    present: bool,
    values: [Option<i64>; 8],
}

impl Members {
    fn read(&mut self, input: &mut Input<'_>, ty: u8) -> Parsed<()> {
        if ty != STRUCT {
            return Err(HeaderFault::Malformed("a member has the wrong type"));
        }
        self.present = true;
        input.structure(1, &mut |input, id, ty| match usize::try_from(id).ok().and_then(|id| self.values.get_mut(id)) {
            Some(slot) if matches!(ty, TRUE | FALSE | BYTE | I16 | I32 | I64) => input.keep(slot, ty),
            _ => input.skip(ty, 2),
        })
    }

    fn figure(&self, id: usize) -> Parsed<u32> {
        figure(self.values[id])
    }

    fn encoding(&self, id: usize) -> Parsed<Encoding> {
        #[allow(deprecated)]
        Ok(match self.values[id] {
            Some(0) => Encoding::PLAIN,
            Some(2) => Encoding::PLAIN_DICTIONARY,
            Some(3) => Encoding::RLE,
            Some(4) => Encoding::BIT_PACKED,
            Some(5) => Encoding::DELTA_BINARY_PACKED,
            Some(6) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Some(7) => Encoding::DELTA_BYTE_ARRAY,
            Some(8) => Encoding::RLE_DICTIONARY,
            Some(9) => Encoding::BYTE_STREAM_SPLIT,
            _ => return Err(HeaderFault::Malformed("an encoding is unknown")),
        })
    }
}

fn figure(value: Option<i64>) -> Parsed<u32> {
    match value {
        // Sizes and counts are i32 in the format.
        Some(value) if (0..=i64::from(i32::MAX)).contains(&value) => Ok(value as u32),
        Some(_) => Err(HeaderFault::Malformed("a size or count is negative")),
        None => Err(HeaderFault::Malformed("a size or count is missing")),
    }
}

impl RawHeader {
    fn check(self) -> Parsed<PageHeader> {
        let missing = Err(HeaderFault::Malformed("the part for its page type is missing"));
        let kind = match self.kind {
            Some(0) if self.data.present => PageKind::Data {
                values: self.data.figure(1)?,
                encoding: self.data.encoding(2)?,
                definition: self.data.encoding(3)?,
                repetition: self.data.encoding(4)?,
            },
            Some(2) if self.dictionary.present => {
                PageKind::Dictionary { values: self.dictionary.figure(1)?, encoding: self.dictionary.encoding(2)? }
            }
            Some(3) if self.data_v2.present => PageKind::DataV2 {
                values: self.data_v2.figure(1)?,
                nulls: self.data_v2.figure(2)?,
                rows: self.data_v2.figure(3)?,
                encoding: self.data_v2.encoding(4)?,
                definition_bytes: self.data_v2.figure(5)?,
                repetition_bytes: self.data_v2.figure(6)?,
                compressed: self.data_v2.values[7] != Some(0),
            },
            Some(1) => PageKind::Index,
            Some(0 | 2 | 3) => return missing,
            _ => return Err(HeaderFault::Malformed("the page type is unknown")),
        };
        Ok(PageHeader {
            kind,
            compressed: figure(self.compressed)?,
            uncompressed: figure(self.uncompressed)?,
            crc: self.crc.map(|crc| crc as u32),
        })
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Parsed<u8> {
        let byte = *self.bytes.get(self.at).ok_or(HeaderFault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Parsed<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HeaderFault::Malformed("a number is too long"))
    }

    fn zigzag(&mut self) -> Parsed<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn advance(&mut self, length: u64) -> Parsed<()> {
        let left = (self.bytes.len() - self.at) as u64;
        if length > MAX_HEADER_BYTES as u64 {
            return Err(HeaderFault::Malformed("a member is too long"));
        }
        if length > left {
            return Err(HeaderFault::Truncated);
        }
        self.at += length as usize;
        Ok(())
    }

    fn keep(&mut self, slot: &mut Option<i64>, ty: u8) -> Parsed<()> {
        *slot = Some(match ty {
            TRUE => 1,
            FALSE => 0,
            BYTE => i64::from(self.byte()? as i8),
            I16 | I32 | I64 => self.zigzag()?,
            _ => return Err(HeaderFault::Malformed("a member has the wrong type")),
        });
        Ok(())
    }

    /// Calls `member(input, field id, type)` for each member; it must consume the member.
    fn structure(&mut self, depth: usize, member: &mut dyn FnMut(&mut Self, i64, u8) -> Parsed<()>) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err(HeaderFault::Malformed("it nests too deep"));
        }
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.zigzag()?,
                delta => id.saturating_add(i64::from(delta)),
            };
            member(self, id, head & 0x0f)?;
        }
    }

    fn skip(&mut self, ty: u8, depth: usize) -> Parsed<()> {
        match ty {
            TRUE | FALSE => Ok(()),
            BYTE => self.advance(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.advance(8),
            BINARY => {
                let length = self.varint()?;
                self.advance(length)
            }
            STRUCT => self.structure(depth, &mut |input, _, ty| input.skip(ty, depth + 1)),
            LIST | SET => {
                let head = self.byte()?;
                let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.elements(length, &[head & 0x0f], depth)
            }
            MAP => {
                let length = self.varint()?;
                if length == 0 {
                    return Ok(());
                }
                let types = self.byte()?;
                self.elements(length, &[types >> 4, types & 0x0f], depth)
            }
            _ => Err(HeaderFault::Malformed("a member has an unknown type")),
        }
    }

    fn elements(&mut self, count: u64, types: &[u8], depth: usize) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err(HeaderFault::Malformed("it nests too deep"));
        }
        for _ in 0..count {
            for ty in types {
                // Booleans take a byte each inside a collection, so every round consumes input.
                match *ty {
                    TRUE | FALSE => self.advance(1)?,
                    ty => self.skip(ty, depth + 1)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// type=0, uncompressed=100, compressed=50, crc, data header {values=7, PLAIN, RLE, RLE, statistics{...}}.
    const HEADER: &[u8] = &[
        0x15, 0x00, 0x15, 0xc8, 0x01, 0x15, 0x64, 0x15, 0x02, 0x1c, 0x15, 0x0e, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x1c, 0x18, 0x02, b'a',
        b'b', 0x00, 0x00, 0x00,
    ];

    #[test]
    fn a_data_page_header_is_read_and_its_statistics_skipped() {
        let (header, length) = parse(HEADER).unwrap();
        assert_eq!(length, HEADER.len());
        assert_eq!((header.uncompressed, header.compressed, header.crc), (100, 50, Some(1)));
        let PageKind::Data { values, encoding, definition, .. } = header.kind else { panic!() };
        assert_eq!((values, encoding, definition), (7, Encoding::PLAIN, Encoding::RLE));
    }

    #[test]
    fn every_cut_header_is_truncated_not_misread() {
        for cut in 0..HEADER.len() {
            assert_eq!(parse(&HEADER[..cut]), Err(HeaderFault::Truncated), "{cut}");
        }
    }

    #[test]
    fn negative_sizes_and_endless_collections_are_malformed() {
        assert!(matches!(parse(&[0x15, 0x00, 0x15, 0x01, 0x15, 0x02, 0x00]), Err(HeaderFault::Malformed(_))));
        // A list of 2^63 structs, each of which would be one byte.
        let mut bytes = vec![0x99, 0xfc];
        bytes.extend([0xff; 9]);
        bytes.push(0x7f);
        assert!(parse(&bytes).is_err());
        // Structs in structs without end.
        assert!(matches!(parse(&[0x9c; 64]), Err(HeaderFault::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
