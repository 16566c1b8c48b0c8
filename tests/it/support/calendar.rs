//! The shipped agent, over calendars that the tests write.

use std::path::{Path, PathBuf};

use quorate::agent::{self, AgentConfig, AgentHandle, ParticipantConfig};
use quorate::core::availability::Disclosure;
use quorate::core::ids::ParticipantId;
use quorate::core::zones;

use super::{as_hours, within};

/// A calendar with events at these hours of the Monday.
pub fn calendar(busy: &[(i64, i64)]) -> String {
    let stamp = |hour: i64| {
        let day = 22 + hour.div_euclid(24);
        format!("202407{day:02}T{:02}0000Z", hour.rem_euclid(24))
    };
    let event = |(from, until): &(i64, i64)| {
        format!(
            "BEGIN:VEVENT\r\nUID:busy-{from}@example.org\r\nDTSTAMP:20240701T000000Z\r\nDTSTART:{}\r\n\
             DTEND:{}\r\nSUMMARY:Busy\r\nEND:VEVENT\r\n",
            stamp(*from),
            stamp(*until)
        )
    };
    in_calendar(&busy.iter().map(event).collect::<String>())
}

/// A calendar with these components.
pub fn in_calendar(components: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\n{components}END:VCALENDAR\r\n")
}

/// A calendar that is busy at all hours of the Monday but these.
pub fn free_only(from: i64, until: i64) -> String {
    let busy: Vec<_> = [(0, from), (until, 24)].into_iter().filter(|(from, until)| from < until).collect();
    calendar(&busy)
}

pub fn id(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

/// A shipped agent with one file for each person.
pub struct Agent {
    pub handle: AgentHandle,
    config: AgentConfig,
}

impl Agent {
    /// Starts one for whoever has a calendar in the folder, with its journal beside that, and waits until all are registered.
    pub async fn of_folder(calendars: &Path, url: &str) -> Self {
        Self::start_with(AgentConfig {
            scheduler: url.into(),
            participants: Vec::new(),
            folder: Some(agent::Folder::from(calendars.to_owned())),
            data_dir: calendars.with_file_name("journal"),
        })
        .await
    }

    /// Starts one over these calendars, in this folder, and waits until everyone is registered.
    pub async fn start(folder: &Path, url: &str, calendars: &[(&str, String)]) -> Self {
        let participants = calendars.iter().map(|(name, text)| {
            let path = folder.join(format!("{name}.ics"));
            std::fs::write(&path, text).unwrap();
            ParticipantConfig {
                id: id(name),
                display_name: None,
                output: agent::output_beside(&path),
                calendar: path,
                zone: None,
                working_hours: None,
                disclosure: Disclosure::FreeBusy,
                tentative_blocks: true,
                reading: Default::default(),
            }
        });
        let config = AgentConfig {
            scheduler: url.into(),
            participants: participants.collect(),
            folder: None,
            data_dir: folder.join("journal"),
        };
        Self::start_with(config).await
    }

    pub async fn start_with(config: AgentConfig) -> Self {
        let handle = agent::start(config.clone()).await.expect("an agent");
        within("the agent is registered", handle.ready()).await.expect("an agent");
        Self { handle, config }
    }

    /// What the agent's calendar output of a person says is booked, in hours of the Monday.
    pub async fn written(&self, name: &str) -> Vec<(i64, i64)> {
        within("the outputs are written", self.handle.outputs_written()).await.expect("an agent");
        let person = self.config.participants.iter().find(|p| p.id == id(name)).expect("a person");
        read_output(&person.output)
    }

    /// A person's bookings, in hours of the Monday.
    pub async fn booked(&self, name: &str) -> Vec<(i64, i64)> {
        let bookings = within("the bookings", self.handle.bookings(&id(name))).await.expect("bookings");
        let hours = |b: &quorate::core::message::Booking| {
            let seconds = |at| zones::to_jiff(at).as_second();
            as_hours(&super::seconds(seconds(b.slot.start), seconds(b.slot.end)))
        };
        let mut hours: Vec<_> = bookings.iter().map(hours).collect();
        hours.sort_unstable();
        hours
    }

    pub fn output(&self, name: &str) -> PathBuf {
        self.config.participants.iter().find(|p| p.id == id(name)).expect("a person").output.clone()
    }

    pub async fn stop(self) -> AgentConfig {
        within("the agent ends", self.handle.stop()).await.expect("an orderly end");
        self.config
    }
}

/// The events of a calendar output, in hours of the Monday, in order.
pub fn read_output(path: &Path) -> Vec<(i64, i64)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let stamps = |name: &str| -> Vec<i64> {
        let of = |line: &str| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", value).expect("a time in UTC");
            Some(at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second())
        };
        text.lines().filter_map(of).collect()
    };
    let (starts, ends) = (stamps("DTSTART"), stamps("DTEND"));
    assert_eq!(starts.len(), ends.len(), "{text}");
    let mut hours: Vec<_> =
        starts.iter().zip(&ends).map(|(from, until)| as_hours(&super::seconds(*from, *until))).collect();
    hours.sort_unstable();
    hours
}
