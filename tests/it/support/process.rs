//! `quorate serve` as a process of its own, for what only a process can do: be killed, and get signals.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::within;

/// A scheduler process; killed when it is dropped.
pub struct Serve {
    child: Child,
    pub url: String,
    pub address: String,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "quorate=warn", "--data-dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Serve {
    pub async fn start(folder: &Path) -> Self {
        let mut child = command(folder).spawn().expect("the program");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the program listens", lines.next_line()).await.unwrap().expect("a line");
        let address = line.rsplit(' ').next().expect("an address").to_owned();
        Self { child, url: format!("http://{address}"), address }
    }

    /// SIGKILL, and wait until the process is gone.
    pub async fn kill(mut self) {
        within("the process is gone", self.child.kill()).await.expect("a process");
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        self.signal("-TERM").await;
    }

    /// A signal, by the system's own tool.
    pub async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("a process that runs").to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(within("the signal is sent", sent).await.expect("kill").success());
    }

    /// The exit code, and what it wrote to standard error.
    pub async fn exit(self) -> (Option<i32>, String) {
        let output = within("the process ends", self.child.wait_with_output()).await.expect("a process");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Exit code and standard error of a scheduler that is expected to refuse.
pub async fn stderr_of(folder: &Path) -> (Option<i32>, String) {
    let output = within("the process ends", command(folder).output()).await.expect("the program");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
