"""What the interop scripts share: processes that are watched line by line, and a running scheduler.

Every wait is for an event, a line of output, a message on a stream or the end of a process, and
ends at a deadline with what was seen until then.
"""
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc

DEADLINE = 30  # seconds, for anything that is waited for


class Failure(Exception):
    """A check that failed."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def step(text):
    print(f"ok: {text}", flush=True)


class Process:
    """A program, whose output (stdout and stderr in one) is collected line by line."""

    def __init__(self, name, argv, **options):
        self.name, self.seen, self.lines = name, [], queue.SimpleQueue()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def expect(self, pattern):
        """The match in the first line, of those not yet looked at, that has the pattern."""
        end = time.monotonic() + DEADLINE
        while True:
            try:
                line = self.lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(f"{self.name} did not say {pattern!r} in {DEADLINE} s; {self.story()}") from None
            if line is None:
                self.lines.put(None)
                raise Failure(f"{self.name} ended before it said {pattern!r}; {self.story()}")
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found

    def story(self):
        return "it said:\n  " + "\n  ".join(self.seen or ["nothing"])

    def end(self, timeout=DEADLINE):
        """Waits for the end; returns the exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end in {timeout} s; {self.story()}") from None
        self.reader.join(timeout)
        while (line := self.lines.get()) is not None:
            self.seen.append(line)
        self.lines.put(None)
        return code

    def stop(self, sign=signal.SIGTERM, timeout=DEADLINE):
        self.process.send_signal(sign)
        return self.end(timeout)

    def kill(self):
        """Ends it if it still runs: for leaving."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run(argv, **options):
    """Runs a program to its end; returns its exit code, stdout and stderr."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * DEADLINE, **options)
    return done.returncode, done.stdout, done.stderr


def free_address():
    """An address on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]


def channel_to(address, process):
    """A channel to a scheduler, once it answers."""
    channel = grpc.insecure_channel(
        address, options=[("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    )
    ready = grpc.channel_ready_future(channel)
    try:
        ready.result(DEADLINE)
    except grpc.FutureTimeoutError:
        process.kill()
        process.end()
        raise Failure(f"nothing answers at {address}; {process.name}: {process.story()}") from None
    return channel


def watch_until(call, done):
    """Reads a server stream until `done` says so, and gives it up then."""
    try:
        for message in call:
            if done(message):
                return message
    except grpc.RpcError as error:
        raise Failure(f"a watched stream ended too early: {error.code().name}: {error.details()}") from None
    finally:
        call.cancel()
    raise Failure("a watched stream ended too early")


def main(body, cleanup):
    """Runs a script's body; its failures become one line and exit code 1."""
    watchdog = threading.Timer(10 * DEADLINE, lambda: (sys.stderr.write("FAILED: took too long\n"), os._exit(1)))
    watchdog.daemon = True
    watchdog.start()
    try:
        body()
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
        return 1
    finally:
        for process in cleanup:
            process.kill()
    return 0
