//! `quorate reschedule` and `quorate update`.

use std::time::Duration;

use clap::Args;
use tonic::Code;

use super::client::{ClientArgs, Session, tell};
use super::error::{BadValue, CliError, Exit};
use super::json;
use super::meetings;
use super::parse;
use super::render;
use super::request::{PatienceArgs, Reader, WindowArgs, attendees};
use super::values;
use super::when;
use super::zone::Zone;
use crate::core::limits;
use crate::wire::pb;

const RESCHEDULE_EXAMPLES: &str = "\
Examples:
  quorate reschedule 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --from monday --until wednesday
  quorate reschedule 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --at \"2026-12-01 14:00\"

What is not named stays as the meeting has it. Exits with 3 if there is no new slot: the meeting then stands as
before. Exits with 5 if the meeting is not confirmed, or --etag is stale. All exit codes: quorate --help";

const UPDATE_EXAMPLES: &str = "\
Examples:
  quorate update 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --title \"Design review, part 2\"
  quorate update 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --with erin --remove bob

Exits with 3 if an added attendee is not free: the meeting then stands as before. All exit codes: quorate --help";

/// How often an update of the attendees is tried again when somebody else changes the meeting meanwhile.
pub(super) const UPDATE_TRIES: usize = 5;

/// Arguments of `quorate reschedule`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RESCHEDULE_EXAMPLES)]
pub struct RescheduleArgs {
    /// The meeting's id
    #[arg(value_name = "MEETING")]
    pub meeting: String,
    /// Move it to exactly this slot: START or START/END
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "When",
        conflicts_with_all = ["from", "until", "step", "days", "hours", "any_hours", "zone",
            "respect_attendee_hours", "exclude"]
    )]
    pub at: Option<String>,
    /// When.
    #[command(flatten)]
    pub window: WindowArgs,
    /// A new length, such as 45m
    #[arg(long, value_name = "LENGTH", help_heading = "When", value_parser = parse::meeting_length)]
    pub duration: Option<Duration>,
    /// Only if the meeting still has this etag
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
    /// How long to wait.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How many slots to try. Default: 10
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "How long to try"
    )]
    pub max_attempts: i32,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl RescheduleArgs {
    /// Whether the request depends on the meeting as it is.
    fn needs_meeting(&self) -> bool {
        let lacks_length =
            self.duration.is_none() && self.at.as_deref().is_some_and(|at| !when::is_range(at));
        lacks_length || !self.window.is_empty()
    }

    /// Finds what is wrong with the options themselves, before anything is asked of the scheduler.
    ///
    /// # Errors
    /// All bad times.
    fn check(&self, mut reader: Reader) -> Result<(), CliError> {
        let any = values::duration(limits::DURATION_MIN);
        self.request(Some(pb::MeetingSpec { duration: Some(any), ..Default::default() }), &mut reader);
        reader.finish().map(drop)
    }

    /// The request. `spec` is the meeting's, where [`Self::needs_meeting`]. Problems are with the reader.
    fn request(&self, spec: Option<pb::MeetingSpec>, reader: &mut Reader) -> pb::RescheduleMeetingRequest {
        let spec = spec.unwrap_or_default();
        let present = spec.duration.as_ref().map(values::length);
        let slot = self.at.as_deref().and_then(|at| reader.slot(at, self.duration.or(present)));
        // A named slot that has an end says the length as well.
        let named = values::range(slot.as_ref()).filter(|_| self.at.as_deref().is_some_and(when::is_range));
        let named = named.and_then(|(start, end)| Duration::try_from(end.duration_since(start)).ok());
        let window =
            (!self.window.is_empty()).then(|| self.window.over(spec.window.unwrap_or_default(), reader));
        pb::RescheduleMeetingRequest {
            meeting_id: self.meeting.clone(),
            etag: self.etag.clone(),
            slot,
            window,
            duration: self.duration.or(named).map(values::duration),
            response_timeout: self.patience.response_timeout.map(values::duration),
            connect_timeout: self.patience.connect_timeout.map(values::duration),
            max_attempts: self.max_attempts,
        }
    }
}

/// Moves a meeting.
///
/// # Errors
/// As [`CliError`].
pub async fn reschedule(args: &RescheduleArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    let mut reader = Reader::new(reference);
    args.check(reader.clone())?;
    let session = args.client.connect().await?;
    let spec = if args.needs_meeting() { meetings::read(&session, &args.meeting).await?.spec } else { None };
    let request = args.request(spec, &mut reader);
    reader.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let look = || format!("it may have been moved: `quorate get {}` tells", args.meeting);
    let answer = session
        .call(request, async |mut client, request| client.reschedule_meeting(request).await)
        .await
        .map_err(|error| error.or_hint(look))?;
    let done = if answer.failure.is_some() { "Not moved" } else { "Moved" };
    print_change(&args.client, answer.meeting, answer.failure, done, &asker.zone)
}

/// Prints a meeting that was to be changed, and if it was not, why.
fn print_change(
    client: &ClientArgs,
    meeting: Option<pb::Meeting>,
    failure: Option<pb::Failure>,
    done: &str,
    zone: &Zone,
) -> Result<Exit, CliError> {
    let text = || {
        let meeting = meeting.clone().unwrap_or_default();
        match &failure {
            None => render::meeting(&meeting, done, zone),
            Some(why) => {
                let why = render::failure(why, zone);
                render::meeting(&meeting, &format!("{done}, stands as before"), zone) + &why
            }
        }
    };
    client.print(|| json::meeting_answer(meeting.as_ref(), failure.as_ref()), text)?;
    Ok(if failure.is_some() { Exit::NoSlot } else { Exit::Done })
}

/// What an update changes: at least one of these.
#[derive(Args, Clone, Debug)]
#[group(id = "change", required = true, multiple = true)]
pub struct ChangeArgs {
    /// A new title
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Add these attendees as invited, or make them so
    #[arg(long = "with", value_name = "IDS", value_delimiter = ',')]
    pub invited: Vec<String>,
    /// Add these attendees as required, or make them so
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub require: Vec<String>,
    /// Add these attendees as optional, or make them so
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub optional: Vec<String>,
    /// Take these attendees off
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub remove: Vec<String>,
    /// How many must attend; 0: all
    #[arg(long, value_name = "N")]
    pub minimum: Option<i32>,
    /// Whether the meeting may lose its slot to one of higher priority
    #[arg(long, value_name = "true|false")]
    pub displaceable: Option<bool>,
}

/// Arguments of `quorate update`.
#[derive(Args, Clone, Debug)]
#[command(after_help = UPDATE_EXAMPLES, override_usage = "quorate update [OPTIONS] <MEETING>")]
pub struct UpdateArgs {
    /// The meeting's id
    #[arg(value_name = "MEETING")]
    pub meeting: String,
    /// What changes.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Only if the meeting still has this etag
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
    /// How long to wait for the answers of attendees who are added. Default: 2s
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub response_timeout: Option<Duration>,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

impl ChangeArgs {
    /// Whether the request depends on who attends now.
    pub fn changes_attendees(&self) -> bool {
        !(self.invited.is_empty()
            && self.require.is_empty()
            && self.optional.is_empty()
            && self.remove.is_empty())
    }

    /// The attendees as they shall be.
    fn attendees(&self, present: &[pb::Attendee]) -> Result<Vec<pb::Attendee>, CliError> {
        let mut problems = Vec::new();
        let mut all = present.to_vec();
        for id in self.remove.iter().map(|id| id.trim()) {
            let before = all.len();
            all.retain(|attendee| attendee.participant_id != id);
            if all.len() == before {
                problems.push(BadValue {
                    flag: "--remove",
                    value: id.to_owned(),
                    problem: "is no attendee now".to_owned(),
                });
            }
        }
        for named in attendees(&self.require, &self.invited, &self.optional) {
            match all.iter_mut().find(|attendee| attendee.participant_id == named.participant_id) {
                Some(known) => known.role = named.role,
                None => all.push(named),
            }
        }
        if problems.is_empty() { Ok(all) } else { Err(CliError::Usage(problems)) }
    }

    /// The new values, and which they are. `present` is the spec as it is, where the attendees change.
    ///
    /// # Errors
    /// Someone is to be removed who does not attend.
    pub fn over(
        &self,
        present: Option<&pb::MeetingSpec>,
    ) -> Result<(pb::MeetingSpec, prost_types::FieldMask), CliError> {
        let mut spec = pb::MeetingSpec::default();
        let mut paths = Vec::new();
        if let Some(title) = &self.title {
            spec.title.clone_from(title);
            paths.push("title");
        }
        if let Some(present) = present {
            spec.attendees = self.attendees(&present.attendees)?;
            paths.push("attendees");
        }
        if let Some(minimum) = self.minimum {
            spec.minimum_participants = minimum;
            paths.push("minimum_participants");
        }
        if let Some(displaceable) = self.displaceable {
            spec.displaceable = displaceable;
            paths.push("displaceable");
        }
        let paths = paths.into_iter().map(str::to_owned).collect();
        Ok((spec, prost_types::FieldMask { paths }))
    }
}

impl UpdateArgs {
    /// The request. `present` is the meeting, where the attendees change.
    ///
    /// # Errors
    /// As [`ChangeArgs::over`].
    fn request(&self, present: Option<&pb::Meeting>) -> Result<pb::UpdateMeetingRequest, CliError> {
        let known = present.map(|present| present.spec.clone().unwrap_or_default());
        let (spec, mask) = self.change.over(known.as_ref())?;
        // The new list was made from this state: it must not undo what somebody else changed since.
        let etag = match present {
            Some(present) if self.etag.is_empty() => present.etag.clone(),
            _ => self.etag.clone(),
        };
        Ok(pb::UpdateMeetingRequest {
            meeting_id: self.meeting.clone(),
            etag,
            spec: Some(spec),
            update_mask: Some(mask),
            response_timeout: self.response_timeout.map(values::duration),
        })
    }
}

/// Changes a meeting's details or attendees.
///
/// # Errors
/// As [`CliError`].
pub async fn update(args: &UpdateArgs) -> Result<Exit, CliError> {
    let (asker, _) = args.client.asker();
    let session = args.client.connect().await?;
    let answer = update_call(args, &session).await?;
    let done = if answer.failure.is_some() { "Not changed" } else { "Changed" };
    print_change(&args.client, answer.meeting, answer.failure, done, &asker.zone)
}

/// Reads, changes and writes back, as long as somebody else is faster. An etag of the person's own is tried once.
async fn update_call(args: &UpdateArgs, session: &Session) -> Result<pb::UpdateMeetingResponse, CliError> {
    let mut tries = 1;
    loop {
        let present = match args.change.changes_attendees() {
            true => Some(meetings::read(session, &args.meeting).await?),
            false => None,
        };
        let request = args.request(present.as_ref())?;
        let answer =
            session.call(request, async |mut client, request| client.update_meeting(request).await).await;
        let stale = matches!(&answer, Err(CliError::Call { status, .. }) if status.code() == Code::Aborted);
        if !stale || present.is_none() || !args.etag.is_empty() || tries == UPDATE_TRIES {
            return answer;
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::when::Reference;
    use super::*;

    #[derive(Parser)]
    struct Move {
        #[command(flatten)]
        args: RescheduleArgs,
    }

    #[derive(Parser)]
    struct Update {
        #[command(flatten)]
        args: UpdateArgs,
    }

    fn moved(options: &[&str]) -> RescheduleArgs {
        Move::try_parse_from(["move", "m"].iter().chain(options)).unwrap().args
    }

    fn updated(options: &[&str]) -> UpdateArgs {
        Update::try_parse_from(["update", "m"].iter().chain(options)).unwrap().args
    }

    fn reader() -> Reader {
        Reader::new(Reference { now: "2026-12-01T09:20:00Z".parse().unwrap(), zone: Zone::utc() })
    }

    fn present() -> pb::Meeting {
        let attendee = |id: &str| pb::Attendee { participant_id: id.to_owned(), role: 2 };
        let spec = pb::MeetingSpec {
            attendees: vec![attendee("alice"), attendee("bob")],
            duration: Some(values::duration(Duration::from_secs(2700))),
            window: Some(pb::Window { time_zone: "Asia/Tokyo".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        pb::Meeting { spec: Some(spec), etag: "seen".to_owned(), ..Default::default() }
    }

    #[test]
    fn a_move_keeps_the_length_and_the_window_that_it_does_not_name() {
        let at = moved(&["--at=2026-12-02 14:00"]);
        assert!(at.needs_meeting());
        let request = at.request(present().spec, &mut reader());
        let (start, end) = values::range(request.slot.as_ref()).unwrap();
        assert_eq!((end.duration_since(start).as_mins(), request.duration), (45, None));

        let within = moved(&["--from=2026-12-07", "--any-hours"]);
        assert!(within.needs_meeting());
        let window = within.request(present().spec, &mut reader()).window.unwrap();
        assert_eq!(window.time_zone, "Asia/Tokyo");
        assert!(window.working_hours.unwrap().unrestricted);
    }

    #[test]
    fn a_slot_with_an_end_sets_the_length() {
        let args = moved(&["--at=2026-12-02 14:00/15:30"]);
        assert!(!args.needs_meeting());
        assert_eq!(args.request(None, &mut reader()).duration.unwrap().seconds, 5400);
        let bad = moved(&["--from=2024-02-30", "--until=never"]).check(reader()).unwrap_err();
        assert_eq!(bad.text().lines().count(), 2);
        assert!(moved(&["--at=2026-12-02 14:00"]).check(reader()).is_ok());
        let plain = moved(&[]);
        assert!(!plain.needs_meeting());
        let request = plain.request(None, &mut reader());
        assert_eq!((request.slot, request.window, request.duration), (None, None, None));
    }

    #[test]
    fn attendees_are_added_changed_and_removed_against_the_etag_that_was_read() {
        let args = updated(&["--require=alice", "--with=erin", "--remove=bob"]);
        let request = args.request(Some(&present())).unwrap();
        let spec = request.spec.unwrap();
        let seen: Vec<_> = spec.attendees.iter().map(|a| (a.participant_id.as_str(), a.role)).collect();
        assert_eq!(seen, [("alice", 1), ("erin", 2)]);
        assert_eq!(request.etag, "seen");
        assert_eq!(request.update_mask.unwrap().paths, ["attendees"]);
        let wrong = updated(&["--remove=zoe"]).request(Some(&present())).unwrap_err();
        assert!(wrong.text().contains("invalid value 'zoe' for '--remove'"));
    }

    #[test]
    fn only_what_is_named_is_in_the_mask() {
        let request = updated(&["--title=", "--minimum=0", "--displaceable=false"]).request(None).unwrap();
        assert_eq!(request.update_mask.unwrap().paths, ["title", "minimum_participants", "displaceable"]);
        assert_eq!(request.etag, "");
        assert!(Update::try_parse_from(["update", "m"]).is_err(), "nothing to change");
    }
}
