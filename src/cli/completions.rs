//! `quorate completions`: what a shell needs to complete commands and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::client::put;
use super::error::{CliError, Exit};

const EXAMPLES: &str = "\
Examples:
  quorate completions bash > ~/.local/share/bash-completion/completions/quorate
  quorate completions zsh > ~/.zfunc/_quorate      with ~/.zfunc in $fpath
  quorate completions fish > ~/.config/fish/completions/quorate.fish";

/// Arguments of `quorate completions`.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// The script for a shell.
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Cli::command(), "quorate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Prints the script.
///
/// # Errors
/// It can't be written.
pub fn completions(args: CompletionsArgs) -> Result<Exit, CliError> {
    put(&script(args.shell))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_all_commands() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for word in ["reschedule", "participants", "in-memory", "doctor"] {
                assert!(script.contains(word), "{shell}: no {word}");
            }
        }
    }
}
