//! Tickets: everything a server needs to stream one lane, sealed; nothing is kept between calls.
//!
//! Contract: a ticket names its principal and is refused for any other. What is forged, altered, another's, or expired for another
//! gets [one constant error](refused); an authentic ticket that has expired for its own principal is `ticket-expired`. Expiry is looked at when a
//! stream begins and never cuts one that runs.

use super::seal::Keyring;
use crate::engine::Pin;
use fastdata_types::lanes::{LanePosition, PlanDigest};
use fastdata_types::{Error, ErrorKind, Result, ScanRequest, Stage, proto};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encoded_len_varint, key_len};
use serde::{Deserialize, Serialize};

/// What is sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    pub principal: String,
    pub request: ScanRequest,
    pub pin: Pin,
    pub digest: PlanDigest,
    pub lane: u32,
    /// The parts of the lane that are meant, half open; none where the whole lane is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<(u32, u32)>,
    /// Milliseconds from the epoch.
    pub expires_ms: i64,
}

/// A ticket that was opened, and where its stream is to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    pub contents: Contents,
    pub start: LanePosition,
}

/// The one answer to everything that is no valid ticket of the caller.
pub fn refused() -> Error {
    Error::new(ErrorKind::Unauthenticated, Stage::Serve, "the ticket is not valid here")
        .advice("plan the scan again with GetFlightInfo, and go on from the last position")
}

impl Contents {
    pub fn seal(&self, keys: &Keyring) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self).map_err(|e| Error::internal(Stage::Serve, format!("encoding a ticket: {e}")).source(e))?;
        Ok(proto::Ticket { sealed: keys.seal(&text)?, start: None }.encode_to_vec())
    }
}

/// Opens a ticket for the principal who sent it.
pub fn open(bytes: &[u8], keys: &Keyring, principal: &str, now_ms: i64) -> Result<Opened> {
    let opened = authentic(bytes, keys, principal)?;
    if opened.contents.expires_ms <= now_ms {
        return Err(Error::new(ErrorKind::TicketExpired, Stage::Serve, "the ticket has expired")
            .advice("plan the scan again with GetFlightInfo, and go on from the last position"));
    }
    Ok(opened)
}

/// As [`open`], whether expired or not.
pub fn authentic(bytes: &[u8], keys: &Keyring, principal: &str) -> Result<Opened> {
    let (sealed, start) = parts_of(bytes).ok_or_else(refused)?;
    let text = keys.open(sealed).ok_or_else(refused)?;
    let contents: Contents = serde_json::from_slice(&text).map_err(|_| refused())?;
    if contents.principal != principal {
        return Err(refused());
    }
    Ok(Opened { contents, start })
}

/// The sealed part, and the last of the starts behind it: whoever goes on appends another one. Nothing else may be there.
fn parts_of(bytes: &[u8]) -> Option<(&[u8], LanePosition)> {
    let (sealed, mut rest) = field(bytes, 1)?;
    let mut start = LanePosition::default();
    while !rest.is_empty() {
        let (text, behind) = field(rest, 2)?;
        let position = proto::LanePosition::decode(text).ok().filter(|position| position.encode_to_vec() == text)?;
        (start, rest) = (position.into(), behind);
    }
    Some((sealed, start))
}

/// A length-delimited field at the beginning of a message, in the one way to write it, and what is behind it.
fn field(bytes: &[u8], number: u32) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let (found, wire_type) = decode_key(&mut rest).ok()?;
    let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let head = bytes.len() - rest.len();
    let canonical = key_len(number) + encoded_len_varint(len as u64);
    let fits = found == number && wire_type == WireType::LengthDelimited && head == canonical;
    rest.split_at_checked(len).filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        Contents {
            principal: "ada".into(),
            request: ScanRequest::table("ml.features"),
            pin: Pin { table_uuid: Some("u".into()), snapshot_id: Some(i64::MAX), schema_id: 3 },
            digest: PlanDigest([7; 16]),
            lane: 5,
            parts: Some((2, 9)),
            expires_ms: 1_000,
        }
    }

    #[test]
    fn a_ticket_is_its_principals_until_it_expires() {
        let keys = Keyring::ephemeral().unwrap();
        let ticket = contents().seal(&keys).unwrap();
        assert_eq!(open(&ticket, &keys, "ada", 999).unwrap().contents, contents());
        assert_eq!(open(&ticket, &keys, "ada", 1_000).unwrap_err().kind(), ErrorKind::TicketExpired);
        // Another principal learns nothing, not even that it has expired.
        for now in [0, 1_000] {
            assert_eq!(open(&ticket, &keys, "bob", now).unwrap_err().to_string(), refused().to_string());
        }
        assert_eq!(open(&ticket, &Keyring::ephemeral().unwrap(), "ada", 0).unwrap_err().to_string(), refused().to_string());
    }

    #[test]
    fn a_start_goes_behind_the_sealed_part() {
        let keys = Keyring::ephemeral().unwrap();
        let mut ticket = contents().seal(&keys).unwrap();
        let start = proto::LanePosition { rows: 77, hint: Some(proto::Hint { part: 1, offset: 2, check: 3 }) };
        ticket.extend(proto::Ticket { sealed: vec![], start: Some(start) }.encode_to_vec());
        assert_eq!(open(&ticket, &keys, "ada", 0).unwrap().start, start.into());
        // Who goes on from there appends again.
        let later = proto::LanePosition { rows: 99, hint: None };
        ticket.extend(proto::Ticket { sealed: vec![], start: Some(later) }.encode_to_vec());
        assert_eq!(open(&ticket, &keys, "ada", 0).unwrap().start, later.into());
    }

    #[test]
    fn everything_that_is_no_ticket_gets_the_same_words() {
        let keys = Keyring::ephemeral().unwrap();
        let ticket = contents().seal(&keys).unwrap();
        let plain = serde_json::to_vec(&contents()).unwrap();
        let unsealed = proto::Ticket { sealed: plain.clone(), start: None }.encode_to_vec();
        let unknown_field = [ticket.as_slice(), &[0x1a, 0x00]].concat();
        let twice = [ticket.as_slice(), &ticket].concat();
        let other_version = proto::Ticket { sealed: keys.seal(br#"{"principal":"ada"}"#).unwrap(), start: None }.encode_to_vec();
        for bad in [b"".as_slice(), b"forged", &plain, &unsealed, &unknown_field, &twice, &other_version, &ticket[1..]] {
            let error = open(bad, &keys, "ada", 0).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unauthenticated, refused().to_string()));
        }
    }

    /// Each altered ticket is refused with the constant error, and none panics. FASTDATA_MUTATIONS asks for more than the usual number.
    #[test]
    fn mutated_tickets_are_refused() {
        use rand::{Rng, SeedableRng};
        let count = std::env::var("FASTDATA_MUTATIONS").map_or(100_000, |count| count.parse().unwrap());
        let mut random = rand::rngs::SmallRng::seed_from_u64(4);
        let keys = Keyring::ephemeral().unwrap();
        let ticket = contents().seal(&keys).unwrap();
        let words = refused().to_string();
        for round in 0..count {
            let mut altered = ticket.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..altered.len());
                match random.random_range(0..5) {
                    0 => altered[at] ^= 1 << random.random_range(0..8),
                    1 => altered[at] = random.random(),
                    2 => altered.truncate(at.max(1)),
                    3 => drop(altered.remove(at)),
                    _ => altered.insert(at, random.random()),
                }
                if altered.is_empty() {
                    break;
                }
            }
            if altered == ticket {
                continue;
            }
            let error = open(&altered, &keys, "ada", 0).expect_err("accepted");
            assert!(error.to_string() == words, "round {round}: {error}");
        }
        eprintln!("{count} altered tickets: none was accepted, none panicked");
    }
}
