//! Calendar files on disk.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Calendar, CalendarError};

/// A larger file is refused unread, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// How the files end that we write ourselves; they are never read as somebody's calendar.
pub const OUTPUT_SUFFIX: &str = ".quorate.ics";

/// Reads a calendar file.
///
/// # Errors
/// The file cannot be read, is larger than [`MAX_FILE_BYTES`], or is no calendar that
/// [`Calendar::parse`] takes.
pub fn load_file(path: &Path) -> Result<Calendar, CalendarError> {
    let name = path.display().to_string();
    let wrong = |reason: String| CalendarError::new(&name, 0, reason);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(format!("larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Calendar::parse(&name, &decode(&bytes))
}

/// The text of a file. UTF-16 is known by its byte order mark. Texts in another encoding, or cut within a letter by a
/// careless fold, do not matter: everything that counts in a calendar is ASCII.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xFF, 0xFE, ..] => wide(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    }
}

/// The calendar files of a folder, sorted: every `*.ics` that is not hidden and not our own
/// output. A link that leads nowhere is one that can't be read; folders, pipes and the like are none.
///
/// # Errors
/// The folder cannot be listed.
pub fn calendar_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_calendar = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(_) => path.is_symlink(),
    };
    Ok(named_ics(folder)?.into_iter().filter(is_calendar).collect())
}

/// What is named like a calendar in a folder, and is none: folders, pipes and the like, sorted.
///
/// # Errors
/// The folder cannot be listed.
pub fn no_calendars(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_other = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    Ok(named_ics(folder)?.into_iter().filter(is_other).collect())
}

/// A name that is no Unicode is no participant's, which whoever reads it says.
fn named_ics(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
        if name.is_some_and(|name| {
            name.ends_with(".ics") && !name.ends_with(OUTPUT_SUFFIX) && !name.starts_with('.')
        }) {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_calendars_but_not_what_we_wrote() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bob.ics", "alice.ICS", "alice.quorate.ics", ".hidden.ics", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("folder.ics")).unwrap();
        let names: Vec<_> = calendar_files(folder.path())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["alice.ICS", "bob.ics"]);
        assert_eq!(no_calendars(folder.path()).unwrap(), [folder.path().join("folder.ics")]);
        assert!(calendar_files(&folder.path().join("absent")).is_err());
    }

    /// A mount that is missing is somebody's: they are known, and can't be asked.
    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_a_calendar_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        for (name, to) in [("carol.ics", "nowhere"), ("dora.ics", "dora.ics"), ("pipes.ics", "/dev/null")] {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        }
        let files = calendar_files(folder.path()).unwrap();
        assert_eq!(files, ["carol.ics", "dora.ics"].map(|name| folder.path().join(name)));
        assert!(load_file(&files[0]).unwrap_err().to_string().contains("carol.ics: cannot be read"));
        assert_eq!(no_calendars(folder.path()).unwrap(), [folder.path().join("pipes.ics")]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = load_file(&folder.path().join("carol.ics")).unwrap_err();
        assert!(error.to_string().contains("carol.ics: cannot be read"), "{error}");
        let large = folder.path().join("large.ics");
        File::create(&large).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(load_file(&large).unwrap_err().reason.contains("64 MiB"));
        let latin = folder.path().join("latin.ics");
        std::fs::write(&latin, b"BEGIN:VCALENDAR\nX-WR-CALNAME:Caf\xe9\nEND:VCALENDAR\n").unwrap();
        assert_eq!(load_file(&latin).unwrap().display_name(), Some("Caf\u{fffd}"));
        let text = "\u{feff}BEGIN:VCALENDAR\r\nX-WR-CALNAME:Caf\u{e9}\r\nEND:VCALENDAR\r\n";
        for unit in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(unit).collect();
            std::fs::write(&latin, bytes).unwrap();
            assert_eq!(load_file(&latin).unwrap().display_name(), Some("Caf\u{e9}"));
        }
    }
}
