//! A series in words. Pure; times are in the series' zone, in which its rule is meant, and beside it in the asker's.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::render;
use super::super::table::{clean, table};
use super::super::values;
use super::super::zone::Zone;
use crate::wire::pb;
use pb::occurrence::Outcome;

/// Most changes of one zone's clocks that are told.
const CHANGES: usize = 6;

/// The headline for a series' state.
pub fn headline(value: &pb::Series) -> &'static str {
    use pb::series::State;
    match value.state() {
        State::Confirmed => "Booked",
        State::Failed => "Not booked",
        State::Cancelled => "Cancelled",
        State::Scheduling => "Being scheduled",
        State::Unspecified => "The request is valid",
    }
}

/// A series: its rule, each occurrence with its outcome and why, and what the clocks do meanwhile. `headline` tells what
/// was done.
pub fn text(value: &pb::Series, headline: &str, asker: &Zone) -> String {
    let spec = value.spec.clone().unwrap_or_default();
    // A zone that this program does not know is left to the asker's; the scheduler knows all that it lets in.
    let zone = Zone::named(&value.time_zone).unwrap_or_else(|_| asker.clone());
    let title = if spec.title.is_empty() { "(no title)".to_owned() } else { clean(&spec.title) };
    let mut text = format!("{headline}: {title}\n");
    let until = values::instant(value.booked_until.as_ref());
    let lines = [
        ("rule", clean(&value.rrule)),
        ("no end", until.map(|at| format!("booked ahead until {}", zone.show(at))).unwrap_or_default()),
        ("asked by", clean(&spec.organizer)),
        ("series", clean(&value.series_id)),
        ("etag", clean(&value.etag)),
    ];
    for (name, line) in lines.iter().filter(|(_, line)| !line.is_empty()) {
        let _ = writeln!(text, "  {name:<9} {line}");
    }
    if let Some(why) = &value.failure {
        text.push_str(&render::failure(why, asker));
    }
    let _ = writeln!(text, "{}; times are in {}, the zone of the series.", counts(value), zone.name);
    text.push_str(&occurrences(value, &zone, asker));
    text + &clock_changes(value, &zone) + &elsewhere(value, &zone)
}

/// A page of series, or all of them.
pub fn list(value: &pb::ListSeriesResponse, asker: &Zone) -> String {
    if value.series.is_empty() {
        return "No series.\n".to_owned();
    }
    let row = |series: &pb::Series| {
        let spec = series.spec.clone().unwrap_or_default();
        let first =
            values::range(series.first_slot.as_ref()).map(|(start, end)| asker.show_range(start, end));
        let people = spec.attendees.iter().map(|attendee| attendee.participant_id.as_str());
        vec![
            first.unwrap_or_default(),
            if spec.title.is_empty() { "(no title)".to_owned() } else { clean(&spec.title) },
            headline(series).to_lowercase(),
            render::names(people),
            clean(&series.rrule),
            series.series_id.clone(),
        ]
    };
    let rows: Vec<_> = value.series.iter().map(row).collect();
    let text = format!("Times are in {}.\n", asker.name);
    let heads = ["FIRST", "TITLE", "STATE", "WHO", "RULE", "SERIES"];
    text + &table(&heads, &rows) + &render::more(&value.next_page_token)
}

/// Why occurrences stand as before, a line each.
pub fn stand(failures: &[pb::OccurrenceFailure], series: &pb::Series, asker: &Zone) -> String {
    let zone = Zone::named(&series.time_zone).unwrap_or_else(|_| asker.clone());
    let line = |value: &pb::OccurrenceFailure| {
        let when = values::instant(value.recurrence_time.as_ref()).map(|at| zone.show(at));
        let why = value.failure.as_ref().map(|why| clean(&why.message)).unwrap_or_default();
        format!("{} stands as before: {why}\n", when.unwrap_or_default())
    };
    failures.iter().map(line).collect()
}

fn outcome_word(outcome: i32) -> String {
    values::bare_name(outcome, Outcome::as_str_name, "OUTCOME_").to_lowercase()
}

/// "10 occurrences: 8 booked, 1 moved, 1 skipped".
fn counts(value: &pb::Series) -> String {
    let mut found: BTreeMap<i32, usize> = BTreeMap::new();
    for occurrence in &value.occurrences {
        *found.entry(occurrence.outcome).or_default() += 1;
    }
    let known = found.iter().filter(|(outcome, _)| **outcome != Outcome::Unspecified as i32);
    let parts: Vec<_> = known.map(|(outcome, n)| format!("{n} {}", outcome_word(*outcome))).collect();
    let colon = if parts.is_empty() { "" } else { ": " };
    let all = render::count(value.occurrences.len() as i32, "occurrence");
    format!("{all}{colon}{}", parts.join(", "))
}

fn occurrences(value: &pb::Series, zone: &Zone, asker: &Zone) -> String {
    let row = |occurrence: &pb::Occurrence| {
        let show = |zone: &Zone| {
            let slot = values::range(occurrence.slot.as_ref());
            slot.map(|(start, end)| zone.show_range(start, end)).unwrap_or_default()
        };
        let here = if zone.name == asker.name { String::new() } else { show(asker) };
        vec![
            show(zone),
            outcome(occurrence, zone),
            here,
            occurrence.reason.clone(),
            occurrence.meeting_id.clone(),
        ]
    };
    let rows: Vec<_> = value.occurrences.iter().map(row).collect();
    let here = format!("IN {}", asker.name);
    if rows.is_empty() { String::new() } else { table(&["WHEN", "OUTCOME", &here, "WHY", "MEETING"], &rows) }
}

/// The outcome in a word; of one that was moved, also from where.
fn outcome(value: &pb::Occurrence, zone: &Zone) -> String {
    let word = outcome_word(value.outcome);
    let from = own_start(value);
    let to = values::range(value.slot.as_ref()).map(|(start, _)| start);
    match (value.outcome(), from, to) {
        (Outcome::Moved, Some(from), Some(to)) => {
            let [old, new] = [from, to].map(|at| at.to_zoned(zone.rules.clone()));
            let format = if old.date() == new.date() { "%H:%M" } else { "%a %Y-%m-%d %H:%M" };
            format!("{word} from {}", old.strftime(format))
        }
        _ => word,
    }
}

/// When the series has an occurrence begin: by the rule, or where the series was moved to. An older scheduler does not tell:
/// then it is the rule's time.
fn own_start(value: &pb::Occurrence) -> Option<Timestamp> {
    let own = values::range(value.series_slot.as_ref()).map(|(start, _)| start);
    own.or_else(|| values::instant(value.recurrence_time.as_ref()))
}

/// When the series has the occurrences begin that are, or are to be, booked; without those whose time the clocks skip.
fn starts(value: &pb::Series) -> Vec<Timestamp> {
    let stands = |o: &&pb::Occurrence| {
        matches!(o.outcome(), Outcome::Booked | Outcome::Moved | Outcome::Pending) && !o.shifted
    };
    let mut starts: Vec<Timestamp> = value.occurrences.iter().filter(stands).filter_map(own_start).collect();
    starts.sort_unstable();
    starts
}

/// When the clocks of the series' zone change between its occurrences, and that the local time stays. Nothing is said of a
/// change at which the local time is another one: the series was moved there.
fn clock_changes(value: &pb::Series, zone: &Zone) -> String {
    if value.state() == pb::series::State::Cancelled {
        return String::new();
    }
    let starts = starts(value);
    let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return String::new() };
    let local = |start: &Timestamp| start.to_zoned(zone.rules.clone()).strftime("%H:%M").to_string();
    let mut before = zone.rules.to_offset(*first);
    let mut text = String::new();
    let mut told = 0;
    for change in zone.rules.following(*first).take_while(|change| change.timestamp() <= *last) {
        let (old, new) = (before, change.offset());
        before = new;
        if old == new {
            // Only the name of the time changes, or whether it counts as summer time.
            continue;
        }
        let next = starts.partition_point(|start| *start < change.timestamp());
        let sides = (next.checked_sub(1).and_then(|at| starts.get(at)), starts.get(next));
        let (Some(was), Some(is)) = (sides.0.map(local), sides.1.map(local)) else { continue };
        if was != is {
            continue;
        }
        told += 1;
        if told > CHANGES {
            continue;
        }
        let way = if new > old { "forward" } else { "back" };
        let date = change.timestamp().to_zoned(zone.rules.clone()).date().strftime("%a %Y-%m-%d").to_string();
        let _ = writeln!(text, "note: the clocks of {} go {way} on {date}: {was} stays {is}.", zone.name);
    }
    if told > CHANGES {
        let _ =
            writeln!(text, "note: the clocks change {} more; the local time stays.", times(told - CHANGES));
    }
    text
}

fn times(n: usize) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

/// What booked occurrences' time is where attendees live whose clocks differ from those of the series, and from when on it
/// is another.
fn elsewhere(value: &pb::Series, zone: &Zone) -> String {
    let booked: Vec<_> = value.occurrences.iter().filter(|o| o.outcome() == Outcome::Booked).collect();
    let mut zones: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for attendee in booked.iter().flat_map(|occurrence| &occurrence.attendees) {
        let people = zones.entry(attendee.time_zone.as_str()).or_default();
        if !people.contains(&attendee.participant_id.as_str()) {
            people.push(&attendee.participant_id);
        }
    }
    let starts: Vec<_> = booked.iter().filter_map(|o| values::range(o.slot.as_ref())).collect();
    let mut text = String::new();
    for (name, people) in zones {
        let Ok(there) = Zone::named(name) else { continue };
        let mut runs: Vec<(String, Timestamp)> = Vec::new();
        for (start, _) in &starts {
            let clock = clock(*start, &there, zone);
            if runs.last().is_none_or(|(last, _)| *last != clock) {
                runs.push((clock, *start));
            }
        }
        let same = |(clock, start): &(String, Timestamp)| *clock == self::clock(*start, zone, zone);
        if runs.iter().all(same) {
            continue;
        }
        let shown = runs.iter().take(CHANGES).enumerate().map(|(at, (clock, start))| match at {
            0 => clock.clone(),
            _ => format!("from {} {clock}", start.to_zoned(there.rules.clone()).strftime("%Y-%m-%d")),
        });
        let shown: Vec<_> = shown.collect();
        let more = runs.len().saturating_sub(CHANGES);
        let more = if more > 0 { format!(", and it changes {} more", times(more)) } else { String::new() };
        let people = render::names(people.into_iter());
        let _ = writeln!(text, "note: for {people} ({}): {}{more}.", there.name, shown.join(", "));
    }
    text
}

/// What the wall clock of `there` shows, and whether it is another day than in `here`.
fn clock(at: Timestamp, there: &Zone, here: &Zone) -> String {
    let [there, here] = [there, here].map(|zone| at.to_zoned(zone.rules.clone()).datetime());
    let day = match there.date().cmp(&here.date()) {
        std::cmp::Ordering::Less => " the day before",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => " the day after",
    };
    format!("{}{day}", there.strftime("%H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    /// An occurrence at 09:00 in Berlin that lasts half an hour, starting where it is to be.
    fn occurrence(date: &str, outcome: Outcome, start: &str, reason: &str) -> pb::Occurrence {
        let local: jiff::civil::DateTime = format!("{date}T09:00:00").parse().unwrap();
        let by_rule = local.to_zoned(berlin().rules).unwrap().timestamp();
        let start: jiff::civil::DateTime = format!("{date}T{start}:00").parse().unwrap();
        let start = start.to_zoned(berlin().rules).unwrap().timestamp();
        let range = |start: Timestamp| {
            let end = start.checked_add(jiff::SignedDuration::from_mins(30)).unwrap();
            Some(values::time_range(start, end))
        };
        let own = if outcome == Outcome::Moved { by_rule } else { start };
        pb::Occurrence {
            recurrence_time: Some(values::timestamp(by_rule)),
            local_time: local.to_string(),
            slot: range(start),
            series_slot: range(own),
            outcome: outcome.into(),
            meeting_id: format!("m{date}"),
            reason: reason.into(),
            ..Default::default()
        }
    }

    fn weekly() -> pb::Series {
        pb::Series {
            series_id: "5e1e5".into(),
            spec: Some(pb::MeetingSpec { title: "Weekly".into(), ..Default::default() }),
            rrule: "FREQ=WEEKLY;COUNT=4".into(),
            time_zone: "Europe/Berlin".into(),
            state: pb::series::State::Confirmed.into(),
            occurrences: vec![
                occurrence("2027-03-16", Outcome::Booked, "09:00", ""),
                occurrence("2027-03-23", Outcome::Moved, "10:30", ""),
                occurrence("2027-03-30", Outcome::Skipped, "09:00", "bob: not\u{1b} free"),
                occurrence("2027-04-06", Outcome::Booked, "09:00", "without carol"),
            ],
            ..Default::default()
        }
    }

    #[test]
    fn every_occurrence_has_its_outcome_and_nine_stays_nine() {
        let series = weekly();
        let expected = "\
Booked: Weekly
  rule      FREQ=WEEKLY;COUNT=4
  series    5e1e5
4 occurrences: 2 booked, 1 moved, 1 skipped; times are in Europe/Berlin, the zone of the series.
  WHEN                         OUTCOME            WHY              MEETING
 ──────────────────────────────────────────────────────────────────────────────
  Tue 2027-03-16 09:00–09:30   booked                              m2027-03-16
  Tue 2027-03-23 10:30–11:00   moved from 09:00                    m2027-03-23
  Tue 2027-03-30 09:00–09:30   skipped            bob: not\u{fffd} free   m2027-03-30
  Tue 2027-04-06 09:00–09:30   booked             without carol    m2027-04-06
note: the clocks of Europe/Berlin go forward on Sun 2027-03-28: 09:00 stays 09:00.
";
        assert_eq!(text(&series, headline(&series), &berlin()), expected);
    }

    #[test]
    fn somebody_elsewhere_reads_their_own_time_beside_it() {
        let shown = text(&weekly(), "Booked", &Zone::named("Asia/Tokyo").unwrap());
        assert!(shown.contains("   IN Asia/Tokyo   "), "{shown}");
        assert!(
            shown.contains("Tue 2027-03-16 09:00–09:30   booked             Tue 2027-03-16 17:00–17:30"),
            "{shown}"
        );
        assert!(
            shown.contains("Tue 2027-04-06 09:00–09:30   booked             Tue 2027-04-06 16:00–16:30"),
            "{shown}"
        );
    }

    /// The local time is that at which the meetings are, not that of the rule.
    #[test]
    fn a_series_that_was_moved_keeps_the_time_that_it_was_moved_to() {
        let mut series = weekly();
        let moved = |date, outcome| occurrence(date, outcome, "16:00", "");
        series.occurrences[2] = moved("2027-03-30", Outcome::Booked);
        series.occurrences[3] = moved("2027-04-06", Outcome::Booked);
        assert_eq!(clock_changes(&series, &berlin()), "", "from then on it is another time");
        series.occurrences[0] = moved("2027-03-16", Outcome::Booked);
        series.occurrences[1] = moved("2027-03-23", Outcome::Booked);
        let all = "note: the clocks of Europe/Berlin go forward on Sun 2027-03-28: 16:00 stays 16:00.\n";
        assert_eq!(clock_changes(&series, &berlin()), all);
        // One that is elsewhere by itself was to be at that time too, and was moved from there.
        series.occurrences[3].slot = occurrence("2027-04-06", Outcome::Booked, "17:00", "").slot;
        series.occurrences[3].outcome = Outcome::Moved.into();
        assert_eq!(clock_changes(&series, &berlin()), all);
        assert_eq!(outcome(&series.occurrences[3], &berlin()), "moved from 16:00");
        series.occurrences.iter_mut().for_each(|o| o.outcome = Outcome::Skipped.into());
        assert_eq!(clock_changes(&series, &berlin()), "", "nothing is booked");
    }

    #[test]
    fn attendees_whose_clocks_change_at_other_times_see_it() {
        let mut series = weekly();
        series.occurrences[1] = occurrence("2027-03-23", Outcome::Booked, "09:00", "");
        for occurrence in &mut series.occurrences {
            let of = |(id, zone): (&str, &str)| pb::AttendeeOutcome {
                participant_id: id.into(),
                time_zone: zone.into(),
                ..Default::default()
            };
            let people = [
                ("alice", "Europe/Berlin"),
                ("bob", "America/New_York"),
                ("carol", "America/New_York"),
                ("dave", "Pacific/Honolulu"),
                ("erin", "Mars/Olympus"),
                ("frank", ""),
            ];
            occurrence.attendees = people.map(of).to_vec();
        }
        let shown = text(&series, "Booked", &berlin());
        // New York changed on 14 March: two weeks of five hours, then six.
        let notes = "\
note: for bob, carol (America/New_York): 04:00, from 2027-04-06 03:00.
note: for dave (Pacific/Honolulu): 22:00 the day before, from 2027-04-05 21:00 the day before.
";
        assert!(shown.ends_with(notes), "{shown}");
    }

    #[test]
    fn many_changes_of_the_clocks_are_counted() {
        let yearly = |year: i32| occurrence(&format!("{year}-07-01"), Outcome::Booked, "09:00", "");
        let series = pb::Series { occurrences: (2026..2031).map(yearly).collect(), ..weekly() };
        let shown = clock_changes(&series, &berlin());
        assert_eq!(shown.lines().count(), 7, "{shown}");
        assert!(
            shown.starts_with("note: the clocks of Europe/Berlin go back on Sun 2026-10-25: 09:00 stays")
        );
        assert!(shown.ends_with("note: the clocks change 2 times more; the local time stays.\n"), "{shown}");
        let gone = pb::Series { state: pb::series::State::Cancelled.into(), ..series.clone() };
        assert_eq!(clock_changes(&gone, &berlin()), "");
        let never = pb::Series { time_zone: "Asia/Tokyo".into(), ..series };
        assert_eq!(clock_changes(&never, &Zone::named("Asia/Tokyo").unwrap()), "");
    }

    #[test]
    fn a_series_without_an_end_says_how_far_it_is_booked() {
        let until = "2027-09-01T07:00:00Z".parse().unwrap();
        let series = pb::Series {
            booked_until: Some(values::timestamp(until)),
            open_ended: true,
            occurrences: Vec::new(),
            ..weekly()
        };
        let shown = text(&series, headline(&series), &berlin());
        assert!(shown.contains("  no end    booked ahead until Wed 2027-09-01 09:00\n"), "{shown}");
        assert!(shown.ends_with("0 occurrences; times are in Europe/Berlin, the zone of the series.\n"));
    }

    #[test]
    fn what_could_not_be_had_says_why() {
        let why = pb::Failure { message: "bob: not free".into(), ..Default::default() };
        let failed = pb::Series {
            state: pb::series::State::Failed.into(),
            failure: Some(pb::Failure { reason: pb::failure::Reason::NoCommonSlot.into(), ..why.clone() }),
            ..weekly()
        };
        let shown = text(&failed, headline(&failed), &berlin());
        assert!(shown.starts_with("Not booked: Weekly\n"), "{shown}");
        assert!(shown.contains("\nReason: NO_COMMON_SLOT: bob: not free\n"), "{shown}");
        let stands = pb::OccurrenceFailure {
            recurrence_time: failed.occurrences[3].recurrence_time,
            failure: Some(why),
        };
        let tokyo = Zone::named("Asia/Tokyo").unwrap();
        assert_eq!(
            stand(&[stands], &failed, &tokyo),
            "Tue 2027-04-06 09:00 stands as before: bob: not free\n"
        );
    }

    #[test]
    fn one_that_was_moved_to_another_day_names_the_day() {
        let mut moved = occurrence("2027-03-16", Outcome::Moved, "09:00", "");
        moved.slot = occurrence("2027-03-17", Outcome::Moved, "10:00", "").slot;
        assert_eq!(outcome(&moved, &berlin()), "moved from Tue 2027-03-16 09:00");
    }
}
