//! Uuids, snapshot ids and sync markers from a seed, and the clock of a table.
//!
//! Contract: two streams with one seed give the same ids in the same order. Nothing here reads the system's clock or random source.

#[derive(Debug, Clone)]
pub struct Ids(u64);

impl Ids {
    pub fn new(seed: u64) -> Self {
        Ids(seed ^ 0x6a09_e667_f3bc_c908)
    }

    /// The next 64 bits (the splitmix64 sequence).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn bytes(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.bits().to_le_bytes());
        out[8..].copy_from_slice(&self.bits().to_le_bytes());
        out
    }

    pub fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().to_string()
    }

    /// Positive, and never 0 or -1, which mean "none" to some readers.
    pub fn snapshot_id(&mut self) -> i64 {
        ((self.bits() >> 1) as i64).max(1)
    }
}
