//! What a run is made of, drawn from its seed: who takes part, what goes wrong, who asks for what.

use std::time::Duration;

use quorate::core::coordinator::Room;
use quorate::core::ids::ParticipantId;
use quorate::core::model::{Attendee, MeetingSpec, Objective, Options, Role, Window, WorkingHours};
use quorate::core::random::Random;
use quorate::core::time::{Instant, Mono, TimeRange};

use super::faults::{RATES, Rates};
use super::recurring::SeriesWish;

/// One run.
pub struct Plan {
    pub seed: u64,
    /// The agents of each host, by index: one stream for all of them.
    pub hosts: Vec<Vec<usize>>,
    /// Which agents keep no journal and refuse without naming the blocker.
    pub small: Vec<bool>,
    /// Own events of each agent.
    pub busy: Vec<Vec<TimeRange>>,
    /// Hours of the day that everyone competes for.
    pub hours: u64,
    /// Whether meetings compete for few hours by displacing each other.
    pub displacing: bool,
    pub rates: Rates,
    /// Whether every stream is opened anew when faults stop.
    pub all_reconnect: bool,
    /// When faults and requests stop.
    pub stop: Mono,
    pub events: Vec<(Mono, Happening)>,
    /// Whether every command is part of a trace.
    pub traced: bool,
}

/// What happens at a time of its own.
#[derive(Clone, Debug)]
pub enum Happening {
    /// An item that was left out.
    Nothing,
    Schedule(Box<Wish>),
    /// The same request again, or one with its id and another body.
    Repeat {
        other_body: bool,
    },
    Find(Box<Wish>),
    ScheduleSeries(Box<SeriesWish>),
    RepeatSeries,
    CancelSeries,
    MoveSeries {
        options: Options,
    },
    Reschedule {
        named: bool,
        options: Options,
    },
    Update {
        options: Options,
    },
    Cancel,
    Withdraw(usize),
    OwnEvent(usize, TimeRange),
    /// An organizer stops waiting.
    HangUp,
    /// A participant leaves its stream for a while, and says so.
    Unregister(usize),
    CrashScheduler,
    /// Another scheduler starts on the same store while this one lives, or as soon as something is HOLDING.
    SecondScheduler {
        at_hold: bool,
    },
    /// The scheduler is asked to stop, with so many milliseconds for what is undecided.
    Drain(u64),
    /// The store is copied as soon as something is HOLDING, and the scheduler may crash then.
    BackupStore {
        then_crash: bool,
    },
    /// The copy is put back, and the scheduler starts from it.
    RestoreStore,
    CrashHost(usize),
    /// It crashes and never comes back.
    HostGone(usize),
    CrashEverything,
    BreakSession(usize),
    /// Nothing travels towards the scheduler (up) or from it (down), and neither end notices.
    Partition {
        host: usize,
        up: bool,
        down: bool,
        millis: u64,
    },
    /// All holds and confirms that were sent over the stream arrive once more.
    Echo(usize),
    /// Somebody registers whom nobody knows, in place of the last one, and takes the last room that there is for names.
    Stranger,
    /// The journal's disk is gone: a new one, or an older copy.
    LoseJournal(usize),
    /// A second process for the participant, with a copy of its journal as it is, or an older one.
    Twin {
        agent: usize,
        older: bool,
    },
    /// The wall clock of a host, or of the scheduler, jumps by so many milliseconds.
    WallJump(Option<usize>, i64),
}

/// What an organizer asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub spec: MeetingSpec,
    pub slot: Option<TimeRange>,
    pub options: Options,
    pub deadline: Duration,
}

/// Midnight before the run; all meetings are sought on the day after.
pub fn midnight() -> Instant {
    "2030-01-07T00:00:00Z".parse().expect("an instant")
}

/// `hour` o'clock and some minutes on the day of the meetings.
pub fn at(minutes: u64) -> Instant {
    midnight() + chrono::Duration::days(1) + chrono::Duration::minutes(9 * 60 + minutes as i64)
}

pub fn name(agent: usize) -> ParticipantId {
    ParticipantId::new(format!("p{agent}"))
}

pub fn chance(random: &mut Random, per_mille: u64) -> bool {
    random.below(1000) < per_mille
}

pub fn pick<T: Clone>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize].clone()
}

pub fn millis(random: &mut Random, from: u64, to: u64) -> Duration {
    random.between(Duration::from_millis(from), Duration::from_millis(to))
}

/// How large a run is: most are small, since small ones are quick and reach most.
fn size(random: &mut Random) -> (usize, u64) {
    match random.below(20) {
        0..=10 => (2 + random.below(4) as usize, 2 + random.below(14)),
        11..=17 => (3 + random.below(8) as usize, 6 + random.below(24)),
        _ => (8 + random.below(13) as usize, 12 + random.below(29)),
    }
}

impl Plan {
    /// The run of a seed. `only` keeps these items of it, by number, and leaves all others out.
    pub fn new(seed: u64, only: Option<&[usize]>) -> Self {
        let mut plan = Self::drawn(seed);
        if let Some(only) = only {
            plan.rates.keep(&|number| only.contains(&number));
            let kept = |index: usize| only.contains(&(index + RATES.len()));
            let idle = (Mono::default(), Happening::Nothing);
            let events = plan.events.into_iter().enumerate();
            plan.events =
                events.map(|(index, event)| if kept(index) { event } else { idle.clone() }).collect();
        }
        plan
    }

    /// One stranger, and everybody else: whoever is to be there is, whatever others do to the names. Strangers who are asked to
    /// a meeting, since everybody is, are none any more, and keep their room.
    pub fn room(&self) -> Room {
        let everybody = |wish: &Wish| wish.spec.attendees.is_empty();
        let invited = self.events.iter().any(|(_, happening)| match happening {
            Happening::Schedule(wish) => everybody(wish),
            _ => false,
        });
        match invited {
            true => Room::default(),
            false => Room { known: self.small.len() + 1, ..Room::default() },
        }
    }

    /// How many items it has: rates, then events.
    pub fn items(&self) -> usize {
        RATES.len() + self.events.len()
    }

    /// An item in words.
    pub fn item(&self, number: usize) -> String {
        match number.checked_sub(RATES.len()).and_then(|index| self.events.get(index)) {
            Some((at, happening)) => {
                format!("{:>8.3} {happening:?}", at.0.as_secs_f64()).chars().take(150).collect()
            }
            None => RATES.get(number).map_or_else(String::new, |rate| format!("         {rate}")),
        }
    }

    fn drawn(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let (agents, meetings) = size(random);
        let hosts = hosts(random, agents);
        let some_small = chance(random, 500);
        let small = (0..agents).map(|_| some_small && chance(random, 400)).collect();
        // Where time is short, meetings of higher priority have to displace others.
        let displacing = chance(random, 400);
        let hours = if displacing { 1 + random.below(4) } else { 3 + random.below(10) };
        let busy = (0..agents).map(|_| busy(random, hours)).collect();
        let calm = chance(random, 100);
        let pace = pick(random, &[5, 20, 20, 300, 1_500]);
        let stop = Mono(millis(random, 10_000, 50_000));
        let mut plan = Self {
            seed,
            small,
            busy,
            hours,
            displacing,
            rates: Rates::calm(hosts.len(), pace),
            all_reconnect: chance(random, 400),
            stop,
            events: Vec::new(),
            traced: false,
            hosts,
        };
        if !calm {
            plan.add_faults(random);
        }
        plan.add_requests(random, meetings);
        plan
    }

    pub fn time(&self, random: &mut Random) -> Mono {
        Mono(random.between(Duration::from_millis(800), self.stop.0))
    }

    fn add_requests(&mut self, random: &mut Random, meetings: u64) {
        // Many at once, or one after the other.
        let burst = chance(random, 500);
        let patient = chance(random, 600);
        let mut begin = self.time(random).0 / 2;
        for _ in 0..meetings {
            let mut wish = self.wish(random);
            if patient {
                wish.options.connect_timeout = Duration::from_secs(10);
                wish.deadline = wish.deadline.max(Duration::from_secs(20));
            }
            if chance(random, 200) {
                begin = self.time(random).0;
            }
            let at = if burst { Mono(begin + millis(random, 0, 60)) } else { self.time(random) };
            self.events.push((at, Happening::Schedule(Box::new(wish))));
            if chance(random, 250) {
                let again = at + millis(random, 0, 3_000);
                self.events.push((again, Happening::Repeat { other_body: chance(random, 250) }));
            }
        }
        for _ in 0..random.below(4 + 2 * meetings) {
            let happening = match random.below(15) {
                0..=3 => Happening::Reschedule { named: chance(random, 300), options: options(random) },
                4..=6 => Happening::Update { options: options(random) },
                7..=8 => Happening::Cancel,
                9..=11 => Happening::Withdraw(random.below(self.small.len() as u64) as usize),
                12 => Happening::Find(Box::new(self.wish(random))),
                13 => Happening::HangUp,
                _ => {
                    let agent = random.below(self.small.len() as u64) as usize;
                    Happening::OwnEvent(agent, hour(random, self.hours))
                }
            };
            self.events.push((self.time(random), happening));
        }
        // Where much is displaced, much is called off meanwhile.
        let cancels = if self.displacing { random.below(12) } else { 0 };
        for _ in 0..cancels {
            self.events.push((self.time(random), Happening::Cancel));
        }
        self.add_series(random, meetings);
    }

    /// Some runs have series too, which compete with each other and with everything else.
    fn add_series(&mut self, random: &mut Random, meetings: u64) {
        if !chance(random, 400) {
            return;
        }
        for _ in 0..1 + random.below(1 + meetings / 5) {
            let wish = self.series_wish(random);
            let at = self.time(random);
            self.events.push((at, Happening::ScheduleSeries(Box::new(wish))));
            for _ in 0..random.below(3) {
                let happening = match random.below(4) {
                    0 => Happening::RepeatSeries,
                    1 => Happening::CancelSeries,
                    _ => Happening::MoveSeries { options: options(random) },
                };
                self.events.push((self.time(random), happening));
            }
        }
    }

    pub fn wish(&self, random: &mut Random) -> Wish {
        let mut attendees: Vec<Attendee> = Vec::new();
        let crowd = pick(random, &[1_300, 2_600, 2_600, 5_000]);
        for agent in 0..self.small.len() {
            if chance(random, crowd / self.small.len() as u64) {
                let role = pick(random, &[Role::Required, Role::Invited, Role::Invited, Role::Optional]);
                attendees.push(Attendee { id: name(agent), role });
            }
        }
        let counted = attendees.iter().filter(|a| a.role != Role::Optional).count() as u64;
        let minimum = if chance(random, 400) { random.below(counted + 1) as u32 } else { 0 };
        let duration = Duration::from_secs(60 * pick(random, &[30, 60, 60]));
        let (displace, displaceable, priorities): (_, _, &[i32]) = match self.displacing {
            true => (700, 900, &[1, 1, 2, 3, 5]),
            false => (100, 300, &[1, 1, 1, 2, 5]),
        };
        let spec = MeetingSpec {
            title: "planning".into(),
            organizer: "o".into(),
            attendees,
            duration,
            minimum_participants: minimum,
            priority: pick(random, priorities),
            window: self.window(random),
            objective: pick(random, &[Objective::Earliest, Objective::MostAttendees, Objective::BestScore]),
            buffer_before: Duration::from_secs(60 * pick(random, &[0, 0, 0, 15])),
            buffer_after: Duration::from_secs(60 * pick(random, &[0, 0, 0, 30])),
            displace: chance(random, displace),
            displaceable: chance(random, displaceable),
        };
        let start = at(60 * random.below(self.hours));
        let slot = chance(random, 200).then(|| TimeRange::lasting(start, duration));
        Wish { spec, slot, options: options(random), deadline: millis(random, 2_000, 25_000) }
    }

    pub fn window(&self, random: &mut Random) -> Window {
        Window {
            earliest: Some(at(0)),
            latest: Some(at(60 * self.hours)),
            time_zone: Some("UTC".into()),
            step: Duration::from_secs(60 * pick(random, &[30, 60, 60])),
            working_hours: WorkingHours::Unrestricted,
            respect_attendee_hours: false,
            exclude: Vec::new(),
        }
    }
}

pub fn options(random: &mut Random) -> Options {
    Options {
        response_timeout: Duration::from_millis(pick(random, &[500, 2_000])),
        connect_timeout: Duration::from_millis(pick(random, &[0, 0, 3_000])),
        max_attempts: pick(random, &[1, 3, 10]),
        max_candidates_per_round: pick(random, &[0, 0, 0, 1, 2]),
    }
}

/// One hour of the day of the meetings.
pub fn hour(random: &mut Random, hours: u64) -> TimeRange {
    let start = random.below(hours);
    TimeRange::new(at(60 * start), at(60 * start + 60))
}

fn busy(random: &mut Random, hours: u64) -> Vec<TimeRange> {
    let ranges = (0..hours).map(|hour| TimeRange::new(at(60 * hour), at(60 * hour + 60)));
    ranges.filter(|_| random.below(1000) < 100).collect()
}

/// Everyone on a host of one to three.
fn hosts(random: &mut Random, agents: usize) -> Vec<Vec<usize>> {
    let mut hosts: Vec<Vec<usize>> = Vec::new();
    for agent in 0..agents {
        match hosts.last_mut() {
            Some(host) if host.len() < 3 && chance(random, 400) => host.push(agent),
            _ => hosts.push(vec![agent]),
        }
    }
    hosts
}
