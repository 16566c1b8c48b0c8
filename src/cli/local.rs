//! What a slot's time is where its attendees live. Pure.

use jiff::Timestamp;

use super::table::clean;
use super::values;
use super::zone::Zone;
use crate::wire::pb;

/// Most people named for one local time.
const NAMES: usize = 5;

/// People who read the same time off their wall clocks, in the same zone.
struct Group<'a> {
    clock: String,
    zone: &'a str,
    people: Vec<&'a str>,
}

/// What the wall clock of `zone` shows at `at`: the time, and the weekday too if it is another day than the asker's.
fn clock(at: Timestamp, zone: &Zone, asker: &Zone) -> String {
    let (there, here) = (at.to_zoned(zone.rules.clone()), at.to_zoned(asker.rules.clone()));
    let format = if there.date() == here.date() { "%H:%M" } else { "%a %H:%M" };
    there.strftime(format).to_string()
}

/// The start of a slot where its attendees live: `alice 10:00 Europe/Berlin, bob 04:00 America/New_York`. Those who have
/// named no zone are left out; a zone that this program does not know is shown without a time. None if every clock
/// shows what the asker's does.
pub fn times<'a>(
    at: Timestamp,
    attendees: impl Iterator<Item = &'a pb::AttendeeOutcome>,
    asker: &Zone,
) -> Option<String> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for attendee in attendees.filter(|attendee| !attendee.time_zone.is_empty()) {
        let (id, zone) = (attendee.participant_id.as_str(), attendee.time_zone.as_str());
        match groups.iter_mut().find(|group| group.zone == zone) {
            Some(group) => group.people.push(id),
            None => {
                let known = Zone::named(zone).ok();
                let clock = known.map_or_else(|| "?".to_owned(), |known| clock(at, &known, asker));
                groups.push(Group { clock, zone, people: vec![id] });
            }
        }
    }
    let here = clock(at, asker, asker);
    if groups.iter().all(|group| group.clock == here) {
        return None;
    }
    let shared = groups.iter().any(|group| group.people.len() > 1);
    let group = |group: &Group<'_>| {
        let named: Vec<_> = group.people.iter().take(NAMES).map(|id| clean(id)).collect();
        let more = match group.people.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more} {} {}", named.join(", "), group.clock, clean(group.zone))
    };
    let groups: Vec<_> = groups.iter().map(group).collect();
    Some(groups.join(if shared { "; " } else { ", " }))
}

/// The start of a slot, in the asker's zone and where its attendees live: `Tue 10:00 (alice 10:00 Europe/Berlin, …)`.
/// None as of [`times`].
pub fn line<'a>(
    slot: Option<&pb::TimeRange>,
    attendees: impl Iterator<Item = &'a pb::AttendeeOutcome>,
    asker: &Zone,
) -> Option<String> {
    let (start, _) = values::range(slot)?;
    let there = times(start, attendees, asker)?;
    Some(format!("{} ({there})", start.to_zoned(asker.rules.clone()).strftime("%a %H:%M")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(people: &[(&str, &str)], asker: &str) -> Option<String> {
        let of = |(id, zone): &(&str, &str)| pb::AttendeeOutcome {
            participant_id: (*id).to_owned(),
            time_zone: (*zone).to_owned(),
            ..Default::default()
        };
        let people: Vec<_> = people.iter().map(of).collect();
        let start: Timestamp = "2026-12-01T09:00:00Z".parse().unwrap();
        let slot = values::time_range(start, start);
        line(Some(&slot), people.iter(), &Zone::named(asker).unwrap())
    }

    #[test]
    fn everybody_has_a_local_time() {
        let both = [("alice", "Europe/Berlin"), ("bob", "America/New_York")];
        assert_eq!(
            shown(&both, "Europe/Berlin").as_deref(),
            Some("Tue 10:00 (alice 10:00 Europe/Berlin, bob 04:00 America/New_York)")
        );
        assert_eq!(
            shown(&both, "Pacific/Auckland").as_deref(),
            Some("Tue 22:00 (alice 10:00 Europe/Berlin, bob 04:00 America/New_York)")
        );
        assert_eq!(
            shown(&[("carol", "Pacific/Kiritimati"), ("dave", "Asia/Kathmandu")], "UTC").as_deref(),
            Some("Tue 09:00 (carol 23:00 Pacific/Kiritimati, dave 14:45 Asia/Kathmandu)")
        );
        assert_eq!(
            shown(&[("carol", "Pacific/Kiritimati")], "Pacific/Honolulu").as_deref(),
            Some("Mon 23:00 (carol Tue 23:00 Pacific/Kiritimati)")
        );
    }

    #[test]
    fn those_who_share_a_zone_are_named_together() {
        let team = [("a", "Europe/Berlin"), ("b", "Asia/Tokyo"), ("c", "Europe/Berlin"), ("d", "")];
        assert_eq!(
            shown(&team, "UTC").as_deref(),
            Some("Tue 09:00 (a, c 10:00 Europe/Berlin; b 18:00 Asia/Tokyo)")
        );
        let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].map(|id| (id, "Asia/Tokyo")).to_vec();
        assert_eq!(
            shown(&many, "UTC").as_deref(),
            Some("Tue 09:00 (a, b, c, d, e and 2 more 18:00 Asia/Tokyo)")
        );
    }

    #[test]
    fn nothing_is_said_where_all_clocks_agree() {
        assert_eq!(shown(&[("a", "Europe/Berlin"), ("b", "Africa/Lagos"), ("c", "")], "Europe/Vienna"), None);
        assert_eq!(shown(&[], "UTC"), None);
        assert_eq!(
            shown(&[("a", "Europe/\u{1b}Atlantis")], "UTC").as_deref(),
            Some("Tue 09:00 (a ? Europe/\u{fffd}Atlantis)")
        );
    }
}
