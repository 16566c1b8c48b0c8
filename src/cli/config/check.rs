//! `quorate config check`: what a file, the environment and flags come to, and who said what.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Subcommand};

use super::schema::{self, Kind};
use super::{COMMANDS, ConfigFile, Origin, Problems, Resolved, Stop};
use crate::cli::Cli;
use crate::cli::client::put;
use crate::cli::error::Exit;

const CHECK_EXAMPLES: &str = "\
Examples:
  quorate config check /etc/quorate.toml
  quorate config check quorate.toml -- serve --listen 0.0.0.0:50051      what this command would run with

Exits with 2 if anything in it can't be used: all of it is told, with its line. Every key: docs/configuration.md";

/// Arguments of `quorate config`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "quorate config check tells what a file comes to. It is given to quorate serve and quorate agent by --config \
                        or QUORATE_CONFIG."
)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with a configuration.
#[derive(Subcommand, Clone, Debug)]
pub enum ConfigCommand {
    /// Check a file and print the effective configuration, and where each value comes from
    Check(CheckArgs),
}

/// Arguments of `quorate config check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The file. Without one, what the environment and the defaults come to
    #[arg(value_name = "FILE", env = "QUORATE_CONFIG")]
    pub file: Option<PathBuf>,
    /// A command with its options, as it would be run: then what it needs is checked too
    #[arg(value_name = "COMMAND", last = true)]
    pub line: Vec<OsString>,
}

/// Checks and prints.
pub fn config(args: &ConfigArgs) -> ExitCode {
    let ConfigCommand::Check(args) = &args.command;
    match check(args, Cli::command()) {
        Ok(text) => match put(&text) {
            Ok(_) => Exit::Done.into(),
            Err(_) => Exit::Failed.into(),
        },
        Err(stop) => stop.tell(),
    }
}

/// The effective configuration, in words that are TOML too.
///
/// # Errors
/// All that can't be used.
pub fn check(args: &CheckArgs, cli: clap::Command) -> Result<String, Stop> {
    let keys = schema::keys(&cli);
    let file = match &args.file {
        Some(path) => ConfigFile::read(path, &cli).map_err(Stop::Config)?,
        None => ConfigFile::default(),
    };
    let mut resolved = Vec::new();
    if args.line.is_empty() {
        // What is missing may come as a flag; what excludes each other may not.
        let known: Vec<_> = COMMANDS.into_iter().filter(|name| cli.find_subcommand(name).is_some()).collect();
        let partial = known.iter().fold(cli, |cli, name| {
            cli.mut_subcommand(*name, |command| {
                let groups: Vec<_> = command.get_groups().map(|group| group.get_id().clone()).collect();
                let command = command.mut_args(|arg| arg.required(false));
                groups
                    .iter()
                    .fold(command, |command, id| command.mut_group(id, |group| group.required(false)))
            })
        });
        for name in known {
            let line = ["quorate", name].map(OsString::from).to_vec();
            resolved.extend(Resolved::of(partial.clone(), line, Some(&file))?.ok());
        }
    } else {
        let line = std::iter::once(OsString::from("quorate")).chain(args.line.iter().cloned()).collect();
        // A file that the line names itself is the one that counts.
        let named = args.line.iter().any(|word| word.to_string_lossy().starts_with("--config"));
        let known = if named { None } else { Some(&file) };
        resolved.extend(Resolved::of(cli, line, known)?.ok());
    }
    if resolved.is_empty() {
        let what = format!("only quorate {} read a configuration", COMMANDS.join(" and quorate "));
        return Err(Stop::Config(Problems(vec![what])));
    }
    let mut text = match &args.file {
        Some(path) => format!("# {} can be used\n", path.display()),
        None => String::new(),
    };
    let mut unreadable: Vec<String> = resolved.iter().filter_map(listens_twice).collect();
    for table in schema::tables(&keys) {
        let mut lines = String::new();
        for key in keys.iter().filter(|key| key.table == table) {
            let of = resolved.iter().find(|resolved| key.commands.contains(&resolved.command.as_str()));
            let Some(of) = of else { continue };
            let (shown, origin, values) = shown(of, key);
            let _ = match shown {
                Some(value) => writeln!(lines, "{:<46} # {origin}", format!("{} = {value}", key.name)),
                None => writeln!(lines, "{:<46} # not set", format!("# {}", key.name)),
            };
            for (path, error) in values.iter().filter_map(|value| key.unreadable_secret(value)) {
                unreadable.push(format!(
                    "{origin}: {table}.{}: can't read {}: {error}",
                    key.name,
                    path.display()
                ));
            }
        }
        if !lines.is_empty() {
            let _ = write!(text, "[{table}]\n{lines}");
        }
    }
    match unreadable.is_empty() {
        true => Ok(text),
        false => Err(Stop::Config(Problems(unreadable))),
    }
}

/// Organizers and operators can't be served at the same address.
fn listens_twice(of: &Resolved) -> Option<String> {
    let (_, matches) = of.matches.subcommand()?;
    let address = |id: &str| matches.try_get_one::<SocketAddr>(id).ok().flatten().copied();
    let listen = address("listen").filter(|listen| listen.port() != 0)?;
    let same = address("admin") == Some(listen);
    same.then(|| format!("serve.admin: {listen} is serve.listen too; each needs a port of its own"))
}

/// A key's value as TOML, who said it, and the values as they were typed.
fn shown(of: &Resolved, key: &schema::Key) -> (Option<String>, Origin, Vec<String>) {
    let matches = of.matches.subcommand().map(|(_, matches)| matches);
    let id = key.arg.get_id().as_str();
    let raw = matches.and_then(|matches| matches.get_raw(id));
    let values: Vec<String> =
        raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect();
    let origin = of.origins.get(id).cloned().unwrap_or(Origin::Default);
    // A JSON string is a TOML string.
    let quoted = |value: &String| serde_json::json!(value).to_string();
    let text = match key.kind {
        Kind::Flag => matches.map(|matches| matches.get_flag(id).to_string()),
        Kind::List => (!values.is_empty())
            .then(|| format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))),
        Kind::Number => values.first().cloned(),
        Kind::Text => values.first().map(quoted),
    };
    (text, origin, values)
}
