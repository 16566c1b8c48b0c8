//! What an agent host is told: whom it speaks for, from which calendars, and where it keeps what.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::AgentError;
use super::calendar::{self, OUTPUT_SUFFIX};
use super::calendar_time::{CalendarTime, Loaded, Policy, Unreadable};
use crate::core::availability::Disclosure;
use crate::core::ids::ParticipantId;
use crate::core::model::WorkingHours;
use crate::core::participant::OwnTime;
use crate::core::time::TimeRange;
use crate::wire::scalars;
use crate::wire::validate::{ROOT, Violations};

/// How what is doubtful in a calendar counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What events mean that can't be read.
    pub unreadable: Unreadable,
    /// Mail addresses of the calendar's owner, beside the participant's id if it is one: what they declined is free.
    pub owners: Vec<String>,
}

/// One participant of a host.
#[derive(Clone, Debug)]
pub struct ParticipantConfig {
    /// Who.
    pub id: ParticipantId,
    /// For people; none: the calendar's title.
    pub display_name: Option<String>,
    /// The `.ics` file with the participant's own events. It is only read.
    pub calendar: PathBuf,
    /// IANA zone; none: the calendar's own.
    pub zone: Option<String>,
    /// When the participant works: all of these together; none: at any time.
    pub working_hours: Option<Vec<WorkingHours>>,
    /// How much answers reveal.
    pub disclosure: Disclosure,
    /// Whether tentative events block their time.
    pub tentative_blocks: bool,
    /// How what is doubtful in the calendar counts.
    pub reading: Reading,
    /// The `.ics` file that the bookings are written to.
    pub output: PathBuf,
}

impl ParticipantConfig {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            zone: self.zone.clone(),
            working_hours: self.working_hours.clone(),
            tentative_blocks: self.tentative_blocks,
            unreadable: self.reading.unreadable,
        }
    }

    /// When the participant's own events block time within the range, sorted and merged; the calendar is read anew, as
    /// an agent would. And whether times without a zone were read as UTC, for want of a zone; and what can't be read in it.
    ///
    /// # Errors
    /// What an agent would decline its queries with: nothing is known of the time then.
    pub fn own_busy(&self, range: TimeRange) -> Result<(Vec<TimeRange>, bool, Option<String>), String> {
        let loaded = Loaded::read_of(&self.calendar, &self.owners());
        let time = CalendarTime::new(loaded, self.policy()).map_err(|error| error.to_string())?;
        Ok((time.busy(range, false)?, time.time_zone().is_none(), time.loaded().degraded()))
    }

    /// The addresses of the calendar's owner.
    pub(super) fn owners(&self) -> Vec<String> {
        let id = Some(self.id.as_str()).filter(|id| id.contains('@'));
        self.reading.owners.iter().map(String::as_str).chain(id).map(str::to_owned).collect()
    }
}

/// A folder of which each `.ics` file is a participant, named as the file is. Files that come and go while the agent
/// runs are participants that come and go.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// As of each participant.
    pub zone: Option<String>,
    /// As of each participant.
    pub working_hours: Option<Vec<WorkingHours>>,
    /// As of each participant.
    pub disclosure: Disclosure,
    /// As of each participant.
    pub tentative_blocks: bool,
    /// As of each participant.
    pub reading: Reading,
}

impl From<PathBuf> for Folder {
    /// Zones from the calendars, any hour, tentative events block, and only what is asked for is disclosed.
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            zone: None,
            working_hours: None,
            disclosure: Disclosure::AskedSlotsOnly,
            tentative_blocks: true,
            reading: Reading::default(),
        }
    }
}

impl Folder {
    /// The participant of a file in the folder.
    ///
    /// # Errors
    /// The file's name is no participant id.
    pub fn participant(&self, calendar: &Path) -> Result<ParticipantConfig, AgentError> {
        Ok(ParticipantConfig {
            id: participant_of(calendar)?,
            display_name: None,
            calendar: calendar.to_owned(),
            zone: self.zone.clone(),
            working_hours: self.working_hours.clone(),
            disclosure: self.disclosure,
            tentative_blocks: self.tentative_blocks,
            reading: self.reading.clone(),
            output: output_beside(calendar),
        })
    }
}

/// What an agent host needs to run.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// URL of the scheduler, `http://host:port`.
    pub scheduler: String,
    /// Participants by name. Their calendars must exist when the agent starts, readable or not.
    pub participants: Vec<ParticipantConfig>,
    /// One participant per file in here, in addition.
    pub folder: Option<Folder>,
    /// Holds the journal; made if it is missing. One agent at a time.
    pub data_dir: PathBuf,
}

impl AgentConfig {
    /// Everyone who is to be served at the start.
    ///
    /// # Errors
    /// A calendar or the folder is missing, an id stands twice, or an output would overwrite a calendar or another
    /// output. A file of the folder whose name is no participant id is left out, and logged.
    pub(super) fn everyone(&self) -> Result<Vec<ParticipantConfig>, AgentError> {
        let mut all = self.participants.clone();
        for config in &all {
            if !config.calendar.is_file() {
                return Err(AgentError::NoCalendar { path: config.calendar.clone() });
            }
        }
        if let Some(folder) = &self.folder {
            let files = calendar::calendar_files(&folder.path)
                .map_err(|source| AgentError::Folder { path: folder.path.clone(), source })?;
            for file in files.into_iter().filter(|file| !self.writes(file)) {
                match folder.participant(&file) {
                    Ok(config) if !self.participants.iter().any(|known| known.calendar == file) => {
                        all.push(config);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "a calendar is not served"),
                }
            }
        }
        if all.is_empty() && self.folder.is_none() {
            return Err(AgentError::Nobody);
        }
        check(&all)?;
        Ok(all)
    }

    /// Whether the file is one that participants named in the configuration have written.
    pub(super) fn writes(&self, file: &Path) -> bool {
        self.participants.iter().any(|config| config.output == file)
    }
}

fn check(all: &[ParticipantConfig]) -> Result<(), AgentError> {
    let (mut ids, mut outputs) = (BTreeSet::new(), BTreeSet::new());
    let calendars: BTreeSet<PathBuf> = all.iter().map(|config| real(&config.calendar)).collect();
    for config in all {
        if !ids.insert(&config.id) {
            return Err(AgentError::Twice(config.id.clone()));
        }
        let output = real(&config.output);
        if calendars.contains(&output) || !outputs.insert(output) {
            return Err(AgentError::Overwrites { output: config.output.clone() });
        }
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// The participant that a calendar file is named after: `alice` of `alice.ics`.
///
/// # Errors
/// The name holds characters that no id may have (`Register.participant_id`).
pub fn participant_of(calendar: &Path) -> Result<ParticipantId, AgentError> {
    let name = calendar.file_name().unwrap_or(OsStr::new(""));
    match name.to_str() {
        Some(name) => participant_id(without_ics(name)),
        None => Err(AgentError::BadId {
            id: name.to_string_lossy().into_owned(),
            reason: "is no Unicode".to_owned(),
        }),
    }
}

/// Reads a participant id.
///
/// # Errors
/// It is empty, too long, or holds characters that no id may have.
pub fn participant_id(text: &str) -> Result<ParticipantId, AgentError> {
    let mut found = Violations::default();
    let id = scalars::participant(text, &ROOT.field("participant_id"), &mut found);
    found
        .finish(id)
        .map_err(|invalid| AgentError::BadId { id: text.to_owned(), reason: invalid.in_words(400) })
}

/// Where the bookings go unless told otherwise: `alice.quorate.ics` beside `alice.ics`.
pub fn output_beside(calendar: &Path) -> PathBuf {
    let name = calendar.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    calendar.with_file_name(format!("{}{OUTPUT_SUFFIX}", without_ics(&name)))
}

fn without_ics(name: &str) -> &str {
    match name.len().checked_sub(4).and_then(|at| name.split_at_checked(at)) {
        Some((stem, end)) if end.eq_ignore_ascii_case(".ics") => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, id: &str) -> ParticipantConfig {
        let file = folder.join(format!("{id}.ics"));
        std::fs::write(&file, "").unwrap();
        Folder::from(folder.to_owned()).participant(&file).unwrap()
    }

    fn host(folder: &Path, participants: Vec<ParticipantConfig>) -> AgentConfig {
        AgentConfig {
            scheduler: "http://localhost:1".to_owned(),
            participants,
            folder: Some(Folder::from(folder.to_owned())),
            data_dir: folder.join("data"),
        }
    }

    #[test]
    fn a_file_names_its_participant_and_its_output() {
        assert_eq!(participant_of(Path::new("a/alice.ICS")).unwrap().as_str(), "alice");
        assert_eq!(output_beside(Path::new("a/alice.ICS")), Path::new("a/alice.quorate.ics"));
        assert_eq!(output_beside(Path::new("plan")), Path::new("plan.quorate.ics"));
        let error = participant_of(Path::new("team calendar.ics")).unwrap_err().to_string();
        assert!(error.contains("team calendar"), "{error}");
        assert!(participant_id("").is_err());
    }

    #[test]
    fn a_folder_gives_one_participant_per_good_name() {
        let folder = tempfile::tempdir().unwrap();
        let alice = config(folder.path(), "alice");
        config(folder.path(), "bob");
        for name in ["not an id.ics", "alice.quorate.ics"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let ids = |config: &AgentConfig| {
            let all = config.everyone().unwrap();
            all.iter().map(|config| config.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&host(folder.path(), vec![])), ["alice", "bob"]);
        assert_eq!(ids(&host(folder.path(), vec![alice.clone()])), ["alice", "bob"]);
        let output = folder.path().join("booked.ics");
        std::fs::write(&output, "").unwrap();
        let elsewhere = ParticipantConfig { output, ..alice };
        assert_eq!(ids(&host(folder.path(), vec![elsewhere])), ["alice", "bob"]);
    }

    #[test]
    fn what_would_do_harm_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (alice, bob) = (config(folder.path(), "alice"), config(folder.path(), "bob"));
        let refused = |participants: Vec<ParticipantConfig>| {
            let config = AgentConfig { folder: None, ..host(folder.path(), participants) };
            config.everyone().unwrap_err()
        };
        let overwrites = ParticipantConfig { output: bob.calendar.clone(), ..alice.clone() };
        assert!(matches!(refused(vec![overwrites, bob.clone()]), AgentError::Overwrites { .. }));
        let shared = ParticipantConfig { output: bob.output.clone(), ..alice.clone() };
        assert!(matches!(refused(vec![shared, bob.clone()]), AgentError::Overwrites { .. }));
        let twice = ParticipantConfig { id: alice.id.clone(), ..bob };
        assert!(matches!(refused(vec![alice.clone(), twice]), AgentError::Twice(_)));
        let missing = ParticipantConfig { calendar: folder.path().join("none.ics"), ..alice };
        assert!(matches!(refused(vec![missing]), AgentError::NoCalendar { .. }));
        assert!(matches!(refused(vec![]), AgentError::Nobody));
    }
}
