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
//! Before the registration of a stream is answered, only what the journal knows is confirmed or released.
//!
//! Invariant: every message that promises something is returned together with the journal records that it
//! rests on; whoever drives this makes the records durable before it sends the messages (D2, D4).

mod journal;

use std::collections::BTreeMap;
use std::time::Duration;

use super::availability::{self, Disclosure};
use super::ids::{Attempt, Epoch, MeetingId, ParticipantId};
use super::limits;
use super::message::{
    AckKind, AgentMessage, Booking, Hold, Notice, Origin, Promise, Query, Refusal, Register, Registered,
    ReleaseCause, SchedulerMessage, Vote,
};
use super::planted::{Planted, planted};
use super::slots;
use super::time::{Mono, Now, TimeRange, sub};
use super::zone_data::ZoneData;

pub use journal::{Journal, JournalRecord, PromiseRow, PromiseState};

/// How long after its end a booking is still reported: more than any two clocks should differ by.
pub const REPORTED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long until an unanswered Register, Resolve or Withdraw is sent again.
pub const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The participant's own calendar, as the machine needs it.
pub trait OwnTime {
    /// When the participant is not free within `range`, sorted and merged; with `working_hours`, also outside the
    /// participant's own ones. `Err` says why that is not known: it is then never taken for free.
    fn busy(&self, range: TimeRange, working_hours: bool) -> Result<Vec<TimeRange>, String>;
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
    /// Of the last registration.
    origin: Origin,
    /// Of the last answer to a registration over this stream.
    answered: Option<Epoch>,
    calendar_problem: String,
}

impl Participant {
    /// A machine over what the journal says; every lease in it is over (PROTOCOL.md, "Clocks").
    pub fn new(profile: Profile, journal: Journal) -> Self {
        let ask = held(&journal).map(|a| (a.clone(), Mono::default())).collect();
        let repeat = journal.withdrawn.keys().map(|a| (a.clone(), Mono::default())).collect();
        let (origin, calendar_problem) = Default::default();
        Self { profile, journal, link: Link::Down, ask, repeat, origin, answered: None, calendar_problem }
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
        self.origin.number += 1;
        Output { messages: vec![self.register(now)], ..Output::default() }
    }

    /// What is wrong with the calendar, as the next registration says it: at most 500 characters; empty if nothing is.
    pub fn set_calendar_problem(&mut self, problem: String) {
        self.calendar_problem = problem;
    }

    /// Names the process that runs the machine; the numbers of its registrations go on from here.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Of the last registration.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Who the participant is changed; it is told by registering. Promises and leases stand.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// The stream broke. Promises stand.
    pub fn disconnected(&mut self) {
        self.link = Link::Down;
        self.answered = None;
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
                    if !planted(Planted::NoResolve) && !planted(Planted::ReleaseOnLeaseEnd) {
                        out.messages.push(AgentMessage::Resolve { participant, attempt });
                    }
                }
                if planted(Planted::ReleaseOnLeaseEnd) || planted(Planted::HeldGivenUpEarly) {
                    self.give_up_asked(now, &mut out);
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

    /// Planted: the holds that were just asked about are given up.
    fn give_up_asked(&mut self, now: Now, out: &mut Output) {
        let asked = self.ask.iter().filter(|(_, at)| **at == now.mono + ASK_AGAIN);
        for attempt in asked.map(|(attempt, _)| attempt.clone()).collect::<Vec<_>>() {
            self.forget(&attempt, out);
        }
    }

    /// Takes one message of the scheduler's.
    pub fn receive(&mut self, now: Now, message: SchedulerMessage, own: &dyn OwnTime) -> Output {
        let mut out = Output::default();
        if self.is_too_early(&message) {
            return out;
        }
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

    /// Until the scheduler has said what stands, nothing is learned of attempts that the journal does not know: a
    /// tombstone of a later one would keep out a booking that this journal has lost. It is said again.
    fn is_too_early(&self, message: &SchedulerMessage) -> bool {
        let unknown = |attempt: &Attempt| {
            !self.journal.promises.contains_key(attempt) && !self.journal.withdrawn.contains_key(attempt)
        };
        match message {
            SchedulerMessage::Confirm { booking, .. } => !self.is_ready() && unknown(&booking.attempt),
            SchedulerMessage::Release { attempt, .. } => !self.is_ready() && unknown(attempt),
            _ => false,
        }
    }

    fn register(&self, now: Now) -> AgentMessage {
        let journal = &self.journal;
        // What is over binds nobody any more: only holds are reported for ever. The scheduler's clock may be behind.
        let since = sub(now.wall, REPORTED_AFTER);
        let stands = |row: &&PromiseRow| row.state == PromiseState::Held || row.booking.blocked.end > since;
        let of = |state: PromiseState| {
            let rows = journal.promises.values().filter(stands).filter(move |row| row.state == state);
            rows.map(|row| Promise {
                attempt: row.booking.attempt.clone(),
                blocked: row.booking.blocked,
                lease_over: self.ask.get(&row.booking.attempt).is_some_and(|at| *at <= now.mono),
                revision: row.booking.revision,
            })
            .collect()
        };
        AgentMessage::Register(Box::new(Register {
            participant: self.profile.id.clone(),
            display_name: self.profile.display_name.clone(),
            time_zone: self.profile.time_zone.clone(),
            zone_data: self.profile.time_zone.as_deref().and_then(|zone| ZoneData::of(zone, now.wall)),
            calendar_problem: self.calendar_problem.clone(),
            disclosure: self.profile.disclosure,
            journal_id: journal.id.clone(),
            journal_sequence: journal.sequence,
            held: of(PromiseState::Held),
            booked: of(PromiseState::Confirmed),
            withdrawn: journal.withdrawn.iter().map(|(a, r)| (a.clone(), r.clone())).collect(),
            scheduler_generation: journal.scheduler.0,
            scheduler_incarnation: journal.scheduler.1.clone(),
            origin: self.origin.clone(),
        }))
    }

    fn registered(&mut self, now: Now, registered: Registered, out: &mut Output) {
        // An answer that a later one overtook tells of bookings that may be over.
        if self.link == Link::Down || self.answered.is_some_and(|last| registered.epoch < last) {
            return;
        }
        self.link = Link::Ready;
        self.answered = Some(registered.epoch);
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
            if planted(Planted::DisclosureIgnored) { Disclosure::FreeBusy } else { self.profile.disclosure },
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
                Some(Refusal::Held(Some(other))) if planted(Planted::WoundLocally) => {
                    self.forget(&other, out);
                    self.promise(now, hold, out);
                    Vote::Granted
                }
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
            revision: 0,
            series: None,
        };
        let row = PromiseRow { state: PromiseState::Held, booking, displaces: hold.displaces.clone() };
        match planted(Planted::VoteBeforeSync) {
            true => self.journal.apply(&JournalRecord::Promise(row)),
            false => self.write(out, JournalRecord::Promise(row)),
        }
        self.ask.insert(hold.attempt.clone(), now.mono + hold.lease);
        if planted(Planted::DisplacedBeforeDecision) {
            hold.displaces.iter().for_each(|old| self.forget(old, out));
        }
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
        let known = self.journal.promises.get(attempt).cloned();
        let released = self.journal.released(attempt) && !planted(Planted::StaleConfirmTaken);
        if self.journal.withdrawn.contains_key(attempt) || known.is_none() && released {
            // It was decided all the same: what it displaced is over, also for whoever has left it since.
            self.drop_displaced(attempt, self.with_displaced(displaces.to_vec()), out);
            return self.ack(attempt, AckKind::Confirm, booking.revision, out);
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
        self.drop_displaced(attempt, dropped, out);
        self.ack(attempt, AckKind::Confirm, booking.revision, out);
    }

    /// Drops the promises that a decision displaced, but never its own.
    fn drop_displaced(&mut self, by: &Attempt, displaced: Vec<Attempt>, out: &mut Output) {
        let displaced = if planted(Planted::DisplacedKept) { Vec::new() } else { displaced };
        for old in displaced {
            if old != *by && self.journal.promises.contains_key(&old) {
                self.forget(&old, out);
            }
        }
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
        let overlaid = |row: &PromiseRow| row.displaces.contains(&booking.attempt);
        others.into_iter().any(|(_, row)| row.booking.blocked.overlaps(&booking.blocked) && !overlaid(row))
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
        self.ack(attempt, AckKind::Release, 0, out);
    }

    /// Drops a promise for good.
    fn forget(&mut self, attempt: &Attempt, out: &mut Output) {
        let booked = self.journal.promises.get(attempt).map(|row| row.state) == Some(PromiseState::Confirmed);
        match planted(Planted::AckBeforeDurable) {
            true => self.journal.apply(&JournalRecord::Drop(attempt.clone())),
            false => self.write(out, JournalRecord::Drop(attempt.clone())),
        }
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

    fn ack(&self, attempt: &Attempt, kind: AckKind, revision: u64, out: &mut Output) {
        out.messages.push(AgentMessage::Ack {
            participant: self.profile.id.clone(),
            attempt: attempt.clone(),
            kind,
            revision,
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
