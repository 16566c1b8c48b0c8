//! Agent hosts: the shipped agent over calendar files and a journal of its own, which outlast a crash.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quorate::agent::journal::JournalFile;
use quorate::agent::{self, AgentConfig, Connector, ParticipantConfig};
use quorate::core::availability::Disclosure;
use quorate::core::ids::ParticipantId;
use quorate::core::invariants::AgentView;

use super::net;

const CALENDAR: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nEND:VCALENDAR\r\n";

/// One host.
#[derive(Clone)]
pub struct AgentHost {
    pub name: String,
    pub participants: Vec<ParticipantId>,
    config: AgentConfig,
    seed: u64,
}

impl AgentHost {
    /// Its files are in a folder of its own; calendars and outputs apart, so that no output wakes the watcher, which is a
    /// real thread.
    pub fn new(name: &str, participants: Vec<ParticipantId>, folder: &Path, seed: u64) -> Self {
        let (calendars, outputs) = (folder.join(name).join("calendars"), folder.join(name).join("outputs"));
        fs::create_dir_all(&calendars).expect("a folder");
        fs::create_dir_all(&outputs).expect("a folder");
        let of = |id: &ParticipantId| {
            let calendar = calendars.join(format!("{id}.ics"));
            fs::write(&calendar, CALENDAR).expect("a calendar");
            ParticipantConfig {
                id: id.clone(),
                display_name: None,
                calendar,
                zone: Some("UTC".into()),
                working_hours: None,
                disclosure: Disclosure::AskedSlotsOnly,
                tentative_blocks: true,
                reading: Default::default(),
                output: outputs.join(format!("{id}.ics")),
            }
        };
        let config = AgentConfig {
            scheduler: net::url(),
            participants: participants.iter().map(of).collect(),
            folder: None,
            data_dir: folder.join(name).join("journal"),
        };
        Self { name: name.to_owned(), participants, config, seed }
    }

    /// One life of the host.
    pub async fn run(self, connector: Connector) -> turmoil::Result {
        let mut agent = agent::start_with(self.config, connector, self.seed).await?;
        agent.ended().await?;
        Ok(())
    }

    /// What the journals say. The host must not run.
    pub fn views(&self) -> Vec<AgentView> {
        let mut journal = JournalFile::open(&self.config.data_dir).expect("the journal is free");
        let journals = journal.load_all(&self.participants).expect("a whole journal");
        let view =
            |(participant, journal): (&ParticipantId, quorate::core::participant::Journal)| AgentView {
                participant: participant.clone(),
                promises: journal.promises,
                withdrawn: journal.withdrawn.into_keys().collect(),
                lost: BTreeSet::new(),
                orphaned: BTreeSet::new(),
            };
        self.participants.iter().zip(journals).map(view).collect()
    }
}
