//! Those who ask: what they asked for, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::core::coordinator::{Change, Command, Refused, Reply, ScheduleRequest};
use quorate::core::ids::{MeetingId, RequestId, SeriesId, Ticket};
use quorate::core::invariants::RequestView;
use quorate::core::limits;
use quorate::core::model::{AttemptOutcome, Attendee, AttendeeStatus, Meeting, MeetingState, Options, Role};
use quorate::core::random::Random;
use quorate::core::time::Mono;

use super::plan::{Plan, Wish, chance, hour, millis, name};
use super::recurring::SeriesWish;
use super::tally::Tally;

/// What a ticket stands for.
#[derive(Clone)]
pub enum Kind {
    Schedule(RequestId, String),
    Series(RequestId, String),
    /// With the situation that it is if it succeeds.
    ChangeSeries(&'static str),
    Find,
    Change {
        added: bool,
        moved: bool,
    },
    Cancel,
}

struct Open {
    /// Which scheduler's process it was handed to.
    life: u64,
    /// The organizer does not wait for it any more.
    hung_up: bool,
    view: RequestView,
    kind: Kind,
    contended: bool,
}

#[derive(Default)]
pub struct Organizers {
    tickets: BTreeMap<Ticket, Open>,
    next: u64,
    wishes: Vec<(RequestId, Wish)>,
    /// The meeting that each request turned into, as callers were told.
    told: BTreeMap<(RequestId, String), MeetingId>,
    /// Confirmed meetings, as callers were told last.
    pub known: BTreeMap<MeetingId, Meeting>,
    pub broken: Vec<String>,
    /// Requests that were open when the scheduler crashed.
    pub again: Vec<(RequestId, Wish)>,
    restarted: Vec<RequestId>,
    pub(super) series_wishes: Vec<(RequestId, SeriesWish)>,
    pub(super) told_series: BTreeMap<(RequestId, String), SeriesId>,
    /// Series that callers were told of.
    pub(super) series: BTreeSet<SeriesId>,
    pub(super) series_to_ask_again: Vec<(RequestId, SeriesWish)>,
    /// Longer for a scheduler whose clock is slow, or whose wall clock may have jumped.
    pub patience: Duration,
}

/// A command that is to be handed in.
pub struct Call {
    pub ticket: Ticket,
    pub command: Command,
    pub deadline: Duration,
}

impl Organizers {
    pub fn new(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }

    pub(super) fn call(
        &mut self,
        now: Mono,
        command: Command,
        deadline: Duration,
        kind: Kind,
        contended: bool,
    ) -> Call {
        self.next += 1;
        let ticket = Ticket(self.next);
        // What the store still has to say is not counted: half a second.
        let due = now + deadline + self.patience + Duration::from_millis(500);
        let view = RequestView { name: format!("request {}", self.next), due, answered: None, lost: false };
        self.tickets.insert(ticket, Open { life: 0, hung_up: false, view, kind, contended });
        Call { ticket, command, deadline }
    }

    pub fn schedule(&mut self, now: Mono, random: &mut Random, wish: Wish) -> Call {
        let id = RequestId::new(random.uuid());
        self.wishes.push((id.clone(), wish.clone()));
        self.send(now, id, wish, "one")
    }

    /// The same request again.
    pub fn send(&mut self, now: Mono, id: RequestId, wish: Wish, body: &str) -> Call {
        let Wish { spec, slot, options, deadline } = wish;
        let request = ScheduleRequest {
            request_id: Some(id.clone()),
            body_hash: body.into(),
            spec,
            slot,
            options,
            validate_only: false,
        };
        let kind = Kind::Schedule(id, body.into());
        self.call(now, Command::Schedule(Box::new(request)), deadline, kind, false)
    }

    pub fn repeat(&mut self, now: Mono, random: &mut Random, other_body: bool) -> Option<Call> {
        let (id, wish) = self.wishes.get(random.below(self.wishes.len().max(1) as u64) as usize)?.clone();
        Some(self.send(now, id, wish, if other_body { "other" } else { "one" }))
    }

    pub fn find(&mut self, now: Mono, wish: Wish) -> Call {
        let Wish { spec, options, deadline, .. } = wish;
        self.call(now, Command::Find { spec, options, limit: 5 }, deadline, Kind::Find, false)
    }

    /// After a crash: who asked without an answer asks again with the same request id.
    pub fn ask_again(&mut self, now: Mono) -> Vec<Call> {
        let again = std::mem::take(&mut self.again);
        self.restarted.extend(again.iter().map(|(id, _)| id.clone()));
        let mut calls: Vec<Call> =
            again.into_iter().map(|(id, wish)| self.send(now, id, wish, "one")).collect();
        calls.extend(self.series_again(now));
        calls
    }

    fn any_known(&self, random: &mut Random) -> Option<Meeting> {
        self.known.values().nth(random.below(self.known.len().max(1) as u64) as usize).cloned()
    }

    fn contended(&self) -> bool {
        self.tickets.values().filter(|open| open.view.answered.is_none() && !open.view.lost).count() > 0
    }

    pub fn reschedule(
        &mut self,
        now: Mono,
        random: &mut Random,
        plan: &Plan,
        named: bool,
        options: Options,
    ) -> Option<Call> {
        let meeting = self.any_known(random)?;
        let version = chance(random, 300).then_some(meeting.version);
        let slot = named.then(|| hour(random, plan.hours));
        let window = chance(random, 500).then(|| plan.window(random));
        let command =
            Command::Reschedule { meeting: meeting.id, version, slot, window, duration: None, options };
        let contended = self.contended();
        let kind = Kind::Change { added: false, moved: true };
        Some(self.call(now, command, millis(random, 2_000, 15_000), kind, contended))
    }

    pub fn update(&mut self, now: Mono, random: &mut Random, plan: &Plan, options: Options) -> Option<Call> {
        let meeting = self.any_known(random)?;
        let mut attendees = meeting.spec.attendees.clone();
        if attendees.len() > 1 && chance(random, 500) {
            attendees.remove(random.below(attendees.len() as u64) as usize);
        }
        let agent = name(random.below(plan.small.len() as u64) as usize);
        let role = if chance(random, 500) { Role::Required } else { Role::Invited };
        let added = attendees.iter().all(|a| a.id != agent) && chance(random, 700);
        if added {
            attendees.push(Attendee { id: agent, role });
        }
        let title = chance(random, 300).then(|| "renamed".to_owned());
        let minimum_participants = chance(random, 700).then_some(1);
        let change = Change { title, attendees: Some(attendees), minimum_participants, displaceable: None };
        let command = Command::Update { meeting: meeting.id, version: None, change, options };
        let contended = self.contended();
        let kind = Kind::Change { added, moved: false };
        Some(self.call(now, command, millis(random, 2_000, 15_000), kind, contended))
    }

    /// Calls off a meeting that stands, or one that the store says is being sought.
    pub fn cancel(&mut self, now: Mono, random: &mut Random, sought: Vec<MeetingId>) -> Option<Call> {
        let sought = sought.into_iter().next().filter(|_| chance(random, 500));
        let meeting = sought.or_else(|| self.any_known(random).map(|m| m.id))?;
        let command = Command::Cancel { meeting, version: None };
        Some(self.call(now, command, Duration::from_secs(60), Kind::Cancel, false))
    }

    /// A call was handed to this process of the scheduler's.
    pub fn handed(&mut self, ticket: Ticket, life: u64) {
        if let Some(open) = self.tickets.get_mut(&ticket) {
            open.life = life;
        }
    }

    /// An organizer stops waiting; what it asked for goes on.
    pub fn hang_up(&mut self, random: &mut Random) -> Option<Ticket> {
        let waits = |open: &&mut Open| open.view.answered.is_none() && !open.view.lost && !open.hung_up;
        let mut open: Vec<(&Ticket, &mut Open)> =
            self.tickets.iter_mut().filter(|(_, open)| waits(open)).collect();
        let index = random.below(open.len().max(1) as u64) as usize;
        let (ticket, open) = open.get_mut(index)?;
        open.hung_up = true;
        Some(**ticket)
    }

    /// The store was put back to an older copy: nothing that was said since is promised.
    pub fn store_restored(&mut self) {
        self.told.clear();
        self.known.clear();
        self.told_series.clear();
        self.series.clear();
    }

    /// The process is gone, or going: who asked without an answer asks again.
    pub fn scheduler_crashed(&mut self, random: &mut Random, life: u64) {
        let open = self.tickets.values_mut();
        let open = open.filter(|open| open.life == life && open.view.answered.is_none() && !open.view.lost);
        for open in open {
            open.view.lost = true;
            if let Kind::Schedule(id, body) = &open.kind
                && body == "one"
                && chance(random, 700)
                && let Some((_, wish)) = self.wishes.iter().find(|(known, _)| known == id)
            {
                self.again.push((id.clone(), wish.clone()));
            }
            if let Kind::Series(id, body) = &open.kind
                && body == "one"
                && chance(random, 700)
                && let Some((_, wish)) = self.series_wishes.iter().find(|(known, _)| known == id)
            {
                self.series_to_ask_again.push((id.clone(), wish.clone()));
            }
        }
    }

    pub fn answered(&mut self, now: Mono, ticket: Ticket, reply: &Reply, tally: &mut Tally) {
        let Some(open) = self.tickets.get_mut(&ticket) else {
            return self.broken.push(format!("an answer to {ticket:?}, which nobody waits for"));
        };
        if open.view.answered.is_some() || open.view.lost {
            return self.broken.push(format!("a second answer to {}", open.view.name));
        }
        open.view.answered = Some(now);
        // Whoever asks again while the meeting is DISPLACED hears what that search comes to; its own deadline ends the
        // call (gRPC) and not the search.
        if matches!((&open.kind, reply), (Kind::Schedule(..), Reply::Meeting(m)) if m.displaced_count > 0) {
            open.view.due = open.view.due + limits::DISPLACED_DEADLINE;
        }
        if open.hung_up {
            tally.saw("an organizer hung up before the answer");
        }
        let (kind, contended) = (open.kind.clone(), open.contended);
        match (kind, reply) {
            (Kind::Schedule(request, body), Reply::Meeting(meeting)) => {
                self.scheduled(request, body, meeting, tally);
            }
            (Kind::Schedule(..), Reply::Refused(Refused::RequestReused)) => {
                tally.saw("a request id was refused with another body");
            }
            (Kind::Schedule(request, body), Reply::Refused(Refused::ShuttingDown)) => {
                if let Some((_, wish)) = self.wishes.iter().find(|(known, _)| *known == request)
                    && body == "one"
                {
                    self.again.push((request, wish.clone()));
                }
            }
            (Kind::Schedule(..), Reply::Refused(Refused::BeingChanged)) => {
                self.broken.push(format!("{ticket:?}: a schedule was answered by {reply:?}"));
            }
            (Kind::Change { added, moved }, Reply::Changed(meeting, failure)) => {
                match (failure, added, moved) {
                    (Some(_), ..) => tally.saw("a change failed and the meeting stood"),
                    (None, _, true) => tally.saw("a move succeeded"),
                    (None, true, _) => tally.saw("an update with new attendees succeeded"),
                    _ => {}
                }
                if failure.is_none() && contended {
                    tally.saw("a change succeeded while others competed");
                }
                self.learn(meeting);
            }
            (Kind::Cancel, Reply::Changed(meeting, _)) => {
                if meeting.state != MeetingState::Cancelled {
                    self.broken.push(format!("{ticket:?}: a cancelled meeting is {:?}", meeting.state));
                }
                match meeting.slot {
                    Some(_) => tally.saw("a cancel of a booked meeting"),
                    None => tally.saw("a cancel of a live meeting"),
                }
                self.learn(meeting);
            }
            (kind @ (Kind::Series(..) | Kind::ChangeSeries(_)), reply) => {
                self.series_answered(kind, reply, tally);
            }
            (Kind::Find, Reply::Found { .. }) | (_, Reply::Refused(_)) => {}
            (_, reply) => self.broken.push(format!("{ticket:?}: answered by {reply:?}")),
        }
    }

    fn learn(&mut self, meeting: &Meeting) {
        match meeting.state {
            MeetingState::Confirmed => self.known.insert(meeting.id.clone(), meeting.clone()),
            _ => self.known.remove(&meeting.id),
        };
    }

    fn scheduled(&mut self, request: RequestId, body: String, meeting: &Meeting, tally: &mut Tally) {
        if let Some(before) = self.told.insert((request.clone(), body), meeting.id.clone()) {
            match before == meeting.id {
                true => tally.saw("a duplicate request attached"),
                false => self.broken.push(format!("I6: {request} is {before} and {}", meeting.id)),
            }
        }
        let held = |e: &quorate::core::model::AttemptLogEntry| e.outcome == AttemptOutcome::HeldByOther;
        match meeting.state {
            MeetingState::Confirmed => {
                if meeting.attempt_log.iter().any(held) {
                    tally.saw("waited for a blocker, then booked");
                }
                if meeting.attendees.iter().any(|o| o.status != AttendeeStatus::Attending) {
                    tally.saw("a meeting was booked without somebody");
                }
                if self.restarted.contains(&request) {
                    tally.saw("a request was asked again after a crash");
                }
            }
            MeetingState::Failed => {
                tally.saw("a meeting failed");
                if meeting.failure.is_none() {
                    self.broken.push(format!("{} FAILED without a reason", meeting.id));
                }
            }
            MeetingState::Cancelled => {}
            MeetingState::Scheduling | MeetingState::Displaced => {
                self.broken.push(format!("{} was answered while {:?}", meeting.id, meeting.state));
            }
        }
        self.learn(meeting);
    }

    pub fn open(&self) -> usize {
        self.tickets.values().filter(|open| open.view.answered.is_none() && !open.view.lost).count()
    }

    pub fn views(&self) -> Vec<RequestView> {
        self.tickets.values().map(|open| open.view.clone()).collect()
    }
}
