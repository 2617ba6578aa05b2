//! Locations as an attacker would write them, for the tests of whoever must refuse them.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Dots, slashes, user information, ports, schemes and control characters in every spelling that some layer might take for another.
const PIECES: [&str; 67] = [
    "..",
    "../",
    "/..",
    "/../",
    "%2e%2e",
    "%2E.",
    ".%2e/",
    "%252e%252e/",
    "%2f",
    "%5c",
    "\\",
    "\\..\\",
    "/",
    "//",
    "///",
    "./",
    "/./",
    "\0",
    "%00",
    "\n",
    "@",
    "user@",
    ":",
    ":80",
    "?",
    "#",
    "%",
    "-evil",
    "..;/",
    "etc/passwd",
    "bucket",
    "other",
    "s3://",
    "file:",
    "file://",
    "http://",
    "~",
    "\u{202e}",
    "\u{ff0e}\u{ff0e}",
    "\u{2024}\u{2024}/",
    " ",
    "*",
    "wh/t",
    "place",
    "\u{85}",
    "|",
    "S3://",
    "%c0%ae%c0%ae/",
    "..%2f",
    "%2e%2e%2f",
    "%25%32%65%25%32%65/",
    "....//",
    "/.//../",
    "u:p@",
    "%40",
    "[::1]",
    "FILE:",
    "File:///",
    "s3A://",
    "WH/T",
    "\u{2215}",
    "\u{ff0f}",
    "?../",
    "#/../",
    "%ff",
    "%2",
    "data",
];

/// One of the seeds with up to four changes: pieces put in or over what was there, parts taken out, percent-encoded or turned to
/// the other case.
pub(crate) fn mutated(rng: &mut StdRng, seeds: &[impl AsRef<str>], more_pieces: &[&str]) -> String {
    let mut text: Vec<char> = seeds.choose(rng).map(|seed| seed.as_ref().chars().collect()).unwrap_or_default();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=text.len());
        let until = (at + rng.random_range(0..4)).min(text.len());
        let from_more = !more_pieces.is_empty() && rng.random_bool(0.4);
        let piece = if from_more { more_pieces.choose(rng) } else { PIECES.choose(rng) };
        let piece = piece.copied().unwrap_or_default().chars();
        match rng.random_range(0..8) {
            0..=2 => drop(text.splice(at..at, piece)),
            3 => drop(text.splice(at..until, piece)),
            4 => drop(text.drain(at..until)),
            5 => {
                let encoded: String = text[at..until].iter().collect::<String>().bytes().map(|b| format!("%{b:02x}")).collect();
                text.splice(at..until, encoded.chars());
            }
            6 => {
                // Whole segments meet where slashes are.
                let slashes: Vec<usize> = text.iter().enumerate().filter(|(_, c)| **c == '/').map(|(at, _)| at + 1).collect();
                let at = slashes.choose(rng).copied().unwrap_or(text.len());
                text.splice(at..at, piece.chain(['/']));
            }
            _ => text[at..until].iter_mut().for_each(|c| {
                *c = if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            }),
        }
    }
    text.into_iter().collect()
}
