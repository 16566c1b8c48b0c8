//! Etags and page tokens: opaque to callers, checked when they come back.

use sha2::{Digest, Sha256};

use crate::core::ids::{ParticipantId, SeriesId};
pub use crate::core::listing::MeetingKey;
use crate::core::model::MeetingState;
use crate::core::series::SeriesState;
use crate::core::time::TimeRange;

use super::scalars;
use super::validate::{ROOT, Violations};

/// A version that no meeting has: what an unreadable etag stands for.
pub const NO_VERSION: u64 = u64::MAX;

/// The etag of a meeting's version.
pub fn etag(version: u64) -> String {
    format!("v{version}")
}

/// The version that an etag names; none if it is empty, [`NO_VERSION`] if it is no etag of ours: a mismatch, not an
/// error (AIP-154).
pub fn version(etag: &str) -> Option<u64> {
    if etag.is_empty() {
        return None;
    }
    let version = etag.strip_prefix('v').and_then(|digits| digits.parse().ok());
    // Only what `etag` writes: "v+7" and "v007" are none of ours.
    Some(version.filter(|version| self::etag(*version) == etag).unwrap_or(NO_VERSION))
}

/// What a page of meetings is a page of. Its hash binds a token to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MeetingList {
    /// The slot overlaps this.
    pub range: Option<TimeRange>,
    /// Has this attendee.
    pub participant: Option<ParticipantId>,
    /// Is in one of these states, each once; empty: any.
    pub states: Vec<MeetingState>,
}

/// What a page of series is a page of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SeriesList {
    /// Has this attendee, or this organizer.
    pub participant: Option<ParticipantId>,
    /// Is in one of these states, each once; empty: any.
    pub states: Vec<SeriesState>,
}

const SEAL_BYTES: usize = 12;

/// Not secret: a token that was made up gives nobody more than a list without one does.
fn seal(list: &[u8], key: &[u8]) -> [u8; SEAL_BYTES] {
    let hash = Sha256::new().chain_update((list.len() as u64).to_be_bytes()).chain_update(list);
    let hash = hash.chain_update(key).finalize();
    std::array::from_fn(|index| hash[index])
}

fn token(list: &[u8], key: &[u8]) -> String {
    hex(&[&seal(list, key), key].concat())
}

/// The key of a token of this list.
fn key(list: &[u8], token: &str) -> Option<Vec<u8>> {
    let bytes = unhex(token)?;
    let (sealed, key) = bytes.split_at_checked(SEAL_BYTES)?;
    (seal(list, key) == *sealed).then(|| key.to_vec())
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

impl MeetingList {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"meetings".to_vec();
        if let Some(TimeRange { start, end }) = self.range {
            for instant in [start, end] {
                bytes.extend(instant.timestamp().to_be_bytes());
                bytes.extend(instant.timestamp_subsec_nanos().to_be_bytes());
            }
        }
        bytes.push(u8::from(self.range.is_some()));
        bytes.extend(self.states.iter().map(|state| *state as u8));
        bytes.push(u8::MAX);
        bytes.extend(self.participant.iter().flat_map(|id| id.as_str().bytes()));
        bytes
    }

    /// The token of the page after the meeting at `key`.
    pub fn next(&self, key: &MeetingKey) -> String {
        let mut bytes = vec![u8::from(key.start.is_some())];
        bytes.extend(key.start.unwrap_or_default().to_be_bytes());
        bytes.extend(key.created.to_be_bytes());
        bytes.extend(key.id.as_str().bytes());
        token(&self.bytes(), &bytes)
    }

    /// Reads a token; `Some(None)` if it is empty.
    pub fn after(&self, token: &str, found: &mut Violations) -> Option<Option<MeetingKey>> {
        if token.is_empty() {
            return Some(None);
        }
        key(&self.bytes(), token)
            .and_then(|key| meeting_key(&key))
            .map(Some)
            .or_else(|| found.none(&ROOT.field("page_token"), FOREIGN))
    }
}

impl SeriesList {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"series".to_vec();
        bytes.extend(self.states.iter().map(|state| *state as u8));
        bytes.push(u8::MAX);
        bytes.extend(self.participant.iter().flat_map(|id| id.as_str().bytes()));
        bytes
    }

    /// The token of the page after this series.
    pub fn next(&self, last: &SeriesId) -> String {
        token(&self.bytes(), last.as_str().as_bytes())
    }

    /// Reads a token; `Some(None)` if it is empty.
    pub fn after(&self, token: &str, found: &mut Violations) -> Option<Option<SeriesId>> {
        if token.is_empty() {
            return Some(None);
        }
        key(&self.bytes(), token)
            .and_then(|key| String::from_utf8(key).ok())
            .and_then(|id| scalars::uuid(&id, &ROOT, &mut Violations::default()))
            .map(|id| Some(SeriesId::new(id)))
            .or_else(|| found.none(&ROOT.field("page_token"), FOREIGN))
    }
}

const FOREIGN: &str = "is not the next_page_token of a list with the same other fields";

fn meeting_key(bytes: &[u8]) -> Option<MeetingKey> {
    let (start_is_set, rest) = bytes.split_first()?;
    let (start, rest) = rest.split_first_chunk()?;
    let (created, id) = rest.split_first_chunk()?;
    let start = (*start_is_set == 1).then_some(i64::from_be_bytes(*start));
    let id = std::str::from_utf8(id).ok()?;
    let id = scalars::meeting(id, &ROOT, &mut Violations::default())?;
    Some(MeetingKey { start, created: i64::from_be_bytes(*created), id })
}

fn participants(connected_only: bool) -> [u8; 13] {
    *if connected_only { b"participants1" } else { b"participants0" }
}

/// The token of the page after this participant.
pub fn participants_next(connected_only: bool, last: &ParticipantId) -> String {
    token(&participants(connected_only), last.as_str().as_bytes())
}

/// Reads a token of a list of participants; `Some(None)` if it is empty.
pub fn participants_after(
    connected_only: bool,
    token: &str,
    found: &mut Violations,
) -> Option<Option<ParticipantId>> {
    if token.is_empty() {
        return Some(None);
    }
    key(&participants(connected_only), token)
        .and_then(|key| String::from_utf8(key).ok())
        .and_then(|id| scalars::participant(&id, &ROOT, &mut Violations::default()))
        .map(Some)
        .or_else(|| found.none(&ROOT.field("page_token"), FOREIGN))
}
