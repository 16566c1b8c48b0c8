//! What goes to the store, and where its answers go.

use super::*;
use crate::core::message::{AckKind, ReleaseCause};
use crate::core::record::DeliveryBody;

impl Coordinator {
    pub(super) fn applied(&mut self, now: Now, op: OpId, applied: Applied) {
        let Some(pending) = self.pending.remove(&op) else { return };
        self.arrived(op);
        let along = self.along.remove(&op).filter(|_| applied == Applied::Yes);
        if let Applied::Conflict(Condition::GenerationIs(_)) = &applied {
            return self.out.push(Effect::Fenced);
        }
        match pending {
            Pending::Live(id) => self.live_applied(now, &id, op, applied),
            Pending::Group(id) => self.group_applied(now, &id, op, applied),
            Pending::Registered(admission) => self.admitted(now, *admission, &applied),
            Pending::Deliver(deliveries) => match applied {
                Applied::Yes => deliveries.into_iter().for_each(|d| self.queue_delivery(now, d)),
                // Somebody else found the attempt first, and aborted it.
                Applied::Conflict(Condition::AttemptIs(..)) => {}
                Applied::Conflict(condition) => {
                    self.alarm(format!("a delivery could not be stored: {condition:?}"));
                }
            },
            Pending::Tell(delivery) => match applied {
                Applied::Yes => self.told_again(now, delivery),
                Applied::Conflict(_) => self.ask_what_became(delivery.participant, delivery.attempt),
            },
            Pending::Direct(direct) => {
                self.changed(direct.meeting());
                self.direct_applied(now, *direct, &applied);
            }
            Pending::Withdraw { participant, attempt, reason, release } => {
                self.changed(&attempt.meeting);
                match applied {
                    Applied::Yes => self.left(now, release),
                    Applied::Conflict(_) => {
                        self.withdraw(now, participant, attempt.meeting, Some(attempt.n), reason);
                    }
                }
            }
            Pending::Nothing => {
                if let Applied::Conflict(condition) = applied {
                    self.alarm(format!("a write without conditions was refused: {condition:?}"));
                }
            }
            other => self.alarm(format!("a read was answered as a write: {other:?}")),
        }
        along.into_iter().flatten().for_each(|delivery| self.queue_delivery(now, delivery));
    }

    pub(super) fn was_read(&mut self, now: Now, op: OpId, result: ReadResult) {
        let Some(pending) = self.pending.remove(&op) else { return };
        match (pending, result) {
            (Pending::ReadRequest(id), ReadResult::Request(found)) => self.looked_up(now, &id, found),
            (Pending::ReadForCommand { ticket, command, deadline }, ReadResult::Meeting(found)) => {
                self.change(now, ticket, command, deadline, found.map(|b| *b));
            }
            (Pending::ReadPromises { participant, epoch }, ReadResult::Promises(promises)) => {
                self.promises_read(now, participant, epoch, *promises);
            }
            (Pending::ReadStrangers, ReadResult::Strangers(found)) => self.strangers_read(found),
            (Pending::ReadReported { participant, epoch }, ReadResult::Reported(reported)) => {
                self.reported_read(now, participant, epoch, reported);
            }
            (Pending::ReadAttempt { participant, attempt }, ReadResult::Attempt(found)) => {
                self.settle(now, &participant, &attempt, found.map(|b| *b));
            }
            (Pending::ReadWithdraw { participant, meeting, n, reason }, ReadResult::Meeting(found)) => {
                self.withdraw_read(now, participant, &meeting, n, reason, found.map(|b| *b));
            }
            (Pending::ReadDelivered(attempt), ReadResult::Meeting(Some(found))) => {
                self.all_delivered(now, &attempt, found.0);
            }
            (Pending::ReadDisplaceable(id), ReadResult::Displaceable(found)) => {
                self.displaceable_read(now, &id, op, found);
            }
            (Pending::ReadDelivered(_), ReadResult::Meeting(None)) => {}
            (Pending::ReadSeriesRequest(id), ReadResult::SeriesRequest(found)) => {
                self.series_looked_up(now, &id, found.map(|b| *b));
            }
            (Pending::ReadSeries(why), ReadResult::Series(found)) => {
                self.series_read(now, why, found.map(|b| *b));
            }
            (Pending::ReadUnexpected { tickets, change }, ReadResult::Meeting(found)) => {
                self.answer_as_read(tickets, change, found.map(|b| b.0));
            }
            (pending, result) => self.alarm(format!("{pending:?} was answered by {result:?}")),
        }
    }

    /// What has to be released along with these writes. A release that takes the place of a confirm which was never
    /// heard takes what the confirm displaces with it: an agent that left the attempt before it heard of the decision keeps
    /// that for a booking until it is told.
    fn released_along(&self, writes: &[Write]) -> Vec<Delivery> {
        let mut along: Vec<Delivery> = Vec::new();
        for write in writes {
            let Write::Delivery(Delivery { participant, attempt, body: DeliveryBody::Release(_) }) = write
            else {
                continue;
            };
            let Some(waiting) = self.undelivered.get(participant) else { continue };
            let unheard = waiting.get(attempt).map(|undelivered| &undelivered.delivery.body);
            let Some(DeliveryBody::Confirm { displaces, .. }) = unheard else { continue };
            for old in displaces {
                let told = waiting.get(old).is_some_and(|e| e.delivery.body.kind() == AckKind::Release)
                    || writes.iter().any(|write| {
                        matches!(write, Write::Delivery(other)
                            if other.participant == *participant && other.attempt == *old)
                    });
                if !told {
                    let cause = match old.meeting == attempt.meeting {
                        true => ReleaseCause::Moved,
                        false => ReleaseCause::Displaced,
                    };
                    let (participant, attempt) = (participant.clone(), old.clone());
                    along.push(Delivery { participant, attempt, body: DeliveryBody::Release(cause) });
                }
            }
        }
        along
    }

    pub(super) fn apply(&mut self, mut transaction: Transaction, pending: Pending) -> OpId {
        let along = self.released_along(&transaction.writes);
        transaction.writes.extend(along.iter().cloned().map(Write::Delivery));
        if !self.registering.is_empty() {
            self.outdate_registrations(&transaction.writes);
        }
        let told = transaction.writes.iter().filter_map(|write| match write {
            Write::Delivery(delivery) => Some(&delivery.participant),
            _ => None,
        });
        self.meet(told);
        let op = self.op();
        let delivery = |write: &Write| match write {
            Write::Delivery(delivery) => Some((delivery.participant.clone(), delivery.attempt.clone())),
            _ => None,
        };
        let delivering: Vec<_> = transaction.writes.iter().filter_map(delivery).collect();
        if !delivering.is_empty() {
            for key in &delivering {
                *self.delivered_anew.entry(key.clone()).or_default() += 1;
            }
            self.delivering.insert(op, delivering);
        }
        if !along.is_empty() {
            self.along.insert(op, along);
        }
        self.pending.insert(op, pending);
        self.out.push(Effect::Apply(op, transaction));
        op
    }

    /// The deliveries of a transaction are on disk, or refused.
    pub(super) fn arrived(&mut self, op: OpId) {
        for key in self.delivering.remove(&op).unwrap_or_default() {
            if let Some(count) = self.delivered_anew.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.delivered_anew.remove(&key);
                }
            }
        }
    }

    pub(super) fn read(&mut self, read: Read, pending: Pending) {
        self.read_op(read, pending);
    }

    pub(super) fn read_op(&mut self, read: Read, pending: Pending) -> OpId {
        let op = self.op();
        self.pending.insert(op, pending);
        self.out.push(Effect::Read(op, read));
        op
    }

    pub(super) fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub(super) fn alarm(&mut self, text: String) {
        self.counters.alarms += 1;
        self.out.push(Effect::Alarm(text));
    }

    pub(super) fn fence(&self) -> Condition {
        Condition::GenerationIs(self.generation)
    }
}
