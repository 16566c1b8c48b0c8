//! How an event counts: busy, tentative, unavailable or free.

use super::tree::{ATTENDEE, BUSY_STATUS, Component, Property};

/// How an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Busy,
    Tentative,
    Unavailable,
    Free,
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
/// count: Outlook's are those of one person's calendar, as the answers are.
pub(super) fn class(component: &Component, owners: Option<&Owners>) -> Class {
    let value = |name| component.first(name).map_or("", |property| property.value.trim());
    let (status, transp) = (value("STATUS"), value("TRANSP"));
    let starts_with = |text: &str, prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let answer = owners.and_then(|owners| answer(component, owners));
    let outlook = if owners.is_some() { value(BUSY_STATUS).to_ascii_uppercase() } else { String::new() };
    if status.eq_ignore_ascii_case("CANCELLED") || answer == Some(Class::Free) {
        return Class::Free;
    }
    let by_status = match status.eq_ignore_ascii_case("TENTATIVE") || answer == Some(Class::Tentative) {
        true => Class::Tentative,
        false => Class::Busy,
    };
    // Its producer's own value says more than the TRANSP beside it, which knows two of the five.
    match outlook.as_str() {
        "FREE" | "WORKINGELSEWHERE" => Class::Free,
        "TENTATIVE" => Class::Tentative,
        "OOF" => Class::Unavailable,
        "BUSY" => by_status,
        _ if starts_with(transp, "TRANSPARENT") => Class::Free,
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
