//! Rules expanded period by period: days, weeks, times within a day, and what the `rrule` crate gets wrong or refuses (SKIP, an
//! INTERVAL over 65,535, the fifth day from the end of a month, a phase kept over BYHOUR and BYMINUTE, more times than fit into
//! memory).
//!
//! A period is the FREQ of the rule: a year, a month, a week, … The n-th period follows from n alone, so that looking
//! may begin and end anywhere. Nothing is gathered but the days of one period, so that memory is bounded.

use std::ops::RangeInclusive;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Weekday};

use super::parts::{Frequency, Parts, Skip};
use super::steps::Steps;

/// Nothing recurs after this year.
pub(super) const LAST_YEAR: i32 = 9999;

/// The rule with what it takes from its DTSTART.
#[derive(Clone, Debug)]
pub(super) struct Periods {
    parts: Parts,
    start: NaiveDateTime,
    /// The beginning of the first period.
    base: NaiveDateTime,
}

/// How the search went on from a period.
enum Next {
    /// To that period.
    Period(u64),
    /// There is none in our time.
    Over,
}

impl Periods {
    /// Missing parts are those of `start` (RFC 5545 section 3.3.10, after the table).
    pub fn new(mut parts: Parts, start: NaiveDateTime) -> Self {
        use Frequency::{Hourly, Minutely, Monthly, Secondly, Weekly, Yearly};
        if !parts.names_days() {
            match parts.frequency {
                Yearly | Monthly => {
                    if parts.frequency == Yearly && parts.months.is_empty() {
                        parts.months.push(start.month());
                    }
                    parts.month_days.push(start.day() as i32);
                }
                Weekly => parts.days.push((0, start.weekday())),
                _ => {}
            }
        }
        let (date, time) = (start.date(), start.time());
        let frequency = parts.frequency;
        if parts.hours.is_empty() && frequency > Hourly {
            parts.hours.push(time.hour());
        }
        if parts.minutes.is_empty() && frequency > Minutely {
            parts.minutes.push(time.minute());
        }
        if parts.seconds.is_empty() && frequency > Secondly {
            parts.seconds.push(time.second());
        }
        let day = match frequency {
            Yearly => NaiveDate::from_ymd_opt(date.year(), 1, 1),
            Monthly => date.with_day(1),
            Weekly => date.checked_sub_days(Days::new(days_since(parts.week_start, date.weekday()))),
            _ => Some(date),
        };
        let clock = match frequency {
            Secondly => Some(time),
            Minutely => NaiveTime::from_hms_opt(time.hour(), time.minute(), 0),
            Hourly => NaiveTime::from_hms_opt(time.hour(), 0, 0),
            _ => Some(NaiveTime::MIN),
        };
        let base = day.unwrap_or(date).and_time(clock.unwrap_or(time));
        Self { parts, start, base }
    }

    /// Calls `found` with each time in `wanted` that is not before the start, ascending, until it says no. COUNT is
    /// the caller's.
    ///
    /// # Errors
    /// The steps were used up before this time was looked at.
    pub fn each(
        &self,
        wanted: RangeInclusive<NaiveDateTime>,
        steps: &mut Steps,
        mut found: impl FnMut(NaiveDateTime) -> bool,
    ) -> Result<(), NaiveDateTime> {
        let (from, to) = wanted.into_inner();
        // SKIP=BACKWARD moves the day before the first of a month there.
        let early = TimeDelta::days((self.parts.skip != Skip::Omit).into());
        let (mut index, mut reached) = (self.index_near(from), from.max(self.start));
        let mut last = None;
        // The day that was last found to be one of the rule's: short periods share theirs.
        let mut known_day = None;
        let (mut days, mut times) = (Vec::new(), Vec::new());
        loop {
            let begin = match self.begin(index) {
                Some(begin) if begin.year() <= LAST_YEAR => begin,
                _ => return Ok(()),
            };
            let earliest = begin.checked_sub_signed(early).unwrap_or(begin);
            if earliest > to {
                return Ok(());
            }
            if !steps.take(1) {
                return Err(reached);
            }
            // The step of a day, week, month or year is that of its first time, if it has one.
            let mut paid = self.parts.frequency >= Frequency::Daily;
            reached = reached.max(earliest);
            match self.passed_over(index, begin, &mut known_day) {
                Some(Next::Period(next)) => {
                    index = next;
                    continue;
                }
                Some(Next::Over) => return Ok(()),
                None => {}
            }
            days.clear();
            self.days(begin, &mut days);
            if !days.is_empty() {
                self.times(begin, &mut times);
                let all = days.len() * times.len();
                let mut give = |nth: usize, steps: &mut Steps| -> Option<bool> {
                    let at = days[nth / times.len()].and_time(times[nth % times.len()]);
                    if at < from || at < self.start || last.is_some_and(|last| at <= last) {
                        return Some(true);
                    }
                    if at > to {
                        return Some(false);
                    }
                    if !std::mem::take(&mut paid) && !steps.take(1) {
                        return None;
                    }
                    last = Some(at);
                    Some(at.year() <= LAST_YEAR && found(at))
                };
                let positions = self.chosen(all);
                let count = positions.as_ref().map_or(all, Vec::len);
                // Days that are too early, with all their times.
                let early = days.partition_point(|day| *day < from.max(self.start).date()) * times.len();
                let begun = positions.as_ref().map_or(early, |list| list.partition_point(|nth| *nth < early));
                for n in begun..count {
                    let nth = positions.as_ref().map_or(n, |positions| positions[n]);
                    match give(nth, steps) {
                        Some(true) => {}
                        Some(false) => return Ok(()),
                        None => return Err(reached),
                    }
                }
            }
            index += 1;
        }
    }

    /// BYSETPOS as places in the list of one period; none if all count.
    fn chosen(&self, all: usize) -> Option<Vec<usize>> {
        if self.parts.positions.is_empty() {
            return None;
        }
        let place = |position: &i32| {
            let magnitude = position.unsigned_abs() as usize;
            let nth = if *position > 0 { magnitude.checked_sub(1) } else { all.checked_sub(magnitude) };
            nth.filter(|nth| *nth < all)
        };
        let mut places: Vec<usize> = self.parts.positions.iter().filter_map(place).collect();
        places.sort_unstable();
        places.dedup();
        Some(places)
    }

    /// The length of a period, in seconds, if it has one.
    fn unit(&self) -> Option<i64> {
        Some(match self.parts.frequency {
            Frequency::Secondly => 1,
            Frequency::Minutely => 60,
            Frequency::Hourly => 3_600,
            Frequency::Daily => 86_400,
            Frequency::Weekly => 7 * 86_400,
            Frequency::Monthly | Frequency::Yearly => return None,
        })
    }

    /// When the `index`th period begins; none beyond representable time.
    fn begin(&self, index: u64) -> Option<NaiveDateTime> {
        let units = i64::try_from(index.checked_mul(u64::from(self.parts.interval))?).ok()?;
        if let Some(unit) = self.unit() {
            return self.base.checked_add_signed(TimeDelta::try_seconds(units.checked_mul(unit)?)?);
        }
        let months = if self.parts.frequency == Frequency::Yearly { units.checked_mul(12)? } else { units };
        self.base.checked_add_months(chrono::Months::new(u32::try_from(months).ok()?))
    }

    /// A period that is not after the one with `at`, and near it.
    fn index_near(&self, at: NaiveDateTime) -> u64 {
        if at <= self.start {
            return 0;
        }
        let units = match self.unit() {
            Some(unit) => (at - self.base).num_seconds() / unit,
            None => {
                let years = i64::from(at.year()) - i64::from(self.base.year());
                let months = 12 * years + i64::from(at.month()) - i64::from(self.base.month());
                if self.parts.frequency == Frequency::Yearly { months / 12 } else { months }
            }
        };
        let index = u64::try_from(units).unwrap_or_default() / u64::from(self.parts.interval);
        // One earlier: SKIP=FORWARD moves days into the next month.
        index.saturating_sub((self.parts.skip != Skip::Omit).into())
    }

    /// Where to look next if the day, hour or minute of this short period is not one of the rule's.
    fn passed_over(
        &self,
        index: u64,
        begin: NaiveDateTime,
        known_day: &mut Option<NaiveDate>,
    ) -> Option<Next> {
        let (frequency, parts) = (self.parts.frequency, &self.parts);
        if frequency >= Frequency::Daily {
            return None;
        }
        let allows = |list: &[u32], value: u32| list.is_empty() || list.contains(&value);
        let date = begin.date();
        let hour = date.and_hms_opt(begin.hour(), 0, 0)?;
        if *known_day != Some(date) && self.day_fits(date) {
            *known_day = Some(date);
        }
        let next = if !self.month_fits(begin.month()) {
            date.with_day(1)?.checked_add_months(chrono::Months::new(1))?.and_time(NaiveTime::MIN)
        } else if *known_day != Some(date) {
            date.succ_opt()?.and_time(NaiveTime::MIN)
        } else if !allows(&parts.hours, begin.hour()) {
            hour + TimeDelta::hours(1)
        } else if frequency < Frequency::Hourly && !allows(&parts.minutes, begin.minute()) {
            hour + TimeDelta::minutes(i64::from(begin.minute()) + 1)
        } else if frequency == Frequency::Secondly && !allows(&parts.seconds, begin.second()) {
            return Some(Next::Period(index + 1));
        } else {
            return None;
        };
        if next.year() > LAST_YEAR {
            return Some(Next::Over);
        }
        let step = self.unit().unwrap_or(1).checked_mul(i64::from(parts.interval))?;
        let behind = (next - begin).num_seconds();
        let skipped = u64::try_from(behind.div_euclid(step) + i64::from(behind.rem_euclid(step) > 0)).ok()?;
        Some(Next::Period(index + skipped.max(1)))
    }

    /// The times of day of the period that begins at `begin`.
    fn times(&self, begin: NaiveDateTime, times: &mut Vec<NaiveTime>) {
        let frequency = self.parts.frequency;
        if frequency >= Frequency::Daily && !times.is_empty() {
            return;
        }
        times.clear();
        let (hour, minute, second) = ([begin.hour()], [begin.minute()], [begin.second()]);
        let hours = if frequency <= Frequency::Hourly { hour.as_slice() } else { &self.parts.hours };
        let minutes = if frequency <= Frequency::Minutely { minute.as_slice() } else { &self.parts.minutes };
        let seconds = if frequency == Frequency::Secondly { second.as_slice() } else { &self.parts.seconds };
        for hour in hours {
            for minute in minutes {
                times.extend(seconds.iter().filter_map(|s| NaiveTime::from_hms_opt(*hour, *minute, *s)));
            }
        }
    }

    /// The days of the period that begins at `begin`, ascending.
    fn days(&self, begin: NaiveDateTime, days: &mut Vec<NaiveDate>) {
        let first = begin.date();
        let months = match self.parts.frequency {
            Frequency::Yearly => 1..=12,
            Frequency::Monthly => first.month()..=first.month(),
            Frequency::Weekly => {
                return days.extend(first.iter_days().take(7).filter(|day| self.day_fits(*day)));
            }
            Frequency::Daily => return days.extend(Some(first).filter(|day| self.day_fits(*day))),
            // Looked at before.
            _ => return days.push(first),
        };
        for month in months.filter(|month| self.month_fits(*month)) {
            let Some(month) = NaiveDate::from_ymd_opt(first.year(), month, 1) else { return };
            if self.parts.month_days.is_empty() {
                let all = month.iter_days().take(month_length(month) as usize);
                days.extend(all.filter(|day| self.day_fits(*day)));
            } else {
                self.days_of_month(month, days);
            }
        }
        if !self.parts.month_days.is_empty() {
            days.sort_unstable();
            days.dedup();
        }
    }

    /// BYMONTHDAY with days that the month lacks left out or moved, and only then the weekdays (RFC 7529 section 4.1).
    fn days_of_month(&self, month: NaiveDate, days: &mut Vec<NaiveDate>) {
        let length = month_length(month);
        let day = |number: &i32| {
            let from_start = if *number > 0 { *number } else { length + 1 + *number };
            let day = match (from_start, self.parts.skip) {
                (1.., _) if from_start <= length => from_start,
                (_, Skip::Omit) => return None,
                (1.., Skip::Forward) => length + 1,
                (1.., Skip::Backward) => length,
                (_, Skip::Forward) => 1,
                (_, Skip::Backward) => 0,
            };
            month.checked_add_signed(TimeDelta::days(i64::from(day) - 1))
        };
        let fits =
            |day: &NaiveDate| self.year_day_fits(*day) && self.week_fits(*day) && self.week_day_fits(*day);
        days.extend(self.parts.month_days.iter().filter_map(day).filter(fits));
    }

    fn day_fits(&self, day: NaiveDate) -> bool {
        let month_days = &self.parts.month_days;
        let month_day_fits = || {
            let number = day.day() as i32;
            month_days.contains(&number) || month_days.contains(&(number - month_length(day) - 1))
        };
        self.month_fits(day.month())
            && (month_days.is_empty() || month_day_fits())
            && self.year_day_fits(day)
            && self.week_fits(day)
            && self.week_day_fits(day)
    }

    fn month_fits(&self, month: u32) -> bool {
        self.parts.months.is_empty() || self.parts.months.contains(&month)
    }

    fn year_day_fits(&self, day: NaiveDate) -> bool {
        let list = &self.parts.year_days;
        let number = day.ordinal() as i32;
        list.is_empty()
            || list.contains(&number)
            || list.contains(&(number - 1 - if day.leap_year() { 366 } else { 365 }))
    }

    fn week_fits(&self, day: NaiveDate) -> bool {
        let list = &self.parts.weeks;
        if list.is_empty() {
            return true;
        }
        let (number, of) = week_number(day, self.parts.week_start);
        list.contains(&number) || list.contains(&(number - of - 1))
    }

    fn week_day_fits(&self, day: NaiveDate) -> bool {
        let list = &self.parts.days;
        list.is_empty()
            || list.iter().any(|(ordinal, name)| {
                *name == day.weekday() && (*ordinal == 0 || self.ordinal_fits(*ordinal, day))
            })
    }

    /// Whether it is that one of its weekday in the month, or in the year if the rule is yearly and names no months.
    fn ordinal_fits(&self, ordinal: i32, day: NaiveDate) -> bool {
        let of_year = self.parts.frequency == Frequency::Yearly && self.parts.months.is_empty();
        let (number, length) = match of_year {
            true => (day.ordinal() as i32, if day.leap_year() { 366 } else { 365 }),
            false => (day.day() as i32, month_length(day)),
        };
        if ordinal > 0 { (number - 1) / 7 + 1 == ordinal } else { (length - number) / 7 + 1 == -ordinal }
    }

    /// The parts without COUNT, for a rule whose last time is known.
    pub fn uncount(&mut self) -> &Parts {
        self.parts.count = None;
        &self.parts
    }

    /// COUNT.
    pub fn count(&self) -> Option<u32> {
        self.parts.count
    }
}

/// From the last `first` to `day`, in days.
fn days_since(first: Weekday, day: Weekday) -> u64 {
    u64::from((7 + day.num_days_from_monday() - first.num_days_from_monday()) % 7)
}

fn month_length(day: NaiveDate) -> i32 {
    match day.month() {
        2 if day.leap_year() => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The number of the week of a day, and how many the year of that week has. A week belongs to the year that has most of
/// its days.
fn week_number(day: NaiveDate, first: Weekday) -> (i32, i32) {
    // The fourth day of a week lies in its year.
    let back = days_since(first, day.weekday()) as i64;
    let fourth = day.checked_add_signed(TimeDelta::days(3 - back)).unwrap_or(day);
    let number = (fourth.ordinal() as i32 - 1) / 7 + 1;
    let length = if fourth.leap_year() { 366 } else { 365 };
    (number, (length - fourth.ordinal() as i32) / 7 + number)
}
