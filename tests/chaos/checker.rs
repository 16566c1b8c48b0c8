//! Judges the evidence: was anything lost, is anybody booked twice, is anything left over, is anything unknown?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::calls::{Call, Kind, Outcome, Seen};
use super::evidence::{Booking, Evidence, Meeting, Places, Span};

/// What is wrong, each in words.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Findings {
    /// An organizer was told of it, and it is not there.
    pub lost: Vec<String>,
    /// Two things at one time in one person's calendar.
    pub double_booked: Vec<String>,
    /// Time that is taken for no meeting, and work that never ended.
    pub left_over: Vec<String>,
    /// An organizer was not told, and asking again did not tell.
    pub unresolved: Vec<String>,
    /// How much was looked at.
    pub tally: Tally,
}

/// How much there was.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// By kind and outcome.
    pub calls: BTreeMap<(Kind, String), usize>,
    /// By state.
    pub meetings: BTreeMap<String, usize>,
    pub bookings: usize,
    pub promises: usize,
    /// Answers that were found in the history.
    pub answers: usize,
    /// Answers that are older than the events that are kept.
    pub too_old: usize,
    /// Calls whose outcome their caller did not know.
    pub unknown: usize,
    /// Meetings that lost their slot to another one, as the history has it.
    pub displaced: usize,
}

/// Reads the files and judges them.
///
/// # Errors
/// A file can't be read.
pub fn check(places: &Places) -> Result<Findings, String> {
    Ok(judge(&Evidence::read(places)?))
}

/// Judges.
pub fn judge(evidence: &Evidence) -> Findings {
    let mut findings = Findings { tally: tally(evidence), ..Findings::default() };
    for calls in &evidence.calls {
        answers(evidence, calls, &mut findings);
        last_words(evidence, calls, &mut findings);
        unknown(calls, &mut findings);
    }
    displaced_with_cause(evidence, &mut findings);
    booked_whole(evidence, &mut findings);
    booked_once(evidence, &mut findings);
    nothing_more(evidence, &mut findings);
    requests(evidence, &mut findings);
    findings
}

impl Findings {
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.double_booked, &self.left_over, &self.unresolved]
            .iter()
            .all(|list| list.is_empty())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        for ((kind, outcome), n) in &tally.calls {
            writeln!(f, "  calls: {n:6} {kind:?} {outcome}")?;
        }
        for (state, n) in &tally.meetings {
            writeln!(f, "  meetings: {n:6} {state}")?;
        }
        let resolved = tally.unknown.saturating_sub(self.unresolved.len());
        writeln!(f, "  {} rows of bookings, {} promises in journals", tally.bookings, tally.promises)?;
        writeln!(f, "  {} answers found in the history, {} too old for it", tally.answers, tally.too_old)?;
        writeln!(f, "  displaced: {}", tally.displaced)?;
        writeln!(f, "  acknowledged and lost: {}", self.lost.len())?;
        writeln!(f, "  double-booked: {}", self.double_booked.len())?;
        writeln!(f, "  left over: {}", self.left_over.len())?;
        writeln!(f, "  unknown outcomes: {}, resolved by asking again: {resolved}", tally.unknown)?;
        let all = [&self.lost, &self.double_booked, &self.left_over, &self.unresolved];
        all.into_iter().flatten().try_for_each(|line| writeln!(f, "  FOUND: {line}"))
    }
}

fn tally(evidence: &Evidence) -> Tally {
    let mut tally =
        Tally { bookings: evidence.bookings.len(), promises: evidence.promises.len(), ..Tally::default() };
    for call in evidence.calls.iter().flatten() {
        let outcome = match &call.outcome {
            Outcome::Answered(seen) => format!("answered: {}", seen.state),
            Outcome::Refused { code, reason } => format!("refused: {code} {reason}"),
            Outcome::Unknown { code, reason, .. } => format!("unknown: {code} {reason}"),
        };
        tally.unknown +=
            usize::from(matches!(call.outcome, Outcome::Unknown { .. }) && call.kind != Kind::Get);
        *tally.calls.entry((call.kind, outcome)).or_default() += 1;
    }
    let lost_its_slot = |was: &&Meeting| was.state == "DISPLACED";
    tally.displaced = evidence.history.values().flatten().filter(lost_its_slot).count();
    for meeting in evidence.meetings.values() {
        *tally.meetings.entry(meeting.state.clone()).or_default() += 1;
    }
    tally
}

fn version(seen: &Seen) -> i64 {
    seen.etag.strip_prefix('v').and_then(|v| v.parse().ok()).unwrap_or(-1)
}

/// Whether a row, present or past, is what the organizer saw.
fn same(seen: &Seen, meeting: &Meeting) -> bool {
    // Who attended a meeting that is over is told in more than one way.
    let over = seen.state != "CONFIRMED";
    seen.state == meeting.state && seen.slot == meeting.slot && (over || seen.attending == meeting.attending)
}

/// Every answer was true when it was given: the store's history has it.
fn answers(evidence: &Evidence, calls: &[Call], findings: &mut Findings) {
    for call in calls {
        let Outcome::Answered(seen) = &call.outcome else { continue };
        let key = (seen.meeting.clone(), version(seen));
        let history = evidence.history.get(&key).into_iter().flatten();
        let found = history
            .chain(evidence.meetings.get(&seen.meeting))
            .any(|was| was.version == key.1 && same(seen, was));
        let found = found || is_sought(evidence, seen);
        match found {
            true => findings.tally.answers += 1,
            false if evidence.pruned => findings.tally.too_old += 1,
            false => findings.lost.push(format!("{:?} was answered {seen:?}, which never was", call.kind)),
        }
    }
}

/// Whether the meeting had lost its slot, and nothing else happened to it until this version: each further slot that is
/// tried raises the version, and is no event.
fn is_sought(evidence: &Evidence, seen: &Seen) -> bool {
    let until = (seen.meeting.clone(), 0)..=(seen.meeting.clone(), version(seen));
    let last = evidence.history.range(until).next_back();
    seen.state == "DISPLACED" && last.is_some_and(|(_, all)| all.iter().any(|was| same(seen, was)))
}

/// What an organizer saw last of each meeting is what is there. Each meeting has one organizer, and nothing else
/// changes it but a meeting that displaces it.
fn last_words(evidence: &Evidence, calls: &[Call], findings: &mut Findings) {
    let mut last: BTreeMap<&str, &Seen> = BTreeMap::new();
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for call in calls {
        match &call.outcome {
            Outcome::Answered(seen) => {
                last.insert(&seen.meeting, seen);
                open.remove(seen.meeting.as_str());
            }
            Outcome::Unknown { .. } if call.kind != Kind::Get => drop(open.insert(&call.meeting)),
            Outcome::Refused { code, .. }
                if code == "NotFound" && last.contains_key(call.meeting.as_str()) =>
            {
                findings.lost.push(format!("{} was seen, and then NOT_FOUND", call.meeting));
            }
            _ => {}
        }
    }
    for (id, seen) in last {
        match evidence.meetings.get(id) {
            None => findings.lost.push(format!("{id} was answered {seen:?}, and is not in the store")),
            Some(_) if displaced_since(evidence, id, version(seen)) => {}
            // It was being sought, by itself.
            Some(meeting) if seen.state == "DISPLACED" && meeting.version > version(seen) => {}
            Some(meeting) if !open.contains(id) && !same(seen, meeting) => {
                findings.lost.push(format!("{id} was seen as {seen:?}, and is {meeting:?}"));
            }
            Some(meeting) if meeting.version < version(seen) => {
                findings.lost.push(format!("{id} was seen as {seen:?}, and is back at {meeting:?}"));
            }
            Some(_) => {}
        }
    }
}

/// Whether the meeting lost its slot after this version of it.
fn displaced_since(evidence: &Evidence, id: &str, version: i64) -> bool {
    let later = evidence.history.range((id.to_owned(), version + 1)..).take_while(|((of, _), _)| of == id);
    later.flat_map(|(_, all)| all).any(|was| was.state == "DISPLACED")
}

/// No meeting loses its slot but to one that was booked by displacing it, in the same time.
fn displaced_with_cause(evidence: &Evidence, findings: &mut Findings) {
    let all =
        evidence.history.iter().flat_map(|((id, version), all)| all.iter().map(move |m| (id, *version, m)));
    for (id, version, _) in all.filter(|(_, _, meeting)| meeting.state == "DISPLACED") {
        let of = |id: &str| evidence.history.range((id.to_owned(), 0)..(id.to_owned(), i64::MAX));
        let versions = || of(id).flat_map(|(_, all)| all);
        let after = versions().filter(|m| m.version == version && m.state == "DISPLACED");
        let by: BTreeSet<&str> = after.map(|m| m.displaced_by.as_str()).collect();
        let before = versions().filter(|m| m.version < version).max_by_key(|m| m.version);
        let taken = |m: &&Meeting| m.state == "CONFIRMED" && m.displaced.iter().any(|other| other == id);
        let takers = by.iter().flat_map(|by| of(by)).flat_map(|(_, all)| all).filter(taken);
        let in_its_time = |taker: &Meeting| match (taker.slot, before.and_then(|before| before.slot)) {
            (Some(taker), Some(lost)) => near(taker, lost),
            // Its time was told by an event that is gone.
            (taker, None) => taker.is_some() && evidence.pruned,
            (None, _) => false,
        };
        let caused = takers.into_iter().any(in_its_time);
        let gone = evidence.pruned && by.iter().all(|by| of(by).next().is_none());
        if !caused && !gone {
            findings.lost.push(format!(
                "{id} was displaced in version {version} by {by:?}, which did not book its time"
            ));
        }
    }
}

/// Whether two slots overlap with their buffers, of a quarter of an hour at most.
fn near(a: Span, b: Span) -> bool {
    overlap((a.0 - 900, a.1), (b.0 - 900, b.1))
}

/// Nothing is half-booked: a confirmed meeting is in the rows, the journals and the calendars of all who attend.
fn booked_whole(evidence: &Evidence, findings: &mut Findings) {
    for (id, meeting) in evidence.meetings.iter().filter(|(_, meeting)| meeting.state == "CONFIRMED") {
        let (Some(slot), Some(n)) = (meeting.slot, meeting.booked) else {
            findings.lost.push(format!("{id} is CONFIRMED without a slot"));
            continue;
        };
        for who in &meeting.attending {
            let row = |row: &Booking| row.meeting == *id && row.n == n && row.participant == *who;
            if !evidence.bookings.iter().any(row) {
                findings.lost.push(format!("{id}: no row for {who}"));
            }
            let promise =
                evidence.promises.iter().find(|p| p.meeting == *id && p.participant == *who && p.n == n);
            if promise.is_none_or(|promise| promise.held || promise.slot != slot) {
                findings.lost.push(format!("{id}: {who}'s journal has {promise:?}"));
            }
            let written = evidence.booked.get(who).into_iter().flatten();
            if !written.clone().any(|event| *event == (id.clone(), slot)) {
                findings.lost.push(format!(
                    "{id} at {slot:?}: {who}'s calendar file has {:?}",
                    written.collect::<Vec<_>>()
                ));
            }
        }
    }
}

fn overlap(a: Span, b: Span) -> bool {
    a.0 < b.1 && b.0 < a.1
}

/// No two of anybody's times overlap: in the rows, the journals and the calendar files, each by itself.
fn booked_once(evidence: &Evidence, findings: &mut Findings) {
    let mut times: BTreeMap<(&str, &str), Vec<(Span, String)>> = BTreeMap::new();
    for row in &evidence.bookings {
        let what = format!("{}/{}", row.meeting, row.n);
        times.entry((&row.participant, "rows")).or_default().push((row.during, what));
    }
    for promise in &evidence.promises {
        let what = format!("{}/{}", promise.meeting, promise.n);
        times.entry((&promise.participant, "journal")).or_default().push((promise.blocked, what));
    }
    for (who, events) in &evidence.booked {
        let list = times.entry((who, "calendar files")).or_default();
        list.extend(events.iter().map(|(meeting, span)| (*span, meeting.clone())));
        let own = evidence.own.get(who).into_iter().flatten();
        list.extend(
            merged(own.copied().collect()).into_iter().map(|span| (span, "an event of their own".to_owned())),
        );
    }
    for (id, meeting) in evidence.meetings.iter().filter(|(_, meeting)| meeting.state == "CONFIRMED") {
        for who in &meeting.attending {
            let list = times.entry((who, "meetings")).or_default();
            list.extend(meeting.slot.map(|slot| (slot, id.clone())));
        }
    }
    for ((who, place), mut list) in times {
        list.sort();
        for pair in list.windows(2).filter(|pair| overlap(pair[0].0, pair[1].0)) {
            findings.double_booked.push(format!("{who}, by the {place}: {:?} and {:?}", pair[0], pair[1]));
        }
    }
}

/// A person's own events may overlap each other.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::new();
    for span in spans {
        match all.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => all.push(span),
        }
    }
    all
}

/// No time is taken but for a meeting that is booked, and no work is left.
fn nothing_more(evidence: &Evidence, findings: &mut Findings) {
    let left = &mut findings.left_over;
    let attends = |meeting: &str, n: Option<i64>, who: &String| {
        let meeting = evidence.meetings.get(meeting).filter(|meeting| meeting.state == "CONFIRMED");
        meeting.is_some_and(|m| m.attending.contains(who) && n.is_none_or(|n| m.booked == Some(n)))
    };
    for promise in &evidence.promises {
        if promise.held || !attends(&promise.meeting, Some(promise.n), &promise.participant) {
            left.push(format!("in a journal: {promise:?}"));
        }
    }
    for row in &evidence.bookings {
        if !row.delivered || !attends(&row.meeting, Some(row.n), &row.participant) {
            left.push(format!("in the rows: {row:?}"));
        }
    }
    for (who, events) in &evidence.booked {
        for (meeting, span) in events.iter().filter(|(meeting, _)| !attends(meeting, None, who)) {
            left.push(format!("in {who}'s calendar file: {meeting} at {span:?}"));
        }
    }
    left.extend(evidence.holding.iter().map(|attempt| format!("HOLDING: {attempt:?}")));
    left.extend(evidence.deliveries.iter().map(|delivery| format!("not acknowledged: {delivery}")));
    left.extend(evidence.withdrawals.iter().map(|left| format!("not taken note of: {left} left")));
    let sought = |meeting: &&Meeting| ["SCHEDULING", "DISPLACED"].contains(&meeting.state.as_str());
    left.extend(
        evidence.meetings.values().filter(sought).map(|meeting| format!("still sought: {meeting:?}")),
    );
}

/// Whoever was not told has asked again, and was told.
fn unknown(calls: &[Call], findings: &mut Findings) {
    let mut open: BTreeMap<(Kind, &str), &Outcome> = BTreeMap::new();
    for call in calls {
        match (&call.outcome, call.kind) {
            (Outcome::Unknown { .. }, Kind::Schedule) => {
                open.insert((Kind::Schedule, &call.request), &call.outcome);
            }
            (Outcome::Unknown { .. }, Kind::Reschedule | Kind::Update | Kind::Cancel) => {
                open.insert((Kind::Get, &call.meeting), &call.outcome);
            }
            (Outcome::Answered(seen), Kind::Schedule) => {
                open.remove(&(Kind::Schedule, call.request.as_str()));
                open.remove(&(Kind::Get, seen.meeting.as_str()));
            }
            (Outcome::Answered(seen), _) => drop(open.remove(&(Kind::Get, seen.meeting.as_str()))),
            _ => {}
        }
    }
    let words = |((kind, id), outcome): (&(Kind, &str), &&Outcome)| format!("{kind:?} {id}: {outcome:?}");
    findings.unresolved.extend(open.iter().map(words));
}

/// One request id, one meeting; and no meeting but of a request.
fn requests(evidence: &Evidence, findings: &mut Findings) {
    let mut of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for call in evidence.calls.iter().flatten().filter(|call| call.kind == Kind::Schedule) {
        asked.insert(call.request.as_str());
        if let Outcome::Answered(seen) = &call.outcome {
            of.entry(&call.request).or_default().insert(&seen.meeting);
        }
    }
    for (id, meeting) in &evidence.meetings {
        of.entry(&meeting.request).or_default().insert(id);
        if !asked.contains(meeting.request.as_str()) {
            findings.left_over.push(format!("{id} was asked for by nobody"));
        }
    }
    for (request, meetings) in of.iter().filter(|(_, meetings)| meetings.len() > 1) {
        findings.unresolved.push(format!("request {request} has more than one outcome: {meetings:?}"));
    }
}
