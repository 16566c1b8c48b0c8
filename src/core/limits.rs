//! Every bound in one place.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// What a request may say.

/// Longest title, in characters.
pub const TITLE_CHARS: usize = 500;
/// Longest participant id and organizer, in characters.
pub const ID_CHARS: usize = 128;
/// Length of what is wrong with a participant's calendar, in characters.
pub const CALENDAR_PROBLEM_CHARS: usize = 500;
/// Longest display name, in characters.
pub const DISPLAY_NAME_CHARS: usize = 200;
/// Longest reason that an agent gives, in characters; longer ones are cut.
pub const REASON_CHARS: usize = 500;
/// Most attendees of one meeting.
pub const ATTENDEES: usize = 5_000;
/// Shortest meeting.
pub const DURATION_MIN: Duration = Duration::from_secs(60);
/// Longest meeting.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Longest buffer on either side.
pub const BUFFER_MAX: Duration = DAY;
/// Smallest distance of candidate starts.
pub const STEP_MIN: Duration = Duration::from_secs(60);
/// Greatest distance of candidate starts.
pub const STEP_MAX: Duration = DAY;
/// Distance of candidate starts, unless the request says.
pub const STEP_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Longest window.
pub const WINDOW_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Length of the window, unless the request says.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Longest release name of time-zone data, in characters.
pub const ZONE_VERSION_CHARS: usize = 64;
/// Longest range over which an agent's time-zone data is compared.
pub const ZONE_DATA_RANGE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// Most excluded ranges.
pub const EXCLUDES: usize = 1_000;
/// Most candidate slots of one window; a request for more must narrow the window or widen the step.
pub const CANDIDATES: usize = 50_000;
/// Highest priority.
pub const PRIORITY_MAX: i32 = 100;
/// Most requests of one batch.
pub const BATCH: usize = 1_000;
/// Most meetings or participants on one page.
pub const PAGE_MAX: usize = 1_000;
/// Entries of a page, unless the request says.
pub const PAGE_DEFAULT: usize = 50;
/// Most candidates in one answer.
pub const CANDIDATES_RETURNED_MAX: usize = 1_000;
/// Candidates in one answer, unless the request says.
pub const CANDIDATES_RETURNED_DEFAULT: usize = 10;
/// Most entries of an attempt log that are kept; `attempts` still counts them all.
pub const ATTEMPT_LOG: usize = 100;
/// Most attendees named in all entries of a log together; beyond that the older entries name nobody.
pub const ATTEMPT_LOG_OUTCOMES: usize = 10_000;

/// Most occurrences of a series that are booked at once.
pub const OCCURRENCES: usize = 400;
/// Most places of a series that are booked at once: its occurrences, each times its attendees.
pub const SERIES_SEATS: usize = 50_000;
/// Most slots to which the occurrences of a series may be moved, summed over all of them and all first slots.
pub const SERIES_PLACES: usize = 500_000;
/// Longest recurrence rule, in characters.
pub const RULE_CHARS: usize = 500;
/// Most dates that a series leaves out.
pub const EXCLUDE_DATES: usize = 1_000;
/// How far ahead a series without an end is booked.
pub const SERIES_HORIZON: Duration = Duration::from_secs(182 * 24 * 60 * 60);
/// How often it is looked whether such a series has to be booked further.
pub const SERIES_CHECK: Duration = Duration::from_secs(60 * 60);

/// Occurrences that begin no sooner than this are not given up because somebody is away at the moment.
pub const SERIES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Most phases of traced jobs that wait to be taken; more are counted and lost.
pub const PHASES_WAITING: usize = 8_192;
/// Most decisions whose delivery is traced at once; of more the oldest is given up.
pub const DELIVERIES_TRACED: usize = 2_000;
/// Most members of a `tracestate` (W3C Trace Context, 3.3.1.1); one with more is dropped.
pub const TRACESTATE_MEMBERS: usize = 32;
/// Longest `tracestate` that is kept and passed on, in characters: as much as the recommendation asks for (3.3.1.5). It is in
/// each message to agents of its trace. Longer ones lose whole members.
pub const TRACESTATE_CHARS: usize = 512;
/// Members that are longer, in characters, are the first to go (3.3.1.5).
pub const TRACESTATE_LONG_MEMBER: usize = 128;

// How long things may take.

/// How long a round waits for answers, unless the request says.
pub const RESPONSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// Longest wait for answers.
pub const RESPONSE_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for named attendees to connect.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// How long a request may take, unless the call has a deadline.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(60);
/// Longest deadline that is honoured.
pub const DEADLINE_MAX: Duration = Duration::from_secs(600);
/// Slots tried, unless the request says.
pub const ATTEMPTS_DEFAULT: u32 = 10;
/// Most slots tried.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// How long an agent holds before it asks with `Resolve`.
pub const LEASE: Duration = Duration::from_secs(10);
/// How long an attempt waits for votes. Shorter than the lease, so that agents need not ask.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a decided quorum waits for the remaining votes.
pub const VOTE_GRACE: Duration = Duration::from_millis(300);
/// Shortest wait before a slot lost to a live hold is tried again.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// First pause before an unacknowledged message is sent again.
pub const REDELIVER_MIN: Duration = Duration::from_secs(2);
/// Longest such pause.
pub const REDELIVER_MAX: Duration = Duration::from_secs(30);
/// How long meetings that a restart found undecided wait for their attendees to come back.
pub const RECOVERY_CONNECT: Duration = Duration::from_secs(10);
/// How far ahead a booked meeting must lie to be displaced.
pub const DISPLACE_NOTICE: Duration = Duration::from_secs(60 * 60);
/// How often one meeting may be displaced.
pub const DISPLACED_MAX: u32 = 2;
/// Most meetings displaced by one booking.
pub const DISPLACED_AT_ONCE: usize = 100;
/// Most displaceable bookings that are looked at for one round, the earliest first.
pub const DISPLACEABLE: usize = 500;
/// Most bookings that are read to find them.
pub const DISPLACEABLE_READ: usize = 5_000;
/// How long a displaced meeting is sought again.
pub const DISPLACED_DEADLINE: Duration = DEADLINE_MAX;
/// How long that search waits for attendees who are not connected.
pub const DISPLACED_CONNECT: Duration = Duration::from_secs(60);
/// How long the first frame of a stream may take.
pub const FIRST_FRAME: Duration = Duration::from_secs(10);
/// How long the store may take over what it was asked until the scheduler no longer counts as ready: thousands of times what a
/// sync takes, and less than what a request has.
pub const STORE_STALLED: Duration = Duration::from_secs(5);
/// How long shutdown may take.
pub const DRAIN: Duration = Duration::from_secs(6);

// What a stream may carry.

/// Largest frame, in bytes.
pub const FRAME_BYTES: usize = 1 << 20;
/// Largest message of an organizer, in bytes.
pub const REQUEST_BYTES: usize = 4 << 20;
/// Messages waiting for one stream; a stream that lets more gather is closed.
pub const SESSION_QUEUE: usize = 65_536;
/// Messages of one stream that may be waiting for the engine and the disk; then its reader waits. A registration counts as
/// one more for every [`PROMISES_PER_MESSAGE`] promises that it reports.
pub const SESSION_UNSETTLED: u32 = 1_024;
/// Messages of all streams of one caller that may be waiting so, counted likewise: those of eight streams.
pub const CALLER_UNSETTLED: u32 = 8 * SESSION_UNSETTLED;
/// How many reported promises weigh as much as one message.
pub const PROMISES_PER_MESSAGE: usize = 8;
/// Most participants for whom one stream ever speaks.
pub const PARTICIPANTS_PER_SESSION: usize = 100_000;
/// Most participants that are known, connected or not. For one more, somebody is forgotten who is not connected and whom
/// nothing binds.
pub const PARTICIPANTS: usize = 1_000_000;
/// Most free ranges in one answer.
pub const FREE_RANGES: usize = 10_000;
/// Highest cost that an agent may quote.
pub const COST_MAX: i32 = 1_000_000;
/// Most holds that a registration may report.
pub const REGISTER_HELD: usize = 10_000;
/// Most bookings that a registration may report.
pub const REGISTER_BOOKED: usize = 100_000;
/// Most withdrawals that a registration may report.
pub const REGISTER_WITHDRAWN: usize = 10_000;

/// Most attempts of a registration that one read asks the store about; more are asked about read by read, so that others'
/// transactions go in between.
pub const PROMISES_PER_READ: usize = 256;

// What the engine keeps.

/// Inputs waiting for the core; callers wait, then are refused.
pub const ENGINE_QUEUE: usize = 16_384;
/// Requests alive at once; more are refused with RESOURCE_EXHAUSTED.
pub const LIVE_MEETINGS: usize = 20_000;
/// Greatest step from one life of the store to the next.
pub const GENERATION_STEP: u64 = 4_096;
/// From here on no agent is believed that says that it has seen a store of this generation. A store gets there after half a
/// million lives at the earliest, and as many are left beyond.
pub const GENERATION_BELIEVED: u32 = 1 << 31;
/// Furthest that one registration takes the store's generation on, some two thousand lives: made-up numbers are not to use
/// all of them up at once.
pub const GENERATION_JUMP: u32 = 1 << 22;
/// Requests and watches that one caller may have open, unless configured otherwise.
pub const REQUESTS_PER_CALLER: usize = 2_000;
/// Streams of agent hosts that one caller may have open, unless configured otherwise: an agent for each person in a large
/// house, all behind one address.
pub const STREAMS_PER_CALLER: usize = 10_000;
/// Participants that the streams of one caller may speak for at a time, unless configured otherwise: a quarter of all names.
pub const PARTICIPANTS_PER_CALLER: usize = PARTICIPANTS / 4;
/// Names that the open streams of a caller may ever have spoken for, for each participant that they may speak for at a time.
pub const NAMES_PER_PARTICIPANT: usize = 4;
/// How often it is looked whom nothing binds any more, if there is no room for another name: that looks at all of them.
pub const STRANGERS_LOOK: Duration = Duration::from_secs(10 * 60);
/// Most transactions in one commit group.
pub const COMMIT_GROUP: usize = 512;
/// Events kept for replay.
pub const EVENTS_KEPT: u64 = 100_000;

const _: () = {
    assert!(ATTEMPT_TIMEOUT.as_millis() < LEASE.as_millis());
    assert!(VOTE_GRACE.as_millis() < ATTEMPT_TIMEOUT.as_millis());
    assert!(BACKOFF_MIN.as_millis() < BACKOFF_MAX.as_millis());
    assert!(REDELIVER_MIN.as_millis() < REDELIVER_MAX.as_millis());
    assert!(SECOND.as_millis() < RESPONSE_TIMEOUT_DEFAULT.as_millis());
    assert!(RESPONSE_TIMEOUT_DEFAULT.as_millis() < RESPONSE_TIMEOUT_MAX.as_millis());
    assert!(DEADLINE_DEFAULT.as_millis() < DEADLINE_MAX.as_millis());
    assert!(DURATION_MIN.as_millis() < DURATION_MAX.as_millis());
    assert!(ATTENDEES <= ATTEMPT_LOG_OUTCOMES);
    assert!(PARTICIPANTS_PER_SESSION <= PARTICIPANTS);
    assert!(GENERATION_STEP < GENERATION_JUMP as u64);
    assert!(WINDOW_DEFAULT.as_millis() < WINDOW_MAX.as_millis());
};
