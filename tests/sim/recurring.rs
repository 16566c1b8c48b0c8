//! Organizers who ask for series, and what they are told.

use std::time::Duration;

use quorate::core::coordinator::{Command, Refused, Reply};
use quorate::core::ids::{RequestId, SeriesId};
use quorate::core::model::Options;
use quorate::core::random::Random;
use quorate::core::series::{ConflictPolicy, Pattern, SeriesRequest};
use quorate::core::time::{Mono, TimeRange};

use super::organizers::{Call, Kind, Organizers};
use super::plan::{Plan, Wish, at, chance, millis, pick};
use super::tally::Tally;

/// What an organizer asks for, on some days in a row.
#[derive(Clone, Debug)]
pub struct SeriesWish {
    pub wish: Wish,
    pub days: u64,
    pub policy: ConflictPolicy,
}

impl Plan {
    pub fn series_wish(&self, random: &mut Random) -> SeriesWish {
        let mut wish = self.wish(random);
        wish.spec.duration = Duration::from_secs(60 * pick(random, &[30, 60]));
        wish.options.max_candidates_per_round = 0;
        let start = at(60 * random.below(self.hours));
        wish.slot = chance(random, 600).then(|| TimeRange::lasting(start, wish.spec.duration));
        let nearby = ConflictPolicy::MoveWithin(Duration::from_secs(2 * 3600));
        let policies = [ConflictPolicy::FailSeries, ConflictPolicy::FailSeries, ConflictPolicy::Skip, nearby];
        SeriesWish { wish, days: 2 + random.below(3), policy: pick(random, &policies) }
    }
}

impl Organizers {
    pub fn schedule_series(&mut self, now: Mono, random: &mut Random, wish: SeriesWish) -> Call {
        let id = RequestId::new(random.uuid());
        self.series_wishes.push((id.clone(), wish.clone()));
        self.send_series(now, id, wish, "one")
    }

    pub fn send_series(&mut self, now: Mono, id: RequestId, wish: SeriesWish, body: &str) -> Call {
        let SeriesWish { wish: Wish { spec, slot, options, deadline }, days, policy } = wish;
        let request = SeriesRequest {
            request_id: Some(id.clone()),
            body_hash: body.into(),
            spec,
            first: slot,
            pattern: Pattern::Rule(format!("FREQ=DAILY;COUNT={days}")),
            exclude: Vec::new(),
            policy,
            options,
            validate_only: false,
        };
        self.call(
            now,
            Command::ScheduleSeries(Box::new(request)),
            deadline,
            Kind::Series(id, body.into()),
            false,
        )
    }

    pub fn repeat_series(&mut self, now: Mono, random: &mut Random) -> Option<Call> {
        let count = self.series_wishes.len().max(1) as u64;
        let (id, wish) = self.series_wishes.get(random.below(count) as usize)?.clone();
        let body = if chance(random, 250) { "other" } else { "one" };
        Some(self.send_series(now, id, wish, body))
    }

    fn any_series(&self, random: &mut Random) -> Option<SeriesId> {
        self.series.iter().nth(random.below(self.series.len().max(1) as u64) as usize).cloned()
    }

    /// "This and following", or all of it.
    pub fn cancel_series(&mut self, now: Mono, random: &mut Random) -> Option<Call> {
        let series = self.any_series(random)?;
        let day = chrono::Duration::days(random.below(4) as i64);
        let from = chance(random, 600).then(|| at(0) + day);
        let command = Command::CancelSeries { series, version: None, from };
        Some(self.call(
            now,
            command,
            Duration::from_secs(60),
            Kind::ChangeSeries("the rest of a series was called off"),
            false,
        ))
    }

    pub fn move_series(
        &mut self,
        now: Mono,
        random: &mut Random,
        plan: &Plan,
        mut options: Options,
    ) -> Option<Call> {
        let series = self.any_series(random)?;
        options.max_candidates_per_round = 0;
        let day = random.below(3);
        let start = at(60 * random.below(plan.hours) + 24 * 60 * day);
        let slot = TimeRange::lasting(start, Duration::from_secs(60 * pick(random, &[30, 60])));
        let from = Some(at(0) + chrono::Duration::days(random.below(3) as i64));
        let command = Command::RescheduleSeries { series, version: None, from, slot, options };
        Some(self.call(
            now,
            command,
            millis(random, 2_000, 15_000),
            Kind::ChangeSeries("a series was moved"),
            false,
        ))
    }

    pub fn series_again(&mut self, now: Mono) -> Vec<Call> {
        let again = std::mem::take(&mut self.series_to_ask_again);
        again.into_iter().map(|(id, wish)| self.send_series(now, id, wish, "one")).collect()
    }

    /// An answer to a request for a series, or to a change of one.
    pub(super) fn series_answered(&mut self, kind: Kind, reply: &Reply, tally: &mut Tally) {
        match (kind, reply) {
            (Kind::Series(request, body), Reply::Series(id, _)) => {
                if let Some(before) = self.told_series.insert((request.clone(), body), id.clone())
                    && before != *id
                {
                    self.broken.push(format!("I6: {request} is {before} and {id}"));
                }
                self.series.insert(id.clone());
            }
            (Kind::Series(request, body), Reply::Refused(Refused::ShuttingDown)) if body == "one" => {
                if let Some((_, wish)) = self.series_wishes.iter().find(|(known, _)| *known == request) {
                    self.series_to_ask_again.push((request, wish.clone()));
                }
            }
            (Kind::ChangeSeries(situation), Reply::Series(_, failures)) if failures.is_empty() => {
                tally.saw(situation);
            }
            (Kind::ChangeSeries(_), Reply::Series(..)) => tally.saw("a series could not be moved and stood"),
            (_, Reply::Refused(_)) => {}
            (_, reply) => self.broken.push(format!("a request for a series was answered by {reply:?}")),
        }
    }
}
