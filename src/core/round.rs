//! One fan-out of availability queries. The aggregation is a value: it is told what came in, and says when it is over.

use std::collections::HashMap;

use super::availability::Answer;
use super::ids::ParticipantId;
use super::model::Attendee;
use super::time::Mono;

/// The answers of one round, as they come in.
#[derive(Clone, Debug)]
pub struct Round {
    places: HashMap<ParticipantId, usize>,
    answers: Vec<Option<Answer>>,
    open: usize,
    deadline: Mono,
}

/// What became of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It counts.
    Counted,
    /// The participant has answered, or was lost, before: dropped.
    Duplicate,
    /// This participant was not asked: dropped.
    NotAsked,
}

/// Why a round is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoundEnd {
    /// Nobody is left to wait for.
    Complete,
    /// Its deadline has come; who is silent counts as unknown.
    TimedOut,
}

impl Round {
    /// A round that asks these, each counted once, and waits until `deadline`.
    pub fn new(asked: Vec<ParticipantId>, deadline: Mono) -> Self {
        let mut places = HashMap::with_capacity(asked.len());
        for id in asked {
            let next = places.len();
            places.entry(id).or_insert(next);
        }
        let open = places.len();
        Self { answers: vec![None; open], places, open, deadline }
    }

    /// Takes an answer. The first one of each participant counts.
    pub fn record(&mut self, participant: &ParticipantId, answer: Answer) -> Recorded {
        let Some(&place) = self.places.get(participant) else {
            return Recorded::NotAsked;
        };
        if self.answers[place].is_some() {
            return Recorded::Duplicate;
        }
        self.answers[place] = Some(answer);
        self.open -= 1;
        Recorded::Counted
    }

    /// Takes note that a participant's stream ended: unanswered, it is `Answer::Disconnected`. An answer that was
    /// given before stands.
    pub fn lost(&mut self, participant: &ParticipantId) -> Recorded {
        self.record(participant, Answer::Disconnected)
    }

    /// Whether the round is over at `now`, and why.
    pub fn outcome(&self, now: Mono) -> Option<RoundEnd> {
        if self.is_complete() {
            Some(RoundEnd::Complete)
        } else if now >= self.deadline {
            Some(RoundEnd::TimedOut)
        } else {
            None
        }
    }

    /// Whether nobody is left to wait for.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Whether the round is over at `now`: complete, or past its deadline.
    pub fn is_over(&self, now: Mono) -> bool {
        self.outcome(now).is_some()
    }

    /// When it is over at the latest.
    pub fn deadline(&self) -> Mono {
        self.deadline
    }

    /// How many have not answered.
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many were asked.
    pub fn asked(&self) -> usize {
        self.answers.len()
    }

    /// Who has not answered, in no order.
    pub fn silent(&self) -> impl Iterator<Item = &ParticipantId> {
        self.places.iter().filter(|(_, place)| self.answers[**place].is_none()).map(|(id, _)| id)
    }

    /// Everybody who was asked, with the answer; the silent are `Answer::NoAnswer`.
    pub fn into_answers(mut self) -> HashMap<ParticipantId, Answer> {
        let answers = &mut self.answers;
        let mut take = |place: usize| answers[place].take().unwrap_or(Answer::NoAnswer);
        self.places.into_iter().map(|(id, place)| (id, take(place))).collect()
    }
}

/// The answers in the order of the attendees, as `ranking::rank` takes them; `absent` stands for those who are not
/// among the answers (not asked, or not connected).
pub fn aligned(
    attendees: &[Attendee],
    mut answers: HashMap<ParticipantId, Answer>,
    absent: &Answer,
) -> Vec<Answer> {
    let mut take = |attendee: &Attendee| answers.remove(&attendee.id).unwrap_or_else(|| absent.clone());
    attendees.iter().map(&mut take).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(name: &str) -> ParticipantId {
        ParticipantId::new(name)
    }

    #[test]
    fn the_first_answer_counts_and_the_last_one_completes() {
        let deadline = Mono(Duration::from_secs(2));
        let mut round = Round::new(vec![id("a"), id("b"), id("a")], deadline);
        assert_eq!((round.asked(), round.open()), (2, 2));
        assert_eq!(round.outcome(Mono::default()), None);
        assert_eq!(round.record(&id("a"), Answer::Declined("no".into())), Recorded::Counted);
        assert_eq!(round.record(&id("a"), Answer::Free(vec![])), Recorded::Duplicate);
        assert_eq!(round.record(&id("z"), Answer::Free(vec![])), Recorded::NotAsked);
        assert_eq!(round.lost(&id("a")), Recorded::Duplicate);
        assert_eq!(round.outcome(Mono::default()), None);
        assert_eq!(round.outcome(deadline), Some(RoundEnd::TimedOut));
        assert_eq!(round.lost(&id("b")), Recorded::Counted);
        assert_eq!(round.outcome(Mono::default()), Some(RoundEnd::Complete));
        let answers = round.into_answers();
        assert_eq!(answers[&id("a")], Answer::Declined("no".into()));
        assert_eq!(answers[&id("b")], Answer::Disconnected);
    }

    #[test]
    fn the_silent_are_unknown() {
        let round = Round::new(vec![id("a")], Mono::default());
        assert_eq!(round.outcome(Mono::default()), Some(RoundEnd::TimedOut));
        assert_eq!(round.into_answers()[&id("a")], Answer::NoAnswer);
        assert_eq!(Round::new(vec![], Mono::default()).outcome(Mono::default()), Some(RoundEnd::Complete));
    }
}
