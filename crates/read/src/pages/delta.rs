//! What the delta encodings claim, before the decoder allocates by it.
//!
//! Lengths of strings are delta-packed integers whose count stands in the data, and the values of `DELTA_BYTE_ARRAY` share
//! prefixes, so that a small page may unfold to one page of bytes per value. Both are computed here in one cheap pass. (Parquet
//! specification, "Data encodings".)

use parquet::basic::Encoding;

pub(super) fn is_delta(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_BINARY_PACKED) || has_lengths(encoding)
}

/// Whether the encoding keeps a packed list of lengths, which decoders unpack at once.
pub(super) fn has_lengths(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
}

/// Checks the packed integers at the start of a page of at most `values` values; returns the bytes of shared prefixes, which the decoder
/// writes out beside what the page holds.
pub(super) fn prefix_bytes(encoding: Encoding, body: &[u8], values: u32) -> Result<u64, &'static str> {
    let mut packed = Packed::new(body, values)?;
    if encoding != Encoding::DELTA_BYTE_ARRAY {
        return Ok(0);
    }
    let mut sum = 0u64;
    packed.each(|prefix| sum = sum.saturating_add(u64::try_from(prefix).unwrap_or(0)))?;
    Packed::new(body.get(packed.at..).unwrap_or_default(), values)?;
    Ok(sum)
}

/// A `DELTA_BINARY_PACKED` run of integers.
struct Packed<'a> {
    bytes: &'a [u8],
    at: usize,
    count: u64,
    per_miniblock: usize,
    miniblocks: usize,
    first: i64,
}

const CUT: &str = "a delta encoding is cut off";
const ODD: &str = "a delta encoding has an impossible header";

impl<'a> Packed<'a> {
    fn new(bytes: &'a [u8], values: u32) -> Result<Self, &'static str> {
        let mut packed = Packed { bytes, at: 0, count: 0, per_miniblock: 0, miniblocks: 0, first: 0 };
        let block = packed.varint()?;
        let miniblocks = packed.varint()?;
        packed.count = packed.varint()?;
        let first = packed.varint()?;
        packed.first = (first >> 1) as i64 ^ -((first & 1) as i64);
        if packed.count > u64::from(values) {
            return Err("a delta encoding has more values than its page");
        }
        if block == 0 || block > 1 << 20 || miniblocks == 0 || miniblocks > block || !block.is_multiple_of(miniblocks) {
            return Err(ODD);
        }
        packed.miniblocks = miniblocks as usize;
        packed.per_miniblock = (block / miniblocks) as usize;
        if !packed.per_miniblock.is_multiple_of(8) {
            return Err(ODD);
        }
        Ok(packed)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(CUT)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ODD)
    }

    /// Unpacks every value and leaves `at` behind the last block.
    fn each(&mut self, mut visit: impl FnMut(i64)) -> Result<(), &'static str> {
        let mut left = self.count;
        if left == 0 {
            return Ok(());
        }
        let mut value = self.first;
        visit(value);
        left -= 1;
        while left > 0 {
            let raw = self.varint()?;
            let least = (raw >> 1) as i64 ^ -((raw & 1) as i64);
            let widths = self.bytes.get(self.at..self.at + self.miniblocks).ok_or(CUT)?;
            self.at += self.miniblocks;
            for width in widths {
                // Miniblocks behind the last value are left out.
                if left == 0 {
                    break;
                }
                let width = usize::from(*width);
                if width > 64 {
                    return Err(ODD);
                }
                let length = width * self.per_miniblock / 8;
                let end = self.at.saturating_add(length);
                let here = self.bytes.get(self.at..end.min(self.bytes.len())).ok_or(CUT)?;
                let mut bits = Bits { bytes: here, at: 0 };
                for _ in 0..(self.per_miniblock as u64).min(left) {
                    value = value.wrapping_add(least).wrapping_add(bits.next(width).ok_or(CUT)? as i64);
                    visit(value);
                    left -= 1;
                }
                self.at = end;
            }
        }
        Ok(())
    }
}

/// Bits from the least significant on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn next(&mut self, width: usize) -> Option<u64> {
        if width == 0 {
            return Some(0);
        }
        let (byte, shift) = (self.at / 8, self.at % 8);
        let tail = self.bytes.get(byte..(self.at + width).div_ceil(8))?;
        let mut word = [0u8; 16];
        word.get_mut(..tail.len())?.copy_from_slice(tail);
        self.at += width;
        let value = u128::from_le_bytes(word) >> shift;
        Some(value as u64 & (u64::MAX >> (64 - width)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs values in blocks of 128 with four miniblocks, each as wide as it needs.
    fn pack(values: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        let varint = |out: &mut Vec<u8>, mut v: u64| {
            while v >= 0x80 {
                out.push(v as u8 | 0x80);
                v >>= 7;
            }
            out.push(v as u8);
        };
        let zigzag = |v: i64| ((v << 1) ^ (v >> 63)) as u64;
        varint(&mut out, 128);
        varint(&mut out, 4);
        varint(&mut out, values.len() as u64);
        varint(&mut out, zigzag(values.first().copied().unwrap_or(0)));
        let deltas: Vec<i64> = values.windows(2).map(|w| w[1] - w[0]).collect();
        for block in deltas.chunks(128) {
            let least = *block.iter().min().unwrap();
            varint(&mut out, zigzag(least));
            let minis: Vec<&[i64]> = block.chunks(32).collect();
            let widths: Vec<u32> = (0..4)
                .map(|i| minis.get(i).map_or(0, |m| 64 - m.iter().map(|d| (d - least) as u64).max().unwrap().leading_zeros()))
                .collect();
            out.extend(widths.iter().map(|w| *w as u8));
            for (mini, width) in minis.iter().zip(widths) {
                let mut word = vec![0u8; 4 * width as usize];
                for (i, delta) in mini.iter().enumerate() {
                    for bit in 0..width as usize {
                        let at = i * width as usize + bit;
                        word[at / 8] |= ((((delta - least) as u64 >> bit) & 1) as u8) << (at % 8);
                    }
                }
                out.extend(word);
            }
        }
        out
    }

    #[test]
    fn shared_prefixes_are_added_up() {
        let prefixes: Vec<i64> = (0..1000).map(|i| if i == 0 { 0 } else { 100 + i * 37 % 61 }).collect();
        let mut body = pack(&prefixes);
        body.extend(pack(&vec![1; 1000]));
        let expected: i64 = prefixes.iter().sum();
        assert_eq!(prefix_bytes(Encoding::DELTA_BYTE_ARRAY, &body, 1000), Ok(expected as u64));
    }

    #[test]
    fn a_count_beyond_the_page_is_refused() {
        let body = pack(&vec![1; 1000]);
        assert!(prefix_bytes(Encoding::DELTA_LENGTH_BYTE_ARRAY, &body, 999).is_err());
        assert_eq!(prefix_bytes(Encoding::DELTA_LENGTH_BYTE_ARRAY, &body, 1000), Ok(0));
        assert!(prefix_bytes(Encoding::DELTA_BYTE_ARRAY, &body, 1000).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
            let _ = prefix_bytes(Encoding::DELTA_BYTE_ARRAY, &bytes, 10_000);
        }
    }
}
