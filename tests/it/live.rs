//! `quorate watch --live`, on a terminal that is one.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::support::*;

/// What was written to a terminal of 12 lines, and the program that writes.
struct Terminal {
    program: Child,
    written: watch::Receiver<String>,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal of ours");
        unlockpt(&master).expect("a terminal that can be used");
        tcsetwinsize(&master, Winsize { ws_row: 12, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("its size");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("a path");
        let other_end = || File::options().read(true).write(true).open(&name).expect("its other end");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command
            .args(arguments)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(other_end())
            .stderr(other_end());
        let program = command.spawn().expect("the program");
        let (sender, written) = watch::channel(String::new());
        let mut master = File::from(master);
        tokio::task::spawn_blocking(move || {
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
            // Ends with an error once nobody has the other end any more.
            while let Ok(n @ 1..) = master.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..n]);
                sender.send_replace(String::from_utf8_lossy(&bytes).into_owned());
            }
        });
        Self { program, written }
    }

    /// What is on the screen: the last that was drawn whole.
    fn screen(written: &str) -> Option<String> {
        let (drawn, _) = written.rsplit_once("\x1b[J")?;
        let (_, last) = drawn.rsplit_once("\x1b[H")?;
        Some(last.replace("\x1b[K", "").replace("\r\n", "\n"))
    }

    async fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let shows = |written: &String| Self::screen(written).is_some_and(|screen| is(&screen));
        let written = within(what, self.written.wait_for(shows)).await.expect("the program runs");
        Self::screen(&written).expect("a screen")
    }

    /// Sends a signal; the exit code and all that was written.
    async fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.program.id().expect("a process that runs").to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(within("the signal is sent", sent).await.expect("kill").success());
        let status = within("the process ends", self.program.wait()).await.expect("a process");
        // The sender is gone when all is read.
        within("all is read", async { while self.written.changed().await.is_ok() {} }).await;
        (status.code(), self.written.borrow().clone())
    }
}

#[tokio::test]
async fn the_live_view_follows_what_happens_and_leaves_the_terminal_as_it_was() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(AHEAD + 8, AHEAD + 17), Person::new("bob")]).await;
    let before = world.book(ask(&["alice"]).at(AHEAD + 8, AHEAD + 9)).await;
    let mut terminal =
        Terminal::start(&["watch", "--live", "--scheduler", &world.url(), "--time-zone", "UTC"]);
    let screen =
        terminal.until("what is there", |screen| screen.contains("2 participants, 2 connected")).await;
    assert!(screen.contains("confirmed"), "{screen}");
    assert!(screen.ends_with("Since this began: nothing yet.  Ctrl-C ends."), "{screen}");
    world.cancel(&before.meeting_id, "").await.unwrap();
    world.schedule(ask(&["alice", "bob"])).await;
    let screen = terminal.until("what happened", |screen| screen.contains("1 failed")).await;
    assert!(screen.contains("failed: ") && screen.contains("  cancelled  "), "{screen}");
    assert!(screen.contains("1 cancelled") && screen.lines().count() <= 12, "{screen}");
    drop(host);
    terminal
        .until("who left", |screen| screen.contains("2 participants, 0 connected; away: alice, bob"))
        .await;
    let (code, written) = terminal.end("-INT").await;
    assert_eq!(code, Some(0), "{written}");
    assert!(written.starts_with("\x1b[?1049h") && written.ends_with("\x1b[?1049l"), "{written:?}");
}

#[tokio::test]
async fn a_live_view_without_a_scheduler_or_a_terminal() {
    let world = World::start().await;
    let mut terminal = Terminal::start(&["watch", "--live", "--scheduler", &world.url()]);
    terminal.until("the view", |screen| screen.contains("No meetings yet.")).await;
    world.scheduler.stop().await.unwrap();
    let status = within("the process ends", terminal.program.wait()).await.expect("a process");
    within("all is read", async { while terminal.written.changed().await.is_ok() {} }).await;
    let written = terminal.written.borrow().clone();
    assert_eq!(status.code(), Some(6), "{written:?}");
    // What went wrong stands on the screen that stays.
    let (_, after) = written.split_once("\x1b[?1049l").expect("the other screen was left");
    assert!(after.starts_with("error: "), "{after:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let piped =
        within("the process ends", command.args(["watch", "--live"]).output()).await.expect("a process");
    assert_eq!((piped.status.code(), piped.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&piped.stderr).contains("draws on a terminal"), "{piped:?}");
}
