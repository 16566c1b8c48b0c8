//! A scripted participant: free time from a list, the rules of PROTOCOL.md's agent table, and switches to break them.

use std::collections::{BTreeMap, BTreeSet};

use super::pb;
use super::pb::agent_message::Message as Says;
use super::{hours, in_seconds};

/// A meeting and an attempt.
pub type Key = (String, u64);

/// What a participant does when it is asked something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// As the protocol says.
    Do,
    /// Nothing at all.
    Silent,
    /// Declines the query, or refuses the hold as BUSY.
    Refuse,
    /// As the protocol says, but the answer is kept until it is let go.
    Keep,
    /// Says it twice.
    Twice,
    /// Answers something that was never asked.
    WrongId,
}

/// Free time, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Free {
    pub range: (i64, i64),
    pub preference: pb::Preference,
    pub cost: i32,
}

/// Something held.
#[derive(Clone, Debug)]
pub struct Held {
    pub blocked: (i64, i64),
    /// What a register says of the lease.
    pub lease_over: bool,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub zone: String,
    /// What it says of its zone's rules; None, as of an agent in another language: nothing.
    pub zone_data: Option<pb::TimeZoneData>,
    /// What it says to be wrong with its calendar.
    pub calendar_problem: String,
    pub free: Vec<Free>,
    pub disclosure: pb::register::Disclosure,
    /// None: an agent that remembers nothing when its stream is gone.
    pub journal: Option<String>,
    pub sequence: u64,
    pub answers: Mode,
    pub votes: Mode,
    pub acks: Mode,
    /// Whether a refusal names what is in the way.
    pub names_blocker: bool,
    pub held: BTreeMap<Key, Held>,
    pub booked: BTreeMap<Key, pb::Booking>,
    /// The highest attempt released, by meeting.
    pub released: BTreeMap<String, u64>,
    pub withdrawn: BTreeMap<Key, String>,
    /// Answers that wait to be let go.
    pub kept: Vec<pb::AgentMessage>,
    /// As last registered.
    pub registered: Option<pb::Registered>,
    /// Promises that overlapped, which must never be (I1).
    pub faults: Vec<String>,
}

impl Person {
    /// Free at no time, with a journal.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            zone: "UTC".into(),
            zone_data: None,
            calendar_problem: String::new(),
            free: Vec::new(),
            disclosure: pb::register::Disclosure::FreeBusy,
            journal: Some(format!("journal of {id}")),
            sequence: 0,
            answers: Mode::Do,
            votes: Mode::Do,
            acks: Mode::Do,
            names_blocker: true,
            held: BTreeMap::new(),
            booked: BTreeMap::new(),
            released: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            kept: Vec::new(),
            registered: None,
            faults: Vec::new(),
        }
    }

    /// Free from one hour of the Monday to another.
    pub fn free(self, from: i64, until: i64) -> Self {
        self.free_at(from, until, pb::Preference::Available, 0)
    }

    pub fn free_at(mut self, from: i64, until: i64, preference: pb::Preference, cost: i32) -> Self {
        self.free.push(Free { range: in_seconds(&hours(from, until)), preference, cost });
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn register(&mut self) -> pb::AgentMessage {
        if self.journal.is_none() {
            self.held.clear();
            self.booked.clear();
            self.released.clear();
            self.withdrawn.clear();
        }
        let seen = self.registered.take().unwrap_or_default();
        let promise = |(key, blocked, lease_over): (&Key, (i64, i64), bool)| pb::Promise {
            meeting_id: key.0.clone(),
            attempt: key.1,
            blocked: Some(super::seconds(blocked.0, blocked.1)),
            lease_over,
            revision: 0,
        };
        let booked = |(key, booking): (&Key, &pb::Booking)| {
            promise((key, in_seconds(booking.blocked.as_ref().unwrap()), false))
        };
        says(Says::Register(pb::Register {
            participant_id: self.id.clone(),
            display_name: format!("{} (scripted)", self.id),
            time_zone: self.zone.clone(),
            time_zone_data: self.zone_data.clone(),
            disclosure: self.disclosure.into(),
            calendar_problem: self.calendar_problem.clone(),
            journal_id: self.journal.clone().unwrap_or_default(),
            journal_sequence: self.sequence,
            held: self.held.iter().map(|(key, held)| promise((key, held.blocked, held.lease_over))).collect(),
            booked: self.booked.iter().map(booked).collect(),
            withdrawn: self
                .withdrawn
                .iter()
                .map(|(key, reason)| pb::Withdrawal {
                    meeting_id: key.0.clone(),
                    attempt: key.1,
                    reason: reason.clone(),
                })
                .collect(),
            scheduler_generation: seen.scheduler_generation,
            scheduler_incarnation: seen.scheduler_incarnation,
            ..pb::Register::default()
        }))
    }

    pub fn registered(&mut self, registered: pb::Registered) -> Vec<pb::AgentMessage> {
        let bookings = registered.bookings.clone();
        self.registered = Some(registered);
        bookings.into_iter().flat_map(|booking| self.confirm(booking, &[])).collect()
    }

    pub fn query(&mut self, query: &pb::AvailabilityQuery) -> Vec<pb::AgentMessage> {
        let mode = self.answers;
        let mut answer = pb::AvailabilityAnswer {
            query_id: query.query_id.clone(),
            participant_id: self.id.clone(),
            ..Default::default()
        };
        match mode {
            Mode::Refuse => answer.declined = Some(pb::Declined { reason: "on leave".into() }),
            _ => answer.free = self.free_within(query),
        }
        if mode == Mode::WrongId {
            answer.query_id = format!("{}-never-asked", query.query_id);
        }
        self.say(mode, Says::AvailabilityAnswer(answer))
    }

    fn free_within(&self, query: &pb::AvailabilityQuery) -> Vec<pb::FreeTime> {
        let booked = self.booked.iter().filter(|(key, _)| !names(&query.disregard).contains(key));
        let booked: Vec<(i64, i64)> = booked.map(|(_, b)| in_seconds(b.blocked.as_ref().unwrap())).collect();
        let mut left = Vec::new();
        for free in &self.free {
            let mut parts = vec![free.range];
            for busy in &booked {
                let cut = |(from, until): (i64, i64)| [(from, until.min(busy.0)), (from.max(busy.1), until)];
                parts = parts.into_iter().flat_map(cut).filter(|(from, until)| from < until).collect();
            }
            left.extend(parts.into_iter().map(|(from, until)| pb::FreeTime {
                start_time: Some(super::instant(from)),
                end_time: Some(super::instant(until)),
                preference: free.preference.into(),
                cost: free.cost,
            }));
        }
        left
    }

    pub fn hold(&mut self, hold: &pb::Hold) -> Vec<pb::AgentMessage> {
        let key = (hold.meeting_id.clone(), hold.attempt);
        let blocked = in_seconds(hold.blocked.as_ref().unwrap());
        let displaces = names(&hold.displaces);
        let mode = self.votes;
        let answer = match mode {
            Mode::Silent => return Vec::new(),
            Mode::Refuse => refused(pb::refused::Reason::Busy, None),
            _ if self.held.contains_key(&key) => pb::hold_answer::Answer::Granted(pb::Granted {}),
            _ => match self.in_the_way(&key, blocked, &displaces) {
                Some(refusal) => refusal,
                None => {
                    self.held.insert(key.clone(), Held { blocked, lease_over: false });
                    self.sequence += 1;
                    pb::hold_answer::Answer::Granted(pb::Granted {})
                }
            },
        };
        self.say(
            mode,
            Says::HoldAnswer(pb::HoldAnswer {
                participant_id: self.id.clone(),
                meeting_id: key.0,
                attempt: if mode == Mode::WrongId { key.1 + 1_000 } else { key.1 },
                answer: Some(answer),
                journal_sequence: self.sequence,
            }),
        )
    }

    fn in_the_way(
        &self,
        key: &Key,
        blocked: (i64, i64),
        displaces: &BTreeSet<Key>,
    ) -> Option<pb::hold_answer::Answer> {
        use pb::refused::Reason;
        if self.released.get(&key.0).is_some_and(|n| *n >= key.1) {
            return Some(refused(Reason::Stale, None));
        }
        let clash = |other: &Key, range: (i64, i64)| !displaces.contains(other) && overlap(range, blocked);
        let booked = |(other, booking): (&Key, &pb::Booking)| {
            clash(other, in_seconds(booking.blocked.as_ref().unwrap()))
        };
        if self.booked.iter().any(booked) {
            return Some(refused(Reason::Booked, None));
        }
        if !covers(self.free.iter().map(|f| f.range).collect(), blocked) {
            return Some(refused(Reason::Busy, None));
        }
        let held = self.held.iter().find(|(other, held)| clash(other, held.blocked))?;
        let by = pb::AttemptRef { meeting_id: held.0.0.clone(), attempt: held.0.1 };
        Some(refused(Reason::Held, self.names_blocker.then_some(by)))
    }

    pub fn confirm(&mut self, booking: pb::Booking, displaces: &[pb::AttemptRef]) -> Vec<pb::AgentMessage> {
        let key = (booking.meeting_id.clone(), booking.attempt);
        let blocked = in_seconds(booking.blocked.as_ref().unwrap());
        if self.released.get(&key.0).is_none_or(|n| *n < key.1) && !self.withdrawn.contains_key(&key) {
            for other in names(displaces) {
                self.booked.remove(&other);
            }
            self.held.remove(&key);
            for (other, theirs) in self.booked.iter().filter(|(other, _)| **other != key) {
                if overlap(in_seconds(theirs.blocked.as_ref().unwrap()), blocked) {
                    self.faults.push(format!("{}: {key:?} and {other:?} overlap", self.id));
                }
            }
            self.booked.insert(key.clone(), booking);
            self.sequence += 1;
        }
        self.ack(key, pb::ack::Kind::Confirm)
    }

    /// As if the confirm of a booking had never come.
    pub fn hold_again(&mut self, key: Key, booking: &pb::Booking) {
        let blocked = in_seconds(booking.blocked.as_ref().unwrap());
        self.held.insert(key, Held { blocked, lease_over: true });
    }

    pub fn release(&mut self, meeting: &str, attempt: u64) -> Vec<pb::AgentMessage> {
        let key = (meeting.to_owned(), attempt);
        self.held.remove(&key);
        self.booked.remove(&key);
        self.withdrawn.remove(&key);
        let highest = self.released.entry(meeting.to_owned()).or_default();
        *highest = (*highest).max(attempt);
        self.sequence += 1;
        self.ack(key, pb::ack::Kind::Release)
    }

    fn ack(&mut self, key: Key, kind: pb::ack::Kind) -> Vec<pb::AgentMessage> {
        let ack = pb::Ack {
            participant_id: self.id.clone(),
            meeting_id: key.0,
            attempt: key.1,
            kind: kind.into(),
            journal_sequence: self.sequence,
            revision: 0,
        };
        self.say(self.acks, Says::Ack(ack))
    }

    fn say(&mut self, mode: Mode, what: Says) -> Vec<pb::AgentMessage> {
        let message = says(what);
        match mode {
            Mode::Do | Mode::Refuse | Mode::WrongId => vec![message],
            Mode::Twice => vec![message.clone(), message],
            Mode::Silent => Vec::new(),
            Mode::Keep => {
                self.kept.push(message);
                Vec::new()
            }
        }
    }

    /// The slots that are booked, in hours of the Monday, in order.
    pub fn booked_hours(&self) -> Vec<(i64, i64)> {
        let mut hours: Vec<_> =
            self.booked.values().map(|b| super::as_hours(b.slot.as_ref().unwrap())).collect();
        hours.sort_unstable();
        hours
    }
}

/// A message of an agent.
pub fn says(says: Says) -> pb::AgentMessage {
    pb::AgentMessage { message: Some(says) }
}

fn refused(reason: pb::refused::Reason, held_by: Option<pb::AttemptRef>) -> pb::hold_answer::Answer {
    pb::hold_answer::Answer::Refused(pb::Refused { reason: reason.into(), held_by })
}

fn names(refs: &[pb::AttemptRef]) -> BTreeSet<Key> {
    refs.iter().map(|r| (r.meeting_id.clone(), r.attempt)).collect()
}

pub fn overlap(a: (i64, i64), b: (i64, i64)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

/// Whether ranges together cover another one.
fn covers(mut ranges: Vec<(i64, i64)>, wanted: (i64, i64)) -> bool {
    ranges.sort_unstable();
    let mut reached = wanted.0;
    for (from, until) in ranges {
        if from <= reached {
            reached = reached.max(until);
        }
    }
    reached >= wanted.1
}
