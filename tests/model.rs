//! Every interleaving of a small booking.
#[path = "model/action.rs"]
mod action;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/fingerprint.rs"]
mod fingerprint;
#[path = "model/parts.rs"]
mod parts;
#[path = "model/setting.rs"]
mod setting;
#[path = "model/settle.rs"]
mod settle;
#[path = "model/words.rs"]
mod words;
#[path = "model/world.rs"]
mod world;

use explore::Explorer;
use quorate::core::model::Role;
use setting::{Bounds, Setting, Wish};

#[test]
fn try_it() {
    let n = |v: &str| std::env::var(v).ok().and_then(|t| t.parse().ok()).unwrap_or(0u8);
    let bounds = Bounds {
        faults: n("F"), losses: n("LO"), duplicates: n("DU"), breaks: n("BR"), agent_crashes: n("AC"),
        scheduler_crashes: n("SC"), journal_losses: n("JL"), agents_hear_at_once: n("AO") > 0, scheduler_timers: n("ST"), agent_timers: n("AT"),
    };
    let mv = std::env::var("MOVE").is_ok();
    let one = std::env::var("ONE").is_ok();
    let mut wishes = vec![Wish::Schedule { half_hours: 0, priority: 2 }, Wish::Schedule { half_hours: 1, priority: 1 }];
    if mv { wishes[0] = Wish::Move { half_hours: 2 }; }
    if one { wishes.pop(); }
    let setting = Setting {
        name: "try", participants: n("P").into(), booked: mv.then_some(0), wishes,
        role: if n("INV") > 0 { Role::Invited } else { Role::Required },
        minimum: n("INV").into(), bounds, plant: None,
    };
    let report = Explorer::new(&setting, n("NOSYM") == 0).run();
    println!("{report}");
    assert!(report.found.is_none());
}
