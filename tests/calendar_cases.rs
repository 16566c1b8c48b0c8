//! The calendar reader against the shared cases: free/busy of real calendars, and broken files.

#[path = "support/say.rs"]
mod say;

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use jiff::tz::TimeZone;
use quorate::agent::calendar::{Calendar, CalendarError, decode, known_zone, load_file};
use quorate::core::time::TimeRange;
use serde_json::Value;

/// Vectors that we do not meet, and why. One that starts to pass must leave this list.
const KNOWN_MISSES: &[(&str, &str)] = &[];

/// The folder of the shared cases, if this checkout has it beside itself.
fn cases() -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/cases"));
    if folder.is_dir() {
        return Some(folder.to_owned());
    }
    say::say("SKIPPED: no shared cases beside this checkout, no calendar was compared");
    None
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text '{key}' in {value}"))
}

fn instant(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").unwrap_or_else(|e| panic!("{text}: {e}")).and_utc()
}

fn ranges(list: &Value) -> Vec<TimeRange> {
    let point = |pair: &Value, index: usize| instant(pair[index].as_str().expect("a time"));
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|pair| TimeRange { start: point(pair, 0), end: point(pair, 1) }).collect()
}

/// What is wrong with our answer to one vector, if anything.
fn miss(folder: &Path, vector: &Value) -> Option<String> {
    let zone = known_zone(text(vector, "zone")).expect("a known zone");
    let range = TimeRange { start: instant(text(vector, "from")), end: instant(text(vector, "to")) };
    let expected = &vector["expected"];
    let ics = text(vector, "ics");
    // Some have an availability (RFC 7953) in a file of its own: for us it is a part of the calendar.
    let mut bytes = std::fs::read(folder.join(ics)).expect("a calendar file");
    if let Some(availability) = vector["availability_ics"].as_str() {
        bytes.extend(b"\r\n");
        bytes.extend(std::fs::read(folder.join(availability)).expect("a calendar file"));
    }
    let got = match Calendar::parse(ics, &decode(&bytes)).and_then(|c| c.busy(range, &zone)) {
        Ok(got) => got,
        Err(e) => return Some(format!("error: {e}")),
    };
    if !got.unknown.is_empty() {
        return Some(format!("unknown: {:?}", got.unknown));
    }
    // Read as a person's own calendar, Outlook's status may call some of it tentative or out of office: the same time.
    let own =
        Calendar::parse_of("own", &decode(&bytes), &[]).and_then(|calendar| calendar.busy(range, &zone));
    match own {
        Ok(own) if own.blocked(true) == got.blocked(true) => {}
        own => return Some(format!("as a person's own: {own:?}")),
    }
    let lists = [("busy", &got.busy), ("tentative", &got.tentative), ("unavailable", &got.unavailable)];
    lists.into_iter().find_map(|(name, got)| {
        let want = ranges(&expected[name]);
        let differ = |a: &[TimeRange], b: &[TimeRange]| -> Vec<String> {
            let only = a.iter().filter(|range| !b.contains(range));
            only.map(|range| format!("{}/{}", range.start, range.end)).take(5).collect()
        };
        (*got != want)
            .then(|| format!("{name}: missing {:?}, too many {:?}", differ(&want, got), differ(got, &want)))
    })
}

fn compare(file: &str, least: usize) {
    let Some(cases) = cases() else { return };
    let folder = cases.join("freebusy");
    let document = json(&folder.join(file));
    let vectors = document["vectors"].as_array().expect("vectors");
    assert!(vectors.len() >= least, "only {} vectors in {file}", vectors.len());
    let mut wrong = Vec::new();
    for vector in vectors {
        let id = text(vector, "id");
        let known = KNOWN_MISSES.iter().find(|(known, _)| *known == id);
        match (miss(&folder, vector), known) {
            (None, None) | (Some(_), Some(_)) => {}
            (Some(miss), None) => wrong.push(format!("{id}: {miss}")),
            (None, Some((_, reason))) => wrong.push(format!("{id} passes now, but is listed: {reason}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn free_busy_of_caldav_servers() {
    compare("unit.json", 26);
}

#[test]
fn free_busy_of_real_calendars() {
    compare("calendars.json", 208);
}

/// Every file is either read, and then answers within the bounds on steps, or is refused with
/// its name. (A hang would be a step that no bound counts.)
#[test]
fn broken_files_are_read_or_refused() {
    let Some(cases) = cases() else { return };
    let folder = cases.join("malformed");
    let document = json(&folder.join("index.json"));
    let files = document["files"].as_array().expect("files");
    assert!(files.len() >= 48);
    for file in files {
        let path = folder.join(text(file, "file"));
        let answer = load_file(&path).and_then(|calendar| years(&calendar));
        println!("{}: {:?}", path.file_name().unwrap().display(), answer);
        if let Err(error) = answer {
            assert_eq!(error.file, path.display().to_string());
            assert!(error.line > 0 && !error.reason.is_empty(), "{error}");
        }
    }
}

/// All calendar files below a folder, sorted.
fn calendars(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            calendars(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "ics") {
            into.push(path);
        }
    }
    into.sort();
}

/// Whatever calendar there is, whole: it is read and answers, or it is refused with file, line and reason; what can't be
/// read in one that can has all three too. As a person's own it is read likewise.
#[test]
fn every_calendar_is_read_or_refused_with_its_line() {
    let Some(cases) = cases() else { return };
    let mut files = Vec::new();
    calendars(&cases, &mut files);
    assert!(files.len() >= 222, "only {} calendars", files.len());
    let (mut whole, mut degraded, mut refused) = (0, 0, 0);
    for path in files {
        let name = path.display().to_string();
        let told = |error: &CalendarError| {
            assert_eq!(error.file, name);
            assert!(error.line > 0 && !error.reason.is_empty(), "{error}");
            println!("{error}");
        };
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let own = Calendar::parse_of(&name, &decode(&bytes), &["alice@example.com".to_owned()]);
        match load_file(&path) {
            Ok(calendar) => {
                calendar.problems().iter().for_each(|problem| told(&problem.error));
                if let Err(error) = years(&calendar) {
                    told(&error);
                }
                assert!(own.is_ok(), "{name}: refused only as somebody's own");
                match calendar.problem_count() {
                    0 => whole += 1,
                    _ => degraded += 1,
                }
            }
            Err(error) => {
                told(&error);
                assert_eq!(own.map(|_| ()), Err(error));
                refused += 1;
            }
        }
    }
    println!("{whole} read whole, {degraded} read with problems, {refused} refused");
    // Calendars that programs wrote and somebody uses: all of them are read (the rest is fuzzed or broken on purpose).
    assert!(whole >= 170, "only {whole} are read whole");
}

/// How many busy ranges a calendar has from 1970 to 2100.
fn years(calendar: &Calendar) -> Result<usize, CalendarError> {
    let range = TimeRange { start: instant("19700101T000000Z"), end: instant("21000101T000000Z") };
    Ok(calendar.busy(range, &TimeZone::UTC)?.blocked(true).len())
}

/// The dates of recurrence rules, through a calendar with one short event.
#[test]
fn dates_of_recurrence_rules() {
    let Some(cases) = cases() else { return };
    let document = json(&cases.join("rrule/core.json"));
    let vectors = document["vectors"].as_array().expect("vectors");
    assert!(vectors.len() >= 314);
    let mut wrong = Vec::new();
    for vector in vectors {
        let id = text(vector, "id");
        let known = KNOWN_MISSES.iter().find(|(known, _)| *known == id);
        match (rule_miss(vector), known) {
            (None, None) | (Some(_), Some(_)) => {}
            (Some(miss), None) => wrong.push(format!("{id}: {miss}\n  {vector}")),
            (None, Some((_, reason))) => wrong.push(format!("{id} passes now, but is listed: {reason}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

/// Recurrences that the clocks skip (docs/time.md): all agree with the source of the vectors, and stay so.
#[test]
fn recurrences_in_a_gap_of_the_clocks() {
    let Some(cases) = cases() else { return };
    let document = json(&cases.join("rrule/dst.json"));
    let vectors = document["vectors"].as_array().expect("vectors");
    assert!(vectors.len() >= 10);
    let miss = |vector| Some(format!("{}: {}", text(vector, "id"), rule_miss(vector)?));
    let missed: Vec<_> = vectors.iter().filter_map(miss).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What is wrong with our dates for one rule, if anything.
fn rule_miss(vector: &Value) -> Option<String> {
    let list = |key: &str| -> Vec<&str> {
        vector[key].as_array().map_or(vec![], |list| list.iter().filter_map(Value::as_str).collect())
    };
    let is_date = vector["value"] == "DATE";
    let (value, tzid) = match (is_date, vector["tzid"].as_str()) {
        (true, _) => (";VALUE=DATE", "UTC"),
        (false, tzid) => ("", tzid.unwrap_or("UTC")),
    };
    let zone = known_zone(tzid).expect("a known zone");
    let (dtstart, expected) = (text(vector, "dtstart"), list("expected"));
    let exdates: String = list("exdate").iter().map(|at| format!("EXDATE;TZID={tzid}:{at}\r\n")).collect();
    let zoned = if vector["tzid"].is_string() { format!(";TZID={tzid}") } else { String::new() };
    let calendar = format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART{value}{zoned}:{dtstart}\r\nDURATION:PT1S\r\n\
         RRULE:{}\r\n{exdates}END:VEVENT\r\nEND:VCALENDAR\r\n",
        text(vector, "rrule"),
    );
    let utc = |local: &str| {
        let padded = if local.len() == 8 { format!("{local}T000000") } else { local.to_owned() };
        let local: jiff::civil::DateTime = padded.parse().unwrap_or_else(|e| panic!("{local}: {e}"));
        let at = zone.to_ambiguous_timestamp(local).compatible().expect("an instant");
        DateTime::from_timestamp(at.as_second(), 0).expect("a time")
    };
    let second = chrono::TimeDelta::seconds(1);
    let end = match (vector["until_window"].as_str(), vector["complete"] == true) {
        (Some(window), _) => utc(window) + second,
        (None, true) => instant("23000101T000000Z"),
        (None, false) => utc(expected.last()?) + second,
    };
    let range = TimeRange { start: utc(vector["from"].as_str().unwrap_or(dtstart)), end };
    let want: Vec<_> = expected.iter().map(|local| utc(local)).collect();
    let busy = match Calendar::parse("rule", &calendar).and_then(|c| c.busy(range, &TimeZone::UTC)) {
        Ok(busy) => busy.busy,
        Err(e) => return Some(e.to_string()),
    };
    let mut got = Vec::new();
    for range in busy {
        let mut at = range.start;
        while at < range.end && got.len() < want.len() + 1_000 {
            got.push(at);
            at += second;
        }
    }
    // We always count DTSTART as an occurrence; the rows do not if the rule does not name it.
    got.retain(|at| *at != utc(dtstart) || vector["dtstart_is_first_instance"] == true);
    (got != want).then(|| {
        let differ = |a: &[DateTime<Utc>], b: &[DateTime<Utc>]| -> Vec<DateTime<Utc>> {
            a.iter().filter(|at| !b.contains(at)).take(4).copied().collect()
        };
        format!("missing {:?}, too many {:?}", differ(&want, &got), differ(&got, &want))
    })
}
