//! Arithmetic on lists of time ranges.

use crate::core::time::TimeRange;

pub use crate::core::slots::merged as merge;

/// What is left of `window` without `busy` (in any order), sorted and not touching.
pub fn free_within(window: TimeRange, busy: &[TimeRange]) -> Vec<TimeRange> {
    let mut free = Vec::new();
    let mut from = window.start;
    for range in merge(busy.to_vec()) {
        let end = range.start.min(window.end);
        if from < end {
            free.push(TimeRange { start: from, end });
        }
        from = from.max(range.end);
    }
    if from < window.end {
        free.push(TimeRange { start: from, end: window.end });
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn ranges(list: &[(i64, i64)]) -> Vec<TimeRange> {
        let at = |hour: i64| DateTime::from_timestamp(hour * 3600, 0).unwrap();
        list.iter().map(|(start, end)| TimeRange { start: at(*start), end: at(*end) }).collect()
    }

    #[test]
    fn merging_joins_what_touches() {
        assert_eq!(merge(ranges(&[(5, 6), (1, 2), (2, 3), (5, 5), (1, 4)])), ranges(&[(1, 4), (5, 6)]));
    }

    #[test]
    fn free_time_is_the_complement() {
        let window = ranges(&[(0, 10)])[0];
        let free = |busy: &[(i64, i64)]| free_within(window, &ranges(busy));
        assert_eq!(free(&[]), ranges(&[(0, 10)]));
        assert_eq!(free(&[(-5, 20)]), []);
        assert_eq!(free(&[(0, 10)]), []);
        assert_eq!(free(&[(6, 7), (-1, 1), (2, 4), (3, 5)]), ranges(&[(1, 2), (5, 6), (7, 10)]));
        assert_eq!(free(&[(-5, -1), (9, 12), (20, 21)]), ranges(&[(0, 9)]));
        assert_eq!(free_within(ranges(&[(3, 3)])[0], &[]), []);
    }
}
