//! A compose project of the very files that users get, under a name of its own.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// For anything that is waited for.
const DEADLINE: Duration = Duration::from_secs(90);
/// How long all containers together may take to end by themselves: less than the 15 s after which the compose file has them
/// killed.
const DOWN: Duration = Duration::from_secs(12);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// The image that the tests build: nobody's `quorate` is replaced.
pub const IMAGE: &str = "quorate-under-test";

/// The services that hold promises.
pub const AGENTS: [&str; 3] = ["alice", "bob", "charlie"];

/// A project; whatever of it there is goes with it.
pub struct Project {
    program: String,
    name: String,
}

impl Project {
    /// Of the program that is given: docker-compose 1.29, or 2.
    pub fn new(program: &str, name: &str) -> Self {
        let project =
            Self { program: program.to_owned(), name: format!("quorate-test-{name}-{}", std::process::id()) };
        project.remove();
        project
    }

    /// The compose program with these arguments, in the repository.
    pub fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        command.args(["--project-name", &self.name]).args(arguments);
        command.env("QUORATE_IMAGE", IMAGE).env("QUORATE_PROFILE", "dev");
        // The classic builder, which every engine has.
        command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0");
        // Ports that are free.
        for port in ["QUORATE_PORT", "QUORATE_ADMIN_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "JAEGER_PORT"] {
            command.env(port, "0");
        }
        command
    }

    /// Runs it, which has to succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        succeed(&mut self.compose(arguments))
    }

    /// Starts the scheduler, the agents and the booking: what `docker compose up` does, without what only some want.
    pub fn up(&self) {
        self.run(&["up", "-d", "--no-build", "scheduler", "alice", "bob", "charlie", "book"]);
    }

    /// The container of a service.
    pub fn container(&self, service: &str) -> String {
        let (project, service) = (
            format!("label=com.docker.compose.project={}", self.name),
            format!("label=com.docker.compose.service={service}"),
        );
        let found = docker(&["ps", "-aq", "--no-trunc", "--filter", &project, "--filter", &service]);
        let mut found = found.lines();
        let container = found.next().unwrap_or_else(|| panic!("there is no container for {service}"));
        assert_eq!(found.next(), None, "one container for {service}");
        container.to_owned()
    }

    /// What the engine says of the container of a service.
    pub fn inspect(&self, service: &str) -> Value {
        let text = docker(&["inspect", &self.container(service)]);
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all[0].clone()
    }

    /// Its network, which all services share.
    pub fn network(&self) -> String {
        format!("{}_default", self.name)
    }

    /// `quorate …` within the container of a service: exit code and what it said, as JSON.
    pub fn quorate(&self, service: &str, arguments: &[&str]) -> (i32, Value) {
        let output = self.quorate_command(service, arguments).output().expect("docker starts");
        answer(&output)
    }

    /// The same, not begun yet.
    pub fn quorate_command(&self, service: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.stdin(Stdio::null()).args(["exec", &self.container(service), "quorate"]);
        command.args(arguments).arg("--json");
        command
    }

    /// Waits until the health check of a service says so.
    pub fn healthy(&self, service: &str) {
        until(&format!("{service} is healthy"), || {
            let state = self.inspect(service)["State"].clone();
            if state["Health"]["Status"] == "healthy" { Ok(()) } else { Err(state.to_string()) }
        });
    }

    /// Waits until all services that stay are healthy.
    pub fn all_healthy(&self) {
        self.healthy("scheduler");
        AGENTS.iter().for_each(|agent| self.healthy(agent));
    }

    /// SIGKILL for the process of a service, as the kernel would send it, so that the engine takes it for a crash. Returns
    /// when the engine has started it again by itself.
    pub fn kill(&self, service: &str) {
        let before = self.inspect(service);
        let (pid, started) = (before["State"]["Pid"].to_string(), before["State"]["StartedAt"].clone());
        let kill = format!("kill -KILL {pid}");
        // From a container that sees the machine's processes: no rights are needed but those for the engine.
        let shell = ["run", "--rm", "--pid=host", "--user=0", "--network=none", "--entrypoint=sh"];
        docker(&[&shell[..], &[IMAGE, "-c", &kill]].concat());
        until(&format!("{service} is started again"), || {
            let now = self.inspect(service);
            let again = now["State"]["Running"] == true && now["State"]["StartedAt"] != started;
            if again { Ok(()) } else { Err(now["State"].to_string()) }
        });
        let count = |value: &Value| value["RestartCount"].as_i64().expect("a count");
        assert_eq!(
            count(&self.inspect(service)),
            count(&before) + 1,
            "it was the engine who started it again"
        );
    }

    /// Puts it down as the README says, in seconds: the exit code of each container that ended by it, by service.
    pub fn down(&self) -> Vec<(String, String)> {
        // By the engine's own clock.
        let since = docker(&["info", "--format", "{{.SystemTime}}"]).trim().to_owned();
        let begun = Instant::now();
        let words = readme_down();
        self.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let took = begun.elapsed();
        writeln!(io::stderr(), "{} down: {took:.1?}", self.program).expect("stderr is open");
        assert!(took < DOWN, "down took {took:?}");
        let until = docker(&["info", "--format", "{{.SystemTime}}"]).trim().to_owned();
        let project = format!("label=com.docker.compose.project={}", self.name);
        let format =
            "{{index .Actor.Attributes \"com.docker.compose.service\"}} {{.Actor.Attributes.exitCode}}";
        let filter = ["--filter", "type=container", "--filter", "event=die", "--filter", &project];
        let said = docker(
            &[&["events", "--since", &since, "--until", &until, "--format", format], &filter[..]].concat(),
        );
        let mut ended: Vec<(String, String)> = said
            .lines()
            .map(|line| {
                let (service, code) = line.split_once(' ').expect("a service and a code");
                (service.to_owned(), code.to_owned())
            })
            .collect();
        ended.sort();
        ended
    }

    /// What there still is of it: containers, volumes and networks.
    pub fn left_over(&self) -> String {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let filter = ["-q", "--filter", &project];
        [&["ps", "-a"][..], &["volume", "ls"], &["network", "ls"]]
            .map(|list| docker(&[list, &filter].concat()))
            .concat()
    }

    /// Removes all of it, volumes too.
    pub fn remove(&self) {
        // If that fails, `left_over` tells.
        self.compose(&["--profile", "observability", "down", "--volumes", "--timeout", "10"]).output().ok();
    }

    /// What the containers said: for whoever reads of a failure.
    fn story(&self) -> String {
        let output = self.compose(&["logs", "--no-color", "--tail", "60"]).output().expect("a program");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.story());
        }
        self.remove();
    }
}

/// The arguments with which the README ends it all.
fn readme_down() -> Vec<String> {
    let lines = include_str!("../../README.md").lines();
    let commands = lines.filter_map(|line| line.strip_prefix("$ docker compose ")?.split(" #").next());
    let words = |command: &str| command.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut downs = commands.map(words).filter(|words| words.last().is_some_and(|last| last == "down"));
    downs.next().expect("the README says how it ends")
}

/// The exit code of a command, and its JSON; null if it wrote none.
pub fn answer(output: &Output) -> (i32, Value) {
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        Value::String(String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned())
    });
    (output.status.code().expect("an exit code"), value)
}

/// Runs the client of the engine, which has to succeed.
pub fn docker(arguments: &[&str]) -> String {
    succeed(Command::new("docker").args(arguments).stdin(Stdio::null()))
}

/// Runs a command, which has to succeed: what it wrote to standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{out}{err}", output.status);
    out
}

/// Looks until there is what is waited for. The error is what was seen instead.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}; at last: {seen}"),
        }
        thread::sleep(LOOK);
    }
}

/// The body of what an HTTP server of the project answers to GET; none if nobody answers with 200.
pub fn http(address: &str, path: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().map_err(|error| error.to_string())?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(text),
    }
}

/// For a URL's query.
pub fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
