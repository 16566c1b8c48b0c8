//! The configuration of `quorate serve` and `quorate agent`: flags, then environment variables, then a TOML file,
//! then defaults. What there is, and how to add a key: [`schema`].
//!
//! clap stays the only judge of values and of what goes together: what the file says, and neither a flag nor a
//! variable does, is typed in front of the arguments.

mod check;
mod file;
pub mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

pub use check::{ConfigArgs, ConfigCommand, config};
pub use file::{ConfigFile, Problems, Value};
pub use schema::{COMMANDS, Key};

use super::Cli;
use super::client::tell;
use super::error::Exit;

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Stop {
    /// clap's answer, which may be the help that was asked for; and where values came from that it speaks of.
    Usage(clap::Error, Vec<String>),
    /// The configuration file can't be used.
    Config(Problems),
}

impl Stop {
    /// Tells it, and gives the exit code.
    pub fn tell(&self) -> ExitCode {
        match self {
            Self::Usage(error, notes) => {
                // Nobody is there to be told that it can't be told.
                let _ = error.print();
                notes.iter().for_each(|note| tell(&format!("note: {note}\n")));
                u8::try_from(error.exit_code()).map_or(Exit::Usage.into(), ExitCode::from)
            }
            Self::Config(problems) => {
                problems.0.iter().for_each(|problem| tell(&format!("error: {problem}\n")));
                Exit::Usage.into()
            }
        }
    }
}

/// Reads a command line, with the environment and the configuration file behind it.
///
/// # Errors
/// Wrong usage, help that was asked for, or a configuration that can't be used.
pub fn parse(line: Vec<OsString>) -> Result<Cli, Stop> {
    let usage = |error: clap::Error| Stop::Usage(error.format(&mut Cli::command()), Vec::new());
    let line = super::parse::with_negative_values(line);
    match Resolved::of(Cli::command(), line, None)? {
        Ok(resolved) => Cli::from_arg_matches(&resolved.matches).map_err(usage),
        Err(matches) => Cli::from_arg_matches(&matches).map_err(usage),
    }
}

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The variable of this name.
    Environment(String),
    /// The file, at this line.
    File(PathBuf, usize),
    /// Nobody said otherwise.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What a command would run with.
#[derive(Debug)]
pub struct Resolved {
    /// Which command.
    pub command: String,
    /// Its values, whoever said them.
    pub matches: ArgMatches,
    /// Who said the values that are no defaults, by the options' ids.
    pub origins: BTreeMap<String, Origin>,
}

impl Resolved {
    /// Puts flags, environment, file and defaults together. `file`: read already. The inner error is another command,
    /// which has no configuration file.
    fn of(
        cli: clap::Command,
        line: Vec<OsString>,
        file: Option<&ConfigFile>,
    ) -> Result<Result<Self, ArgMatches>, Stop> {
        let cli = without_empty_variables(cli);
        let line = without_empty_options(&cli, line);
        let mut loosened = cli.clone();
        for name in COMMANDS.into_iter().filter(|name| cli.find_subcommand(name).is_some()) {
            loosened = loosened.mut_subcommand(name, loose);
        }
        let first = loosened.try_get_matches_from(&line);
        let first = first.map_err(|error| {
            let notes = from_environment(&cli, &line, &error);
            Stop::Usage(error, notes)
        })?;
        let Some((command, given)) = first.subcommand().filter(|(name, _)| COMMANDS.contains(name)) else {
            return Ok(Err(first));
        };
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        let misspelt = misspelt_variables(&cli, names);
        if !misspelt.is_empty() {
            return Err(Stop::Config(Problems(misspelt)));
        }
        let named = given.try_get_one::<PathBuf>("config").ok().flatten();
        let read = match (file, named) {
            (None, Some(path)) => Some(ConfigFile::read(path, &cli).map_err(Stop::Config)?),
            _ => None,
        };
        let keys = schema::keys(&cli);
        let mut origins = BTreeMap::new();
        let mut typed = Vec::new();
        let mut complete = cli;
        for key in keys.iter().filter(|key| key.commands.contains(&command)) {
            let id = id_in(&complete, command, key);
            match given.value_source(&id) {
                Some(ValueSource::CommandLine) => drop(origins.insert(id, Origin::Flag)),
                Some(ValueSource::EnvVariable) => {
                    let variable = variable(&complete, command, &id).unwrap_or_default();
                    // clap takes a variable that says "false" for a flag that was given.
                    if key.kind == schema::Kind::Flag && !given.get_flag(&id) {
                        complete = complete.mut_subcommand(command, |command| {
                            command.mut_arg(&id, |arg| arg.env(Resettable::Reset))
                        });
                    }
                    origins.insert(id, Origin::Environment(variable));
                }
                _ => {
                    let Some(file) = file.or(read.as_ref()) else { continue };
                    let Some(value) = file.values.get(&(key.table, key.name.clone())) else { continue };
                    typed.extend(value.arguments.iter().cloned());
                    origins.insert(id, Origin::File(file.path.clone(), value.line));
                }
            }
        }
        let mut whole = line;
        // The program's own name may be that of a command.
        let at = whole.iter().skip(1).position(|word| word == command);
        let behind = at.map_or(whole.len(), |at| at + 2);
        whole.splice(behind..behind, typed);
        let matches = complete.clone().try_get_matches_from(&whole).map_err(|error| {
            let notes =
                origins.iter().filter_map(|(id, origin)| note(&complete, command, id, origin, &error));
            let notes = notes.collect();
            Stop::Usage(error, notes)
        })?;
        let command = command.to_owned();
        let matches = match matches.subcommand() {
            Some(_) => matches,
            None => return Ok(Err(matches)),
        };
        Ok(Ok(Self { command, matches, origins }))
    }
}

/// The id of a key's option. Keys of both commands have the same.
fn id_in(cli: &clap::Command, command: &str, key: &Key) -> String {
    let found = cli.find_subcommand(command);
    let found =
        found.and_then(|found| found.get_arguments().find(|arg| arg.get_long() == key.arg.get_long()));
    found.map_or_else(|| key.arg.get_id().to_string(), |arg| arg.get_id().to_string())
}

fn variable(cli: &clap::Command, command: &str, id: &str) -> Option<String> {
    let mut options = cli.find_subcommand(command)?.get_arguments();
    Some(options.find(|arg| arg.get_id() == id)?.get_env()?.to_string_lossy().into_owned())
}

/// A note that says where an option came from that clap complains of, unless it was typed.
fn note(
    cli: &clap::Command,
    command: &str,
    id: &str,
    origin: &Origin,
    error: &clap::Error,
) -> Option<String> {
    let mut options = cli.find_subcommand(command)?.get_arguments();
    let long = options.find(|arg| arg.get_id() == id)?.get_long()?;
    let complaint = matches!(error.kind(), ErrorKind::ArgumentConflict | ErrorKind::ValueValidation);
    let named = file::first_words(error).contains(&format!("'--{long}"));
    (complaint && named && *origin != Origin::Flag).then(|| format!("--{long} comes from {origin}"))
}

/// Which variable a value came from that clap refuses, where the option was not typed.
fn from_environment(cli: &clap::Command, line: &[OsString], error: &clap::Error) -> Vec<String> {
    let words = file::first_words(error);
    let commands = line.iter().filter_map(|word| cli.find_subcommand(word)).take(1);
    let options = commands.flat_map(clap::Command::get_arguments);
    let mut notes = Vec::new();
    for (long, variable) in options.filter_map(|arg| Some((arg.get_long()?, arg.get_env()?))) {
        let flag = format!("--{long}");
        let typed = line.iter().any(|word| word.to_string_lossy().split('=').next() == Some(&flag));
        let complained = words.contains(&format!("'{flag} <")) || words.contains(&format!("'{flag}'"));
        if complained && !typed && std::env::var_os(variable).is_some() {
            notes.push(format!("{flag} comes from environment {}", variable.to_string_lossy()));
        }
    }
    notes
}

/// Variables that are nearly settings. Others that begin the same are somebody else's: Kubernetes sets `QUORATE_SERVICE_HOST`
/// and the like for a service of that name.
fn misspelt_variables(cli: &clap::Command, names: impl Iterator<Item = String>) -> Vec<String> {
    const PREFIX: &str = "QUORATE_";
    let arguments = cli.get_arguments().chain(cli.get_subcommands().flat_map(clap::Command::get_arguments));
    let known: Vec<String> =
        arguments.filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned())).collect();
    let near = |name: &String| {
        let rest = name.strip_prefix(PREFIX).filter(|_| !known.contains(name))?;
        let slips = if rest.len() < 8 { 1 } else { 2 };
        let distance = |known: &&String| strsim::damerau_levenshtein(name, known);
        known.iter().filter(|known| distance(known) <= slips).min_by_key(distance)
    };
    let problem = |name: String| {
        let meant = near(&name)?;
        Some(format!("the variable {name} is no setting; did you mean {meant}?"))
    };
    names.filter_map(problem).collect()
}

/// Without the variables that are empty: `NAME=` says as little as no `NAME` (`${NAME:-}` of a compose file).
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_env().and_then(std::env::var_os) {
        Some(value) if value.is_empty() => arg.env(Resettable::Reset),
        _ => arg,
    });
    let names: Vec<_> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_empty_variables))
}

/// Without the options of a command with a configuration that are typed empty, and need not be there: the same.
fn without_empty_options(cli: &clap::Command, mut line: Vec<OsString>) -> Vec<OsString> {
    let at = line.iter().skip(1).position(|word| COMMANDS.iter().any(|name| word == name));
    let Some(command) = at.and_then(|at| cli.find_subcommand(&line[at + 1])) else { return line };
    let optional = command.get_arguments().filter(|arg| {
        arg.get_action().takes_values() && arg.get_default_values().is_empty() && !arg.is_required_set()
    });
    let flags: Vec<_> = optional.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    let mut at = at.map_or(line.len(), |at| at + 2);
    while let Some(word) = line.get(at).map(|word| word.to_string_lossy().into_owned()) {
        let alone = flags.contains(&word) && line.get(at + 1).is_some_and(|next| next.is_empty());
        let whole = word.strip_suffix('=').is_some_and(|flag| flags.iter().any(|known| known == flag));
        match (alone, whole) {
            (true, _) => drop(line.drain(at..at + 2)),
            (_, true) => drop(line.remove(at)),
            _ => at += 1,
        }
    }
    line
}

/// The command without what it demands: single values can be judged by it, and values that are only a part.
fn loose(command: clap::Command) -> clap::Command {
    let groups: Vec<_> = command.get_groups().map(|group| group.get_id().clone()).collect();
    let command = command.mut_args(|arg| arg.required(false));
    groups
        .iter()
        .fold(command, |command, id| command.mut_group(id, |group| group.required(false).multiple(true)))
}
