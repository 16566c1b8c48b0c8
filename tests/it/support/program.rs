//! The program as a process, with all that it writes.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::within;

/// Killed when it is dropped.
pub struct Program {
    child: Child,
    /// Each line, and whether it was written to standard error.
    lines: watch::Receiver<Vec<(bool, String)>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let (sender, lines) = watch::channel(Vec::new());
        let output = read(child.stdout.take().unwrap(), false, sender.clone());
        let errors = read(child.stderr.take().unwrap(), true, sender);
        Self { child, lines, readers: vec![output, errors] }
    }

    /// Waits until it has written such a line.
    pub async fn until(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|(_, line)| is(line)));
        let found = within(what, found).await.unwrap_or_else(|_| panic!("it ended: {what}"));
        found.iter().find(|(_, line)| is(line)).map(|(_, line)| line.clone()).unwrap()
    }

    /// SIGTERM, by the system's own tool.
    pub async fn terminate(&self) {
        let id = self.child.id().expect("a process that runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(within("the signal is sent", sent).await.expect("kill").success());
    }

    /// The exit code, and all that it wrote to standard error.
    pub async fn exit(mut self) -> (Option<i32>, String) {
        let status = within("the process ends", self.child.wait()).await.expect("a process");
        for reader in self.readers {
            within("all is read", reader).await.unwrap();
        }
        let lines = self.lines.borrow();
        let errors = lines.iter().filter(|(error, _)| *error);
        (status.code(), errors.map(|(_, line)| format!("{line}\n")).collect())
    }
}

fn read(
    from: impl AsyncRead + Unpin + Send + 'static,
    error: bool,
    to: watch::Sender<Vec<(bool, String)>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await.expect("text") {
            to.send_modify(|all| all.push((error, line)));
        }
    })
}
