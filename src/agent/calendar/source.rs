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
/// output.
///
/// # Errors
/// The folder cannot be listed.
pub fn calendar_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_calendar = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            let name = name.to_ascii_lowercase();
            name.ends_with(".ics") && !name.ends_with(OUTPUT_SUFFIX) && !name.starts_with('.')
        });
        if is_calendar && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
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
        assert!(calendar_files(&folder.path().join("absent")).is_err());
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
