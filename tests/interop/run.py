"""Runs examples/python against the real scheduler: grpcio at both ends, on loopback.

Usage: run.py QUORATE, the built program. PYTHONPATH must hold the folder with the generated stubs.
"""
import signal
import sys
from pathlib import Path

from agent_rules import agent_rules
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from harness import DEADLINE, Process, channel_to, check, free_address, main, run, step, watch_until
from quorate.v1 import scheduler_service_pb2 as pb
from quorate.v1 import scheduler_service_pb2_grpc as rpc

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"
SERVICES = ["quorate.v1.SchedulerService", "quorate.v1.ParticipantService"]
WEEKLY = ["2031-12-09T09:00Z/2031-12-09T11:00Z", "2031-12-16T10:00Z/2031-12-16T11:00Z"]  # of all three
PEOPLE = {  # Tuesday, 2031-12-02. Common to all three: 09:00 to 11:00. The Tuesdays after it: WEEKLY.
    "alice": ["2031-12-02T08:00Z/2031-12-02T17:00Z"],
    "bob": ["2031-12-02T09:00Z/2031-12-02T10:00Z", "2031-12-02T10:00Z/2031-12-02T11:00Z"],
    "carol": ["2031-12-02T07:00Z/2031-12-02T12:00Z"],
}
STARTED = []


def start(name, argv):
    STARTED.append(Process(name, argv))
    return STARTED[-1]


class World:
    """A scheduler, and the tools of this test pointed at it."""

    def __init__(self, quorate):
        self.address = free_address()
        self.server = start("the scheduler", [quorate, "serve", "--listen", self.address, "--in-memory"])
        self.channel = channel_to(self.address, self.server)
        self.stub = rpc.SchedulerServiceStub(self.channel)

    def agent(self, name, free):
        argv = [sys.executable, str(EXAMPLES / "agent.py"), "--scheduler", self.address, "--participant", name]
        return start(name, argv + [word for f in free + WEEKLY for word in ("--free", f)])

    def organizer(self, *args):
        """The organizer's exit code, stdout and stderr."""
        return run([sys.executable, str(EXAMPLES / "organizer.py"), "--scheduler", self.address, *args])

    def book(self, title, *more):
        day = ["--from", "2031-12-02T00:00Z", "--until", "2031-12-03T00:00Z", "--zone", "UTC"]
        return self.organizer("--with", "alice,bob,carol", "--duration-minutes", "60", "--title", title, *day, *more)

    def booked(self, title, slot, *more):
        """Books an hour for all three, checks the slot, and gives the meeting's id."""
        code, out, err = self.book(title, *more)
        check(code == 0, f"{title!r} was not booked ({code}): {out}{err}")
        check(slot in out, f"{title!r} should be at {slot}: {out}")
        check(out.count(" STATUS_ATTENDING") == 3, f"three should attend {title!r}: {out}")
        return out.splitlines()[0].split()[-1]

    def connected(self, want):
        """Waits until exactly these are shown as connected."""
        state = {}

        def arrived(message):
            state[message.participant.participant_id] = message.participant.connected
            return {name for name, connected in state.items() if connected} == set(want)

        watch_until(self.stub.WatchParticipants(pb.WatchParticipantsRequest(), timeout=DEADLINE), arrived)
        listed = self.stub.ListParticipants(pb.ListParticipantsRequest(connected_only=True), timeout=DEADLINE)
        names = [p.participant_id for p in listed.participants]
        check(names == sorted(want), f"connected should be {sorted(want)}: {names}")


def reflection_and_health(world):
    for version in ("v1", "v1alpha"):  # the messages are the same
        ask = world.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        questions = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answer = next(ask(questions, timeout=DEADLINE))
        names = [s.name for s in answer.list_services_response.service]
        for service in [*SERVICES, "grpc.health.v1.Health"]:
            check(service in names, f"reflection {version} does not list {service}: {names}")
    step("reflection v1 and v1alpha list the services")
    health = health_pb2_grpc.HealthStub(world.channel)
    for service in ["", *SERVICES]:
        status = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE).status
        check(status == health_pb2.HealthCheckResponse.SERVING, f"health of {service!r} is {status}")
    step("health is SERVING, for each service")


def booking(world, agents):
    first = world.booked("Kick-off", "2031-12-02T09:00/2031-12-02T10:00Z")
    for agent in agents.values():
        agent.expect(r"held 2031-12-02T09:00/2031-12-02T10:00Z")
        told = agent.expect(r"booked 2031-12-02T09:00/2031-12-02T10:00Z 'Kick-off' with (.*)")
        check(sorted(told[1].split(", ")) == sorted(PEOPLE), f"all should be named: {told[0]}")
    step("three agents are booked for the earliest common hour, and told so")

    request_id = "0b0e5c1a-5f0d-4a6e-9d5c-6a1f0f6f1a01"
    second = world.booked("Review", "2031-12-02T10:00/2031-12-02T11:00Z", "--request-id", request_id)
    agents["bob"].expect(r"booked 2031-12-02T10:00/2031-12-02T11:00Z 'Review'")
    again = world.booked("Review", "2031-12-02T10:00/2031-12-02T11:00Z", "--request-id", request_id)
    check(first != second == again, f"one request id, one meeting: {first}, {second}, {again}")
    step("a second meeting moves to the next hour; asked again by its request id it is the same one")

    code, out, err = world.book("One too many")
    check(code == 1, f"a third hour should not be found ({code}): {out}{err}")
    check("STATE_FAILED REASON_NO_COMMON_SLOT" in out, f"the reason should be NO_COMMON_SLOT: {out}")
    check("would do: " in out, f"a relaxation should be named: {out}")
    step("a third one fails with its reason, and says what would do")

    world.stub.CancelMeeting(pb.CancelMeetingRequest(meeting_id=first), timeout=DEADLINE)
    for agent in agents.values():
        agent.expect(rf"released {first} CAUSE_CANCELLED")
    world.booked("Second try", "2031-12-02T09:00/2031-12-02T10:00Z")
    for agent in agents.values():
        agent.expect(r"booked 2031-12-02T09:00/2031-12-02T10:00Z 'Second try'")
    step("a cancelled meeting is released by its agents, and its hour can be booked again")


def series(world, agents):
    when = ["--from", "2031-12-09T00:00Z", "--until", "2031-12-10T00:00Z", "--zone", "UTC"]
    what = ["--with", "alice,bob,carol", "--duration-minutes", "60", "--title", "Weekly", *when]
    code, out, err = world.organizer(*what, "--rrule", "FREQ=WEEKLY;COUNT=2")
    slots = ["2031-12-09T10:00/2031-12-09T11:00Z", "2031-12-16T10:00/2031-12-16T11:00Z"]
    lines = [f"  {slot} OUTCOME_BOOKED" for slot in slots]
    check(code == 0 and out.splitlines()[1:] == lines, f"the hour that suits both weeks ({code}): {out}{err}")
    for agent in agents.values():
        for slot in slots:
            agent.expect(rf"booked {slot} 'Weekly' with")
    step("a series is booked at the hour that suits both weeks, and the Python agents are told of each occurrence")

    code, out, err = world.organizer(*what, "--rrule", "FREQ=WEEKLY;COUNT=3")
    check(code == 1 and out.startswith("STATE_FAILED"), f"the third week is not free ({code}): {out}{err}")
    check("OUTCOME_SKIPPED" in out and "REASON_NO_COMMON_SLOT" in out, f"why should be said: {out}")
    code, out, err = world.organizer(*what, "--rrule", "FREQ=SOMETIMES")
    check(code == 2 and "  rrule: " in err, f"a bad rule should be INVALID_ARGUMENT ({code}): {out}{err}")
    step("a series that can't be had whole is not booked, and a bad rule is told")


def bad_input(world):
    bad = ["--with", "alice,alice", "--duration-minutes", "0", "--title", "x" * 501]
    window = ["--from", "2031-12-03T00:00Z", "--until", "2031-12-02T00:00Z", "--zone", "Mars/Olympus"]
    code, out, err = world.organizer(*bad, *window)
    check(code == 2 and "INVALID_ARGUMENT" in err, f"bad input should be INVALID_ARGUMENT ({code}): {out}{err}")
    for field in ["attendees", "duration", "title", "window.latest", "window.time_zone"]:
        check(f"  spec.{field}" in err, f"spec.{field} should be among the violations: {err}")
    step("bad input is answered with all of its violations at once")


def ends(world, agents):
    code = agents.pop("bob").stop(signal.SIGKILL)
    check(code == -signal.SIGKILL, f"bob ended with {code}")
    world.connected(agents)
    bob = world.stub.GetParticipant(pb.GetParticipantRequest(participant_id="bob"), timeout=DEADLINE).participant
    check(not bob.connected and bob.HasField("last_seen"), f"bob should be gone, and last seen: {bob}")
    step("a killed agent is shown as disconnected")

    agents["bob"] = world.agent("bob", PEOPLE["bob"])
    told = {agents["bob"].expect(r"booked \S+ '(.*)' with")[1] for _ in range(4)}
    check(told == {"Review", "Second try", "Weekly"}, f"bob should have his four bookings again: {told}")
    world.connected(agents)
    step("an agent without a journal gets its bookings back when it registers")

    code = world.server.stop(timeout=10)
    check(code == 0, f"the scheduler should end with 0 on SIGTERM: {code}; {world.server.story()}")
    for name, agent in agents.items():
        check(agent.end() == 1, f"{name} should end with 1")
        check(any("stream broke: UNAVAILABLE" in line for line in agent.seen), agent.story())
    code, out, err = world.organizer("--with", "alice")
    check(code == 3 and "asking again" in err, f"without a scheduler the organizer asks again, then exits 3: {code} {err}")
    step("SIGTERM ends the streams with UNAVAILABLE, and the scheduler with 0")


def body():
    agent_rules()
    world = World(sys.argv[1])
    reflection_and_health(world)
    agents = {name: world.agent(name, free) for name, free in PEOPLE.items()}
    for agent in agents.values():
        agent.expect(r"registered")
    world.connected(agents)
    step("three Python agents are connected")
    booking(world, agents)
    series(world, agents)
    bad_input(world)
    ends(world, agents)


if __name__ == "__main__":
    sys.exit(main(body, STARTED))
