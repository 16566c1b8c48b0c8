"""A small quorate agent: speaks for one participant, whose free time stands on the command line."""
import argparse
import asyncio
import sys
from pathlib import Path

import grpc
from intervals import interval, minus, overlaps, put, show, span

sys.path.append(str(Path(__file__).with_name("gen")))
from quorate.v1 import participant_service_pb2 as pb  # noqa: E402
from quorate.v1 import participant_service_pb2_grpc as rpc  # noqa: E402


class Agent:
    def __init__(self, me, free):
        self.me, self.free = me, free
        self.promises = {}  # (meeting id, attempt): (start, end, whether booked), buffers included
        self.over = {}  # meeting id: the highest attempt that was released

    def answer(self, kind, m):
        """What to answer to one message of the scheduler."""
        if kind == "availability_query":
            # Held time counts as free: most holds end soon, and the vote on a hold is what binds.
            promises = self.promises.items()
            booked = [p[:2] for key, p in promises if p[2] and key not in keys(m.disregard)]
            windows = [span(w) for w in m.windows]
            free = [put(pb.FreeTime(), r) for r in minus(windows, minus(windows, self.free) + booked)]
            answer = pb.AvailabilityAnswer(query_id=m.query_id, participant_id=self.me, free=free)
            yield {"availability_answer": answer}
        elif kind == "hold":
            refused = self.objection(m, span(m.blocked))
            if not refused:
                self.promises.setdefault(key_of(m), (*span(m.blocked), False))
            vote = {"refused": refused} if refused else {"granted": pb.Granted()}
            what = f"refused {pb.Refused.Reason.Name(refused.reason)}" if refused else "held"
            say(self.me, what, show(m.slot))
            yield {"hold_answer": pb.HoldAnswer(**self.about(m), **vote)}
        elif kind == "confirm":
            yield self.book(m.booking, keys(m.displaces))
        elif kind == "release":
            self.promises.pop(key_of(m), None)
            self.over[m.meeting_id] = max(m.attempt, self.over.get(m.meeting_id, 0))
            say(self.me, "released", m.meeting_id, pb.Release.Cause.Name(m.cause))
            yield {"ack": pb.Ack(**self.about(m), kind=pb.Ack.KIND_RELEASE)}
        elif kind == "registered":
            say(self.me, "registered")
            yield from map(self.book, m.bookings)
        elif kind == "superseded":
            sys.exit(f"{self.me}: another agent speaks for this participant now")
        else:
            say(self.me, kind, str(m).replace("\n", " "))  # notice, drain, frame_error: for people

    def objection(self, m, blocked):
        """Why not to promise this, or None. What lasts comes before what may soon be over."""
        if key_of(m) in self.promises:
            return None  # asked again: the same vote
        if m.attempt <= self.over.get(m.meeting_id, 0):
            return pb.Refused(reason=pb.Refused.REASON_STALE)
        if minus([blocked], self.free):
            return pb.Refused(reason=pb.Refused.REASON_BUSY)
        others = [(not p[2], *key) for key, p in self.promises.items() if overlaps(p, blocked)]
        for held, *other in sorted(o for o in others if o[1:] not in keys(m.displaces)):
            if not held:
                return pb.Refused(reason=pb.Refused.REASON_BOOKED)
            by = pb.AttemptRef(meeting_id=other[0], attempt=other[1])
            return pb.Refused(reason=pb.Refused.REASON_HELD, held_by=by)

    def book(self, b, displaced=()):
        if b.attempt > self.over.get(b.meeting_id, 0):  # else it comes late, and is over
            for key in displaced:
                self.promises.pop(key, None)
            self.promises[key_of(b)] = (*span(b.blocked), True)
            say(self.me, "booked", show(b.slot), repr(b.title), "with", ", ".join(b.attendees))
        return {"ack": pb.Ack(**self.about(b), kind=pb.Ack.KIND_CONFIRM, revision=b.revision)}

    def about(self, m):
        return {"participant_id": self.me, "meeting_id": m.meeting_id, "attempt": m.attempt}


def key_of(m):
    return m.meeting_id, m.attempt


def keys(messages):
    return set(map(key_of, messages))


def say(*words):
    print(*words, flush=True)


async def serve(scheduler, me, free):
    """Runs until the stream ends, and returns why it did."""
    agent = Agent(me, free)
    keepalive = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
    async with grpc.aio.insecure_channel(scheduler, options=keepalive) as channel:
        stream = rpc.ParticipantServiceStub(channel).Join()
        try:
            # Without a journal_id: all is in memory.
            await stream.write(pb.JoinRequest(messages=[pb.AgentMessage(register=pb.Register(participant_id=me))]))
            async for frame in stream:
                kinds = [(m.WhichOneof("message"), m) for m in frame.messages]
                answers = [a for kind, m in kinds if kind for a in agent.answer(kind, getattr(m, kind))]
                if answers:
                    await stream.write(pb.JoinRequest(messages=[pb.AgentMessage(**a) for a in answers]))
            return "the scheduler ended the stream"
        except grpc.aio.AioRpcError as error:
            return f"the stream broke: {error.code().name}: {error.details()}"


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--scheduler", default="127.0.0.1:50051")
    cli.add_argument("--participant", required=True)
    cli.add_argument("--free", action="append", type=interval, default=[], metavar="START/END")
    args = cli.parse_args()
    why = asyncio.run(serve(args.scheduler, args.participant, args.free))
    sys.exit(f"{args.participant}: {why}")
