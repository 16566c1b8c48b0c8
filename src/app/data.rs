//! `quorate backup`, `quorate restore` and `quorate doctor`: the scheduler's database and the agents' journals, as
//! files.

use std::path::PathBuf;

use serde_json::json;

use super::AppError;
use super::serve::DATABASE;
use crate::agent::journal;
use crate::cli::client::{put, tell};
use crate::cli::data::{BackupArgs, DoctorArgs, RestoreArgs};
use crate::core::checkup::Check;
use crate::store;

/// Most findings of one check that are told in words; `--json` has all.
const TOLD: usize = 20;

/// Copies the database of a scheduler, which may run.
///
/// # Errors
/// There is none, it can't be written, or it is not sound: then it is there all the same.
pub fn backup(args: &BackupArgs) -> Result<(), AppError> {
    let from = args.data_dir.join(DATABASE);
    let checks = store::backup(&from, &args.to, args.force)?;
    let failed: usize = checks.iter().map(|check| check.problems.len()).sum();
    if failed > 0 {
        return Err(AppError::Unsound(format!(
            "{} is written, but {failed} things in it are not as they should be: quorate doctor --database {} tells them",
            args.to.display(),
            args.to.display()
        )));
    }
    show(&format!("{} is written and sound\n", args.to.display()))
}

/// Puts a backup in place.
///
/// # Errors
/// A scheduler runs there, the backup is not sound, or a database is there and may not be replaced.
pub fn restore(args: &RestoreArgs) -> Result<(), AppError> {
    let path = args.data_dir.join(DATABASE);
    let consent = store::Consent { replace: args.force, findings: args.accept_findings };
    let restored = store::restore(&args.from, &path, consent)?;
    let mut text = format!("{} is restored from {}\n", path.display(), args.from.display());
    if let Some(kept) = restored.replaced {
        text += &format!("what was there is kept as {}\n", kept.display());
    }
    if let found @ 1.. = restored.findings.len() {
        text += &format!(
            "{found} things in it are not as they should be: quorate doctor --data-dir {} tells them\n",
            args.data_dir.display()
        );
    }
    show(&text)
}

/// Checks files.
///
/// # Errors
/// A file can't be read, or a check failed.
pub fn doctor(args: &DoctorArgs) -> Result<(), AppError> {
    let mut found = Vec::new();
    let named = args.data_dir.is_some() || args.database.is_some() || !args.journal.is_empty();
    let usual =
        std::env::var_os("QUORATE_DATA_DIR").filter(|dir| !named && !dir.is_empty()).map(PathBuf::from);
    if !named && usual.is_none() {
        return Err(AppError::NothingNamed);
    }
    if let Some(dir) = args.data_dir.as_ref().or(usual.as_ref()) {
        let path = dir.join(DATABASE);
        let checks = store::doctor::examine(&path)?;
        found.push((path, checks));
    }
    if let Some(path) = &args.database {
        found.push((path.clone(), store::doctor::examine_copy(path)?));
    }
    for path in &args.journal {
        let checks = journal::doctor::examine(path).map_err(crate::agent::AgentError::from)?;
        found.push((path.clone(), checks));
    }
    let failed = found.iter().flat_map(|(_, checks)| checks).filter(|check| !check.passed()).count();
    if args.json {
        let files = found.iter().map(|(path, checks)| {
            let checks = checks.iter().map(|check| {
                json!({ "name": check.name, "claim": check.claim, "ok": check.passed(), "problems": check.problems })
            });
            json!({ "file": path, "checks": checks.collect::<Vec<_>>() })
        });
        show(&format!("{}\n", json!({ "ok": failed == 0, "files": files.collect::<Vec<_>>() })))?;
    } else {
        for (path, checks) in &found {
            show(&format!("{}\n{}", path.display(), checks.iter().map(words).collect::<String>()))?;
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err(AppError::Unsound("1 check failed".to_owned())),
        n => Err(AppError::Unsound(format!("{n} checks failed"))),
    }
}

/// A check in words, one line and one for each finding.
fn words(check: &Check) -> String {
    let verdict = if check.passed() { "ok    " } else { "FAILED" };
    let mut text = format!("  {verdict}  {:<10}  {}\n", check.name, check.claim);
    for problem in check.problems.iter().take(TOLD) {
        text += &format!("            {problem}\n");
    }
    if let Some(more @ 1..) = check.problems.len().checked_sub(TOLD) {
        text += &format!("            and {more} more\n");
    }
    text
}

fn show(text: &str) -> Result<(), AppError> {
    put(text).map(drop).map_err(|error| {
        tell(&error.text());
        AppError::Io { what: "the result".into(), source: std::io::Error::other("can't be written") }
    })
}
