//! The order within a batch: by priority, then as submitted; meetings that share nobody need not wait for each other.

use std::collections::HashMap;

use super::ids::ParticipantId;

/// One meeting of a batch, as far as the order depends on it.
#[derive(Clone, Debug)]
pub struct BatchItem {
    /// Higher first.
    pub priority: i32,
    /// Whom it needs; empty: everyone, so that it waits for all before it and all after it wait for it.
    pub attendees: Vec<ParticipantId>,
}

/// For each item, in the order given, the items that must be decided before it starts: only the nearest ones,
/// since waiting is transitive.
pub fn waits_for(items: &[BatchItem]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| (-i64::from(items[i].priority), i));
    let mut waits = vec![Vec::new(); items.len()];
    let mut last_of: HashMap<&ParticipantId, usize> = HashMap::new();
    let mut last_for_all: Option<usize> = None;
    let mut since_all: Vec<usize> = Vec::new();
    for index in order {
        let item = &items[index];
        let before = &mut waits[index];
        if item.attendees.is_empty() {
            before.append(&mut since_all);
            before.extend(last_for_all.filter(|_| before.is_empty()));
            last_for_all = Some(index);
            last_of.clear();
        } else {
            before.extend(item.attendees.iter().filter_map(|id| last_of.get(id)).copied());
            before.extend(last_for_all.filter(|_| before.is_empty()));
            for id in &item.attendees {
                last_of.insert(id, index);
            }
            since_all.push(index);
        }
        before.sort_unstable();
        before.dedup();
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(priority: i32, attendees: &[&str]) -> BatchItem {
        BatchItem { priority, attendees: attendees.iter().map(ParticipantId::new).collect() }
    }

    #[test]
    fn higher_priority_first_then_the_order_given() {
        let items = [item(1, &["a"]), item(5, &["a", "b"]), item(5, &["b"]), item(1, &["c"])];
        assert_eq!(waits_for(&items), vec![vec![1], vec![], vec![1], vec![]]);
    }

    #[test]
    fn a_meeting_of_everyone_waits_for_all_and_all_wait_for_it() {
        let items = [item(1, &["a"]), item(1, &["b"]), item(1, &[]), item(1, &["a"]), item(1, &[])];
        assert_eq!(waits_for(&items), vec![vec![], vec![], vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn two_meetings_of_everyone_follow_each_other() {
        assert_eq!(waits_for(&[item(1, &[]), item(2, &[])]), vec![vec![1], vec![]]);
    }
}
