//! Reading a configuration file: every problem at once, each with its place. No value of a key that isn't known is
//! ever printed: it may be a secret at the wrong place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::loose;
use super::schema::{self, COMMANDS, Key, Kind};

/// What is wrong with a configuration: all of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// One value of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// Line of the file, from 1.
    pub line: usize,
    /// The same as arguments: `--listen=…`.
    pub arguments: Vec<OsString>,
}

/// A file that was read: its values by table and key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// By table and key.
    pub values: BTreeMap<(&'static str, String), Value>,
}

impl ConfigFile {
    /// Reads a file and checks all of it, for every command.
    ///
    /// # Errors
    /// It can't be read, is no TOML, or has keys or values that no command takes: all of them.
    pub fn read(path: &Path, cli: &Command) -> Result<Self, Problems> {
        let whole = |what: String| Problems(vec![format!("{}: {what}", path.display())]);
        let bytes = fs::read(path)
            .map_err(|error| whole(format!("the configuration file can't be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
            whole(format!("the configuration file is not UTF-8 (line {line}, byte {good})"))
        })?;
        Self::parse(path, &text, cli)
    }

    /// The same, of a text.
    ///
    /// # Errors
    /// As [`ConfigFile::read`].
    pub fn parse(path: &Path, text: &str, cli: &Command) -> Result<Self, Problems> {
        let mut reading = Reading {
            path,
            text,
            cli,
            keys: schema::keys(cli),
            file: Self { path: path.to_owned(), values: BTreeMap::new() },
            problems: Vec::new(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            reading.problem(at, &format!("is no TOML: {}", error.message()));
        }
        // What was left out of the broken lines would only look like further mistakes.
        if errors.is_empty() {
            reading.tables(table.get_ref());
        }
        reading.problems.sort();
        match reading.problems.is_empty() {
            true => Ok(reading.file),
            false => Err(Problems(reading.problems.into_iter().map(|(_, words)| words).collect())),
        }
    }
}

struct Reading<'text> {
    path: &'text Path,
    text: &'text str,
    cli: &'text Command,
    keys: Vec<Key>,
    file: ConfigFile,
    /// With their places, in bytes.
    problems: Vec<(usize, String)>,
}

impl Reading<'_> {
    fn problem(&mut self, at: usize, what: &str) {
        let (line, column) = place(self.text, at);
        self.problems.push((at, format!("{}:{line}:{column}: {what}", self.path.display())));
    }

    fn tables(&mut self, root: &DeTable<'_>) {
        let known = schema::tables(&self.keys);
        for (name, value) in root {
            let at = name.span().start;
            let Some(table) = known.iter().find(|table| *table == name.get_ref()).copied() else {
                let what = self.unknown_at_top(name.get_ref(), value.get_ref(), &known);
                self.problem(at, &what);
                continue;
            };
            match value.get_ref().as_table() {
                Some(entries) => entries.iter().for_each(|(name, value)| self.entry(table, name, value)),
                None => self.problem(at, &format!("'{table}' is a table: write [{table}]")),
            }
        }
    }

    fn unknown_at_top(&self, name: &str, value: &DeValue<'_>, known: &[&'static str]) -> String {
        if value.is_table() {
            let near = schema::nearest(name, known.iter().copied());
            let meant = near.map(|near| format!("; did you mean [{near}]?"));
            let all = || format!("; there are [{}]", known.join("], ["));
            return format!("unknown table [{name}]{}", meant.unwrap_or_else(all));
        }
        let tables: Vec<_> =
            self.keys.iter().filter(|key| key.name == name).map(|key| format!("[{}]", key.table)).collect();
        match tables.is_empty() {
            true => format!("unknown key '{name}', outside of any table"),
            false => format!("the key '{name}' belongs in {}", tables.join(" or ")),
        }
    }

    fn entry(
        &mut self,
        table: &'static str,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let wanted = name.get_ref().as_ref();
        let found = self.keys.iter().find(|key| key.table == table && key.name == wanted).cloned();
        let Some(key) = found else {
            let what = self.unknown(table, wanted);
            return self.problem(name.span().start, &what);
        };
        let at = value.span().start;
        let arguments = match arguments(&key, value.get_ref()) {
            Ok(arguments) => arguments,
            Err(found) => {
                let what = format!("{table}.{wanted}: expected {}, found {found}", key.kind.words());
                return self.problem(at, &what);
            }
        };
        if let Err(why) = self.check(&key, &arguments) {
            return self.problem(at, &format!("{table}.{wanted}: {why}"));
        }
        let line = place(self.text, at).0;
        self.file.values.insert((table, wanted.to_owned()), Value { line, arguments });
    }

    fn unknown(&self, table: &str, name: &str) -> String {
        let elsewhere = self.keys.iter().find(|key| key.table != table && key.name == name);
        if let Some(key) = elsewhere {
            return format!("unknown key '{name}' in [{table}]; it belongs in [{}]", key.table);
        }
        let names = self.keys.iter().filter(|key| key.table == table).map(|key| key.name.as_str());
        match schema::nearest(name, names) {
            Some(near) => format!("unknown key '{name}' in [{table}]; did you mean '{near}'?"),
            None => format!("unknown key '{name}' in [{table}]"),
        }
    }

    /// Has clap check the value as if it had been typed.
    fn check(&self, key: &Key, arguments: &[OsString]) -> Result<(), String> {
        let of = key.commands.first().copied().unwrap_or(COMMANDS[0]);
        let Some(command) = self.cli.find_subcommand(of).cloned() else { return Ok(()) };
        let command = loose(command).mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
        match command.no_binary_name(true).try_get_matches_from(arguments) {
            Ok(_) => Ok(()),
            Err(error) => Err(first_words(&error)),
        }
    }
}

/// What clap says, without its advice.
pub fn first_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let words = lines.join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}

/// A value as arguments. The error names what was found.
fn arguments(key: &Key, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let typed = |text: &str| OsString::from(format!("{}={text}", key.flag()));
    let other = || kind_of(value).to_owned();
    match key.kind {
        Kind::Text => value.as_str().map(|text| vec![typed(text)]).ok_or_else(other),
        Kind::Number => {
            let number = value.as_integer().ok_or_else(other)?;
            let number = i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_err(|_| format!("{}, which is too large", number.as_str()))?;
            Ok(vec![typed(&number.to_string())])
        }
        Kind::Flag => {
            let set = value.as_bool().ok_or_else(other)?;
            Ok(if set { vec![OsString::from(key.flag())] } else { Vec::new() })
        }
        Kind::List => {
            let values = value.as_array().ok_or_else(other)?;
            let text = |value: &Spanned<DeValue<'_>>| {
                let found = || format!("{} in the array", kind_of(value.get_ref()));
                value.get_ref().as_str().map(typed).ok_or_else(found)
            };
            values.iter().map(text).collect()
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value.type_str() {
        "string" => "a string",
        "integer" => "an integer",
        "float" => "a decimal number",
        "boolean" => "true or false",
        "array" => "an array",
        "table" => "a table",
        _ => "a date or time",
    }
}

/// Line and column of a byte, both from 1; columns count characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (1 + before.matches('\n').count(), 1 + line.chars().count())
}
