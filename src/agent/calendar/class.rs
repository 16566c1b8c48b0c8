//! How an event counts: busy, tentative, unavailable or free.

use super::read::Wrong;
use super::tree::{ATTENDEE, BUSY_STATUS, Component, Property};

/// How an event counts, from what blocks least to what blocks most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Free,
    Tentative,
    Unavailable,
    Busy,
}

/// The addresses of the calendar's owner, in lower case and without `mailto:`.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(Vec<String>);

impl Owners {
    pub fn new<'a>(addresses: impl Iterator<Item = &'a str>) -> Self {
        let addresses = addresses.map(normal).filter(|address| address.contains('@'));
        Self(addresses.collect())
    }

    fn is(&self, attendee: &Property) -> bool {
        let named = [Some(attendee.value.as_str()), attendee.param("EMAIL")];
        named.into_iter().flatten().any(|address| self.0.contains(&normal(address)))
    }
}

/// Addresses are compared in any case of letters, with or without their scheme.
fn normal(address: &str) -> String {
    let address = address.trim().to_ascii_lowercase();
    address.strip_prefix("mailto:").unwrap_or(&address).trim().to_owned()
}

/// What STATUS, TRANSP (RFC 5545, sections 3.8.1.11 and 3.8.2.7), Outlook's busy status and the owner's own answer make
/// of an event (docs/time.md has the table). An event that says nothing blocks. Without `owners` only RFC 5545's own words
/// count: Outlook's are those of one person's calendar, as the answers are. If it says several things, the one that blocks
/// most counts, and the second is returned: it may be two events that became one.
pub(super) fn class(component: &Component, owners: Option<&Owners>) -> (Class, Option<Wrong>) {
    let answer = owners.and_then(|owners| answer(component, owners));
    let outlooks = if owners.is_some() { words(component, BUSY_STATUS, outlook) } else { Vec::new() };
    let all = [words(component, "STATUS", status), words(component, "TRANSP", transp), outlooks];
    let [statuses, transps, outlooks] = &all;
    let or_none = |words: &[(Word, usize)]| -> Vec<Word> {
        if words.is_empty() { vec![Word::None] } else { words.iter().map(|(word, _)| *word).collect() }
    };
    let mut classes = Vec::new();
    for status in or_none(statuses) {
        for transp in or_none(transps) {
            classes.extend(
                or_none(outlooks).into_iter().map(|outlook| class_of(status, transp, outlook, answer)),
            );
        }
    }
    let most = classes.iter().copied().max().unwrap_or(Class::Busy);
    if classes.iter().all(|class| *class == most) {
        return (most, None);
    }
    let names = ["STATUS", "TRANSP", BUSY_STATUS].into_iter().zip(&all);
    let second = names.filter_map(|(name, words)| {
        let (_, line) = words.get(1)?;
        Some((*line, format!("second {name} in one event: the one that blocks counts")))
    });
    (most, second.min())
}

/// What a STATUS, a TRANSP or Outlook's busy status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Nothing that we know.
    None,
    Cancelled,
    Free,
    Tentative,
    Out,
    Busy,
}

/// The different words of a property, each with the line where it first stands.
fn words(component: &Component, name: &str, read: fn(&str) -> Word) -> Vec<(Word, usize)> {
    let mut words = Vec::new();
    for property in component.all(name) {
        let word = read(&property.value.trim().to_ascii_uppercase());
        if words.iter().all(|(known, _)| *known != word) {
            words.push((word, property.line));
        }
    }
    words
}

fn status(text: &str) -> Word {
    match text {
        "CANCELLED" => Word::Cancelled,
        "TENTATIVE" => Word::Tentative,
        _ => Word::None,
    }
}

fn transp(text: &str) -> Word {
    if text.starts_with("TRANSPARENT") { Word::Free } else { Word::None }
}

fn outlook(text: &str) -> Word {
    match text {
        "FREE" | "WORKINGELSEWHERE" => Word::Free,
        "TENTATIVE" => Word::Tentative,
        "OOF" => Word::Out,
        "BUSY" => Word::Busy,
        _ => Word::None,
    }
}

fn class_of(status: Word, transp: Word, outlook: Word, answer: Option<Class>) -> Class {
    if status == Word::Cancelled || answer == Some(Class::Free) {
        return Class::Free;
    }
    let by_status = match status == Word::Tentative || answer == Some(Class::Tentative) {
        true => Class::Tentative,
        false => Class::Busy,
    };
    // Its producer's own value says more than the TRANSP beside it, which knows two of the five.
    match outlook {
        Word::Free => Class::Free,
        Word::Tentative => Class::Tentative,
        Word::Out => Class::Unavailable,
        Word::Busy => by_status,
        _ if transp == Word::Free => Class::Free,
        _ => by_status,
    }
}

/// What the owner answered to the invitation: free if declined, tentative, or nothing that counts. Of several answers the
/// one that blocks most.
fn answer(component: &Component, owners: &Owners) -> Option<Class> {
    let own = component.all(ATTENDEE).filter(|attendee| owners.is(attendee));
    let answers =
        own.map(|attendee| match attendee.param("PARTSTAT").map(str::to_ascii_uppercase).as_deref() {
            Some("DECLINED") => Class::Free,
            Some("TENTATIVE") => Class::Tentative,
            _ => Class::Busy,
        });
    answers.reduce(|a, b| match (a, b) {
        (Class::Free, other) | (other, Class::Free) => other,
        (Class::Tentative, Class::Tentative) => Class::Tentative,
        _ => Class::Busy,
    })
}
