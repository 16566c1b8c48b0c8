//! The participants of one agent host: their machines, their calendars, and the journal that all of them share.
//!
//! | input | what happens |
//! |---|---|
//! | frames | every machine takes its messages; all records in one append; then, and only then, the replies |
//! | the journal fails | nothing is sent; the machines are read again from the journal; the stream has to be dropped |
//! | a calendar changes | the participant's time is replaced; the scheduler is told |
//!
//! Invariant: no message leaves [`Host`] before the records that it rests on are synced (PROTOCOL.md, D2, D4).
//! This is all synchronous: `link` calls it where blocking is allowed.

#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::trace::Handled;
use super::calendar::{BookedEvent, render};
use super::calendar_time::{CalendarTime, Loaded};
use super::config::ParticipantConfig;
use super::journal::{JournalError, JournalFile};
use super::output::Outputs;
use super::{AgentError, Served};
use crate::core::ids::{MeetingId, ParticipantId};
use crate::core::limits;
use crate::core::message::{AgentMessage, Booking, Origin, SchedulerMessage};
use crate::core::participant::{Journal, JournalRecord, Output, Participant, Profile};
use crate::core::time::{Mono, Now};
use crate::engine::Clock;
use crate::engine::spans::Spans;
use crate::wire::agent_frames::pb_agent_message;
use crate::wire::frames::agent_frames;
use crate::wire::pb;
use crate::wire::pb::frame_error::Reason;
use crate::wire::scheduler_frames::{FromScheduler, from_scheduler, trace_of};

/// What one input came to, once it is durable.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// To be sent, in order.
    pub(super) frames: Vec<pb::JoinRequest>,
    /// Whether the scheduler has answered a registration.
    pub(super) registered: bool,
    /// The scheduler is going away: reconnect after this long.
    pub(super) drain: Option<Duration>,
}

/// What became of a calendar file.
#[derive(Debug)]
pub(super) enum Change {
    /// It has another content, or can't be read any more.
    Changed(ParticipantId, Loaded),
    /// It is new: so is its participant.
    Added(Box<ParticipantConfig>, Loaded),
    /// It is gone, and with it the participant.
    Removed(ParticipantId),
}

#[derive(Debug)]
struct Member {
    config: ParticipantConfig,
    profile: Profile,
    /// What is wrong with the calendar, as the scheduler is told.
    told: String,
    time: CalendarTime,
    machine: Participant,
    /// As it stands in `Host::timers`.
    timer: Option<Mono>,
    /// A newer stream speaks for the participant.
    superseded: bool,
    /// Was registered at least once.
    seen: bool,
    /// The journal could not be read after it had failed: the machine must not speak.
    unsure: bool,
}

/// What a batch of inputs has come to, before it is durable.
#[derive(Debug, Default)]
struct Batch {
    records: BTreeMap<ParticipantId, Vec<JournalRecord>>,
    messages: Vec<AgentMessage>,
    bookings_changed: BTreeSet<ParticipantId>,
    registered: usize,
    /// What was handled of traced messages.
    handled: Vec<Handled>,
}

/// All participants of a host.
#[derive(Debug)]
pub(super) struct Host {
    clock: Clock,
    journal: JournalFile,
    outputs: Outputs,
    members: BTreeMap<ParticipantId, Member>,
    /// When machines want to be called; those of `Member::timer`.
    timers: BTreeSet<(Mono, ParticipantId)>,
    /// Whose bookings are to be written out.
    unwritten: BTreeSet<ParticipantId>,
    connected: bool,
    /// Names this process to the scheduler.
    process: String,
    /// The number of the last registration of those whose calendars are gone: if they come back, it goes on.
    left: BTreeMap<ParticipantId, u64>,
    /// Who keeps traces, if anybody does.
    spans: Option<Spans>,
}

impl Host {
    /// The participants over what the journal says; their bookings are written out.
    ///
    /// # Errors
    /// The journal can't be read, or a configuration names an unknown zone.
    pub(super) fn open(
        clock: Clock,
        mut journal: JournalFile,
        outputs: Outputs,
        participants: Vec<(ParticipantConfig, Loaded)>,
    ) -> Result<Self, AgentError> {
        let ids: Vec<ParticipantId> = participants.iter().map(|(config, _)| config.id.clone()).collect();
        let journals = journal.load_all(&ids)?;
        let (members, timers, unwritten) = Default::default();
        let process = uuid::Uuid::new_v4().to_string();
        let mut host = Self {
            clock,
            journal,
            outputs,
            members,
            timers,
            unwritten,
            connected: false,
            process,
            left: BTreeMap::new(),
            spans: None,
        };
        for ((config, loaded), journal) in participants.into_iter().zip(journals) {
            host.insert(config, loaded, journal)?;
        }
        host.write_outputs();
        Ok(host)
    }

    fn insert(
        &mut self,
        config: ParticipantConfig,
        loaded: Loaded,
        journal: Journal,
    ) -> Result<(), AgentError> {
        let id = config.id.clone();
        let problem = loaded.problem();
        let time = CalendarTime::new(loaded, config.policy())
            .map_err(|error| AgentError::UnknownZone { participant: id.clone(), error })?;
        if let Some(problem) = problem {
            let path = config.calendar.display();
            tracing::error!(participant = %id, %path, "{problem}; queries are declined until it is mended");
        }
        log_degraded(&config, time.loaded());
        if time.loaded().calendar.is_ok() && time.time_zone().is_none() {
            tracing::warn!(participant = %id, "no time zone is known: times without one are read as UTC");
        }
        let profile = profile(&config, &time);
        let mut machine = Participant::new(profile.clone(), journal);
        machine
            .set_origin(Origin { process: self.process.clone(), number: self.left.remove(&id).unwrap_or(0) });
        let told = told(time.loaded());
        machine.set_calendar_problem(told.clone());
        let (timer, superseded, seen, unsure) = (None, false, false, false);
        let member = Member { config, profile, told, time, machine, timer, superseded, seen, unsure };
        self.members.insert(id.clone(), member);
        self.unwritten.insert(id);
        Ok(())
    }

    /// Whether there is anyone to speak for.
    pub(super) fn has_work(&self) -> bool {
        self.members.values().any(|member| !member.superseded)
    }

    /// Whether newer streams speak for everyone.
    pub(super) fn all_superseded(&self) -> bool {
        !self.members.is_empty() && !self.has_work()
    }

    /// Whether everyone was registered at least once.
    pub(super) fn all_seen(&self) -> bool {
        self.members.values().all(|member| member.seen || member.superseded)
    }

    /// Who is served, for people.
    pub(super) fn served(&self) -> Vec<Served> {
        let served = |(id, member): (&ParticipantId, &Member)| Served {
            participant: id.clone(),
            calendar: member.config.calendar.clone(),
            events: match member.time.loaded().problem() {
                Some(problem) => Err(problem),
                None => Ok(member.time.loaded().events),
            },
            degraded: member.time.loaded().degraded(),
            time_zone: member.time.time_zone().map(str::to_owned),
            bookings: member.machine.bookings().count(),
        };
        self.members.iter().map(served).collect()
    }

    /// The bookings that stand.
    pub(super) fn bookings(&self, participant: &ParticipantId) -> Result<Vec<Booking>, AgentError> {
        let member = self.members.get(participant);
        let member = member.ok_or_else(|| AgentError::UnknownParticipant(participant.clone()))?;
        Ok(member.machine.bookings().cloned().collect())
    }

    /// A stream is there: everyone registers.
    ///
    /// # Errors
    /// The journal failed before, and still can't be read.
    pub(super) fn connected(&mut self) -> Result<Reply, JournalError> {
        self.reread()?;
        self.connected = true;
        let now = self.clock.now();
        self.each(|member| member.machine.connected(now))
    }

    /// The stream is gone. Promises stand.
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.timers.clear();
        for member in self.members.values_mut() {
            member.machine.disconnected();
            member.timer = None;
        }
    }

    /// When [`Host::timeout`] has to be called.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Has those machines ask again whose time has come.
    ///
    /// # Errors
    /// The journal failed.
    pub(super) fn timeout(&mut self) -> Result<Reply, JournalError> {
        let now = self.clock.now();
        let due = self.timers.iter().take_while(|(at, _)| *at <= now.mono);
        let due: Vec<ParticipantId> = due.map(|(_, id)| id.clone()).collect();
        let mut batch = Batch::default();
        for id in due {
            self.step(&id, &mut batch, |member| member.machine.timeout(now));
        }
        self.finish(batch)
    }

    /// Takes what the scheduler said: all messages of all frames, one append to the journal.
    ///
    /// # Errors
    /// The journal failed: nothing may be sent, and the stream has to be dropped.
    pub(super) fn receive(&mut self, frames: &[pb::JoinResponse]) -> Result<Reply, JournalError> {
        let now = self.clock.now();
        let mut batch = Batch::default();
        let mut drain = None;
        for message in frames.iter().flat_map(|frame| &frame.messages) {
            match from_scheduler(message) {
                Ok(FromScheduler::Messages(messages)) => {
                    let trace = trace_of(message);
                    for (to, message) in messages {
                        self.take_traced(now, &to, message, trace.clone(), &mut batch);
                    }
                }
                Ok(FromScheduler::Drain { reconnect_after }) => drain = Some(reconnect_after),
                Ok(FromScheduler::FrameError(error)) => log_refused(&error),
                Ok(FromScheduler::Unknown) => {}
                Err(invalid) => {
                    tracing::error!(
                        "the scheduler sent a message that makes no sense: {}",
                        invalid.in_words(400)
                    );
                }
            }
        }
        Ok(Reply { drain, ..self.finish(batch)? })
    }

    fn take(&mut self, now: Now, to: &ParticipantId, message: SchedulerMessage, batch: &mut Batch) {
        self.step(to, batch, |member| member.machine.receive(now, message, &member.time));
    }

    /// Leaves a meeting; false if nothing is promised to it.
    ///
    /// # Errors
    /// Nobody has that id, another agent speaks for them, or the journal failed.
    pub(super) fn withdraw(
        &mut self,
        participant: &ParticipantId,
        meeting: &MeetingId,
        reason: &str,
    ) -> Result<(Reply, bool), AgentError> {
        self.reread()?;
        if self.members.get(participant).is_some_and(|member| member.superseded) {
            return Err(AgentError::Superseded(participant.clone()));
        }
        let now = self.clock.now();
        let mut batch = Batch::default();
        let mut left = false;
        let known = self.step(participant, &mut batch, |member| {
            let out = member.machine.withdraw(now, meeting, reason);
            left = !out.records.is_empty();
            out
        });
        if !known {
            return Err(AgentError::UnknownParticipant(participant.clone()));
        }
        Ok((self.finish(batch)?, left))
    }

    /// Calendars changed.
    ///
    /// # Errors
    /// The journal failed.
    pub(super) fn calendars(&mut self, changes: Vec<Change>) -> Result<Reply, JournalError> {
        let mut batch = Batch::default();
        let mut failed = None;
        for change in changes {
            match change {
                Change::Changed(id, loaded) => self.replace(&id, loaded, &mut batch),
                Change::Added(config, loaded) => {
                    failed = self.add(*config, loaded, &mut batch).err().or(failed);
                }
                Change::Removed(id) => self.remove(&id, &mut batch),
            }
        }
        let reply = self.finish(batch)?;
        failed.map_or(Ok(reply), Err)
    }

    fn replace(&mut self, id: &ParticipantId, loaded: Loaded, batch: &mut Batch) {
        let Some(member) = self.members.get_mut(id) else { return };
        let readable = loaded.calendar.is_ok();
        match loaded.problem() {
            Some(problem) => {
                let path = member.config.calendar.display();
                tracing::error!(
                    participant = %id, %path,
                    "{problem}; queries are declined until it is mended, the last good version is not used"
                );
            }
            None => {
                tracing::info!(participant = %id, events = loaded.events, "the calendar changed");
                log_degraded(&member.config, &loaded);
            }
        }
        member.time.replace(loaded);
        let now = self.clock.now();
        let (connected, told) = (self.connected, told(member.time.loaded()));
        // Who somebody is, is not said by a calendar that can't be read.
        let fresh = if readable { profile(&member.config, &member.time) } else { member.profile.clone() };
        self.step(id, batch, |member| {
            let same = member.profile.time_zone == fresh.time_zone
                && member.profile.display_name == fresh.display_name
                && member.told == told;
            if same {
                return member.machine.calendar_changed();
            }
            member.told = told;
            member.machine.set_calendar_problem(member.told.clone());
            // Who the participant is, is told by registering.
            member.profile = fresh;
            member.machine.set_profile(member.profile.clone());
            if connected { member.machine.connected(now) } else { Output::default() }
        });
    }

    fn add(
        &mut self,
        config: ParticipantConfig,
        loaded: Loaded,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let (id, events) = (config.id.clone(), loaded.events);
        if self.members.contains_key(&id) {
            tracing::warn!(participant = %id, "a second calendar of a participant is not served");
            return Ok(());
        }
        // Without its journal a participant is here but silent, until the next stream finds the journal well.
        let (journal, failed) = match self.journal.load(&id) {
            Ok(journal) => (journal, None),
            Err(error) => (Journal::default(), Some(error)),
        };
        if let Err(error) = self.insert(config, loaded, journal) {
            tracing::error!(%error, "a new calendar is not served");
            return Ok(());
        }
        tracing::info!(participant = %id, events, "a new calendar");
        if let Some(error) = failed {
            self.doubt([id]);
            return Err(error);
        }
        if self.connected {
            let now = self.clock.now();
            self.step(&id, batch, |member| member.machine.connected(now));
        }
        Ok(())
    }

    fn remove(&mut self, id: &ParticipantId, batch: &mut Batch) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(at) = member.timer {
            self.timers.remove(&(at, id.clone()));
        }
        self.left.insert(id.clone(), member.machine.origin().number);
        tracing::info!(participant = %id, "the calendar is gone: no more answers; promises stand");
        if self.connected && !member.superseded {
            batch.messages.push(AgentMessage::Unregister { participant: id.clone() });
        }
    }

    /// Has every machine take the same input.
    fn each(&mut self, input: impl Fn(&mut Member) -> Output) -> Result<Reply, JournalError> {
        let mut batch = Batch::default();
        let ids: Vec<ParticipantId> = self.members.keys().cloned().collect();
        for id in ids {
            self.step(&id, &mut batch, &input);
        }
        self.finish(batch)
    }

    /// Has one machine take an input. False if there is none of that name.
    fn step(
        &mut self,
        id: &ParticipantId,
        batch: &mut Batch,
        input: impl FnOnce(&mut Member) -> Output,
    ) -> bool {
        let Some(member) = self.members.get_mut(id) else {
            tracing::debug!(participant = %id, "a message for somebody who is not here");
            return false;
        };
        if member.superseded || member.unsure {
            return true;
        }
        let was_ready = member.machine.is_ready();
        let out = input(member);
        if !out.records.is_empty() {
            batch.records.entry(id.clone()).or_default().extend(out.records);
        }
        batch.messages.extend(out.messages);
        if out.bookings_changed {
            batch.bookings_changed.insert(id.clone());
        }
        for notice in out.notices {
            tracing::info!(participant = %id, meeting = %notice.meeting, title = notice.title, "{}", notice.message);
        }
        if out.superseded {
            tracing::warn!(participant = %id, "another agent speaks for the participant now; this one stops");
            member.superseded = true;
        }
        if !was_ready && member.machine.is_ready() {
            tracing::debug!(participant = %id, "registered");
            member.seen = true;
            batch.registered += 1;
        }
        let timer = member.machine.poll_timeout();
        if timer != member.timer {
            if let Some(at) = member.timer {
                self.timers.remove(&(at, id.clone()));
            }
            self.timers.extend(timer.map(|at| (at, id.clone())));
            member.timer = timer;
        }
        true
    }

    /// Makes a batch durable, and only then hands out what may be sent.
    fn finish(&mut self, batch: Batch) -> Result<Reply, JournalError> {
        if !batch.records.is_empty() {
            let ids: Vec<ParticipantId> = batch.records.keys().cloned().collect();
            let records: Vec<_> = batch.records.into_iter().collect();
            if let Err(error) = self.journal.append(&records) {
                let words = error.to_string();
                batch.handled.into_iter().for_each(|h| h.over(self.spans.as_ref(), Some(&words)));
                // What memory says of these participants is not known to be in the journal.
                self.doubt(ids);
                if let Err(error) = self.reread() {
                    tracing::error!(%error, "the journal can't be read either; it is tried with the next stream");
                }
                return Err(error);
            }
        }
        batch.handled.into_iter().for_each(|handled| handled.over(self.spans.as_ref(), None));
        self.unwritten.extend(batch.bookings_changed);
        if batch.registered > 0 {
            tracing::info!("registered {} of {} participants", batch.registered, self.members.len());
        }
        let frames = agent_frames(batch.messages.iter().map(pb_agent_message).collect());
        Ok(Reply { frames, registered: batch.registered > 0, drain: None })
    }

    /// Silences participants until their journal is read again.
    fn doubt(&mut self, ids: impl IntoIterator<Item = ParticipantId>) {
        for id in ids {
            if let Some(member) = self.members.get_mut(&id) {
                member.unsure = true;
            }
        }
    }

    /// Reads those machines again from the journal that may know more than it.
    fn reread(&mut self) -> Result<(), JournalError> {
        let unsure = self.members.iter().filter(|(_, member)| member.unsure);
        let ids: Vec<ParticipantId> = unsure.map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        for (id, journal) in ids.iter().zip(self.journal.load_all(&ids)?) {
            if let Some(member) = self.members.get_mut(id) {
                let origin = member.machine.origin().clone();
                member.machine = Participant::new(member.profile.clone(), journal);
                member.machine.set_origin(origin);
                member.machine.set_calendar_problem(member.told.clone());
                member.unsure = false;
            }
            self.unwritten.insert(id.clone());
        }
        Ok(())
    }

    /// Whether bookings changed since [`Host::write_outputs`].
    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Hands the bookings that changed to the writer of calendar files. Nobody waits for that, so it comes after the
    /// replies.
    pub(super) fn write_outputs(&mut self) {
        for id in std::mem::take(&mut self.unwritten) {
            self.write_output(&id);
        }
    }

    fn write_output(&self, id: &ParticipantId) {
        let Some(member) = self.members.get(id) else { return };
        let stamp = self.clock.now().wall;
        let event = |booking: &Booking| BookedEvent {
            meeting_id: booking.attempt.meeting.to_string(),
            sequence: booking.sequence,
            title: booking.title.clone(),
            organizer: booking.organizer.clone(),
            attendees: booking.attendees.iter().map(ParticipantId::to_string).collect(),
            slot: booking.slot,
            stamp,
            series: booking.series.clone(),
        };
        let mut events: Vec<BookedEvent> = member.machine.bookings().map(event).collect();
        events.sort_by(|a, b| (a.slot, &a.meeting_id).cmp(&(b.slot, &b.meeting_id)));
        self.outputs.put(
            member.config.output.clone(),
            render(id.as_str(), &events, member.machine.journal().sequence),
        );
    }
}

fn profile(config: &ParticipantConfig, time: &CalendarTime) -> Profile {
    let name = config.display_name.as_deref().or(time.title()).unwrap_or_default();
    let name = name.chars().filter(|c| !c.is_control()).take(limits::DISPLAY_NAME_CHARS).collect();
    Profile {
        id: config.id.clone(),
        display_name: name,
        time_zone: time.time_zone().map(str::to_owned),
        disclosure: config.disclosure,
    }
}

/// What the scheduler is told of a calendar's faults.
fn told(loaded: &Loaded) -> String {
    let text = loaded.problem().or(loaded.degraded()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(limits::CALENDAR_PROBLEM_CHARS).collect()
}

/// Says that a part of a calendar can't be read, if so, and what that means.
fn log_degraded(config: &ParticipantConfig, loaded: &Loaded) {
    let (participant, path) = (&config.id, config.calendar.display());
    if let Some(degraded) = loaded.degraded_and_so(config.reading.unreadable) {
        tracing::warn!(%participant, %path, "the calendar is degraded: {degraded}");
    }
}

fn log_refused(error: &pb::FrameError) {
    let (participant, member) = (&error.participant_id, &error.member);
    match error.reason() {
        // An answer that came too late, or crossed with the end of the participant's registration.
        Reason::UnknownQuery | Reason::NotRegistered => {
            tracing::debug!(%participant, %member, "the scheduler has no use for an answer: {}", error.message);
        }
        Reason::Unspecified | Reason::Invalid | Reason::Empty | Reason::Limit => {
            tracing::error!(%participant, %member, "the scheduler refused a message: {}", error.message);
        }
    }
}
