//! What a configuration file may say: the options of `quorate serve` and `quorate agent`, read from clap itself.
//!
//! **Adding a key** takes one place: the field in `ServeArgs` or `AgentArgs`, with `#[arg(long, env = "QUORATE_…")]`
//! and a doc comment. Its id is the key, its command the table; its flag, variable, default, check and kind come with
//! it, and a test asks for its row in docs/configuration.md. An option that both commands have belongs to a table of
//! its own if its id begins as `SHARED` says: `log_format` is `format` in `[log]`.
//!
//! **A secret** is given by file only: a field of the type `SecretFile` whose name ends in `_file`. Its path is printed,
//! what the file holds never is.

use std::any::TypeId;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

/// The commands that read a configuration file; their tables have the same names.
pub const COMMANDS: [&str; 2] = ["serve", "agent"];

/// Tables for options that both commands have: how the option's id begins, and which table it is in.
const SHARED: [(&str, &str); 2] = [("log", "log"), ("otlp", "log")];

/// Options that say where the file is, so that they can't be in it.
const NOT_IN_FILES: [&str; 1] = ["config"];

/// What is written for a key in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// An integer.
    Number,
    /// `true` or `false`.
    Flag,
    /// An array of strings.
    List,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let parsed = arg.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
        ];
        match arg.get_action() {
            ArgAction::SetTrue => Self::Flag,
            ArgAction::Append => Self::List,
            _ if numbers.iter().any(|number| parsed == *number) => Self::Number,
            _ => Self::Text,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Number => "an integer",
            Self::Flag => "true or false",
            Self::List => "an array of strings",
        }
    }
}

/// One key of the file.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its table.
    pub table: &'static str,
    /// Its name within the table.
    pub name: String,
    /// What is written for it.
    pub kind: Kind,
    /// The commands that have it.
    pub commands: Vec<&'static str>,
    /// The option.
    pub arg: Arg,
}

impl Key {
    /// The flag: `--listen`.
    pub fn flag(&self) -> String {
        format!("--{}", self.arg.get_long().unwrap_or_default())
    }

    /// The environment variable.
    pub fn variable(&self) -> Option<String> {
        self.arg.get_env().map(|name| name.to_string_lossy().into_owned())
    }

    /// The default, as it would be typed after the flag.
    pub fn default(&self) -> Option<String> {
        let values = self.arg.get_default_values();
        (!values.is_empty() && self.kind != Kind::Flag)
            .then(|| values.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(", "))
    }

    /// Whether it names a file whose content is secret.
    pub fn is_secret_file(&self) -> bool {
        self.name.ends_with("_file")
    }

    /// The file that holds the secret, if this value names one that can't be read.
    pub fn unreadable_secret(&self, value: &str) -> Option<(PathBuf, std::io::Error)> {
        let path = PathBuf::from(value);
        let opened = self.is_secret_file().then(|| std::fs::read_to_string(&path));
        opened.and_then(Result::err).map(|error| (path, error))
    }
}

/// All keys, table by table, in the order of the options.
pub fn keys(cli: &Command) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for command in COMMANDS {
        let Some(found) = cli.find_subcommand(command) else { continue };
        let options = found.get_arguments().filter(|arg| arg.get_long().is_some());
        for arg in options.filter(|arg| !NOT_IN_FILES.contains(&arg.get_id().as_str())) {
            let id = arg.get_id().as_str();
            let (table, name) = place(command, id);
            match keys.iter_mut().find(|key| key.table == table && key.name == name) {
                Some(shared) => shared.commands.push(command),
                None => keys.push(Key {
                    table,
                    name,
                    kind: Kind::of(arg),
                    commands: vec![command],
                    arg: arg.clone(),
                }),
            }
        }
    }
    // Tables of their own come last.
    keys.sort_by_key(|key| {
        COMMANDS.iter().position(|command| *command == key.table).unwrap_or(COMMANDS.len())
    });
    keys
}

/// Table and name of an option.
fn place(command: &'static str, id: &str) -> (&'static str, String) {
    let shared = SHARED.iter().find(|(begin, _)| id == *begin || id.starts_with(&format!("{begin}_")));
    match shared {
        Some((_, table)) if id == *table => (table, "filter".to_owned()),
        Some((_, table)) => (table, id.strip_prefix(&format!("{table}_")).unwrap_or(id).to_owned()),
        None => (command, id.to_owned()),
    }
}

/// The names of the tables, in their order.
pub fn tables(keys: &[Key]) -> Vec<&'static str> {
    let mut tables: Vec<_> = keys.iter().map(|key| key.table).collect();
    tables.dedup();
    tables
}

/// The name that is meant, most probably.
pub fn nearest<'name>(wrong: &str, names: impl IntoIterator<Item = &'name str>) -> Option<&'name str> {
    let wrong = wrong.replace('-', "_").to_lowercase();
    let near = names.into_iter().map(|name| {
        let slip = strsim::damerau_levenshtein(&wrong, name) == 1;
        (if slip { 1.0 } else { strsim::jaro_winkler(&wrong, name) }, name)
    });
    near.filter(|(near, _)| *near > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
