//! The agent's side of the booking protocol, for one calendar with one serial writer.
//!
//! | state | message | action |
//! |---|---|---|
//! | none | Hold | free: journal HELD, vote yes. Else refuse: busy, held by another attempt, booked |
//! | none | Confirm | not released before: a booking that this journal lost. Install it, or Withdraw if it clashes |
//! | none | Release | journal the tombstone, ack |
//! | HELD | Hold | the same vote |
//! | HELD | Confirm | journal CONFIRMED and the drop of what it displaces in one write, ack |
//! | HELD | Release | journal the tombstone, ack |
//! | HELD | the lease is over | Resolve, again and again; HELD until answered |
//! | CONFIRMED | Confirm | take over the details, ack |
//! | CONFIRMED | Release | drop it, journal the tombstone, ack |
//! | released (n ≤ tombstone) | Hold | refuse: stale |
//! | released (n ≤ tombstone) | Confirm | ignore, ack |
//! | WITHDRAWN | anything | ack; Withdraw again until Release(WITHDRAWN) |
//!
//! Invariant: every message that promises something is returned together with the journal records that it
//! rests on; whoever drives this makes the records durable before it sends the messages (D2, D4).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::availability::{self, Disclosure};
use super::ids::{Attempt, AttemptNumber, MeetingId, ParticipantId};
use super::limits;
use super::message::{
    AckKind, AgentMessage, Booking, Hold, Notice, Promise, Query, Refusal, Register, Registered,
    ReleaseCause, SchedulerMessage, Vote,
};
use super::slots;
use super::time::{Mono, Now, TimeRange};

/// How long until an unanswered Register, Resolve or Withdraw is sent again.
pub const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The participant's own calendar, as the machine needs it.
pub trait OwnTime {
    /// When the participant is not free within `range`, sorted and merged; with `working_hours`, also outside the
    /// participant's own ones. `Err` says why that is not known: it is then never taken for free.
    fn busy(&self, range: TimeRange, working_hours: bool) -> Result<Vec<TimeRange>, String>;
}

/// Where a promise is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum PromiseState {
    /// Voted yes; not decided.
    Held,
    /// Booked.
    Confirmed,
}

/// A promise, as the journal has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PromiseRow {
    /// Held or booked.
    pub state: PromiseState,
    /// For what. Of a hold the attendees are not known yet.
    pub booking: Booking,
    /// Bookings that it replaces once it is confirmed.
    pub displaces: Vec<Attempt>,
}

/// One record of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JournalRecord {
    /// Inserts or replaces a promise.
    Promise(PromiseRow),
    /// Drops a promise.
    Drop(Attempt),
    /// All attempts of the meeting up to this one are over.
    Tombstone(Attempt),
    /// The participant left a booking, for this reason.
    Withdrawn(Attempt, String),
    /// The scheduler took note of it.
    WithdrawalDone(Attempt),
    /// The life of the scheduler's store that was last seen.
    Scheduler {
        /// Its number.
        generation: u32,
        /// Its name.
        incarnation: String,
    },
}

/// All that the journal says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Journal {
    /// Its name; empty: none is kept.
    pub id: String,
    /// Rises with every record.
    pub sequence: u64,
    /// Held and booked.
    pub promises: BTreeMap<Attempt, PromiseRow>,
    /// The highest released attempt of each meeting.
    pub tombstones: BTreeMap<MeetingId, AttemptNumber>,
    /// Left by the participant, with the reason.
    pub withdrawn: BTreeMap<Attempt, String>,
    /// The life of the scheduler's store that was last seen.
    pub scheduler: (u32, String),
}

impl Journal {
    /// Applies one record and counts it.
    pub fn apply(&mut self, record: &JournalRecord) {
        self.sequence += 1;
        match record {
            JournalRecord::Promise(row) => {
                self.promises.insert(row.booking.attempt.clone(), row.clone());
            }
            JournalRecord::Drop(attempt) => {
                self.promises.remove(attempt);
            }
            JournalRecord::Tombstone(attempt) => {
                let highest = self.tombstones.entry(attempt.meeting.clone()).or_insert(attempt.n);
                *highest = (*highest).max(attempt.n);
            }
            JournalRecord::Withdrawn(attempt, reason) => {
                self.withdrawn.insert(attempt.clone(), reason.clone());
            }
            JournalRecord::WithdrawalDone(attempt) => {
                self.withdrawn.remove(attempt);
            }
            JournalRecord::Scheduler { generation, incarnation } => {
                self.scheduler = (*generation, incarnation.clone());
            }
        }
    }

    fn released(&self, attempt: &Attempt) -> bool {
        self.tombstones.get(&attempt.meeting).is_some_and(|n| attempt.n <= *n)
    }
}

/// What somebody must know who runs the machine.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// To be made durable, in order, before anything else is done.
    pub records: Vec<JournalRecord>,
    /// To be sent after that, in order.
    pub messages: Vec<AgentMessage>,
    /// For the participant.
    pub notices: Vec<Notice>,
    /// Whether the bookings changed: the calendar output has to be written anew.
    pub bookings_changed: bool,
    /// A newer stream speaks for the participant: stop, and don't register again.
    pub superseded: bool,
}

/// What the machine is told about its participant.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Who.
    pub id: ParticipantId,
    /// For people.
    pub display_name: String,
    /// IANA zone.
    pub time_zone: Option<String>,
    /// How much answers reveal.
    pub disclosure: Disclosure,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Down,
    Registering { again: Mono },
    Ready,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Participant {
    profile: Profile,
    journal: Journal,
    link: Link,
    /// When each hold is asked about; at once for holds that a restart found.
    ask: BTreeMap<Attempt, Mono>,
    /// When each withdrawal is repeated.
    repeat: BTreeMap<Attempt, Mono>,
}

impl Participant {
    /// A machine over what the journal says; every lease in it is over (PROTOCOL.md, "Clocks").
    pub fn new(profile: Profile, journal: Journal) -> Self {
        let ask = held(&journal).map(|a| (a.clone(), Mono::default())).collect();
        let repeat = journal.withdrawn.keys().map(|a| (a.clone(), Mono::default())).collect();
        Self { profile, journal, link: Link::Down, ask, repeat }
    }

    /// The journal's content.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The bookings that stand, by attempt.
    pub fn bookings(&self) -> impl Iterator<Item = &Booking> {
        let confirmed = |row: &&PromiseRow| row.state == PromiseState::Confirmed;
        self.journal.promises.values().filter(confirmed).map(|row| &row.booking)
    }

    /// Whether the scheduler has answered the registration of this stream.
    pub fn is_ready(&self) -> bool {
        self.link == Link::Ready
    }

    /// A new stream is there: register over it.
    pub fn connected(&mut self, now: Now) -> Output {
        self.link = Link::Registering { again: now.mono + ASK_AGAIN };
        Output { messages: vec![self.register(now)], ..Output::default() }
    }

    /// The stream broke. Promises stand.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
    }

    /// The participant's own calendar changed.
    pub fn calendar_changed(&self) -> Output {
        let mut out = Output::default();
        if self.is_ready() {
            out.messages.push(AgentMessage::CalendarChanged { participant: self.profile.id.clone() });
        }
        out
    }

    /// The participant leaves a meeting. Nothing happens if nothing is promised to it.
    pub fn withdraw(&mut self, now: Now, meeting: &MeetingId, reason: &str) -> Output {
        let mut out = Output::default();
        let of_meeting = |a: &&Attempt| &a.meeting == meeting;
        let attempts: Vec<_> = self.journal.promises.keys().filter(of_meeting).cloned().collect();
        for attempt in attempts {
            self.leave(now, &attempt, reason, &mut out);
        }
        out
    }

    /// When [`Participant::timeout`] has to be called next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        match self.link {
            Link::Down => None,
            Link::Registering { again } => Some(again),
            Link::Ready => self.ask.values().chain(self.repeat.values()).min().copied(),
        }
    }

    /// Asks again what was not answered, and about holds whose lease is over.
    pub fn timeout(&mut self, now: Now) -> Output {
        let mut out = Output::default();
        match self.link {
            Link::Down => {}
            Link::Registering { again } if again <= now.mono => return self.connected(now),
            Link::Registering { .. } => {}
            Link::Ready => {
                for (attempt, at) in self.ask.iter_mut().filter(|(_, at)| **at <= now.mono) {
                    *at = now.mono + ASK_AGAIN;
                    let (participant, attempt) = (self.profile.id.clone(), attempt.clone());
                    out.messages.push(AgentMessage::Resolve { participant, attempt });
                }
                let due = self.repeat.iter().filter(|(_, at)| **at <= now.mono);
                let due: Vec<_> = due.map(|(attempt, _)| attempt.clone()).collect();
                for attempt in due {
                    self.repeat_withdrawal(now, &attempt, &mut out);
                }
            }
        }
        out
    }

    /// Takes one message of the scheduler's.
    pub fn receive(&mut self, now: Now, message: SchedulerMessage, own: &dyn OwnTime) -> Output {
        let mut out = Output::default();
        match message {
            SchedulerMessage::Registered(registered) => self.registered(now, *registered, &mut out),
            SchedulerMessage::Query(query) => self.query(&query, own, &mut out),
            SchedulerMessage::Hold(hold) => self.hold(now, &hold, own, &mut out),
            SchedulerMessage::Confirm { booking, displaces } => {
                self.confirm(now, &booking, &displaces, &mut out);
            }
            SchedulerMessage::Release { attempt, cause } => self.release(&attempt, cause, &mut out),
            SchedulerMessage::Notice(notice) => out.notices.push((*notice).clone()),
            SchedulerMessage::Superseded { .. } => {
                self.link = Link::Down;
                out.superseded = true;
            }
        }
        out
    }

    fn register(&self, now: Now) -> AgentMessage {
        let journal = &self.journal;
        // What is over binds nobody any more: only holds are reported for ever.
        let stands =
            |row: &&PromiseRow| row.state == PromiseState::Held || row.booking.blocked.end > now.wall;
        let of = |state: PromiseState| {
            let rows = journal.promises.values().filter(stands).filter(move |row| row.state == state);
            rows.map(|row| Promise {
                attempt: row.booking.attempt.clone(),
                blocked: row.booking.blocked,
                lease_over: self.ask.get(&row.booking.attempt).is_some_and(|at| *at <= now.mono),
            })
            .collect()
        };
        AgentMessage::Register(Box::new(Register {
            participant: self.profile.id.clone(),
            display_name: self.profile.display_name.clone(),
            time_zone: self.profile.time_zone.clone(),
            disclosure: self.profile.disclosure,
            journal_id: journal.id.clone(),
            journal_sequence: journal.sequence,
            held: of(PromiseState::Held),
            booked: of(PromiseState::Confirmed),
            withdrawn: journal.withdrawn.iter().map(|(a, r)| (a.clone(), r.clone())).collect(),
            scheduler_generation: journal.scheduler.0,
            scheduler_incarnation: journal.scheduler.1.clone(),
        }))
    }

    fn registered(&mut self, now: Now, registered: Registered, out: &mut Output) {
        if self.link == Link::Down {
            return;
        }
        self.link = Link::Ready;
        let life = (registered.generation, registered.incarnation);
        if self.journal.scheduler != life {
            self.write(out, JournalRecord::Scheduler { generation: life.0, incarnation: life.1 });
        }
        for booking in registered.bookings {
            self.confirm(now, &booking, &[], out);
        }
    }

    /// Held time counts as free here: whether it can be had is decided by rank, at the hold.
    fn query(&self, query: &Query, own: &dyn OwnTime, out: &mut Output) {
        if !self.is_ready() {
            return;
        }
        let answer = self.free(query, own).map_err(|reason| cut(&reason));
        let (participant, query) = (self.profile.id.clone(), query.id.clone());
        out.messages.push(AgentMessage::Availability { participant, query, answer });
    }

    fn free(&self, query: &Query, own: &dyn OwnTime) -> Result<Vec<super::model::FreeTime>, String> {
        let Some(first) = query.windows.iter().map(|w| w.start).min() else { return Ok(Vec::new()) };
        let last = query.windows.iter().map(|w| w.end).max().unwrap_or(first);
        let asked = TimeRange::new(first, last);
        let Query { windows, duration, buffer_before, buffer_after, step, .. } = query;
        let slots = slots::asked(windows, *duration, *buffer_before, *buffer_after, *step);
        if slots.take(limits::CANDIDATES + 1).count() > limits::CANDIDATES {
            return Err(format!("the query asks about more than {} slots", limits::CANDIDATES));
        }
        let mut busy = own.busy(asked, query.respect_working_hours)?;
        for booking in self.bookings() {
            if booking.blocked.overlaps(&asked) && !query.disregard.contains(&booking.attempt) {
                busy.push(booking.blocked);
            }
        }
        let busy = slots::merged(busy);
        Ok(availability::free_answer(
            windows,
            *duration,
            *buffer_before,
            *buffer_after,
            *step,
            &busy,
            self.profile.disclosure,
        ))
    }

    fn hold(&mut self, now: Now, hold: &Hold, own: &dyn OwnTime, out: &mut Output) {
        if !self.is_ready() {
            return;
        }
        let attempt = &hold.attempt;
        let vote = match self.journal.promises.contains_key(attempt) {
            true => Vote::Granted,
            false => match self.in_the_way(hold, own) {
                Some(refusal) => Vote::Refused(refusal),
                None => {
                    self.promise(now, hold, out);
                    Vote::Granted
                }
            },
        };
        out.messages.push(AgentMessage::Vote {
            participant: self.profile.id.clone(),
            attempt: attempt.clone(),
            vote,
            sequence: self.journal.sequence,
        });
    }

    fn promise(&mut self, now: Now, hold: &Hold, out: &mut Output) {
        let booking = Booking {
            attempt: hold.attempt.clone(),
            slot: hold.slot,
            blocked: hold.blocked,
            title: hold.title.clone(),
            organizer: hold.organizer.clone(),
            attendees: Vec::new(),
            sequence: 0,
        };
        let row = PromiseRow { state: PromiseState::Held, booking, displaces: hold.displaces.clone() };
        self.write(out, JournalRecord::Promise(row));
        self.ask.insert(hold.attempt.clone(), now.mono + hold.lease);
    }

    /// What refuses the hold. What is final is named before what may pass, and a hold is named only if
    /// nothing else stands in the way: the scheduler may then push it.
    fn in_the_way(&self, hold: &Hold, own: &dyn OwnTime) -> Option<Refusal> {
        if self.journal.released(&hold.attempt) || self.journal.withdrawn.contains_key(&hold.attempt) {
            return Some(Refusal::Stale);
        }
        let mut held = None;
        for (attempt, row) in &self.journal.promises {
            if !row.booking.blocked.overlaps(&hold.blocked) || hold.displaces.contains(attempt) {
                continue;
            }
            match row.state {
                PromiseState::Confirmed => return Some(Refusal::Booked),
                PromiseState::Held => held = Some(Refusal::Held(Some(attempt.clone()))),
            }
        }
        match own.busy(hold.blocked, false) {
            Ok(busy) if busy.iter().all(|range| !range.overlaps(&hold.blocked)) => held,
            Ok(_) | Err(_) => Some(Refusal::Busy),
        }
    }

    fn confirm(&mut self, now: Now, booking: &Booking, displaces: &[Attempt], out: &mut Output) {
        let attempt = &booking.attempt;
        if self.journal.withdrawn.contains_key(attempt) {
            return self.ack(attempt, AckKind::Confirm, out);
        }
        let known = self.journal.promises.get(attempt).cloned();
        if known.is_none() && self.journal.released(attempt) {
            return self.ack(attempt, AckKind::Confirm, out);
        }
        let mut dropped = displaces.to_vec();
        dropped.extend(known.iter().flat_map(|row| row.displaces.clone()));
        let dropped = self.with_displaced(dropped);
        if known.is_none() && self.clashes(booking, &dropped) {
            return self.leave(now, attempt, "it clashes with another promise", out);
        }
        let row =
            PromiseRow { state: PromiseState::Confirmed, booking: booking.clone(), displaces: Vec::new() };
        if known.as_ref() != Some(&row) {
            self.write(out, JournalRecord::Promise(row));
            out.bookings_changed = true;
        }
        self.ask.remove(attempt);
        for old in dropped {
            if old != *attempt && self.journal.promises.contains_key(&old) {
                self.forget(&old, out);
            }
        }
        self.ack(attempt, AckKind::Confirm, out);
    }

    /// These, and what they in turn displaced: the confirm that would have dropped it may have been lost.
    fn with_displaced(&self, mut dropped: Vec<Attempt>) -> Vec<Attempt> {
        let mut next = 0;
        while let Some(attempt) = dropped.get(next) {
            let displaced = self.journal.promises.get(attempt).map(|row| row.displaces.clone());
            for attempt in displaced.unwrap_or_default() {
                if !dropped.contains(&attempt) {
                    dropped.push(attempt);
                }
            }
            next += 1;
        }
        dropped
    }

    fn clashes(&self, booking: &Booking, displaces: &[Attempt]) -> bool {
        let others = self.journal.promises.iter().filter(|(a, _)| !displaces.contains(a));
        others.into_iter().any(|(_, row)| row.booking.blocked.overlaps(&booking.blocked))
    }

    fn release(&mut self, attempt: &Attempt, cause: ReleaseCause, out: &mut Output) {
        if self.journal.withdrawn.contains_key(attempt) && cause == ReleaseCause::Withdrawn {
            self.write(out, JournalRecord::WithdrawalDone(attempt.clone()));
            self.repeat.remove(attempt);
        }
        if self.journal.promises.contains_key(attempt) {
            // Only what was booked can be called off, moved or displaced: what it displaced is over too.
            let dropped = match cause {
                ReleaseCause::Cancelled | ReleaseCause::Moved | ReleaseCause::Displaced => {
                    self.with_displaced(vec![attempt.clone()])
                }
                ReleaseCause::Aborted | ReleaseCause::NotNeeded | ReleaseCause::Withdrawn => {
                    vec![attempt.clone()]
                }
            };
            for attempt in dropped {
                if self.journal.promises.contains_key(&attempt) {
                    self.forget(&attempt, out);
                }
            }
        } else if !self.journal.released(attempt) {
            self.write(out, JournalRecord::Tombstone(attempt.clone()));
        }
        self.ack(attempt, AckKind::Release, out);
    }

    /// Drops a promise for good.
    fn forget(&mut self, attempt: &Attempt, out: &mut Output) {
        let booked = self.journal.promises.get(attempt).map(|row| row.state) == Some(PromiseState::Confirmed);
        self.write(out, JournalRecord::Drop(attempt.clone()));
        if !self.journal.released(attempt) {
            self.write(out, JournalRecord::Tombstone(attempt.clone()));
        }
        self.ask.remove(attempt);
        out.bookings_changed |= booked;
    }

    /// Leaves a promise by the participant's own will; the record is what explains it (I2).
    fn leave(&mut self, now: Now, attempt: &Attempt, reason: &str, out: &mut Output) {
        self.write(out, JournalRecord::Withdrawn(attempt.clone(), cut(reason)));
        self.forget(attempt, out);
        self.repeat_withdrawal(now, attempt, out);
    }

    fn repeat_withdrawal(&mut self, now: Now, attempt: &Attempt, out: &mut Output) {
        self.repeat.insert(attempt.clone(), now.mono + ASK_AGAIN);
        if !self.is_ready() {
            return;
        }
        out.messages.push(AgentMessage::Withdraw {
            participant: self.profile.id.clone(),
            meeting: attempt.meeting.clone(),
            attempt: Some(attempt.n),
            reason: self.journal.withdrawn.get(attempt).cloned().unwrap_or_default(),
            sequence: self.journal.sequence,
        });
    }

    fn ack(&self, attempt: &Attempt, kind: AckKind, out: &mut Output) {
        out.messages.push(AgentMessage::Ack {
            participant: self.profile.id.clone(),
            attempt: attempt.clone(),
            kind,
            sequence: self.journal.sequence,
        });
    }

    fn write(&mut self, out: &mut Output, record: JournalRecord) {
        self.journal.apply(&record);
        out.records.push(record);
    }
}

fn held(journal: &Journal) -> impl Iterator<Item = &Attempt> {
    let held = |row: &(&Attempt, &PromiseRow)| row.1.state == PromiseState::Held;
    journal.promises.iter().filter(held).map(|(attempt, _)| attempt)
}

fn cut(text: &str) -> String {
    text.chars().take(limits::REASON_CHARS).collect()
}
