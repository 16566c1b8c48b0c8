//! What an organizer asks for: `MeetingSpec`, `Window` and `WorkingHours`, read and checked.

use std::collections::HashMap;

use crate::core::limits;
use crate::core::model::{Attendee, MeetingSpec, Objective, Role, Window, WorkingHours};
use crate::core::time::TimeRange;

use super::pb;
use super::scalars::{
    Lengths, at_most, count, each, known, length, length_or, optional_instant, optional_zone, participant,
    range, rfc3339, text, words,
};
use super::validate::{Path, Violations};

/// The slot that stands beside a spec, which may then leave out its duration.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// None: the duration is required.
    No,
    /// This one: a duration must equal its length.
    Slot(TimeRange),
    /// One that was refused already.
    Refused,
}

/// Reads a spec.
pub fn meeting_spec(
    value: &pb::MeetingSpec,
    named: Named,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<MeetingSpec> {
    let title = title(&value.title, &path.field("title"), found);
    let organizer = text(&value.organizer, limits::ID_CHARS, &path.field("organizer"), found);
    let attendees = attendees(&value.attendees, &path.field("attendees"), found);
    let duration = duration(value, named, path, found);
    let minimum = minimum(value.minimum_participants, &path.field("minimum_participants"), found);
    if let (Some(minimum), Some(attendees)) = (minimum, &attendees) {
        minimum_fits(minimum, attendees, &path.field("minimum_participants"), found);
    }
    let priority = count(value.priority, 1, limits::PRIORITY_MAX as usize, &path.field("priority"), found);
    let window = match &value.window {
        Some(value) => window(value, &path.field("window"), found),
        None => Some(default_window()),
    };
    let objective = objective(value.objective, &path.field("objective"), found);
    let mut buffer = |value: Option<&_>, name| {
        length_or(value, Default::default(), Lengths::BUFFER, &path.field(name), found)
    };
    let before = buffer(value.buffer_before.as_ref(), "buffer_before");
    let after = buffer(value.buffer_after.as_ref(), "buffer_after");
    Some(MeetingSpec {
        title: title?,
        organizer: organizer?,
        attendees: attendees?,
        duration: duration?,
        minimum_participants: minimum?,
        priority: priority? as i32,
        window: window?,
        objective: objective?,
        buffer_before: before?,
        buffer_after: after?,
        displace: value.displace,
        displaceable: value.displaceable,
    })
}

/// Reads a title.
pub fn title(value: &str, path: &Path<'_>, found: &mut Violations) -> Option<String> {
    text(value, limits::TITLE_CHARS, path, found)
}

/// Reads attendees: a bounded number, each once.
pub fn attendees(list: &[pb::Attendee], path: &Path<'_>, found: &mut Violations) -> Option<Vec<Attendee>> {
    let few = at_most(list.len(), limits::ATTENDEES, path, found);
    let attendees = each(list, path, found, |value, path, found| {
        let id = participant(&value.participant_id, &path.field("participant_id"), found);
        let role = known(value.role, "Attendee.Role", &path.field("role"), found);
        Some(Attendee { id: id?, role: self::role(role?) })
    });
    let mut first = HashMap::with_capacity(list.len());
    let mut twice = false;
    for (index, value) in list.iter().enumerate().filter(|(_, value)| !value.participant_id.is_empty()) {
        let first = *first.entry(value.participant_id.as_str()).or_insert(index);
        if first != index {
            let path = path.at(index);
            found.refuse(
                &path.field("participant_id"),
                format_args!("is the same as that of attendees[{first}]; each participant may be named once"),
            );
            twice = true;
        }
    }
    few?;
    attendees.filter(|_| !twice)
}

/// Reads a quorum; 0 stays 0.
pub fn minimum(value: i32, path: &Path<'_>, found: &mut Violations) -> Option<u32> {
    u32::try_from(value)
        .ok()
        .or_else(|| found.none(path, format_args!("must not be negative, and is {value}")))
}

/// Refuses a quorum that the attendees, if any are named, can't reach.
pub fn minimum_fits(minimum: u32, attendees: &[Attendee], path: &Path<'_>, found: &mut Violations) {
    let counted = attendees.iter().filter(|attendee| attendee.role != Role::Optional).count();
    if !attendees.is_empty() && minimum as usize > counted {
        found
            .refuse(path, format_args!("is {minimum}, but only {counted} attendees are REQUIRED or INVITED"));
    }
}

fn duration(
    value: &pb::MeetingSpec,
    named: Named,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<std::time::Duration> {
    let path = path.field("duration");
    let given = value.duration.as_ref().map(|value| length(value, Lengths::MEETING, &path, found));
    match (given, named) {
        (None, Named::No) => found.none(&path, "is required"),
        (None, Named::Refused) => None,
        (None, Named::Slot(slot)) => Some(slot.length()),
        (Some(given), Named::No | Named::Refused) => given,
        (Some(given), Named::Slot(slot)) => same_length(given?, &slot, &path, found),
    }
}

/// Refuses a duration that is not the named slot's.
pub fn same_length(
    duration: std::time::Duration,
    slot: &TimeRange,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<std::time::Duration> {
    if duration == slot.length() {
        return Some(duration);
    }
    let (duration, slot) = (words(duration), words(slot.length()));
    found.none(path, format_args!("is {duration}, but the slot that is named lasts {slot}"))
}

fn role(value: pb::attendee::Role) -> Role {
    match value {
        pb::attendee::Role::Required => Role::Required,
        pb::attendee::Role::Unspecified | pb::attendee::Role::Invited => Role::Invited,
        pb::attendee::Role::Optional => Role::Optional,
    }
}

fn objective(value: i32, path: &Path<'_>, found: &mut Violations) -> Option<Objective> {
    use pb::meeting_spec::Objective as Pb;
    Some(match known(value, "MeetingSpec.Objective", path, found)? {
        Pb::Unspecified | Pb::Earliest => Objective::Earliest,
        Pb::MostAttendees => Objective::MostAttendees,
        Pb::BestScore => Objective::BestScore,
    })
}

/// The window of a spec that has none; its bounds are filled in when the request is taken.
pub fn default_window() -> Window {
    Window {
        earliest: None,
        latest: None,
        time_zone: None,
        step: limits::STEP_DEFAULT,
        working_hours: WorkingHours::default(),
        respect_attendee_hours: false,
        exclude: Vec::new(),
    }
}

/// Reads a window. Bounds may have fractions of a second and are kept as they are.
pub fn window(value: &pb::Window, path: &Path<'_>, found: &mut Violations) -> Option<Window> {
    let earliest = optional_instant(value.earliest.as_ref(), &path.field("earliest"), found);
    let latest = optional_instant(value.latest.as_ref(), &path.field("latest"), found);
    if let (Some(Some(earliest)), Some(Some(latest))) = (earliest, latest) {
        let path = path.field("latest");
        if latest <= earliest {
            let (latest, earliest) = (rfc3339(latest), rfc3339(earliest));
            found.refuse(&path, format_args!("{latest} must be after earliest, {earliest}"));
        } else if TimeRange::new(earliest, latest).length() > limits::WINDOW_MAX {
            let max = words(limits::WINDOW_MAX);
            found.refuse(&path, format_args!("must be at most {max} after earliest"));
        }
    }
    let time_zone = optional_zone(&value.time_zone, &path.field("time_zone"), found);
    let step =
        length_or(value.step.as_ref(), limits::STEP_DEFAULT, Lengths::STEP, &path.field("step"), found);
    let hours = match &value.working_hours {
        Some(value) => working_hours(value, &path.field("working_hours"), found),
        None => Some(WorkingHours::default()),
    };
    let exclude = path.field("exclude");
    let few = at_most(value.exclude.len(), limits::EXCLUDES, &exclude, found);
    let exclude = each(&value.exclude, &exclude, found, |value, path, found| range(Some(value), path, found));
    few?;
    Some(Window {
        earliest: earliest?,
        latest: latest?,
        time_zone: time_zone?,
        step: step?,
        working_hours: hours?,
        respect_attendee_hours: value.respect_attendee_hours,
        exclude: exclude?,
    })
}

fn working_hours(value: &pb::WorkingHours, path: &Path<'_>, found: &mut Violations) -> Option<WorkingHours> {
    let days = days(&value.days, &path.field("days"), found);
    let mut minute = |value: Option<&pb::TimeOfDay>, default: u16, end: bool, name| match value {
        Some(value) => minute_of_day(value, end, &path.field(name), found),
        None => Some(default),
    };
    let start = minute(value.start.as_ref(), DEFAULT_START, false, "start");
    let end = minute(value.end.as_ref(), DEFAULT_END, true, "end");
    let time_zone = optional_zone(&value.time_zone, &path.field("time_zone"), found);
    if value.unrestricted {
        let set = [
            ("days", !value.days.is_empty()),
            ("start", value.start.is_some()),
            ("end", value.end.is_some()),
        ];
        for (name, _) in set.iter().filter(|(_, set)| *set) {
            found.refuse(&path.field(name), "must be unset if unrestricted is true");
        }
        return set.iter().all(|(_, set)| !set).then_some(WorkingHours::Unrestricted);
    }
    let (days, start, end) = (days?, start?, end?);
    if end <= start {
        let default = if value.end.is_none() { " (the default)" } else { "" };
        let (start, end) = (clock(start), clock(end));
        return found.none(&path.field("end"), format_args!("{end}{default} must be after start, {start}"));
    }
    Some(WorkingHours::Weekly { days, start_minute: start, end_minute: end, time_zone: time_zone? })
}

const DEFAULT_START: u16 = 8 * 60;
const DEFAULT_END: u16 = 17 * 60;

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn days(list: &[i32], path: &Path<'_>, found: &mut Violations) -> Option<[bool; 7]> {
    if list.is_empty() {
        return Some([true, true, true, true, true, false, false]);
    }
    let mut days = [false; 7];
    each(list, path, found, |value, path, found| {
        let day: pb::DayOfWeek = known(*value, "DayOfWeek", path, found)?;
        match (day as usize).checked_sub(1) {
            Some(index) => days[index] = true,
            None => return found.none(path, "is not a day of the week"),
        }
        Some(())
    })?;
    Some(days)
}

fn minute_of_day(value: &pb::TimeOfDay, end: bool, path: &Path<'_>, found: &mut Violations) -> Option<u16> {
    let pb::TimeOfDay { hours, minutes } = *value;
    let mut good = true;
    if !(0..=24).contains(&hours) {
        found.refuse(&path.field("hours"), format_args!("must be between 0 and 24, and is {hours}"));
        good = false;
    }
    if !(0..=59).contains(&minutes) {
        found.refuse(&path.field("minutes"), format_args!("must be between 0 and 59, and is {minutes}"));
        good = false;
    }
    if good && hours == 24 && (minutes > 0 || !end) {
        return found.none(&path.field("hours"), "may be 24 only as the end, with 0 minutes");
    }
    good.then(|| (hours * 60 + minutes) as u16)
}
