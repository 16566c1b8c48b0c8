//! Recurrence rules of the core against the published vectors: dates, rules that must be refused, rules that must agree.

#[path = "support/say.rs"]
mod say;

use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use quorate::core::recurrence::{Rule, RuleError, Steps};
use quorate::core::zones;
use serde_json::Value;

/// The vectors of a file, if this checkout has the shared cases beside itself.
fn vectors(file: &str, least: usize) -> Option<Vec<Value>> {
    let folder: PathBuf = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/cases/rrule")).into();
    if !folder.is_dir() {
        say::say(&format!("SKIPPED: no shared cases beside this checkout, {file} was not compared"));
        return None;
    }
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let Value::Array(list) = document["vectors"].take() else { panic!("no vectors in {file}") };
    assert!(list.len() >= least, "only {} vectors in {file}", list.len());
    Some(list)
}

/// A date or a local date-time, and whether it is a date.
fn local(text: &str) -> (NaiveDateTime, bool) {
    let is_date = text.len() == 8;
    let padded = if is_date { format!("{text}T000000") } else { text.trim_end_matches('Z').to_owned() };
    let at = NaiveDateTime::parse_from_str(&padded, "%Y%m%dT%H%M%S");
    (at.unwrap_or_else(|e| panic!("{text}: {e}")), is_date)
}

fn list(vector: &Value, key: &str) -> Vec<NaiveDateTime> {
    let all = vector[key].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(Value::as_str).map(|text| local(text).0).collect()
}

/// The times that a rule gives in civil time, at most `limit`.
fn times(
    rule: &Rule,
    start: &str,
    zone: Option<&str>,
    until: Option<NaiveDateTime>,
    limit: usize,
) -> Result<Vec<NaiveDateTime>, String> {
    let (start, is_date) = local(start);
    let zone = zones::zone(zone.unwrap_or("UTC")).expect("a known zone");
    let to_local = |utc: NaiveDateTime| {
        let wall = zones::to_civil(utc.and_utc(), &zone).strftime("%Y%m%dT%H%M%S").to_string();
        local(&wall).0
    };
    let dated = rule.dated(start, is_date).map_err(|e| e.to_string())?;
    let (mut found, mut steps) = (Vec::new(), Steps::new(200_000));
    let end = until.map_or(NaiveDateTime::MAX, |until| until + chrono::TimeDelta::seconds(1));
    dated
        .expand(dated.until_in(to_local), start..end, &mut steps, |at| {
            found.push(at);
            found.len() < limit
        })
        .map_err(|gave_up| format!("{gave_up:?}"))?;
    Ok(found)
}

/// What our times are for a vector, as it lists its own.
fn ours(vector: &Value) -> Result<Vec<NaiveDateTime>, String> {
    let text = vector["rrule"].as_str().expect("a rule");
    let rule = Rule::parse_leniently(text).map_err(|e| e.to_string())?;
    let (want, except) = (list(vector, "expected"), list(vector, "exdate"));
    let from = vector["from"].as_str().map(|text| local(text).0);
    let until = vector["until_window"].as_str().map(|text| local(text).0);
    // One more than is expected of a series that should end; more of one whose first times are not listed.
    let more = if vector["complete"] == true { 1 } else { 0 };
    let limit = if from.is_some() { 2_000 } else { want.len() + except.len() + more };
    if limit == 0 {
        return Ok(vec![]);
    }
    let mut got =
        times(&rule, vector["dtstart"].as_str().expect("a start"), vector["tzid"].as_str(), until, limit)?;
    got.retain(|at| !except.contains(at) && from.is_none_or(|from| *at >= from));
    got.truncate(want.len() + more);
    Ok(got)
}

#[test]
fn every_rule_gives_the_published_dates() {
    let Some(vectors) = vectors("core.json", 314) else { return };
    let mut wrong = Vec::new();
    for vector in &vectors {
        let (id, want) = (&vector["id"], list(vector, "expected"));
        match ours(vector) {
            Ok(got) if got == want => {}
            Ok(got) => {
                let at = got.iter().zip(&want).take_while(|(a, b)| a == b).count();
                wrong.push(format!("{id} {}: {:?} is not {:?}", vector["rrule"], got.get(at), want.get(at)));
            }
            Err(error) => wrong.push(format!("{id} {}: {error}", vector["rrule"])),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

/// A bad rule is refused; the lenient reading refuses it too, or gives a series that has an end or goes on as asked.
#[test]
fn bad_rules_are_refused() {
    let Some(vectors) = vectors("invalid.json", 25) else { return };
    for vector in &vectors {
        let text = vector["rrule"].as_str().expect("a rule");
        let strict = Rule::parse(text);
        if vector["strict"] == "reject" {
            assert!(matches!(&strict, Err(RuleError::Malformed(faults)) if !faults.is_empty()), "{text}");
        }
        if let Ok(rule) = Rule::parse_leniently(text) {
            let start = vector["dtstart"].as_str().unwrap_or("20240101");
            let found = times(&rule, start, None, None, 10).expect("an answer");
            assert!(found.len() <= 10 && found.windows(2).all(|pair| pair[0] < pair[1]), "{text}: {found:?}");
            println!("{text}: read, {} times", found.len());
        }
    }
}

#[test]
fn rules_that_say_the_same_give_the_same() {
    let Some(vectors) = vectors("equivalence.json", 4) else { return };
    for vector in &vectors {
        let start = vector["dtstart"].as_str().expect("a start");
        // Some of them name hours, and say so by the time of the expected instances.
        let start = format!("{start}T000000");
        for text in vector["rules"].as_array().expect("rules").iter().filter_map(Value::as_str) {
            let rule = Rule::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(times(&rule, &start, None, None, 10), Ok(list_of(vector)), "{text}");
        }
    }
}

fn list_of(vector: &Value) -> Vec<NaiveDateTime> {
    list(vector, "expected_first_10")
}

/// How our choices compare with the sources where RFC 5545 is silent: information (docs/time.md), but it must end, and
/// no answer may get worse unseen.
#[test]
fn contested_rules_are_answered_as_the_document_says() {
    let Some(vectors) = vectors("contested.json", 99) else { return };
    let mut table: std::collections::BTreeMap<&str, (usize, usize, usize)> = Default::default();
    let mut differ = Vec::new();
    for vector in &vectors {
        let id = vector["id"].as_str().expect("an id");
        let (want, why) = (list(vector, "expected"), vector["why"].as_str().unwrap_or("?"));
        let entry = table.entry(why).or_default();
        entry.2 += 1;
        match ours(vector) {
            Ok(got) if got == want => entry.0 += 1,
            Ok(got) => {
                differ.push(id);
                let at = got.iter().zip(&want).take_while(|(a, b)| a == b).count();
                println!(
                    "{id} {} {}: {:?}, source {:?}",
                    vector["rrule"],
                    vector["dtstart"],
                    got.get(at),
                    want.get(at)
                );
            }
            Err(error) => {
                entry.1 += 1;
                differ.push(id);
                println!("{id} {} {}: {error}", vector["rrule"], vector["dtstart"]);
            }
        }
    }
    for (why, (agree, refused, of)) in &table {
        println!("{agree} agree, {refused} refused, of {of}: {why}");
    }
    let of = |class: &str| {
        let found: Vec<_> = table.iter().filter(|(why, _)| why.starts_with(class)).collect();
        assert_eq!(found.len(), 1, "{class}");
        (found[0].1.0, found[0].1.2)
    };
    // As in docs/time.md, which says why for each of them.
    let named = |text: &'static str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let mut listed: Vec<_> =
        named(include_str!("../docs/time.md")).filter(|word| word.starts_with("rr-contested-")).collect();
    listed.sort_unstable();
    differ.sort_unstable();
    assert_eq!(differ, listed, "docs/time.md lists the others");
    assert_eq!(of("DTSTART is not an instance"), (33, 45));
    assert_eq!(of("rule part not allowed"), (25, 27));
    assert_eq!(of("implementations differ"), (5, 11));
    assert_eq!(of("BYWEEKNO without BYDAY"), (10, 11));
    assert_eq!(of("YEARLY;BYMONTHDAY"), (0, 3));
    assert_eq!(of("BYSETPOS in the first"), (1, 2));
}

/// Occurrences that the clocks skip: later by the length of the gap, as docs/time.md says and the source of the vectors has
/// it. That is a choice (the file calls it one), but once made no vector may get worse unseen.
#[test]
fn what_the_clocks_skip_comes_later_by_the_gap() {
    let Some(vectors) = vectors("dst.json", 10) else { return };
    let mut met = Vec::new();
    for vector in &vectors {
        let text = |key: &str| vector[key].as_str().unwrap_or_else(|| panic!("no {key} in {vector}"));
        let (want, zone) = (list(vector, "expected"), zones::zone(text("tzid")).expect("a known zone"));
        let start: jiff::civil::DateTime = text("dtstart").parse().expect("a time");
        let rule = Rule::parse(text("rrule")).unwrap_or_else(|e| panic!("{}: {e}", text("rrule")));
        // One more than the series should have, if it should end.
        let limit = want.len() + usize::from(vector["complete"] == true);
        let far = "2200-01-01T00:00:00Z".parse().expect("an instant");
        let found = rule.occurrences(start, text("tzid"), None, limit, far).expect("an answer");
        let civil = |at| local(&zones::to_civil(at, &zone).strftime("%Y%m%dT%H%M%S").to_string()).0;
        let got: Vec<_> = found.iter().map(|occurrence| civil(occurrence.instant)).collect();
        // What does not exist on the wall is said to be so.
        let gap = |occurrence: &&quorate::core::recurrence::Occurrence| occurrence.shifted;
        assert_eq!(found.iter().filter(gap).count(), want.len() - unshifted(&found, &want), "{}", text("id"));
        match got == want {
            true => met.push(text("id")),
            false => println!("{}: {got:?}, source {want:?}", text("id")),
        }
    }
    println!("{} of {} agree", met.len(), vectors.len());
    assert_eq!(met.len(), vectors.len(), "all of them are met, and stay so");
}

/// How many of the expected times are those on the rule's own wall clock.
fn unshifted(found: &[quorate::core::recurrence::Occurrence], want: &[NaiveDateTime]) -> usize {
    let wall =
        |o: &quorate::core::recurrence::Occurrence| local(&o.civil.strftime("%Y%m%dT%H%M%S").to_string()).0;
    found.iter().zip(want).filter(|(occurrence, want)| wall(occurrence) == **want).count()
}
