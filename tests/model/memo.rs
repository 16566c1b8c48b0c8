//! What a part becomes by what it hears, worked out once for all worlds that have that very part.
//!
//! A key is the part itself (not its fingerprint: nothing that a fingerprint leaves out is mixed up) and the whole text
//! of what it hears. What was not asked for in two levels of the exploration is forgotten.

use std::collections::HashMap;
use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// The hash of everything that a value prints.
pub fn exact(value: &impl Debug) -> u64 {
    struct Text(DefaultHasher);
    impl Write for Text {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut text = Text(DefaultHasher::new());
    write!(text, "{value:?}").expect("it prints");
    text.0.finish()
}

/// The part is kept as long as the entry, so that no other one gets its address.
type Entries<P, T> = HashMap<(usize, u64), (Arc<P>, T)>;

/// What parts of one kind became.
pub struct Memo<P, T> {
    tables: Mutex<(Entries<P, T>, Entries<P, T>)>,
}

impl<P, T> Default for Memo<P, T> {
    fn default() -> Self {
        Self { tables: Mutex::default() }
    }
}

impl<P, T: Clone> Memo<P, T> {
    /// What the part becomes by what `key` stands for; `work` says so the first time.
    pub fn of(&self, part: &Arc<P>, key: u64, work: impl FnOnce() -> T) -> T {
        let key = (Arc::as_ptr(part) as usize, key);
        {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, known)) = tables.0.get(&key) {
                return known.clone();
            }
            if let Some(entry) = tables.1.remove(&key) {
                let known = entry.1.clone();
                tables.0.insert(key, entry);
                return known;
            }
        }
        let became = work();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever came first, so that all worlds share one part.
        tables.0.entry(key).or_insert_with(|| (Arc::clone(part), became)).1.clone()
    }

    /// Another level begins.
    pub fn age(&self) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.1 = std::mem::take(&mut tables.0);
    }
}
