//! The program as a process that can be killed, frozen and started again.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::support::{until, within};

/// A running process of ours; killed when it is dropped.
pub struct Program {
    child: Child,
    what: String,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

/// How a process is started, again and again.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// For people.
    pub what: String,
    /// The network namespace that it runs in.
    pub namespace: Option<String>,
    pub arguments: Vec<String>,
    /// Where its standard error goes, behind what is there.
    pub log: PathBuf,
}

impl Recipe {
    /// A scheduler.
    pub fn serve(listen: &str, data: &Path, log: &Path) -> Self {
        let arguments = ["serve", "--listen", listen, "--log", "quorate=info", "--data-dir", text(data)];
        Self::new("scheduler", &arguments, log)
    }

    /// An agent for the calendars of a folder, with its journal in `data`.
    pub fn agent(what: &str, scheduler: &str, calendars: &Path, data: &Path, log: &Path) -> Self {
        let arguments = ["agent", "--scheduler", scheduler, "--calendar", text(calendars)];
        let more = ["--data-dir", text(data), "--log", "quorate=info"];
        Self::new(what, &[&arguments[..], &more[..]].concat(), log)
    }

    fn new(what: &str, arguments: &[&str], log: &Path) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { what: what.to_owned(), namespace: None, arguments, log: log.to_owned() }
    }

    /// The same in a network namespace.
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_quorate");
        let mut command = match &self.namespace {
            // `ip` becomes the program: what is killed is the program itself.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, program]);
                command
            }
            None => Command::new(program),
        };
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts it.
    pub fn start(&self) -> Program {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut child = self.command().stderr(log).spawn().expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Program { child, what: self.what.clone(), lines, log: self.log.clone() }
    }
}

impl Program {
    /// Waits until it says on standard output that it is ready.
    pub async fn ready(&mut self) {
        let what = format!("{} is ready", self.what);
        let line = within(&what, self.lines.next_line()).await.expect("its output");
        assert!(line.is_some(), "{} ended instead: {}", self.what, self.last_words());
    }

    /// Waits until it has ended, with which code; or has started, which it shows by saying that it is ready, or that it
    /// finds nobody: then none.
    pub async fn refusal(&mut self) -> Option<Option<i32>> {
        let what = format!("{} ends or starts", self.what);
        let log = self.log.clone();
        let look = || {
            let lonely = fs::read_to_string(&log).unwrap_or_default().contains("no stream to the scheduler");
            if lonely { Ok(()) } else { Err(String::new()) }
        };
        tokio::select! {
            line = within(&what, self.lines.next_line()) => match line.expect("its output") {
                Some(_) => None,
                None => Some(within(&what, self.child.wait()).await.expect("a process").code()),
            },
            _ = until(&what, look) => None,
        }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended: {}", self.what, self.last_words()))
    }

    /// Fails if it has ended by itself.
    pub fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("a process");
        assert!(ended.is_none(), "{} ended by itself, {ended:?}: {}", self.what, self.last_words());
    }

    /// SIGKILL, and waits until the process is gone. It must have been running until then.
    pub async fn kill(mut self) {
        self.must_run();
        within("the process is gone", self.child.kill()).await.expect("a process");
    }

    /// SIGTERM, and SIGKILL after so long, wherever it is with its end by then; or it has ended in good order before.
    pub async fn terminate_or_kill(mut self, after: Duration) {
        self.signal("-TERM").await;
        match tokio::time::timeout(after, self.child.wait()).await {
            Ok(ended) => {
                let status = ended.expect("a process");
                assert!(status.success(), "{} ended with {status}: {}", self.what, self.last_words());
            }
            Err(_) => within("the process is gone", self.child.kill()).await.expect("a process"),
        }
    }

    /// Sends a signal by the system's own tool.
    pub async fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(within("the signal is sent", sent).await.expect("kill").success());
    }

    /// SIGTERM; it has to end in good order.
    pub async fn terminate(mut self) {
        self.signal("-TERM").await;
        let status = within("the process ends", self.child.wait()).await.expect("a process");
        assert!(status.success(), "{} ended with {status}: {}", self.what, self.last_words());
    }

    /// The end of its standard error.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Time on a processor so far, in hundredths of a second (proc(5), utime and stime).
    pub fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("its /proc");
        let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
        fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Ports that systems don't give to outgoing connections: such a port is free again for a scheduler that comes back,
/// and a client that tries it meanwhile can't connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A free port of this machine, for a scheduler that is started more than once.
pub fn free_port() -> SocketAddr {
    let mut ports: Vec<u16> = PORTS.collect();
    let first = uuid::Uuid::new_v4().as_u128() % ports.len() as u128;
    ports.rotate_left(first as usize);
    let addresses = ports.into_iter().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.into_iter().find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}
