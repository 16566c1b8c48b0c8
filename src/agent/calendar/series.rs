//! Events that were read, by their UID, and when each series begins and ends.

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use jiff::tz::TimeZone;

use super::MAX_STEPS_PER_RULE;
use super::class::Class;
use super::expand::is_doubtful;
use super::read::Wrong;
use super::value::{Length, When};
use crate::core::recurrence::{Dated, GaveUpAt, Steps};

/// A component that takes time, perhaps repeatedly.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub line: usize,
    pub class: Class,
    pub start: When,
    pub length: Length,
    pub rules: Vec<Dated>,
    /// RDATE: further starts, with their own length if they are periods.
    pub extra: Vec<(When, Option<Length>)>,
    /// EXDATE: starts that are left out.
    pub except: Vec<When>,
    /// What starts before this, on its own clock, does not count.
    pub since: NaiveDateTime,
}

/// One occurrence (or all from one on) that differs from its master.
#[derive(Debug)]
pub(super) struct Override {
    /// Of its RECURRENCE-ID.
    pub line: usize,
    pub id: When,
    /// RANGE=THISANDFUTURE.
    pub onward: bool,
    pub sequence: i64,
    /// What takes its place; nothing if it was cancelled or made transparent.
    pub event: Option<Event>,
}

/// The components that share a UID.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub masters: Vec<Event>,
    pub overrides: Vec<Override>,
    /// Nothing of it is before this, in any zone.
    pub first: NaiveDateTime,
    /// Nothing of it is after this, in any zone, if it ends.
    pub last: Option<NaiveDateTime>,
}

/// Events by their UID.
#[derive(Default)]
pub(super) struct Groups<'c> {
    pub all: Vec<Series>,
    by_uid: HashMap<&'c str, usize>,
}

impl<'c> Groups<'c> {
    /// Adds an event to those of its UID; without one it is alone.
    pub fn add(&mut self, uid: Option<&'c str>, entry: Entry) {
        let next = self.all.len();
        let index = match uid {
            _ if matches!(entry, Entry::Nothing) => return,
            Some(uid) => *self.by_uid.entry(uid).or_insert(next),
            None => next,
        };
        if index == next {
            self.all.push(Series::default());
        }
        match entry {
            Entry::Master(event) => self.all[index].masters.push(event),
            Entry::Override(change) => self.all[index].overrides.push(change),
            Entry::Nothing => {}
        }
    }

    /// All but those of these UIDs.
    pub fn without(mut self, unreadable: &HashSet<&str>) -> Vec<Series> {
        for (_, index) in self.by_uid.iter().filter(|(uid, _)| unreadable.contains(*uid)) {
            self.all[*index] = Series::default();
        }
        self.all
    }
}

pub(super) enum Entry {
    Master(Event),
    Override(Override),
    Nothing,
}

/// More than two zones can differ by.
const SLACK: TimeDelta = TimeDelta::days(3);

impl Series {
    /// Drops overrides that a later revision replaced, reads floating RECURRENCE-IDs in the
    /// zone of the master, and notes when the series begins and ends. Returns RECURRENCE-IDs that may mean another day.
    pub fn settle(&mut self, steps: &mut Steps) -> Vec<Wrong> {
        let mut doubts = Vec::new();
        for master in &mut self.masters {
            master.count_out(steps);
            master.except.sort_by_key(|mark| mark.local);
        }
        if let Some(master) = self.masters.first() {
            for change in &mut self.overrides {
                change.id = change.id.clone().marking(&master.start);
                let doubt = change.id.doubt("RECURRENCE-ID", &master.start);
                let doubt = doubt.filter(|_| is_doubtful(change.id.local.date()));
                doubts.extend(doubt.map(|reason| (change.line, reason)));
            }
        }
        let id = |change: &Override| (change.id.instant(&TimeZone::UTC), change.id.is_date);
        self.overrides.sort_by_key(|change| (id(change), change.sequence));
        let mut kept: Vec<Override> = Vec::with_capacity(self.overrides.len());
        for change in self.overrides.drain(..) {
            if kept.last().is_some_and(|last| id(last) == id(&change)) {
                kept.pop();
            }
            kept.push(change);
        }
        self.overrides = kept;
        let events = self.overrides.iter().filter_map(|change| change.event.as_ref());
        let spans: Vec<_> = self.masters.iter().chain(events).map(Event::span).collect();
        // A master that others moved onward may be anywhere.
        let moved = !self.masters.is_empty() && self.overrides.iter().any(|change| change.onward);
        self.first = spans.iter().map(|span| span.0).min().unwrap_or(NaiveDateTime::MAX);
        self.last =
            spans.iter().map(|span| span.1).try_fold(NaiveDateTime::MIN, |last, end| Some(last.max(end?)));
        if moved {
            (self.first, self.last) = (NaiveDateTime::MIN, None);
        }
        doubts
    }
}

impl Event {
    /// What happens once.
    pub fn once(line: usize, class: Class, start: When, length: Length) -> Self {
        let (rules, extra, except, since) = (vec![], vec![], vec![], NaiveDateTime::MIN);
        Self { line, class, start, length, rules, extra, except, since }
    }

    /// Whether it happens just once, when it starts.
    pub fn is_plain(&self) -> bool {
        let Self { rules, extra, except, since, .. } = self;
        rules.is_empty() && extra.is_empty() && except.is_empty() && *since == NaiveDateTime::MIN
    }

    /// When it begins and ends at the outside, with slack for the zones.
    fn span(&self) -> (NaiveDateTime, Option<NaiveDateTime>) {
        let starts = || self.extra.iter().map(|(start, _)| start.local).chain([self.start.local]);
        let first = starts().min().and_then(|at| at.checked_sub_signed(SLACK));
        let longest = self.extra.iter().filter_map(|(start, length)| Some(length.as_ref()?.at_most(start)));
        let longest = longest.chain([self.length.at_most(&self.start)]).max();
        let last = self.rules.iter().map(|rule| self.rule_end(rule));
        let last =
            last.chain(starts().map(Some)).try_fold(NaiveDateTime::MIN, |last, end| Some(last.max(end?)));
        let last = last.and_then(|at| at.checked_add_signed(longest? + SLACK));
        (first.unwrap_or(NaiveDateTime::MIN), last)
    }

    /// Counts the rules that end by COUNT to their end, if the steps are enough.
    fn count_out(&mut self, steps: &mut Steps) {
        let start = self.start.local;
        let forever = NaiveDate::from_ymd_opt(9999, 12, 31).map_or(NaiveDateTime::MAX, NaiveDateTime::from);
        for rule in self.rules.iter_mut().filter(|rule| rule.is_counted() && !rule.is_dead()) {
            let mut last = start;
            let mut part = steps.split(MAX_STEPS_PER_RULE);
            let whole = part.left() == MAX_STEPS_PER_RULE;
            let ended = rule.expand(None, start..forever, &mut part, |at| {
                last = at;
                true
            });
            steps.give_back(part);
            match ended {
                Ok(()) => *rule = rule.clone().ending_at(last),
                Err(GaveUpAt(reached)) if whole => *rule = rule.clone().known_until(reached),
                // The file has too many of them: what there is time for is counted by each query.
                Err(_) => {}
            }
        }
    }

    /// When the rule ends at the outside, if that is known.
    fn rule_end(&self, rule: &Dated) -> Option<NaiveDateTime> {
        if rule.is_dead() {
            return Some(self.start.local);
        }
        if rule.unknown_from().is_some() {
            return None;
        }
        rule.until_in(|utc| utc).and_then(|until| until.checked_add_signed(SLACK))
    }
}

impl Length {
    /// No occurrence that starts like `start` lasts longer than this.
    pub fn at_most(&self, start: &When) -> TimeDelta {
        match self {
            Self::Nominal { days, seconds } => TimeDelta::days(*days) + TimeDelta::seconds(*seconds),
            Self::Until { end, .. } => end.local - start.local + SLACK,
        }
    }
}
