//! What `quorate completions` prints, in the shells that it is for: each is asked what it would offer.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::say::say;
use super::support::*;

/// The script that the program prints for a shell.
async fn script(shell: &str) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["completions", shell]).stdin(Stdio::null()).kill_on_drop(true);
    let printed = within("the script", command.output()).await.expect("the program");
    let said = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert_eq!((printed.status.code(), said.as_str()), (Some(0), ""));
    printed.stdout
}

/// What a shell prints, with an empty folder as its home; `None`, and said, where it is not installed.
async fn shell(name: &str, home: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(home).env("HOME", home).env("ZDOTDIR", home).env("TERM", "dumb");
    command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME").env_remove("FPATH");
    command.stdin(Stdio::null()).kill_on_drop(true);
    match within("the shell ends", command.output()).await {
        Ok(output) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success() && err.is_empty(), "{name}: {out}{err}");
            Some(out)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say(&format!("SKIPPED: the completions for {name}: there is no {name} here"));
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

#[tokio::test]
async fn bash_completes_commands_and_flags() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("quorate.bash"), script("bash").await).unwrap();
    // What is done at a TAB: the word to complete is the last one.
    let ask = r#"
source quorate.bash
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _quorate quorate "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    echo "${COMPREPLY[@]}"
}
ask quorate sch
ask quorate schedule --dur
"#;
    let Some(out) = shell("bash", home.path(), &["--norc", "-c", ask]).await else { return };
    assert_eq!(out, "schedule\n--duration\n");
}

#[tokio::test]
async fn zsh_completes_commands_and_flags() {
    let home = tempfile::tempdir().unwrap();
    let functions = home.path().join("functions");
    std::fs::create_dir(&functions).unwrap();
    std::fs::write(functions.join("_quorate"), script("zsh").await).unwrap();
    // A TAB completes, and then prints what stands on the command line.
    let rc = r#"
PROMPT="READY> "
fpath=($ZDOTDIR/functions $fpath)
autoload -Uz compinit
compinit -u -D
complete-and-say() { zle complete-word; print -r -- "<<$BUFFER>>" }
zle -N complete-and-say
bindkey "^I" complete-and-say
"#;
    std::fs::write(home.path().join(".zshrc"), rc).unwrap();
    // Completing needs a terminal: an interactive zsh in one, and what it printed.
    let ask = r#"
zmodload zsh/zpty || exit
ask() {
    zpty shell zsh -i
    zpty -r shell heard "*READY> *"
    zpty -w -n shell "$1"$'\t'
    zpty -r shell heard "*<<*>>*"
    zpty -d shell
    print -r -- "${${heard##*<<}%%>>*}|"
}
ask "quorate sch"
ask "quorate schedule --dur"
"#;
    let Some(out) = shell("zsh", home.path(), &["-f", "-c", ask]).await else { return };
    assert_eq!(out, "quorate schedule |\nquorate schedule --duration=|\n");
}

#[tokio::test]
async fn fish_completes_commands_and_flags() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("quorate.fish"), script("fish").await).unwrap();
    let ask = "source quorate.fish; complete -C 'quorate sch'; complete -C 'quorate schedule --dur'";
    let Some(out) = shell("fish", home.path(), &["--no-config", "-c", ask]).await else { return };
    let offered: Vec<&str> = out.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(offered, ["schedule", "--duration"], "{out}");
}

#[tokio::test]
async fn another_shell_is_refused_and_those_there_are_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["completions", "cmd.exe"]).stdin(Stdio::null()).kill_on_drop(true);
    let refused = within("the program ends", command.output()).await.expect("the program");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("bash") && said.contains("zsh") && said.contains("fish"), "{said}");
}
