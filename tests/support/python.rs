//! A Python with packages from PyPI, for tests and benchmarks beside other people's programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter of a virtual environment named `name`, with the packages of the file `requirements`. It is kept
/// between runs for as long as the requirements stay the same. The error says what could not be had.
pub fn with_packages(name: &str, requirements: &Path) -> Result<PathBuf, String> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).join("venv");
    let interpreter = environment.join("bin/python");
    let wanted = fs::read_to_string(requirements)
        .unwrap_or_else(|error| panic!("{}: {error}", requirements.display()));
    let stamp = environment.join("installed.txt");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        succeed(Command::new(&interpreter).args(pip).arg("-r").arg(requirements))?;
        fs::write(&stamp, wanted).expect("the target folder can be written");
    }
    Ok(interpreter)
}

/// Runs a command to its end: what it wrote, or the end of what it complained about.
pub fn succeed(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let last = err.lines().chain(out.lines()).last().unwrap_or("it said nothing");
    Err(format!("{name} ended with {}: {last}", output.status))
}
