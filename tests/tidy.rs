//! The house rules that a compiler doesn't check: which way the modules point, how long a file is, and who reads
//! clocks (ARCHITECTURE.md).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use beside itself. Whatever is not named is an arrow that points up, or across.
const ARROWS: [(&str, &[&str]); 9] = [
    ("core", &[]),
    ("wire", &["core"]),
    ("engine", &["core"]),
    ("store", &["engine", "core"]),
    ("grpc", &["engine", "wire", "core"]),
    ("agent", &["wire", "core", "engine::Clock", "engine::spans"]),
    ("admin", &["grpc", "engine", "core"]),
    ("app", &["admin", "grpc", "agent", "store", "engine", "wire", "core", "cli"]),
    ("cli", &["app", "wire", "core"]),
];

/// Crates that the core must not know: it decides, and does no I/O.
const NOT_IN_CORE: [&str; 5] = ["tokio", "tonic", "prost", "rusqlite", "tracing"];

/// Most lines of a file.
const LINES: usize = 600;

/// Files that may be longer, and why.
const LONG: [&str; 0] = [];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files, as paths from `src`, in order.
fn files() -> Vec<(String, String)> {
    let mut folders = vec![source()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(source()).expect("a file of ours").display().to_string();
                files.push((name, fs::read_to_string(&path).expect("a file")));
            }
        }
    }
    files.sort();
    files
}

/// The code of a line, without a comment that follows it.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Every path that begins with `crate::`, with up to two names behind it: `engine::Clock`. Groups are taken apart.
fn uses(text: &str) -> BTreeSet<String> {
    let text: String = text.lines().map(|line| format!("{}\n", code(line))).collect();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
            continue;
        }
        for path in paths(&text[at + "crate::".len()..], 2) {
            found.insert(path);
        }
    }
    found
}

/// The paths that a text begins with, to a depth: `a::{b, c::d}` is `a::b` and `a::c`.
fn paths(text: &str, depth: usize) -> Vec<String> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return members(group).into_iter().flat_map(|member| paths(member, depth)).collect();
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Vec::new();
    }
    match rest.strip_prefix("::") {
        Some(rest) if depth > 1 => {
            let below = paths(rest, depth - 1);
            match below.is_empty() {
                true => vec![name.to_owned()],
                false => below.into_iter().map(|path| format!("{name}::{path}")).collect(),
            }
        }
        _ => vec![name.to_owned()],
    }
}

/// The members of a group whose opening brace was taken off.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..at]);
                return members;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members
}

/// The module that a file belongs to; none for the crate's own two files.
fn module(name: &str) -> Option<&str> {
    let top = name.split('/').next()?;
    (top != name).then_some(top)
}

#[test]
fn arrows_point_down_only() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let Some(module) = module(&name) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == module) else {
            wrong.push(format!("src/{name}: the module {module} has no place in the table of this test"));
            continue;
        };
        for path in uses(&text) {
            let target = path.split("::").next().unwrap_or_default();
            let known = ARROWS.iter().any(|(of, _)| *of == target);
            let may = target == module || allowed.contains(&target) || allowed.contains(&path.as_str());
            if known && !may {
                wrong.push(format!("src/{name} uses crate::{path}, which {module} must not know"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_knows_no_runtime() {
    let mut wrong = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| module(name) == Some("core")) {
        for (number, line) in text.lines().enumerate() {
            for other in NOT_IN_CORE {
                let path = format!("{other}::");
                let used = code(line).match_indices(&path).any(|(at, _)| {
                    !code(line)[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if used {
                    wrong.push(format!("src/{name}:{}: {other}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long = |(name, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > LINES && !LONG.contains(&name.as_str())).then(|| format!("src/{name}: {lines} lines"))
    };
    let long: Vec<_> = files().iter().filter_map(long).collect();
    assert!(long.is_empty(), "more than {LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn only_the_clock_adapter_reads_clocks() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let (core, cli) = (module(&name) == Some("core"), module(&name) == Some("cli"));
        for (number, line) in text.lines().enumerate() {
            let code = code(line);
            // "Tomorrow at ten" on a command line is read against the wall clock, once. The core reads no clock at all;
            // elsewhere the monotonic one is the runtime's own.
            let reads = code.contains("Utc::now")
                || code.contains("SystemTime::now")
                || (!cli && (code.contains("Zoned::now") || code.contains("Timestamp::now")))
                || (core && code.contains("Instant::now"));
            if reads && name != "engine/clock.rs" {
                wrong.push(format!("src/{name}:{}: {}", number + 1, code.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_test_reads_uses_right() {
    let text = "use crate::core::{ids, model::Role};\nuse crate::engine::Clock; // use crate::grpc::serve;\n\
                fn f() { crate::{wire::pb, store::{self, rows}}; super_crate::app::run(); }\npub(crate) use x;\n";
    let expected = ["core::ids", "core::model", "engine::Clock", "store::rows", "store::self", "wire::pb"];
    assert_eq!(uses(text).into_iter().collect::<Vec<_>>(), expected);
}
