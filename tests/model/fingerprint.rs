//! A fingerprint of a machine's whole memory, taken from what it prints for debugging.
//!
//! Nothing is listed field by field: whatever a machine comes to remember is part of its fingerprint, unless a rule
//! below leaves it out and says why. So a forgotten rule costs time and never hides a state.
//!
//! Maps, sets and lists are hashed without their order (but for [`ORDERED`]); points in time count from the clock of
//! the process that keeps them; participants are renamed: one lane for each permutation of them.

use std::collections::HashMap;
use std::fmt::{self, Debug, Write};
use std::sync::OnceLock;
use std::time::Duration;

use quorate::core::time::Mono;

/// All orders of three participants.
pub const PERMUTATIONS: [[u64; 3]; LANES] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// How many there are.
pub const LANES: usize = 6;
/// One hash for each permutation.
pub type Lanes = [u64; LANES];

/// Left out, by struct and field (`*`: all of them).
const LEFT_OUT: &[(&str, &str)] = &[
    // Only counts, names, or is there for people.
    ("Coordinator", "random"),
    ("Coordinator", "counters"),
    ("Coordinator", "tracer"),
    ("Coordinator", "next_op"),
    ("Coordinator", "next_query"),
    ("ParticipantRow", "display_name"),
    ("ParticipantRow", "last_seen"),
    ("Connected", "since"),
    ("Querying", "since"),
    ("Holding", "since"),
    ("NewEvent", "*"),
    ("Failure", "*"),
    ("Meeting", "attempt_log"),
    ("Meeting", "attempts"),
    ("Meeting", "failure"),
    ("AttendeeOutcome", "detail"),
    ("Live", "told"),
    ("Live", "refused_by"),
    ("Image", "events"),
    ("Image", "last_event"),
    ("Participant", "profile"),
    ("Register", "display_name"),
    // The same for each meeting all the time, or moved together with its slot.
    ("Meeting", "spec"),
    ("Meeting", "options"),
    ("Meeting", "time_zone"),
    ("Meeting", "update_time"),
    ("Meeting", "create_time"),
    ("Meeting", "deadline"),
    // Said twice: by the timer keys, and by the booked rows.
    ("Coordinator", "timers"),
    ("TimerKeys", "next"),
    ("TimerKeys", "meeting_of"),
    ("TimerKeys", "participant_of"),
    ("Image", "taken"),
    // The journal's sequence is only compared with older values of itself, and no journal goes back in this model:
    // the comparison always comes out the same.
    ("ParticipantRow", "journal_sequence"),
    ("Register", "journal_sequence"),
    ("Journal", "sequence"),
    ("Holding", "journal"),
    ("Vote", "sequence"),
    ("Ack", "sequence"),
    ("Withdraw", "sequence"),
];
/// Lists whose order counts.
const ORDERED: &[&str] = &["inbox", "queue"];
/// Lists with one entry for each participant, in their order.
const BY_PARTICIPANT: &str = "answers";

/// The fields that are left out of each struct.
fn rules(name: &[u8]) -> &'static [&'static str] {
    static RULES: OnceLock<HashMap<&str, Vec<&str>>> = OnceLock::new();
    let by_struct = || {
        let mut all: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, field) in LEFT_OUT {
            all.entry(name).or_default().push(field);
        }
        all
    };
    let name = std::str::from_utf8(name).unwrap_or_default();
    RULES.get_or_init(by_struct).get(name).map_or(&[], Vec::as_slice)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Struct,
    Tuple,
    Unordered,
    Ordered,
    ByParticipant,
}

struct Frame {
    kind: Kind,
    total: Lanes,
    element: Lanes,
    empty: bool,
    /// Of this element.
    left_out: bool,
    index: usize,
    /// Of a struct or tuple.
    name: Vec<u8>,
    field: Vec<u8>,
    rules: &'static [&'static str],
    /// Within a table of timers.
    timers: bool,
}

/// Reads what a machine prints.
pub struct Reader<'a> {
    now: Mono,
    last_op: u64,
    /// Random names that stand for something: what stands for what.
    labels: &'a [(String, &'static str)],
    frames: Vec<Frame>,
    word: Vec<u8>,
    before: [u8; 2],
    quoted: bool,
    escaped: bool,
    colon: bool,
    /// How deep within a field that is left out.
    skipping: Option<u32>,
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(23) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash ^ (hash >> 29)
}

fn text(word: &[u8]) -> u64 {
    word.chunks(8).fold(word.len() as u64, |hash, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        mix(hash, u64::from_le_bytes(bytes))
    })
}

/// The lanes of one value that a process prints at this time on its clock.
pub fn of(value: &impl Debug, now: Mono, last_op: u64, labels: &[(String, &'static str)]) -> Lanes {
    let mut reader = Reader {
        now,
        last_op,
        labels,
        frames: Vec::new(),
        word: Vec::new(),
        before: [b' ', b','],
        quoted: false,
        escaped: false,
        colon: false,
        skipping: None,
    };
    reader.open(Kind::Ordered);
    write!(reader, "{value:?}").expect("it prints");
    reader.close()
}

/// Puts lanes of several things together, in order.
pub fn chain(all: Lanes, next: Lanes) -> Lanes {
    std::array::from_fn(|lane| mix(all[lane], next[lane]))
}

/// Puts lanes of participant `index` into the place that each permutation gives it.
pub fn of_participant(index: usize, what: Lanes) -> Lanes {
    std::array::from_fn(|lane| finish(mix(what[lane], PERMUTATIONS[lane][index] + 77)))
}

/// Adds lanes whose order says nothing.
pub fn add(all: Lanes, next: Lanes) -> Lanes {
    std::array::from_fn(|lane| all[lane].wrapping_add(finish(next[lane])))
}

impl Reader<'_> {
    fn open(&mut self, kind: Kind) {
        let (outer, in_timers) = self.frames.last().map_or((false, false), |f| (f.left_out, f.timers));
        let named = matches!(kind, Kind::Struct | Kind::Tuple);
        let name = if named { std::mem::take(&mut self.word) } else { Vec::new() };
        let rules = if kind == Kind::Struct { rules(&name) } else { &[] };
        let all = rules.first() == Some(&"*");
        // A timer's key is a number that only says which timer was first set first.
        let key = kind == Kind::Tuple && name.is_empty() && in_timers;
        self.frames.push(Frame {
            kind,
            total: [kind as u64; LANES],
            element: [0; LANES],
            empty: true,
            left_out: outer || key || all,
            index: 0,
            timers: in_timers || name == b"TimerKeys",
            name,
            field: Vec::new(),
            rules,
        });
    }

    fn close(&mut self) -> Lanes {
        self.end_element();
        self.frames.pop().map_or([0; LANES], |frame| frame.total)
    }

    fn end_element(&mut self) {
        self.end_word();
        let outer = match self.frames.len() {
            0 | 1 => false,
            n => self.frames[n - 2].left_out || self.frames[n - 1].rules.first() == Some(&"*"),
        };
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.empty && !frame.left_out {
            for (lane, places) in PERMUTATIONS.iter().enumerate() {
                let element = finish(frame.element[lane]);
                frame.total[lane] = match frame.kind {
                    Kind::Unordered => frame.total[lane].wrapping_add(element),
                    Kind::ByParticipant => {
                        let place = places.get(frame.index).copied().unwrap_or(9);
                        frame.total[lane].wrapping_add(finish(mix(element, place)))
                    }
                    Kind::Struct | Kind::Tuple | Kind::Ordered => mix(frame.total[lane], element),
                };
            }
        }
        frame.element = [0; LANES];
        frame.empty = true;
        frame.index += 1;
        // The third part of a JournalSeen is a sequence.
        frame.left_out = outer || (frame.name == b"JournalSeen" && frame.index == 2);
        frame.field.clear();
    }

    fn put(&mut self, lanes: Lanes) {
        let Some(frame) = self.frames.last_mut() else { return };
        frame.empty = false;
        if !frame.left_out {
            frame.element = std::array::from_fn(|lane| mix(frame.element[lane], lanes[lane]));
        }
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        let in_pair = |f: &&Frame| f.kind == Kind::Tuple && f.name.is_empty() && f.timers;
        if word == b"None" && self.frames.last().filter(in_pair).is_some() {
            return self.no_timer();
        }
        let lanes = self.value(&word);
        self.put(lanes);
        self.word = word;
        self.word.clear();
    }

    /// A timer that is not set is like one that never was.
    fn no_timer(&mut self) {
        let n = self.frames.len();
        if n >= 2 {
            self.frames[n - 2].left_out = true;
        }
    }

    fn value(&self, word: &[u8]) -> Lanes {
        let frame = self.frames.last();
        let within: &[u8] = frame.map_or(b"", |f| &f.name);
        if let [b'p', digit @ b'0'..=b'2'] = word {
            let index = usize::from(digit - b'0');
            return std::array::from_fn(|lane| PERMUTATIONS[lane][index] + 1_000);
        }
        if within == b"SessionId" {
            let number = number(word);
            let index = (number % 10) as usize;
            return std::array::from_fn(|lane| number / 10 * 10 + PERMUTATIONS[lane][index]);
        }
        let one = match within {
            b"Mono" => duration(word).saturating_sub(self.now.0).as_nanos() as u64,
            b"OpId" => self.last_op.wrapping_sub(number(word)),
            b"AttendeeOutcome" if word != b"Attending" && frame.is_some_and(|f| f.field == b"status") => 1,
            _ => match self.labels.iter().find(|(name, _)| word.len() == 36 && name.as_bytes() == word) {
                Some((_, label)) => text(label.as_bytes()),
                None => text(word),
            },
        };
        [one; LANES]
    }

    fn field_or_key(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        if frame.kind == Kind::Struct && frame.field.is_empty() {
            frame.field.extend_from_slice(&self.word);
            if frame.rules.iter().any(|field| field.as_bytes() == frame.field) {
                frame.left_out = true;
                self.skipping = Some(0);
            }
        }
        self.end_word();
        self.put([0xC0; LANES]);
    }

    fn list(&self) -> Kind {
        let field: &[u8] = self.frames.last().map_or(b"", |f| &f.field);
        match field {
            _ if field == BY_PARTICIPANT.as_bytes() => Kind::ByParticipant,
            _ if ORDERED.iter().any(|name| name.as_bytes() == field) => Kind::Ordered,
            _ => Kind::Unordered,
        }
    }

    /// The next character of a field that is left out. Returns whether it still is.
    fn skip(&mut self, c: u8) -> bool {
        let Some(depth) = self.skipping else { return false };
        if self.quoted {
            self.quoted = self.escaped || c != b'"';
            self.escaped = !self.escaped && c == b'\\';
            return true;
        }
        match c {
            b'"' => self.quoted = true,
            b'{' | b'(' | b'[' => self.skipping = Some(depth + 1),
            b',' | b'}' | b')' | b']' if depth == 0 => self.skipping = None,
            b'}' | b')' | b']' => self.skipping = Some(depth - 1),
            _ => {}
        }
        self.skipping.is_some()
    }

    fn character(&mut self, c: u8) {
        if self.quoted {
            self.quoted = self.escaped || c != b'"';
            self.escaped = !self.escaped && c == b'\\';
            return self.word.push(c);
        }
        if std::mem::take(&mut self.colon) {
            match c {
                b' ' => return self.field_or_key(),
                _ => self.word.push(b':'),
            }
        }
        match c {
            b'"' => {
                self.quoted = true;
                self.word.push(b'"');
            }
            b':' => self.colon = true,
            b',' => self.end_element(),
            b'{' if self.before[1] == b' ' && !matches!(self.before[0], b',' | b':') => {
                self.open(Kind::Struct)
            }
            b'{' => self.open(Kind::Unordered),
            b'(' => self.open(Kind::Tuple),
            b'[' => self.open(self.list()),
            b'}' | b')' | b']' => {
                let name = self.frames.last().map_or(0, |f| text(&f.name));
                self.end_word();
                let total = self.close();
                self.put(std::array::from_fn(|lane| mix(total[lane], name)));
            }
            b'#' => self.end_word(),
            // The name of a struct waits for its brace.
            b' ' => {}
            c => {
                if self.before[1] == b' ' {
                    self.end_word();
                }
                self.word.push(c);
            }
        }
    }
}

impl Write for Reader<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &c in text.as_bytes() {
            if !self.skip(c) {
                self.character(c);
            }
            self.before = [self.before[1], c];
        }
        Ok(())
    }
}

fn number(word: &[u8]) -> u64 {
    let text = std::str::from_utf8(word).unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

/// Reads back what `Duration` prints.
fn duration(word: &[u8]) -> Duration {
    let word = std::str::from_utf8(word).unwrap_or_default();
    let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let number: f64 = word[..digits].parse().unwrap_or_else(|_| panic!("{word} is not a duration"));
    let unit = match &word[digits..] {
        "s" => 1e9,
        "ms" => 1e6,
        "µs" => 1e3,
        "ns" => 1.0,
        unit => panic!("{unit} is not a unit of time"),
    };
    Duration::from_nanos((number * unit).round() as u64)
}
