//! Page headers.
//!
//! The decoder's own page reader trusts what a header says before it looks at the page: sizes are allocated and gzip or brotli
//! pages inflate without end. So headers are parsed here, in bounded memory and depth, and [`super::PageSource`] checks each
//! figure against the bytes that are there. Fields that reading does not need (statistics, sorting) are skipped, not kept.
//! (Parquet specification, "Data Pages" and parquet.thrift `PageHeader`.)

use crate::thrift::{self, BYTE, FALSE, Fault, I16, I32, I64, Input, Parsed, STRUCT, TRUE};
use parquet::basic::Encoding;

/// A header may carry statistics with long values; longer than this is no header.
pub(crate) const MAX_HEADER_BYTES: usize = thrift::MAX_MEMBER_BYTES as usize;

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

/// Parses the header at the start of `bytes`; also returns how many bytes it takes.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<(PageHeader, usize)> {
    let mut input = Input::new(bytes);
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
    Ok((raw.check()?, input.position()))
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
            return Err(Fault::Malformed("a member has the wrong type"));
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
            _ => return Err(Fault::Malformed("an encoding is unknown")),
        })
    }
}

fn figure(value: Option<i64>) -> Parsed<u32> {
    match value {
        // Sizes and counts are i32 in the format.
        Some(value) if (0..=i64::from(i32::MAX)).contains(&value) => Ok(value as u32),
        Some(_) => Err(Fault::Malformed("a size or count is negative")),
        None => Err(Fault::Malformed("a size or count is missing")),
    }
}

impl RawHeader {
    fn check(self) -> Parsed<PageHeader> {
        let missing = Err(Fault::Malformed("the part for its page type is missing"));
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
            _ => return Err(Fault::Malformed("the page type is unknown")),
        };
        Ok(PageHeader {
            kind,
            compressed: figure(self.compressed)?,
            uncompressed: figure(self.uncompressed)?,
            crc: self.crc.map(|crc| crc as u32),
        })
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
            assert_eq!(parse(&HEADER[..cut]), Err(Fault::Truncated), "{cut}");
        }
    }

    #[test]
    fn negative_sizes_and_endless_collections_are_malformed() {
        assert!(matches!(parse(&[0x15, 0x00, 0x15, 0x01, 0x15, 0x02, 0x00]), Err(Fault::Malformed(_))));
        // A list of 2^63 structs, each of which would be one byte.
        let mut bytes = vec![0x99, 0xfc];
        bytes.extend([0xff; 9]);
        bytes.push(0x7f);
        assert!(parse(&bytes).is_err());
        // Structs in structs without end.
        assert!(matches!(parse(&[0x9c; 64]), Err(Fault::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
