"""The promises of examples/python/agent.py, message by message: what it grants, refuses, keeps and drops."""
import sys
from pathlib import Path

from harness import check, step
from quorate.v1 import participant_service_pb2 as pb

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "python"))
from agent import Agent  # noqa: E402
from intervals import interval, put, span  # noqa: E402


def hours(start, end):
    return interval(f"2031-12-02T{start:02}:00Z/2031-12-02T{end:02}:00Z")


def hold(meeting_id, attempt, start, end, displaces=()):
    message = pb.Hold(participant_ids=["zoe", "alice"], meeting_id=meeting_id, attempt=attempt, displaces=displaces)
    put(message.slot, hours(start, end))
    put(message.blocked, hours(start, end))
    return message


def booking(message):
    parts = {name: getattr(message, name) for name in ("meeting_id", "attempt", "slot", "blocked")}
    return pb.Booking(**parts, attendees=message.participant_ids)


def agent_rules():
    agent = Agent("alice", [hours(8, 12)])

    def say(kind, message):
        (answer,) = agent.answer(kind, message)
        return next(iter(answer.values()))

    def vote(*args, **more):
        answer = say("hold", hold(*args, **more))
        if answer.WhichOneof("answer") == "granted":
            return "GRANTED"
        by = answer.refused.held_by
        return pb.Refused.Reason.Name(answer.refused.reason)[7:] + (f" {by.meeting_id}/{by.attempt}" if by.meeting_id else "")

    def free(*disregard):
        query = pb.AvailabilityQuery(query_id="q", participant_ids=["alice"], disregard=disregard)
        put(query.windows.add(), hours(7, 11))
        return [span(f) for f in say("availability_query", query).free]

    def equal(got, wanted, what):
        check(got == wanted, f"agent.py: {what}: {got}, not {wanted}")

    equal(free(), [hours(8, 11)], "free time within the window")
    equal(vote("m", 1, 9, 10), "GRANTED", "a free hour")
    equal(vote("m", 1, 9, 10), "GRANTED", "the same hold again")
    equal(vote("n", 1, 9, 11), "HELD m/1", "an hour held for another meeting")
    equal(vote("n", 1, 7, 9), "BUSY", "an hour of its own")
    equal(vote("n", 1, 10, 11), "GRANTED", "the hour after, which only touches")
    equal(free(), [hours(8, 11)], "held time is still called free")

    for _ in range(2):
        equal(say("confirm", pb.Confirm(booking=booking(hold("m", 1, 9, 10)))).kind, pb.Ack.KIND_CONFIRM, "a confirm")
    equal(free(), [hours(8, 9), hours(10, 11)], "booked time is not free")
    old = pb.AttemptRef(meeting_id="m", attempt=1)
    equal(free(old), [hours(8, 11)], "a booking to disregard")
    equal(vote("o", 1, 9, 11), "BOOKED", "booked, which lasts, comes before held")

    equal(vote("m", 2, 8, 10, displaces=[old]), "GRANTED", "a move onto its own old slot")
    equal(say("release", pb.Release(meeting_id="m", attempt=2, cause=1)).kind, pb.Ack.KIND_RELEASE, "a release")
    equal(vote("m", 2, 8, 9), "STALE", "a hold that comes after its release")
    equal(free(), [hours(8, 9), hours(10, 11)], "the old booking stands when its move is given up")
    equal(vote("m", 3, 8, 9, displaces=[old]), "GRANTED", "the next attempt")
    say("confirm", pb.Confirm(booking=booking(hold("m", 3, 8, 9)), displaces=[old]))
    equal(free(), [hours(9, 11)], "the confirm of a move drops the old booking")
    equal(say("release", pb.Release(meeting_id="x", attempt=4)).attempt, 4, "a release of what it never knew")
    equal(say("confirm", pb.Confirm(booking=booking(hold("x", 4, 9, 10)))).kind, pb.Ack.KIND_CONFIRM, "a late confirm")
    equal(free(), [hours(9, 11)], "a late confirm books nothing")
    step("the Python agent grants, refuses, keeps and drops what the protocol says")
