//! Secrets are given by file only: no flag, variable or configuration file holds one, and nothing prints one.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A file that holds a secret, as the value of an option whose name ends in `_file`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretFile(PathBuf);

impl FromStr for SecretFile {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        if path.is_empty() { Err("expected the name of a file".to_owned()) } else { Ok(Self(path.into())) }
    }
}

impl SecretFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What it holds, without the line break at its end.
    ///
    /// # Errors
    /// It can't be read, or is no text; the error names the file.
    pub fn read(&self) -> io::Result<Secret> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("the secret in {} can't be read: {error}", self.0.display()))
        };
        let text = fs::read_to_string(&self.0).map_err(named)?;
        Ok(Secret(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').to_owned()))
    }
}

/// A secret. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself; for the one who needs it, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "hunter2\r\n").unwrap();
        let file: SecretFile = path.to_str().unwrap().parse().unwrap();
        let secret = file.read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?} {file:?}").contains("hunter2"));
        let missing: SecretFile = folder.path().join("none").to_str().unwrap().parse().unwrap();
        assert!(missing.read().unwrap_err().to_string().contains("none"));
        assert!("".parse::<SecretFile>().is_err());
    }
}
