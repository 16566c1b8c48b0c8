//! Planted bugs: each rule of PROTOCOL.md that matters can be left out, one at a time, to show that the simulated
//! world sees it (`tests/sim/planted.rs`, `docs/planted-bugs.md`).
//!
//! A switch exists only under `cfg(debug_assertions)`, and is set by tests only, for their own thread. In a release
//! build [`planted`] is a constant `false`, and the compiler removes every site together with the bug.

/// A rule that is left out while it is planted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Planted {
    /// D1: holds are sent before the attempt is on disk.
    HoldBeforeD1,
    /// D2 ✗: the agent votes before its hold is in the journal.
    VoteBeforeSync,
    /// D3 ✗: the decision compares neither the attempt's state nor the store's generation.
    DecideWithoutCompare,
    /// D3: deliveries are kept in memory only.
    DeliveriesInMemory,
    /// D4: the agent acknowledges a release that is not in its journal.
    AckBeforeDurable,
    /// D5: a delivery is forgotten once it is sent.
    ForgottenBeforeAck,
    /// ✗ The agent releases on its own when the lease ran out.
    ReleaseOnLeaseEnd,
    /// ✗ A number is given to a second attempt of the meeting.
    NumberReused,
    /// ✗ Votes of an older life of the journal count.
    OldLineageCounted,
    /// ✗ A late yes joins the commit set.
    CommitSetRecomputed,
    /// ✗ The agent does not ask about holds whose lease is over.
    NoResolve,
    /// ✗ The agent asks, and gives the hold up before the answer.
    HeldGivenUpEarly,
    /// ✗ The agent drops a hold in favour of another by itself.
    WoundLocally,
    /// ✗ A journal whose sequence went back is taken for the same life.
    JournalWentBackKept,
    /// ✗ An agent is READY before it has its bookings.
    ReadyBeforeBookings,
    /// Who was in the old commit set and is not in the new one is not released.
    OldCommitSetForgotten,
    /// An agent without a journal keeps its lineage.
    JournalLessKeepsLineage,
    /// One participant's lost vote aborts the attempt of all.
    FlappingAbortsOthers,
    /// A restored store goes on with numbers that its later life gave out.
    RestoredGenerationReused,
    /// The agent forgets what was released.
    TombstoneForgotten,
    /// The agent takes a confirm of an attempt that was released.
    StaleConfirmTaken,
    /// Messages over an older stream count.
    StaleEpochAccepted,
    /// A FAILED meeting is not stored, nor its request id.
    RequestNotDurable,
    /// A failure is answered before it is on disk.
    FailedBeforeDurable,
    /// A vote that the journal has no more still counts.
    GoneVoteKept,
    /// A lower rank pushes a higher one.
    LowerRankPushes,
    /// I8: an agent answers with all its free time, whatever its disclosure level.
    DisclosureIgnored,
    /// ✗ A confirm does not drop what it displaces in the same write.
    DisplacedKept,
    /// ✗ The old booking is given up when the hold that overlays it is granted.
    DisplacedBeforeDecision,
    /// ✗ D3 books the displacer, and does not mark the old meeting DISPLACED in the same transaction.
    DisplacedNotMarked,
    /// D3 does not compare what it displaces.
    DisplacedNotCompared,
    /// The occurrences of a series are decided one by one, whatever its conflict policy.
    SeriesDecidedInParts,
}

impl Planted {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::HoldBeforeD1,
        Self::VoteBeforeSync,
        Self::DecideWithoutCompare,
        Self::DeliveriesInMemory,
        Self::AckBeforeDurable,
        Self::ForgottenBeforeAck,
        Self::ReleaseOnLeaseEnd,
        Self::NumberReused,
        Self::OldLineageCounted,
        Self::CommitSetRecomputed,
        Self::NoResolve,
        Self::HeldGivenUpEarly,
        Self::WoundLocally,
        Self::JournalWentBackKept,
        Self::ReadyBeforeBookings,
        Self::OldCommitSetForgotten,
        Self::JournalLessKeepsLineage,
        Self::FlappingAbortsOthers,
        Self::RestoredGenerationReused,
        Self::TombstoneForgotten,
        Self::StaleConfirmTaken,
        Self::StaleEpochAccepted,
        Self::RequestNotDurable,
        Self::FailedBeforeDurable,
        Self::GoneVoteKept,
        Self::LowerRankPushes,
        Self::DisclosureIgnored,
        Self::DisplacedKept,
        Self::DisplacedBeforeDecision,
        Self::DisplacedNotMarked,
        Self::DisplacedNotCompared,
        Self::SeriesDecidedInParts,
    ];

    /// The rule that is left out, in words.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::HoldBeforeD1 => "D1: the attempt is on disk before the first hold is sent",
            Self::VoteBeforeSync => "D2 ✗: HELD is synced before the yes vote",
            Self::DecideWithoutCompare => {
                "D3 ✗: by compare-and-set of HOLDING (and of the store's generation)"
            }
            Self::DeliveriesInMemory => "D3: undelivered confirms and releases live in the store",
            Self::AckBeforeDurable => "D4: RELEASED is in the journal before the ack",
            Self::ForgottenBeforeAck => "D5: a delivery is kept until it is acknowledged",
            Self::ReleaseOnLeaseEnd => "✗ a lease that ran out gives no right to release",
            Self::NumberReused => "✗ n is never reused",
            Self::OldLineageCounted => "✗ votes of an older lineage are void",
            Self::CommitSetRecomputed => "✗ C is never recomputed for a late yes",
            Self::NoResolve => "✗ a lease that ran out, or a restart: Resolve",
            Self::HeldGivenUpEarly => "✗ HELD until answered",
            Self::WoundLocally => "✗ the agent never wounds locally",
            Self::JournalWentBackKept => "✗ a journal sequence that went back is a new lineage",
            Self::ReadyBeforeBookings => "✗ bookings are installed before READY",
            Self::OldCommitSetForgotten => "who was in the old C and is not in the new gets Release(old n)",
            Self::JournalLessKeepsLineage => {
                "an agent without a journal is a new lineage at every registration"
            }
            Self::FlappingAbortsOthers => "one lost vote aborts nobody else's attempt",
            Self::RestoredGenerationReused => "a restored store does not reuse n",
            Self::TombstoneForgotten => "late holds and confirms of n ≤ tombstone are refused or ignored",
            Self::StaleConfirmTaken => "a late confirm of n ≤ tombstone is ignored",
            Self::StaleEpochAccepted => "messages of an older session epoch are dropped (I7)",
            Self::RequestNotDurable => "a FAILED meeting and its request id are durable",
            Self::FailedBeforeDurable => "FAILED is durable before the answer",
            Self::GoneVoteKept => "a vote that is gone is struck, and never counted again",
            Self::LowerRankPushes => "only a higher rank pushes",
            Self::DisclosureIgnored => "I8: an answer reveals no more than the disclosure level",
            Self::DisplacedKept => "✗ a displaced meeting is dropped in the same write as the confirm",
            Self::DisplacedBeforeDecision => "✗ the old booking stands until D3",
            Self::DisplacedNotMarked => "✗ D3 marks the old meeting DISPLACED in the same transaction",
            Self::SeriesDecidedInParts => "a series of FAIL_SERIES is one decision",
            Self::DisplacedNotCompared => "D3 compares the version of each displaced meeting too",
        }
    }
}

#[cfg(debug_assertions)]
mod switch {
    use std::cell::Cell;

    use super::Planted;

    thread_local! {
        static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    /// Whether the bug is planted in this thread.
    pub fn planted(bug: Planted) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug in this thread, in place of any other; `None` takes it out. For tests only.
    pub fn plant(bug: Option<Planted>) {
        PLANTED.set(bug);
    }
}

#[cfg(debug_assertions)]
pub use switch::{plant, planted};

/// Nothing is ever planted in a release build.
#[cfg(not(debug_assertions))]
pub const fn planted(_: Planted) -> bool {
    false
}
