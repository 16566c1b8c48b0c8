//! A small model of the booking protocol, explored exhaustively: the real coordinator, the real agents and the real
//! memory store, two meetings that want the same time of the same people, and every order in which messages, writes,
//! timers and faults can come, within named bounds.
//!
//! In every state the invariants of PROTOCOL.md hold, and from every state rest can be reached: nobody is HELD, all
//! agents equal the store, all requests are answered.
//!
//! `cargo test --test model -- --nocapture` prints the sizes. Larger settings need the optimized profile:
//! `MODEL=wide cargo test --profile sim --test model full -- --nocapture` (minutes; CI runs it), or `MODEL=full` for all
//! of them; `MODEL_ONLY=…` keeps those whose name has these words in it.

#[path = "model/action.rs"]
mod action;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/fingerprint.rs"]
mod fingerprint;
#[path = "model/memo.rs"]
mod memo;
#[path = "model/parts.rs"]
mod parts;
#[path = "model/setting.rs"]
mod setting;
#[path = "model/settings.rs"]
mod settings;
#[path = "model/settle.rs"]
mod settle;
#[path = "model/words.rs"]
mod words;
#[path = "model/world.rs"]
mod world;

use explore::{Explorer, Report};
use setting::{Plant, Setting};

/// Explores all of it; nothing may be found. Fewer states than `at_least` mean that the setting does not do what its
/// name says.
fn holds(setting: &Setting, at_least: usize) -> Report {
    let report = Explorer::new(setting).run();
    println!("{report}");
    assert!(report.found.is_none(), "{}: something does not hold; the trace is above", report.name);
    assert!(report.states >= at_least, "{} states are too few", report.states);
    report
}

/// The shortest way to what breaks with a planted fault, which must be of this invariant.
fn is_found(setting: &Setting, plant: Plant, invariant: &str) {
    let setting = Setting { plant: Some(plant), ..setting.clone() };
    let report = Explorer::new(&setting).run();
    println!("{plant:?} in {report}");
    let found = report.found.expect("the planted fault is found");
    assert!(
        found.broken.iter().any(|b| b.starts_with(invariant)),
        "{invariant} is not in {:?}",
        found.broken
    );
    assert!(!found.trace.is_empty());
}

#[test]
fn two_meetings_compete_for_three_participants() {
    holds(&settings::two_meetings(), 5_000);
}

#[test]
fn a_booking_survives_any_fault() {
    holds(&settings::one_meeting_any_fault(), 5_000);
}

#[test]
fn two_meetings_compete_and_messages_are_lost_or_come_twice() {
    holds(&settings::two_meetings_bad_network(), 1_000);
}

#[test]
fn a_lease_runs_out() {
    holds(&settings::lease_of_one_meeting(), 50);
}

#[test]
fn a_timer_of_the_scheduler_fires_early() {
    holds(&settings::two_meetings_early_timer(), 1_000);
}

#[test]
fn a_meeting_is_moved_while_another_one_races() {
    holds(&settings::move_and_race(), 1_000);
}

#[test]
fn a_meeting_is_called_off_while_another_one_races() {
    holds(&settings::cancel_and_race(), 1_000);
}

#[test]
fn the_scheduler_dies_and_a_journal_is_lost() {
    holds(&settings::new_lives(), 3_500);
}

/// Everything that takes longer: what one run of CI affords, or all of it.
#[test]
fn the_full_model() {
    let wanted = std::env::var("MODEL").unwrap_or_default();
    let settings = match wanted.as_str() {
        "wide" => settings::wide(),
        "full" => settings::wide().into_iter().chain(settings::full()).collect(),
        _ => return println!("not without MODEL=wide or MODEL=full"),
    };
    let only = std::env::var("MODEL_ONLY").unwrap_or_default();
    for setting in settings.iter().filter(|setting| setting.name.contains(&only)) {
        holds(setting, 10_000);
    }
}

/// Participants are alike: exploring them all by name meets no world that the reduced exploration does not know.
#[test]
fn the_reduction_by_symmetry_loses_nothing() {
    for setting in settings::small() {
        let reduced = Explorer::new(&setting).run();
        let named = Explorer::new(&setting).by_name().run();
        println!("{}: {} states, {} by name", setting.name, reduced.states, named.states);
        assert!(reduced.found.is_none() && named.found.is_none());
        assert!(named.states > reduced.states, "nothing was reduced");
        assert!(reduced.worlds == named.worlds, "the reduced exploration missed a world");
    }
}

/// Agents hear at once what is sent to them, and say what they have to say at any time: the scheduler, its store and each
/// agent meet all that they meet when messages to agents may be late as well.
#[test]
fn agents_that_hear_at_once_miss_nothing() {
    for setting in settings::late_and_at_once() {
        let at_once = Explorer::new(&setting).with_parts().run();
        let bounds = setting::Bounds { agents_hear_at_once: false, ..setting.bounds };
        let late = Explorer::new(&Setting { bounds, ..setting.clone() }).with_parts().run();
        println!("{}: {} states, {} if agents may hear late", setting.name, at_once.states, late.states);
        assert!(at_once.found.is_none() && late.found.is_none());
        assert!(late.states > at_once.states && !late.parts.is_empty(), "nothing was reduced");
        assert!(late.parts == at_once.parts, "the reduced exploration missed something");
    }
}

#[test]
fn an_agent_that_lets_go_on_its_own_is_found() {
    is_found(&settings::lease_of_one_meeting(), Plant::ReleasesOnItsOwn, "I2");
}

#[test]
fn an_agent_that_votes_without_its_journal_is_found() {
    is_found(&settings::lease_of_one_meeting(), Plant::ForgetsToJournal, "I2");
}

#[test]
fn an_ack_for_an_agent_that_never_confirmed_is_found() {
    is_found(&settings::two_meetings_bad_network(), Plant::AcknowledgesForOthers, "D5");
}

#[test]
fn an_agent_that_keeps_what_is_released_is_found() {
    is_found(&settings::two_meetings_of_two(), Plant::KeepsWhatIsReleased, "L1");
}

#[test]
fn an_agent_that_promises_twice_is_found() {
    is_found(&settings::two_meetings_bad_network(), Plant::AlwaysYes, "I1");
}
