//! Taking requests: each becomes a job, attaches to one, or is refused.

use super::*;
use crate::core::model::{Attendee, AttendeeStatus, Rank, Role};
use crate::core::slots;

impl Coordinator {
    pub(super) fn command(&mut self, now: Now, ticket: Ticket, command: Command, deadline: Option<Duration>) {
        let command = match command {
            Command::Within(traced, command) => {
                self.tracer.asked(now, ticket, traced);
                *command
            }
            command => command,
        };
        let deadline = now.mono + usable(deadline.unwrap_or(limits::DEADLINE_DEFAULT));
        let alive = self.live.len() + self.lookups.len() + self.series_lookups.len();
        let refused = match &command {
            _ if self.draining => Some(Refused::ShuttingDown),
            Command::Cancel { .. } | Command::CancelSeries { .. } => None,
            _ if alive >= limits::LIVE_MEETINGS => Some(Refused::Overloaded),
            _ => None,
        };
        if let Some(refused) = refused {
            return self.refuse(ticket, refused);
        }
        match command {
            Command::Find { spec, options, limit } => self.find(now, ticket, spec, options, limit, deadline),
            Command::Schedule(request) if request.validate_only => self.validate(now, ticket, *request),
            Command::Schedule(request) => self.schedule(now, ticket, request, deadline),
            Command::ScheduleSeries(request) => self.schedule_series(now, ticket, request, deadline),
            Command::CancelSeries { .. }
            | Command::RescheduleSeries { .. }
            | Command::UpdateSeries { .. } => {
                self.change_series(ticket, command, deadline);
            }
            // Nothing is gained by being traced twice.
            Command::Within(_, command) => self.command(now, ticket, *command, None),
            Command::Reschedule { .. } | Command::Update { .. } | Command::Cancel { .. } => {
                self.change_command(now, ticket, command, deadline);
            }
        }
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, refused: Refused) {
        self.out.push(Effect::Reply(ticket, Reply::Refused(refused)));
    }

    fn schedule(&mut self, now: Now, ticket: Ticket, request: Box<ScheduleRequest>, deadline: Mono) {
        let Some(id) = request.request_id.clone() else {
            let id = RequestId::new(self.random.uuid());
            return self.begin(now, id, vec![ticket], *request, deadline);
        };
        if let Some(live) = self.requests.get(&id).and_then(|id| self.live.get_mut(id)) {
            if live.meeting.body_hash == request.body_hash {
                return live.tickets.push(ticket);
            }
            return self.refuse(ticket, Refused::RequestReused);
        }
        let waiting = self.lookups.entry(id.clone()).or_default();
        waiting.push((ticket, request, deadline));
        if waiting.len() == 1 {
            self.read(Read::Request(id.clone()), Pending::ReadRequest(id));
        }
    }

    /// The store answered whether the request id was used before.
    pub(super) fn looked_up(&mut self, now: Now, id: &RequestId, found: Option<Box<Meeting>>) {
        let Some(waiting) = self.lookups.remove(id) else { return };
        if let Some(meeting) = found {
            for (ticket, request, _) in waiting {
                // It may be sought (again) by now: then its outcome is still to come.
                let sought = self.live.get_mut(&meeting.id).filter(|live| live.job == Job::New);
                match (request.body_hash == meeting.body_hash, sought) {
                    (true, Some(live)) => live.tickets.push(ticket),
                    (true, None) => self.out.push(Effect::Reply(ticket, Reply::Meeting(meeting.clone()))),
                    (false, _) => self.refuse(ticket, Refused::RequestReused),
                }
            }
            return;
        }
        let mut first: Option<(Vec<Ticket>, Box<ScheduleRequest>, Mono)> = None;
        for (ticket, request, deadline) in waiting {
            match &mut first {
                None => first = Some((vec![ticket], request, deadline)),
                Some((tickets, first, _)) if first.body_hash == request.body_hash => tickets.push(ticket),
                Some(_) => self.refuse(ticket, Refused::RequestReused),
            }
        }
        if let Some((tickets, request, deadline)) = first {
            match self.draining {
                true => tickets.into_iter().for_each(|t| self.refuse(t, Refused::ShuttingDown)),
                false => self.begin(now, id.clone(), tickets, *request, deadline),
            }
        }
    }

    fn validate(&mut self, now: Now, ticket: Ticket, request: ScheduleRequest) {
        let id = request.request_id.clone().unwrap_or_else(|| RequestId::new(""));
        match self.new_meeting(now, MeetingId::new(""), id, request, now.mono) {
            Ok(mut meeting) => {
                meeting.state = MeetingState::Scheduling;
                self.out.push(Effect::Reply(ticket, Reply::Meeting(Box::new(meeting))));
            }
            Err(refused) => self.refuse(ticket, refused),
        }
    }

    fn find(
        &mut self,
        now: Now,
        ticket: Ticket,
        spec: MeetingSpec,
        options: Options,
        limit: usize,
        deadline: Mono,
    ) {
        let request = ScheduleRequest {
            request_id: None,
            body_hash: String::new(),
            spec,
            slot: None,
            options,
            validate_only: false,
        };
        let id = MeetingId::new(self.random.uuid());
        match self.new_meeting(now, id.clone(), RequestId::new(""), request, deadline) {
            Ok(meeting) => self.start_job(now, Job::Find { limit }, meeting, vec![ticket], deadline),
            Err(refused) => self.refuse(ticket, refused),
        }
    }

    fn begin(
        &mut self,
        now: Now,
        request_id: RequestId,
        tickets: Vec<Ticket>,
        request: ScheduleRequest,
        deadline: Mono,
    ) {
        let id = MeetingId::new(self.random.uuid());
        match self.new_meeting(now, id.clone(), request_id.clone(), request, deadline) {
            Ok(meeting) => {
                self.requests.insert(request_id, id);
                self.start_job(now, Job::New, meeting, tickets, deadline);
            }
            Err(refused) => tickets.into_iter().for_each(|t| self.refuse(t, refused.clone())),
        }
    }

    /// The meeting's first row, with all defaults filled in.
    pub(super) fn new_meeting(
        &mut self,
        now: Now,
        id: MeetingId,
        request_id: RequestId,
        request: ScheduleRequest,
        deadline: Mono,
    ) -> Result<Meeting, Refused> {
        let mut spec = request.spec;
        let time_zone = self.resolve_window(now, &spec.organizer, &mut spec.window)?;
        if spec.attendees.is_empty() {
            let connected =
                self.participants.values().filter(|k| k.connected.as_ref().is_some_and(|c| c.ready));
            let invited = |k: &Known| Attendee { id: k.row.id.clone(), role: Role::Invited };
            spec.attendees = connected.take(limits::ATTENDEES).map(invited).collect();
        }
        let rank = Rank { priority: spec.priority, submitted_at: now.wall, meeting: id.clone() };
        let asked_nobody = |a| AttendeeOutcome::new(a, AttendeeStatus::NotAsked);
        Ok(Meeting {
            id,
            request_id,
            body_hash: request.body_hash,
            attendees: spec.attendees.iter().map(asked_nobody).collect(),
            spec,
            named_slot: request.slot,
            options: request.options,
            time_zone,
            rank,
            state: MeetingState::Scheduling,
            version: 1,
            sequence: 0,
            booked: None,
            slot: None,
            blocked: None,
            last_attempt: None,
            attempts: 0,
            attempt_log: Vec::new(),
            failure: None,
            series: None,
            moved: 0,
            displaced_count: 0,
            displaced: Vec::new(),
            displaced_by: None,
            local_start: None,
            create_time: now.wall,
            update_time: now.wall,
            deadline: super::super::time::add(now.wall, deadline.since(now.mono)),
        })
    }

    pub(super) fn resolve_window(
        &self,
        now: Now,
        organizer: &str,
        window: &mut Window,
    ) -> Result<String, Refused> {
        let organizer = self.participants.get(&ParticipantId::new(organizer));
        let zone = organizer.and_then(|known| known.row.time_zone.clone());
        slots::resolve_window(window, zone.as_deref(), now.wall)
            .map_err(|error| Refused::UnknownZone(error.0))
    }

    pub(super) fn start_job(
        &mut self,
        now: Now,
        job: Job,
        meeting: Meeting,
        tickets: Vec<Ticket>,
        deadline: Mono,
    ) {
        let id = meeting.id.clone();
        let stored = matches!(job, Job::Change { .. });
        let until = deadline.min(now.mono + meeting.options.connect_timeout);
        let live = Live::new(job, meeting, stored, tickets, deadline, until);
        self.live.insert(id.clone(), live);
        self.trace(&id);
        self.connect(now, &id);
    }
}

/// Answers before the caller's own clock gives up: a tenth of the time, up to a quarter of a second, is kept
/// for the way back.
fn usable(deadline: Duration) -> Duration {
    let deadline = deadline.min(limits::DEADLINE_MAX);
    deadline.saturating_sub((deadline / 10).min(Duration::from_millis(250)))
}
