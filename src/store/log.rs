//! Whether the write-ahead log that a killed scheduler left behind is whole. SQLite itself takes a log that is gone,
//! or spoilt, for one that ends earlier, and what was committed behind that is lost without a word.
//!
//! The lock file has a mark: [`Mark::Open`] from the first commit on until the store is closed. As long as it says so,
//! there must be a log. Within it (<https://sqlite.org/fileformat2.html#walformat>) only the end may be spoilt: every
//! commit is synced before the next one begins, so a power cut spoils no more than one. That last commit can't
//! be told from one that was never acknowledged.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

const HEADER: usize = 32;
const FRAME: usize = 24;
/// The header's first word; the last bit says that checksums are over big-endian words.
const MAGIC: u32 = 0x377f_0682;
/// Largest page of SQLite, in bytes.
const PAGE_MAX: usize = 65_536;

/// What the lock file says of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Commits may be in the log alone.
    Open,
    /// The store was closed in good order, or nothing was committed yet.
    Closed,
}

impl Mark {
    /// All are of one length, so that a full disk has room for another one.
    const fn text(self) -> &'static [u8; 7] {
        match self {
            Self::Open => b"open  \n",
            Self::Closed => b"closed\n",
        }
    }

    /// Reads the mark of a lock file; one without a mark is closed.
    pub fn read(mut lock: &File) -> io::Result<Self> {
        let mut text = Vec::new();
        lock.seek(SeekFrom::Start(0))?;
        lock.take(Self::Open.text().len() as u64).read_to_end(&mut text)?;
        Ok(if text == Self::Open.text() { Self::Open } else { Self::Closed })
    }

    /// Writes the mark. It isn't synced: a power cut may lose it, and with it no more than this check.
    pub fn write(self, mut lock: &File) -> io::Result<()> {
        lock.seek(SeekFrom::Start(0))?;
        lock.write_all(self.text())
    }
}

/// What is wrong with the log at `path` that commits may be in, or nothing.
pub fn problem(path: &Path) -> io::Result<Option<&'static str>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some("is gone")),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::new(file);
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(Some("was cut"));
    }
    let word = |at: usize| word(&header, at);
    let big_endian = word(0) == MAGIC | 1;
    let page = word(8) as usize;
    let sound = word(0) | 1 == MAGIC | 1 && page.is_power_of_two() && (512..=PAGE_MAX).contains(&page);
    let mut sum = Sum { big_endian, halves: (0, 0) };
    sum.add(&header[..24]);
    if !sound || sum.halves != (word(24), word(28)) {
        return Ok(Some("has a damaged header"));
    }
    let spoilt_within = frames(&mut log, sum, page, [word(16), word(20)])?;
    Ok(spoilt_within.then_some("is damaged in the middle"))
}

/// Whether a whole commit lies behind a frame that is spoilt, and more behind that: then a commit that was synced is lost.
fn frames(log: &mut impl Read, mut sum: Sum, page: usize, salts: [u32; 2]) -> io::Result<bool> {
    let mut frame = vec![0; FRAME + page];
    let (mut spoilt, mut commit_behind) = (false, false);
    while fill(log, &mut frame)? {
        let of_this_log = [word(&frame, 8), word(&frame, 12)] == salts;
        if spoilt {
            if commit_behind && of_this_log {
                return Ok(true);
            }
        } else {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME..]);
            spoilt = !of_this_log || sum.halves != (word(&frame, 16), word(&frame, 20));
        }
        commit_behind |= spoilt && of_this_log && word(&frame, 4) != 0;
    }
    Ok(false)
}

/// Fills the buffer; false if there is not so much left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The log's running checksum.
struct Sum {
    big_endian: bool,
    halves: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let (mut a, mut b) = (word(pair, 0), word(pair, 4));
            if !self.big_endian {
                (a, b) = (a.swap_bytes(), b.swap_bytes());
            }
            self.halves.0 = self.halves.0.wrapping_add(a).wrapping_add(self.halves.1);
            self.halves.1 = self.halves.1.wrapping_add(b).wrapping_add(self.halves.0);
        }
    }
}
