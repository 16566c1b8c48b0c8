//! Collects what is wrong with a message: all bad fields at once, each with its path (AIP-193).

use std::fmt::{self, Display, Write};

/// Most violations that are listed for one message; the last entry says how many more there are.
pub const VIOLATIONS: usize = 100;

/// Most characters of outside input that an error repeats.
pub const QUOTED_CHARS: usize = 64;

/// Where a field lies within a message. Borrows from the caller's stack, so that good messages pay nothing for it.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

/// The message itself.
pub static ROOT: Path<'static> = Path { parent: None, step: Step::Root };

impl<'a> Path<'a> {
    /// The field `name` of the message at this path.
    pub fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// The element `index` of the list at this path.
    pub fn at(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if !matches!((parent.step, self.step), (Step::Root, _) | (_, Step::Index(_))) {
                f.write_char('.')?;
            }
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Outside input in an error: in quotes, cut at [`QUOTED_CHARS`], control characters escaped.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(QUOTED_CHARS).map_or(self.0.len(), |(at, _)| at);
        let more = if end < self.0.len() { "…" } else { "" };
        write!(f, "\"{}{more}\"", self.0[..end].escape_debug())
    }
}

/// One bad field, as `google.rpc.BadRequest.FieldViolation` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldViolation {
    /// The field's path, such as `spec.attendees[3].participant_id`. Empty in the entry that counts the rest.
    pub field: String,
    /// What is wrong with it, with the limit.
    pub description: String,
}

impl FieldViolation {
    fn rest(count: usize) -> Self {
        Self { field: String::new(), description: format!("and {count} more") }
    }

    /// At most what it takes within a `BadRequest`, encoded: two strings and three tags, with their lengths.
    fn bytes(&self) -> usize {
        self.field.len() + self.description.len() + 12
    }
}

/// The bad fields found so far.
#[derive(Debug, Default)]
pub struct Violations {
    listed: Vec<FieldViolation>,
    count: usize,
}

impl Violations {
    /// Notes that the field at `path` is bad; `description` continues the sentence that the path begins.
    pub fn refuse(&mut self, path: &Path<'_>, description: impl Display) {
        self.count += 1;
        if self.listed.len() < VIOLATIONS {
            self.listed
                .push(FieldViolation { field: path.to_string(), description: description.to_string() });
        }
    }

    /// Notes a bad field, and gives `None` for its value.
    pub fn none<T>(&mut self, path: &Path<'_>, description: impl Display) -> Option<T> {
        self.refuse(path, description);
        None
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value if nothing was wrong, else all that was. A reader gives no value only if it noted why.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, InvalidRequest> {
        debug_assert!(value.is_some() || self.count > 0, "a field was refused without a word");
        match value {
            Some(value) if self.count == 0 => Ok(value),
            _ => Err(InvalidRequest { listed: self.listed, count: self.count }),
        }
    }
}

/// A message with bad fields. Never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct InvalidRequest {
    listed: Vec<FieldViolation>,
    count: usize,
}

impl InvalidRequest {
    /// Just one bad field: for checks that need more than the message, such as the count of candidate slots.
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        Self { listed: vec![violation], count: 1 }
    }

    /// How many bad fields there are, listed or not.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The bad fields, at most [`VIOLATIONS`] entries; if there are more, the last entry says how many.
    pub fn violations(&self) -> Vec<FieldViolation> {
        self.violations_within(usize::MAX)
    }

    /// As [`Self::violations`], but cut so that the entries take at most `bytes` in a `BadRequest`.
    pub fn violations_within(&self, bytes: usize) -> Vec<FieldViolation> {
        let room = bytes.saturating_sub(FieldViolation::rest(self.count).bytes());
        let (mut used, mut fit) = (0_usize, 0_usize);
        for violation in &self.listed {
            used = used.saturating_add(violation.bytes());
            // All of them may use the place that the entry for the rest would take.
            let last = fit + 1 == self.count;
            if used > if last { bytes } else { room } || (fit + 1 == VIOLATIONS && !last) {
                break;
            }
            fit += 1;
        }
        let mut entries = self.listed[..fit].to_vec();
        if fit < self.count {
            entries.push(FieldViolation::rest(self.count - fit));
        }
        entries
    }

    /// In one line: the first bad fields, at least one and about `bytes` at most, and how many more there are.
    pub fn in_words(&self, bytes: usize) -> String {
        let mut words = String::new();
        let mut told = 0;
        for FieldViolation { field, description } in &self.listed {
            if told > 0 && words.len() + field.len() + description.len() > bytes {
                break;
            }
            let gap = if told > 0 { "; " } else { "" };
            words.push_str(&format!("{gap}{field}: {description}"));
            told += 1;
        }
        match self.count - told {
            0 => words,
            more => format!("{words}; and {more} more"),
        }
    }
}

impl Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(400))
    }
}
