//! Series: requests for them, and what would be planned: bounded in number and time, whatever the rule says.

use prost::Message;
use quorate::core::limits;
use quorate::core::series::{self, Places, Plan, PlanError, SeriesRequest};
use quorate::core::slots;
use quorate::core::time::Instant;
use quorate::core::zones;
use quorate::wire::{pb, series as wire};

use super::bytes::Bytes;
use super::requests::told;

/// Reads one request as its service does, and plans the series that is asked for.
pub fn series(data: &[u8]) {
    let mut data = Bytes(data);
    let kind = data.below(4);
    let bytes = data.0;
    match kind {
        0 => schedule(bytes),
        1 => {
            if let Ok(request) = pb::CancelSeriesRequest::decode(bytes) {
                told(wire::cancel(request));
            }
        }
        2 => {
            if let Ok(request) = pb::RescheduleSeriesRequest::decode(bytes) {
                told(wire::reschedule(request));
            }
        }
        _ => {
            if let Ok(request) = pb::UpdateSeriesRequest::decode(bytes) {
                told(wire::update(request));
            }
        }
    }
}

fn schedule(bytes: &[u8]) {
    let Ok(request) = pb::ScheduleSeriesRequest::decode(bytes) else { return };
    let Some(read) = told(wire::schedule(request.clone())) else { return };
    assert_eq!(wire::schedule(request).as_ref(), Ok(&read));
    assert!(read.exclude.len() <= limits::EXCLUDE_DATES);
    let SeriesRequest { mut spec, first, pattern, exclude, policy, .. } = read;
    let now: Instant = "2026-12-01T00:00:00Z".parse().expect("an instant");
    let zone = slots::resolve_window(&mut spec.window, None, now).expect("the zones were checked");
    let zone = zones::zone(&zone).expect("it was resolved");
    let slots = match first {
        Some(slot) => vec![slot],
        None => slots::candidates(&spec).unwrap_or_default(),
    };
    let plans = match series::plans(&pattern, &exclude, &spec, &slots, first.is_some(), &zone, now) {
        Ok(plans) => plans,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for plan in &plans {
        is_good(plan, &spec);
        assert!(slots.contains(&plan.first));
    }
    match Places::of(plans.iter().flat_map(Plan::wanted), &spec, policy, first.is_some()) {
        Ok(places) => {
            let all = places.all();
            assert!(all.is_sorted() && all.len() <= 2 * limits::CANDIDATES);
        }
        Err(error) => assert!(matches!(error, PlanError::TooManySlots(_))),
    }
}

fn is_good(plan: &Plan, spec: &quorate::core::model::MeetingSpec) {
    assert!(!plan.occurrences.is_empty() && plan.occurrences.len() <= limits::OCCURRENCES);
    assert_eq!(plan.occurrences[0].local, plan.start);
    for pair in plan.occurrences.windows(2) {
        assert!(pair[0].local < pair[1].local);
        assert!(!spec.blocked(&pair[0].slot).overlaps(&spec.blocked(&pair[1].slot)));
    }
    for planned in &plan.occurrences {
        assert_eq!(planned.local.time(), plan.start.time(), "each begins at the time of the first");
        assert_eq!(planned.slot.length(), plan.first.length());
        assert!(plan.until.is_none_or(|until| planned.slot.start < until));
    }
}
