//! Content lines: unfolding and splitting (RFC 5545, section 3.1), with line numbers.
//!
//! A tokenizer of our own because an error must name the physical line, which a parser that
//! unfolds first no longer knows.

use std::borrow::Cow;
use std::iter::{Enumerate, Peekable};
use std::str::Split;

use super::tree::{KEPT, is_component};

/// One unfolded content line.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    /// 1-based number of the physical line on which it starts.
    pub number: usize,
    text: Cow<'a, str>,
    name_len: usize,
    /// It begins with the name of a property that counts, and is none.
    broken: bool,
}

/// The parameters of a property, names in upper case, values without their quotes.
pub(super) type Params = Vec<(String, String)>;

impl Line<'_> {
    /// The property name, as written.
    pub fn name(&self) -> &str {
        &self.text[..self.name_len]
    }

    /// The line, if it can't be read though it is meant to be a property that counts.
    pub fn broken(&self) -> Option<&str> {
        self.broken.then_some(&self.text)
    }

    /// Whether this is the property `name` (names are case-insensitive).
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// Parameters and value. Split only on demand, so that nonsense in a property that nobody
    /// reads costs nobody their calendar.
    pub fn split(&self) -> Result<(Params, &str), String> {
        let mut params = Params::new();
        let mut rest = &self.text[self.name_len..];
        while let Some(after) = rest.strip_prefix(';') {
            let (param, tail) = parameter(after).ok_or("unreadable property parameters")?;
            if params.len() == MAX_PARAMS {
                return Err(format!("more than {MAX_PARAMS} parameters of one property"));
            }
            params.extend(param);
            rest = tail;
        }
        let value = rest.strip_prefix(':').ok_or("property without a value")?;
        Ok((params, value.trim()))
    }
}

/// One `NAME=value[,value]`; several values are joined as they stand. `None` if a quote never ends.
fn parameter(text: &str) -> Option<(Option<(String, String)>, &str)> {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        !quoted && (c == ';' || c == ':')
    })?;
    let (param, rest) = text.split_at(end);
    let pair = param
        .split_once('=')
        .map(|(name, value)| (name.trim().to_ascii_uppercase(), value.replace('"', "").trim().to_owned()));
    Some((pair, rest))
}

/// No name of a property is longer, in bytes: a line that goes on and on is not searched again for each of its parts.
const MAX_NAME_BYTES: usize = 256;
/// Parameters of one property; more are refused.
const MAX_PARAMS: usize = 100;

/// The length of the property name, if `text` has the shape of a content line.
fn name_len(text: &str) -> Option<usize> {
    let end = text.bytes().take(MAX_NAME_BYTES).position(|b| matches!(b, b';' | b':'))?;
    let name = &text.as_bytes()[..end];
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!name.is_empty() && name.iter().all(fits)).then_some(end)
}

/// The length of the name, if `text` is no content line but begins like one that counts: `RRULE :FREQ=DAILY`. Some text may
/// begin with a word like "Status" as well, but not all in capital or small letters and with a value behind it.
fn broken_name(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let capitals = !name.contains(|c: char| c.is_ascii_lowercase());
    if !capitals && name.contains(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let rest = rest.trim_start();
    let value = rest.strip_prefix([':', ';', '=']).map(str::trim);
    let broken = if is("BEGIN") || is("END") {
        value.is_some_and(is_component)
    } else {
        KEPT.into_iter().any(is) && (value.is_some() || (capitals && (rest.is_empty() || is_value(rest))))
    };
    broken.then_some(end)
}

/// Whether a value begins so: a date, a duration, or a rule.
fn is_value(text: &str) -> bool {
    let is_date = text.get(..8).is_some_and(|date| date.bytes().all(|b| b.is_ascii_digit()));
    let is_length =
        text.strip_prefix('P').is_some_and(|rest| rest.starts_with(|c: char| c == 'T' || c.is_ascii_digit()));
    is_date || is_length || text.starts_with("FREQ=")
}

/// Iterates over the unfolded content lines of a calendar.
pub(super) struct Lines<'a> {
    physical: Peekable<Enumerate<Split<'a, char>>>,
    held: Option<Line<'a>>,
}

/// What stands on a line that is no content line: its number.
pub(super) struct NotContent(pub usize);

impl<'a> Lines<'a> {
    /// Reads `text`; a byte order mark, bare LF and blank lines are tolerated.
    pub fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { physical: text.split('\n').enumerate().peekable(), held: None }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, NotContent>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((index, raw)) = self.physical.next() {
            let raw = raw.trim_end_matches(['\r', '\u{1a}']);
            if raw.trim().is_empty() {
                continue;
            }
            if let (Some(held), Some(more)) = (&mut self.held, raw.strip_prefix([' ', '\t'])) {
                let searched = held.text.len() >= MAX_NAME_BYTES;
                held.text.to_mut().push_str(more);
                if held.name_len == 0 && !searched {
                    held.name_len = name_len(&held.text).unwrap_or(0);
                }
                continue;
            }
            let len = name_len(raw);
            // A name may stand alone if its `:` or `;` comes on the folded line that follows.
            let name_is_folded_off = self.physical.peek().is_some_and(|(_, next)| {
                next.strip_prefix([' ', '\t']).is_some_and(|next| next.starts_with([':', ';']))
            });
            let broken = if len.is_none() && !name_is_folded_off { broken_name(raw) } else { None };
            if let (Some(held), None, None) = (&mut self.held, len, broken)
                && held.name_len > 0
                && !held.is("BEGIN")
                && !held.is("END")
                && !name_is_folded_off
            {
                // Some producers break long lines without the leading blank.
                held.text.to_mut().push_str(raw);
                continue;
            }
            let name_len = len.or(broken).unwrap_or(0);
            let (number, text, broken) = (index + 1, Cow::Borrowed(raw), broken.is_some());
            let line = Line { number, text, name_len, broken };
            if let Some(done) = self.held.replace(line) {
                return Some(finish(done));
            }
        }
        self.held.take().map(finish)
    }
}

fn finish(line: Line<'_>) -> Result<Line<'_>, NotContent> {
    if line.name_len == 0 { Err(NotContent(line.number)) } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        Lines::new(text)
            .map(|line| {
                let line = line.unwrap_or_else(|bad| panic!("line {}", bad.0));
                let value = line.split().map_or_else(|e| e, |(_, value)| value.to_owned());
                (line.number, line.name().to_owned(), value)
            })
            .collect()
    }

    #[test]
    fn unfolds_and_keeps_the_number_of_the_first_line() {
        let got = read("\u{feff}SUMMARY:a\r\n b\r\n\tc\r\n\r\nUID:x\n");
        assert_eq!(got, [(1, "SUMMARY".into(), "abc".into()), (5, "UID".into(), "x".into())]);
    }

    #[test]
    fn a_name_may_be_folded_away_from_its_value() {
        assert_eq!(read("UID:1\r\nDTSTART\r\n :20000101")[1], (2, "DTSTART".into(), "20000101".into()));
    }

    #[test]
    fn text_broken_without_a_blank_belongs_to_the_line_before() {
        assert_eq!(read("DESCRIPTION:one\ntwo\nUID:x")[0].2, "onetwo");
        let mut lines = Lines::new("END:VEVENT\nX\n");
        assert!(lines.next().is_some_and(|line| line.is_ok()));
        assert!(matches!(lines.next(), Some(Err(NotContent(2)))));
    }

    #[test]
    fn quoted_parameters_may_hold_separators() {
        let mut lines = Lines::new("DTSTART;TZID=\"a:b;c\";value=DATE-TIME:20240101T000000");
        let line = lines.next().and_then(Result::ok).unwrap();
        let (params, value) = line.split().unwrap();
        assert_eq!(params[0], ("TZID".into(), "a:b;c".into()));
        assert_eq!(params[1], ("VALUE".into(), "DATE-TIME".into()));
        assert_eq!(value, "20240101T000000");
    }

    #[test]
    fn an_open_quote_fails_only_when_asked_for() {
        let mut lines = Lines::new("X;P=\"never:ends");
        assert!(lines.next().and_then(Result::ok).unwrap().split().is_err());
    }
}
