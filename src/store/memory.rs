//! The store on plain collections, for the simulated world: no I/O, no threads, and faults on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::core::ids::{Attempt, Epoch, MeetingId, ParticipantId, RequestId, SeriesId};
use crate::core::limits;
use crate::core::message::Booking;
use crate::core::model::{Meeting, MeetingState};
use crate::core::record::{
    Applied, AttemptRow, AttemptState, BookingRow, Condition, Delivery, DeliveryBody, EventRow, NewEvent,
    ParticipantPromises, ParticipantRow, Read, ReadResult, Reported, Snapshot, Transaction, Write,
};
use crate::core::series::Series;
use crate::core::time::{Instant, TimeRange};
use crate::engine::store::{
    EventFilter, EventPage, MeetingFilter, Operation, OperationResult, Reader, SeriesFilter, Store,
    StoreError,
};

use super::keys::{self, Place, Span};
use super::{EVENTS_LOOKED_AT, prune_batch};

/// How the next group of a [`MemoryStore`] goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StoreFault {
    /// Nothing is applied, and the caller is told so.
    NotApplied,
    /// All is applied, but the answer is lost.
    UnknownApplied,
    /// Nothing is applied, and the answer is lost.
    UnknownLost,
}

/// What a [`MemoryStore`] writes to. It outlasts the store: a simulated scheduler that crashed starts again on it.
/// Clones are handles of the same disk; [`MemoryDisk::copy`] makes a backup.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<RwLock<Disk>>);

#[derive(Clone, Debug)]
struct Disk {
    image: Image,
    faults: Vec<StoreFault>,
    events_kept: u64,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        let disk = Disk { image: Image::default(), faults: Vec::new(), events_kept: limits::EVENTS_KEPT };
        Self(Arc::new(RwLock::new(disk)))
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk with the same on it, as of now: a backup, to be started from later. Without the faults.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.read();
        let copy = Disk { image: disk.image.clone(), faults: Vec::new(), events_kept: disk.events_kept };
        Self(Arc::new(RwLock::new(copy)))
    }

    /// Lets the next group go wrong; called again before it, the group after that.
    pub fn fail_next(&self, fault: StoreFault) {
        self.write().faults.push(fault);
    }

    fn read(&self) -> RwLockReadGuard<'_, Disk> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Disk> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store on a [`MemoryDisk`]; gives the answers that [`super::SqliteStore`] gives.
#[derive(Debug, Default)]
pub struct MemoryStore {
    disk: MemoryDisk,
}

impl MemoryStore {
    /// A store on an empty disk of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store on this disk.
    pub fn on(disk: &MemoryDisk) -> Self {
        Self { disk: disk.clone() }
    }

    /// A handle of its disk.
    pub fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }

    /// Keeps at least the last `kept` events, instead of [`limits::EVENTS_KEPT`].
    #[must_use]
    pub fn keep_events(self, kept: u64) -> Self {
        self.disk.write().events_kept = kept.max(1);
        self
    }

    /// See [`MemoryDisk::fail_next`].
    pub fn fail_next(&self, fault: StoreFault) {
        self.disk.fail_next(fault);
    }
}

impl Store for MemoryStore {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        Ok(self.disk.read().image.snapshot())
    }

    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError> {
        let mut disk = self.disk.write();
        let fault = if disk.faults.is_empty() { None } else { Some(disk.faults.remove(0)) };
        match fault {
            None => disk.run(group),
            Some(StoreFault::NotApplied) => Err(StoreError::NotApplied("a fault was asked for".into())),
            Some(StoreFault::UnknownLost) => Err(StoreError::Unknown("a fault was asked for".into())),
            Some(StoreFault::UnknownApplied) => {
                disk.run(group)?;
                Err(StoreError::Unknown("a fault was asked for".into()))
            }
        }
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.disk())
    }
}

impl Disk {
    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError> {
        // A write fails only if a request id would get a second meeting; only then is the old state needed.
        let before = self.image.may_refuse(group).then(|| self.image.clone());
        let results = group
            .iter()
            .map(|operation| match operation {
                Operation::Apply(transaction) => {
                    self.image.apply(transaction, self.events_kept).map(OperationResult::Applied)
                }
                Operation::Read(read) => Ok(OperationResult::Read(self.image.answer(read))),
            })
            .collect();
        if let (Err(_), Some(before)) = (&results, before) {
            self.image = before;
        }
        results
    }
}

/// All that is on the disk.
#[derive(Clone, Debug, Default)]
struct Image {
    generation: u32,
    incarnation: String,
    meetings: BTreeMap<MeetingId, Arc<Meeting>>,
    requests: BTreeMap<RequestId, MeetingId>,
    series: BTreeMap<SeriesId, Series>,
    attempts: BTreeMap<Attempt, AttemptRow>,
    bookings: BTreeMap<Attempt, BTreeMap<ParticipantId, BookingRow>>,
    /// The same rows by participant.
    taken: BTreeMap<ParticipantId, BTreeMap<Attempt, Span>>,
    deliveries: BTreeMap<(ParticipantId, Attempt), DeliveryBody>,
    participants: BTreeMap<ParticipantId, ParticipantRow>,
    events: BTreeMap<u64, Arc<NewEvent>>,
    last_event: u64,
}

impl Image {
    /// Whether some write of the group might give a request id to a second meeting; may say so without need.
    fn may_refuse(&self, group: &[Operation]) -> bool {
        let mut new: BTreeMap<&RequestId, &MeetingId> = BTreeMap::new();
        let writes = group.iter().filter_map(|operation| match operation {
            Operation::Apply(transaction) => Some(&transaction.writes),
            Operation::Read(_) => None,
        });
        writes.flatten().any(|write| match write {
            Write::Meeting(meeting) => {
                let in_store = self.requests.get(&meeting.request_id).is_some_and(|id| *id != meeting.id);
                let in_group =
                    new.insert(&meeting.request_id, &meeting.id).is_some_and(|id| *id != meeting.id);
                in_store || in_group
            }
            _ => false,
        })
    }

    fn apply(&mut self, transaction: &Transaction, events_kept: u64) -> Result<Applied, StoreError> {
        if let Some(condition) = transaction.conditions.iter().find(|condition| !self.holds(condition)) {
            return Ok(Applied::Conflict(condition.clone()));
        }
        for write in &transaction.writes {
            self.write(write, events_kept)?;
        }
        Ok(Applied::Yes)
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::AttemptIs(attempt, state) => {
                self.attempts.get(attempt).is_some_and(|row| row.state == *state)
            }
            Condition::AttemptUnused(attempt) => !self.attempts.contains_key(attempt),
            Condition::MeetingVersion(id, version) => {
                self.meetings.get(id).is_some_and(|meeting| meeting.version == *version)
            }
            Condition::MeetingUnused(id, request) => {
                !self.meetings.contains_key(id) && !self.requests.contains_key(request)
            }
            Condition::SeriesVersion(id, version) => {
                self.series.get(id).is_some_and(|series| series.version == *version)
            }
            Condition::SeriesUnused(id, request) => {
                !self.series.values().any(|series| series.id == *id || series.request_id == *request)
            }
            Condition::LineageIs(id, lineage) => {
                self.participants.get(id).is_some_and(|row| row.lineage == *lineage)
            }
            Condition::EpochIs(id, epoch) => {
                self.participants.get(id).map_or_else(Epoch::default, |row| row.epoch) == *epoch
            }
            Condition::NoAttemptAfter(id, n) => {
                let after = (Bound::Excluded(Attempt::new(id.clone(), *n)), Bound::Unbounded);
                self.attempts.range(after).next().is_none_or(|(attempt, _)| attempt.meeting != *id)
            }
            Condition::NoOverlap { participant, during, except } => self.free(participant, during, except),
            Condition::GenerationIs(generation) => self.generation == *generation,
        }
    }

    fn free(&self, participant: &ParticipantId, during: &TimeRange, except: &[Attempt]) -> bool {
        let during = Span::of(during);
        let mut taken = self.taken.get(participant).into_iter().flatten();
        !taken.any(|(attempt, span)| span.overlaps(during) && !except.contains(attempt))
    }

    fn write(&mut self, write: &Write, events_kept: u64) -> Result<(), StoreError> {
        match write {
            Write::Meeting(meeting) => self.put_meeting(meeting)?,
            Write::Series(series) => {
                self.series.insert(series.id.clone(), (**series).clone());
            }
            Write::Attempt(row) => {
                self.attempts.insert(row.attempt.clone(), (**row).clone());
            }
            Write::AttemptState(attempt, state) => {
                if let Some(row) = self.attempts.get_mut(attempt) {
                    row.state = *state;
                }
            }
            Write::Booking(row) => self.put_booking(row),
            Write::RemoveBookings(attempt, participant) => {
                self.remove_bookings(attempt, participant.as_ref());
            }
            Write::BookingDelivered(participant, attempt) => {
                let rows = self.bookings.get_mut(attempt);
                if let Some(row) = rows.and_then(|rows| rows.get_mut(participant)) {
                    row.delivered = true;
                }
            }
            Write::Delivery(Delivery { participant, attempt, body }) => {
                self.deliveries.insert((participant.clone(), attempt.clone()), body.clone());
            }
            Write::RemoveDelivery(participant, attempt, kind) => {
                let key = (participant.clone(), attempt.clone());
                if self.deliveries.get(&key).is_some_and(|body| body.kind() == *kind) {
                    self.deliveries.remove(&key);
                }
            }
            Write::Participant(row) => {
                let row = ParticipantRow { last_seen: keys::kept(row.last_seen), ..row.clone() };
                self.participants.insert(row.id.clone(), row);
            }
            Write::JournalSeen(id, lineage, sequence) => {
                if let Some(row) = self.participants.get_mut(id).filter(|row| row.lineage == *lineage) {
                    row.journal_sequence = row.journal_sequence.max(*sequence);
                }
            }
            Write::LastSeen(id, at) => {
                if let Some(row) = self.participants.get_mut(id) {
                    row.last_seen = keys::kept(*at);
                }
            }
            Write::ForgetParticipant(id) => {
                self.participants.remove(id);
            }
            Write::Event(event) => self.put_event(event, events_kept),
            Write::Generation { generation, incarnation } => {
                self.generation = *generation;
                self.incarnation.clone_from(incarnation);
            }
        }
        Ok(())
    }

    fn put_meeting(&mut self, meeting: &Meeting) -> Result<(), StoreError> {
        if self.requests.get(&meeting.request_id).is_some_and(|id| *id != meeting.id) {
            return Err(StoreError::NotApplied(format!(
                "the request {} has another meeting",
                meeting.request_id
            )));
        }
        if let Some(old) = self.meetings.insert(meeting.id.clone(), Arc::new(meeting.clone())) {
            self.requests.remove(&old.request_id);
        }
        self.requests.insert(meeting.request_id.clone(), meeting.id.clone());
        Ok(())
    }

    fn put_booking(&mut self, row: &BookingRow) {
        let span = Span::of(&row.during);
        self.taken.entry(row.participant.clone()).or_default().insert(row.attempt.clone(), span);
        let rows = self.bookings.entry(row.attempt.clone()).or_default();
        rows.insert(row.participant.clone(), row.clone());
    }

    fn remove_bookings(&mut self, attempt: &Attempt, participant: Option<&ParticipantId>) {
        let Some(rows) = self.bookings.get_mut(attempt) else { return };
        let removed: Vec<ParticipantId> = match participant {
            Some(participant) => rows.remove(participant).map(|row| row.participant).into_iter().collect(),
            None => std::mem::take(rows).into_keys().collect(),
        };
        if rows.is_empty() {
            self.bookings.remove(attempt);
        }
        for participant in removed {
            if let Some(taken) = self.taken.get_mut(&participant) {
                taken.remove(attempt);
            }
        }
    }

    fn put_event(&mut self, event: &NewEvent, kept: u64) {
        self.last_event += 1;
        let event = NewEvent { time: keys::kept(event.time), ..event.clone() };
        self.events.insert(self.last_event, Arc::new(event));
        if self.last_event > kept && self.last_event.is_multiple_of(prune_batch(kept)) {
            self.events = self.events.split_off(&(self.last_event - kept + 1));
        }
    }

    fn answer(&self, read: &Read) -> ReadResult {
        match read {
            Read::Request(request) => {
                ReadResult::Request(self.requests.get(request).and_then(|id| self.meeting(id)).map(Box::new))
            }
            Read::Meeting(id) => ReadResult::Meeting(self.meeting(id).map(|meeting| {
                let booked = meeting.booked.map(|n| Attempt::new(id.clone(), n));
                let booked = booked.and_then(|attempt| self.attempts.get(&attempt).cloned());
                Box::new((meeting, booked))
            })),
            Read::SeriesRequest(request) => {
                let found = self.series.values().find(|series| series.request_id == *request);
                ReadResult::SeriesRequest(found.cloned().map(Box::new))
            }
            Read::Series(id) => ReadResult::Series(self.series(id).map(|(series, meetings)| {
                let booked = |meeting: Meeting| {
                    let name = meeting.booked.map(|n| Attempt::new(meeting.id.clone(), n));
                    let row = name.and_then(|name| self.attempts.get(&name).cloned());
                    (meeting, row)
                };
                Box::new((series, meetings.into_iter().map(booked).collect()))
            })),
            Read::Attempt(attempt) => ReadResult::Attempt(
                self.attempts.get(attempt).cloned().zip(self.meeting(&attempt.meeting)).map(Box::new),
            ),
            Read::Displaceable { participants, during, below } => {
                ReadResult::Displaceable(self.displaceable(participants, during, *below))
            }
            Read::Strangers { after } => ReadResult::Strangers(self.unbound(*after)),
            Read::Reported(attempts) => ReadResult::Reported(self.reported(attempts)),
            Read::Promises { participant, reported, after } => {
                let reported = self.reported(reported);
                let booked = self.promised(participant, *after);
                ReadResult::Promises(Box::new(ParticipantPromises { booked, reported }))
            }
        }
    }

    fn unbound(&self, after: Instant) -> Vec<ParticipantId> {
        let after = keys::micros(after);
        let is_booked = |id: &ParticipantId| {
            self.taken.get(id).is_some_and(|taken| taken.values().any(|span| span.end > after))
        };
        let told: BTreeSet<&ParticipantId> = self.deliveries.keys().map(|(id, _)| id).collect();
        let all = self.participants.keys();
        all.filter(|id| !is_booked(id) && !told.contains(id)).cloned().collect()
    }

    fn reported(&self, attempts: &[Attempt]) -> Reported {
        let row = |name: &Attempt| self.attempts.get(name).cloned();
        let state = |name: &Attempt| self.meetings.get(&name.meeting).map(|meeting| meeting.state);
        attempts.iter().map(|name| (name.clone(), row(name).zip(state(name)))).collect()
    }

    fn displaceable(
        &self,
        participants: &[ParticipantId],
        during: &TimeRange,
        below: i32,
    ) -> Vec<(Meeting, AttemptRow)> {
        let during = Span::of(during);
        let mut names = BTreeSet::new();
        for participant in participants {
            let taken = self.taken.get(participant).into_iter().flatten();
            for (attempt, _) in taken.filter(|(_, span)| span.overlaps(during)) {
                if names.len() < limits::DISPLACEABLE_READ {
                    names.insert(attempt);
                }
            }
        }
        let found = names.into_iter().filter_map(|name| {
            let meeting = self.meeting(&name.meeting).filter(|m| keys::displaceable(m, name, below))?;
            Some((meeting, self.attempts.get(name)?.clone()))
        });
        found.take(limits::DISPLACEABLE).collect()
    }

    fn meeting(&self, id: &MeetingId) -> Option<Meeting> {
        self.meetings.get(id).map(|meeting| Meeting::clone(meeting))
    }

    fn series(&self, id: &SeriesId) -> Option<(Series, Vec<Meeting>)> {
        let series = self.series.get(id)?.clone();
        let meetings = series.occurrences.iter().filter_map(|occurrence| occurrence.meeting.as_ref());
        let meetings = meetings.filter_map(|id| self.meeting(id)).collect();
        Some((series, meetings))
    }

    /// The meeting as readers see it: the booked rows know whose agents acknowledged.
    fn shown(&self, mut meeting: Meeting) -> Meeting {
        let booked = meeting.booked.map(|n| Attempt::new(meeting.id.clone(), n));
        if let Some(booked) = booked {
            let rows = self.bookings.get(&booked);
            for outcome in &mut meeting.attendees {
                outcome.delivered =
                    rows.and_then(|rows| rows.get(&outcome.id)).is_some_and(|row| row.delivered);
            }
        }
        meeting
    }

    fn promised(&self, participant: &ParticipantId, after: Instant) -> Vec<Booking> {
        let after = keys::micros(after);
        let taken = self.taken.get(participant).into_iter().flatten();
        let mut rows: Vec<_> = taken.filter(|(_, span)| span.end > after).collect();
        rows.sort_by_key(|(attempt, span)| (span.start, span.end, *attempt));
        rows.into_iter().filter_map(|(attempt, _)| self.booking(attempt)).collect()
    }

    fn booking(&self, attempt: &Attempt) -> Option<Booking> {
        let row = self.attempts.get(attempt)?;
        let meeting = self.meetings.get(&attempt.meeting)?;
        Some(Booking {
            attempt: attempt.clone(),
            slot: row.slot,
            blocked: row.blocked,
            title: meeting.spec.title.clone(),
            organizer: meeting.spec.organizer.clone(),
            attendees: self.bookings.get(attempt).into_iter().flat_map(|rows| rows.keys().cloned()).collect(),
            sequence: meeting.sequence,
            revision: meeting.version,
            series: row.series.clone(),
        })
    }

    fn snapshot(&self) -> Snapshot {
        let holding: Vec<AttemptRow> =
            self.attempts.values().filter(|row| row.state == AttemptState::Holding).cloned().collect();
        let held: BTreeSet<&MeetingId> = holding.iter().map(|row| &row.attempt.meeting).collect();
        let live = |meeting: &&Arc<Meeting>| match meeting.state {
            MeetingState::Scheduling | MeetingState::Displaced => true,
            MeetingState::Confirmed => held.contains(&meeting.id),
            MeetingState::Failed | MeetingState::Cancelled => false,
        };
        let deliveries = self.deliveries.iter().map(|((participant, attempt), body)| Delivery {
            participant: participant.clone(),
            attempt: attempt.clone(),
            body: body.clone(),
        });
        let mut named: BTreeSet<&ParticipantId> = self.deliveries.keys().map(|(id, _)| id).collect();
        named.extend(self.bookings.values().flat_map(BTreeMap::keys));
        named.extend(self.meetings.values().flat_map(|meeting| keys::attendees(meeting)));
        Snapshot {
            generation: self.generation,
            incarnation: self.incarnation.clone(),
            live_meetings: self
                .meetings
                .values()
                .filter(live)
                .map(|meeting| Meeting::clone(meeting))
                .collect(),
            live_series: self.series.values().filter(|series| series.is_live()).cloned().collect(),
            participants: self.participants.values().cloned().collect(),
            strangers: self.participants.keys().filter(|id| !named.contains(id)).cloned().collect(),
            deliveries: deliveries.collect(),
            holding,
        }
    }
}

impl Reader for MemoryDisk {
    fn meeting(&self, id: &MeetingId) -> Result<Option<Meeting>, StoreError> {
        let disk = self.read();
        Ok(disk.image.meeting(id).map(|meeting| disk.image.shown(meeting)))
    }

    fn series(&self, id: &SeriesId) -> Result<Option<(Series, Vec<Meeting>)>, StoreError> {
        let image = &self.read().image;
        Ok(image.series(id).map(|(series, meetings)| {
            (series, meetings.into_iter().map(|meeting| image.shown(meeting)).collect())
        }))
    }

    fn series_list(&self, filter: &SeriesFilter) -> Result<Vec<Series>, StoreError> {
        let disk = self.read();
        let after = |series: &&Series| filter.after.as_ref().is_none_or(|after| series.id > *after);
        let found = disk.image.series.values().filter(after).filter(|series| filter.fits(series));
        Ok(found.take(filter.limit).cloned().collect())
    }

    fn meetings(&self, filter: &MeetingFilter) -> Result<Vec<Meeting>, StoreError> {
        let disk = self.read();
        let within = filter.range.as_ref().map(Span::of);
        let after = filter.after.as_ref().map(|key| (Place::of_key(key), &key.id));
        let matches = |meeting: &&Arc<Meeting>| {
            after.is_none_or(|after| (Place::of(meeting), &meeting.id) > after)
                && within
                    .is_none_or(|within| meeting.slot.is_some_and(|slot| Span::of(&slot).overlaps(within)))
                && filter.participant.as_ref().is_none_or(|id| keys::attends(meeting, id))
                && (filter.states.is_empty() || filter.states.contains(&meeting.state))
        };
        let mut found: Vec<_> = disk.image.meetings.values().filter(matches).collect();
        found.sort_by_key(|meeting| (Place::of(meeting), &meeting.id));
        let found = found.into_iter().take(filter.limit);
        Ok(found.map(|meeting| disk.image.shown(Meeting::clone(meeting))).collect())
    }

    fn events(&self, after: u64, filter: &EventFilter, limit: usize) -> Result<EventPage, StoreError> {
        let disk = self.read();
        let mut page = EventPage { events: Vec::new(), looked_until: after };
        let Some(first) = after.checked_add(1).filter(|_| limit > 0) else { return Ok(page) };
        for (&sequence, event) in disk.image.events.range(first..).take(EVENTS_LOOKED_AT) {
            page.looked_until = sequence;
            let matches = filter.meeting.as_ref().is_none_or(|id| *id == event.meeting.id)
                && filter.participant.as_ref().is_none_or(|id| keys::attends(&event.meeting, id));
            if matches {
                page.events.push(EventRow { sequence, event: NewEvent::clone(event) });
            }
            if page.events.len() == limit {
                break;
            }
        }
        Ok(page)
    }

    fn booked(&self, after: Instant) -> Result<u64, StoreError> {
        let disk = self.read();
        let ends_later = |meeting: &&Arc<Meeting>| {
            let slot = meeting.slot.filter(|_| meeting.state == MeetingState::Confirmed);
            slot.is_some_and(|slot| keys::micros(slot.end) > keys::micros(after))
        };
        Ok(disk.image.meetings.values().filter(ends_later).count() as u64)
    }

    fn event_bounds(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let disk = self.read();
        let events = &disk.image.events;
        Ok(events
            .first_key_value()
            .zip(events.last_key_value())
            .map(|((oldest, _), (newest, _))| (*oldest, *newest)))
    }
}
