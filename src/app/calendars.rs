//! A folder of calendars on this machine, read as an agent reads it, for showing it.

use std::path::Path;

use crate::agent::Folder;
use crate::agent::calendar::calendar_files;
use crate::core::ids::ParticipantId;
use crate::core::time::TimeRange;

/// A participant's own time, as the calendar file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnTime {
    /// Whose.
    pub participant: String,
    /// When own events block time, or why that is not known.
    pub busy: Result<Vec<TimeRange>, String>,
    /// Whether times without a zone were read as UTC, as the calendar names none.
    pub zoneless: bool,
    /// What can't be read in the calendar, or may be read in several ways, though it leaves no time of this unknown.
    pub degraded: Option<String>,
}

/// The own time of these participants within a range, in their order, from the files of a folder that `quorate agent
/// --calendar` would serve: tentative events block, and zones are the calendars' own. One without a file has an error.
///
/// # Errors
/// A sentence: the folder can't be listed.
pub fn own_time(folder: &Path, participants: &[String], range: TimeRange) -> Result<Vec<OwnTime>, String> {
    let files = calendar_files(folder).map_err(|error| format!("cannot be read: {error}"))?;
    let folder = Folder::from(folder.to_owned());
    // A file whose name is no participant id is nobody's.
    let served: Vec<_> = files.iter().filter_map(|file| folder.participant(file).ok()).collect();
    let of = |name: &String| {
        let id = ParticipantId::new(name);
        let own = match served.iter().find(|config| config.id == id) {
            Some(config) => config.own_busy(range),
            None => Err(format!("the folder has no {name}.ics")),
        };
        let (busy, zoneless, degraded) = match own {
            Ok((busy, zoneless, degraded)) => (Ok(busy), zoneless, degraded),
            Err(problem) => (Err(problem), false, None),
        };
        OwnTime { participant: name.clone(), busy, zoneless, degraded }
    };
    Ok(participants.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_that_cannot_be_read_is_not_free() {
        let folder = tempfile::tempdir().unwrap();
        let calendar = |name: &str, zone: &str, event: &str| {
            let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{zone}{event}END:VCALENDAR\r\n");
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        let nine = "BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260329T090000\r\n\
                    DURATION:PT1H\r\nEND:VEVENT\r\n";
        calendar("alice.ics", "X-WR-TIMEZONE:Europe/Berlin\r\n", nine);
        calendar("bob.ics", "", nine);
        calendar("carol.ics", "", "BEGIN:VEVENT\r\n");
        let at = |text: &str| text.parse().unwrap();
        let range = TimeRange::new(at("2026-03-29T00:00:00Z"), at("2026-03-30T00:00:00Z"));
        let names = ["alice", "bob", "carol", "dave"].map(str::to_owned);
        let own = own_time(folder.path(), &names, range).unwrap();
        let hour = |hour: u32| {
            vec![TimeRange::new(
                at(&format!("2026-03-29T{hour:02}:00:00Z")),
                at(&format!("2026-03-29T{:02}:00:00Z", hour + 1)),
            )]
        };
        assert_eq!((own[0].busy.clone(), own[0].zoneless), (Ok(hour(7)), false));
        assert_eq!((own[1].busy.clone(), own[1].zoneless), (Ok(hour(9)), true));
        assert!(own[2].busy.as_ref().unwrap_err().starts_with("carol.ics:"), "{:?}", own[2]);
        calendar("erin.ics", "", &nine.replace("DURATION", "EXDATE:never\r\nDURATION"));
        let erin = own_time(folder.path(), &["erin".to_owned()], range).unwrap().remove(0);
        assert_eq!((erin.busy, own[1].degraded.as_ref()), (Ok(hour(9)), None));
        assert_eq!(erin.degraded.as_deref(), Some("erin.ics:7: unreadable date 'never'"));
        assert_eq!(own[3].busy, Err("the folder has no dave.ics".to_owned()));
        assert!(own_time(&folder.path().join("none"), &names, range).unwrap_err().contains("cannot be read"));
    }
}
