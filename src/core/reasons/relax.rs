//! The smallest changes of a request under which a slot would have been found.
//!
//! The first three kinds are known to work: the changed request is ranked by the same answers, and what is unknown
//! stays unknown. A later end and unrestricted hours concern times that nobody was asked for, and are named only if
//! they give slots to ask for.

use std::time::Duration;

use super::{struck, zone_of};
use crate::core::availability::Answer;
use crate::core::ids::ParticipantId;
use crate::core::limits;
use crate::core::model::{FailureReason, MeetingSpec, Relaxation, RelaxationChange, Role, WorkingHours};
use crate::core::ranking::{LiveHold, Ranking, Scored, rank, released};
use crate::core::slots;
use crate::core::time::{self, TimeRange};
use crate::core::zones;

/// Most REQUIRED attendees that are named one by one.
const RELEASED: usize = 3;
/// Most days by which a later end is tried, to get over a weekend or a holiday.
const DAYS: u32 = 7;

/// What is known: the answers, and the holds that have to be respected. A slot that a lower-ranked hold may or may
/// not be keeping is not known to be free.
struct Known<'a> {
    spec: &'a MeetingSpec,
    slots: &'a [TimeRange],
    answers: &'a [Answer],
    live: Vec<LiveHold>,
    refused: &'a [TimeRange],
}

impl<'a> Known<'a> {
    fn new(ranking: &'a Ranking<'_>, answers: &'a [Answer], refused: &'a [TimeRange]) -> Self {
        let live = ranking.live.iter().filter(|hold| hold.outranks_us).cloned().collect();
        Self { spec: ranking.spec, slots: ranking.slots, answers, live, refused }
    }

    /// The best slot of a changed request that was not refused before.
    fn best(&self, spec: &MeetingSpec, slots: &[TimeRange]) -> Option<TimeRange> {
        self.first(spec, slots, |_| true).map(|scored| scored.slot)
    }

    fn first(
        &self,
        spec: &MeetingSpec,
        slots: &[TimeRange],
        usable: impl Fn(&Scored) -> bool,
    ) -> Option<Scored> {
        let ranking = rank(spec, slots, self.answers, &self.live);
        ranking.feasible.into_iter().find(|scored| !self.was_refused(&scored.slot) && usable(scored))
    }

    fn was_refused(&self, slot: &TimeRange) -> bool {
        self.refused.iter().any(|refused| refused.overlaps(slot))
    }

    fn at(&self, slot: &TimeRange) -> String {
        zones::in_words(slot, &zone_of(self.spec))
    }

    /// The largest minimum that some slot reaches.
    fn lower_minimum(&self) -> Option<Relaxation> {
        let mut spec = self.spec.clone();
        spec.minimum_participants = 1;
        let ranking = rank(&spec, self.slots, self.answers, &self.live);
        let usable = || ranking.feasible.iter().filter(|scored| !self.was_refused(&scored.slot));
        let most = usable().map(|scored| scored.quorum).max()?;
        let quorum = self.spec.quorum();
        let slot = usable().find(|scored| scored.quorum == most)?.slot;
        (most >= 1 && most < quorum).then(|| Relaxation {
            change: RelaxationChange::Minimum(most as u32),
            slot: Some(slot),
            message: format!("minimum {most} instead of {quorum}: {}", self.at(&slot)),
        })
    }

    /// Each REQUIRED attendee without whom alone there is a slot, by the time of that slot.
    fn release_required(&self) -> Vec<Relaxation> {
        let usable = |slot: &TimeRange| !self.was_refused(slot);
        let mut found = released(self.spec, self.slots, self.answers, &self.live, usable);
        found.sort_by(|a, b| {
            let id = |number: usize| &self.spec.attendees[number].id;
            a.1.cmp(&b.1).then_with(|| id(a.0).cmp(id(b.0)))
        });
        let relaxations = found.into_iter().take(RELEASED).filter_map(|(number, _)| {
            let mut spec = self.spec.clone();
            spec.attendees[number].role = Role::Optional;
            let slot = self.best(&spec, self.slots)?;
            let id = self.spec.attendees[number].id.clone();
            let message = format!("without {id} as required: {}", self.at(&slot));
            Some(Relaxation { change: RelaxationChange::ReleaseRequired(id), slot: Some(slot), message })
        });
        relaxations.collect()
    }

    /// The longest shorter meeting that fits. What fits a longer meeting fits a shorter one too, so the lengths can
    /// be halved down.
    fn shorter(&self) -> Option<Relaxation> {
        let lengths = shorter_lengths(self.spec.duration, self.spec.window.step);
        let slot_of = |duration: Duration| {
            let spec = MeetingSpec { duration, ..self.spec.clone() };
            let slots = slots::candidates(&spec).ok()?;
            self.best(&spec, &slots)
        };
        let (mut fits, mut too_long) = (None, lengths.len());
        let mut low = 0;
        // The shortest first: mostly nothing fits at all.
        let mut next = 0;
        while low < too_long {
            match slot_of(lengths[next]) {
                Some(slot) => {
                    fits = Some((lengths[next], slot));
                    low = next + 1;
                }
                None => too_long = next,
            }
            next = low + (too_long - low) / 2;
        }
        let (duration, slot) = fits?;
        let message =
            format!("{} instead of {}: {}", words(duration), words(self.spec.duration), self.at(&slot));
        Some(Relaxation { change: RelaxationChange::Duration(duration), slot: Some(slot), message })
    }
}

/// The relaxations of a search, the least change first.
pub(super) fn within_window(
    ranking: &Ranking<'_>,
    refused: &[TimeRange],
    reason: FailureReason,
) -> Vec<Relaxation> {
    let known = Known::new(ranking, ranking.answers, refused);
    if ranking.feasible.iter().any(|scored| !known.was_refused(&scored.slot)) {
        return Vec::new();
    }
    let mut relaxations = Vec::new();
    if !ranking.slots.is_empty() {
        relaxations.extend(known.lower_minimum());
        relaxations.extend(known.release_required());
        relaxations.extend(known.shorter());
    }
    // More time brings nobody back.
    if matches!(
        reason,
        FailureReason::WindowEmpty | FailureReason::RequiredBusy | FailureReason::NoCommonSlot
    ) {
        relaxations.extend(later_end(ranking));
        relaxations.extend(any_hour(ranking));
    }
    relaxations
}

/// The relaxations of a request that named its slot: who refused it is busy.
pub(super) fn of_slot(ranking: &Ranking<'_>, refused_by: &[ParticipantId]) -> Vec<Relaxation> {
    let answers = struck(ranking.spec, ranking.answers, refused_by);
    let known = Known::new(ranking, &answers, &[]);
    if known.best(ranking.spec, ranking.slots).is_some() {
        return Vec::new();
    }
    known.lower_minimum().into_iter().chain(known.release_required()).collect()
}

/// The fewest days, up to a week, by which a later end gives more slots.
fn later_end(ranking: &Ranking<'_>) -> Option<Relaxation> {
    let earliest = ranking.spec.window.earliest?;
    let latest = ranking.spec.window.latest?;
    (1..=DAYS).find_map(|days| {
        let later = time::add(latest, Duration::from_secs(24 * 60 * 60) * days);
        let mut spec = ranking.spec.clone();
        spec.window.latest = Some(later);
        let allowed = TimeRange::new(earliest, later).length() <= limits::WINDOW_MAX;
        let slots = slots::candidates(&spec).ok().filter(|_| allowed)?;
        let more = slots.len().checked_sub(ranking.slots.len()).filter(|more| *more > 0)?;
        let by = if days == 1 { "one day".to_owned() } else { format!("{days} days") };
        Some(Relaxation {
            change: RelaxationChange::Latest(later),
            slot: None,
            message: format!("{by} later: {more} more slots to ask for"),
        })
    })
}

/// No working hours, if they keep slots away.
fn any_hour(ranking: &Ranking<'_>) -> Option<Relaxation> {
    if ranking.spec.window.working_hours == WorkingHours::Unrestricted {
        return None;
    }
    let mut spec = ranking.spec.clone();
    spec.window.working_hours = WorkingHours::Unrestricted;
    // Too many slots to list would be refused, so that is no advice.
    let slots = slots::candidates(&spec).ok()?;
    let more = slots.len().checked_sub(ranking.slots.len()).filter(|more| *more > 0)?;
    Some(Relaxation {
        change: RelaxationChange::UnrestrictedHours,
        slot: None,
        message: format!("at any hour instead of in working hours: {more} more slots to ask for"),
    })
}

/// Lengths below that of the meeting, ascending: multiples of 5 minutes below one step, multiples of the step from
/// there on.
fn shorter_lengths(duration: Duration, step: Duration) -> Vec<Duration> {
    const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
    let multiples = |unit: Duration, limit: Duration| {
        (1..).map(move |count| unit.saturating_mul(count)).take_while(move |length| *length < limit)
    };
    let step = step.max(limits::STEP_MIN);
    multiples(FIVE_MINUTES, step.min(duration)).chain(multiples(step, duration)).collect()
}

/// A length in words: "1 h 30 min", "45 min".
pub(super) fn words(length: Duration) -> String {
    let (minutes, seconds) = (length.as_secs() / 60, length.as_secs() % 60);
    let parts = [(minutes / 60, "h"), (minutes % 60, "min"), (seconds, "s")];
    let parts: Vec<_> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}
