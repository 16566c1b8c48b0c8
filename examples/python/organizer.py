"""Books a meeting, or a series of them, with quorate. Exit codes: 0 booked, 1 not booked, 2 bad request, 3 no answer."""
import argparse
import asyncio
import random
import sys
import uuid
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2
from intervals import instant, show

sys.path.append(str(Path(__file__).with_name("gen")))
from quorate.v1 import meeting_pb2 as model  # noqa: E402
from quorate.v1 import scheduler_service_pb2 as pb  # noqa: E402
from quorate.v1 import scheduler_service_pb2_grpc as rpc  # noqa: E402
from quorate.v1 import series_pb2  # noqa: E402

# After these nobody knows whether the meeting was booked. A broken connection shows as UNAVAILABLE or UNKNOWN.
IN_DOUBT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
TRIES = 5


async def schedule(call, request):
    """Asks until there is an outcome. The same request_id never books twice: a repeated call gets
    the first one's outcome. So the request must not change between the tries."""
    for attempt in range(1, TRIES + 1):
        try:
            return await call(request, timeout=30)
        except grpc.aio.AioRpcError as error:
            if error.code() not in IN_DOUBT or attempt == TRIES:
                raise
            wait = random.uniform(0.5, 1) * 0.2 * 2**attempt
            say_err(f"{error.code().name}: {error.details()}; asking again in {wait:.1f} s, as {request.request_id}")
            await asyncio.sleep(wait)


def explain(error):
    """Prints a refused request: the status, and each field that is wrong. Returns the exit code."""
    say_err(f"{error.code().name}: {error.details()}")
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            for violation in bad.field_violations:
                say_err(f"  {violation.field}: {violation.description}")
    return 3 if error.code() in IN_DOUBT else 2


def report(meeting):
    """Prints what became of the meeting. Returns the exit code."""
    state = model.Meeting.State.Name(meeting.state)
    if meeting.state == model.Meeting.STATE_CONFIRMED:
        print(f"{state} {show(meeting.slot)} {meeting.spec.title!r} as {meeting.meeting_id}")
    else:
        reason = model.Failure.Reason.Name(meeting.failure.reason)
        print(f"{state} {reason} {meeting.failure.message}")
    for attendee in meeting.attendees:
        status = model.AttendeeOutcome.Status.Name(attendee.status)
        print(f"  {attendee.participant_id} {status} {attendee.detail}".rstrip())
    for relaxation in meeting.failure.relaxations:
        print(f"  would do: {relaxation.message}")
    return 0 if meeting.state == model.Meeting.STATE_CONFIRMED else 1


def report_series(series):
    """Prints what became of each occurrence. Returns the exit code."""
    print(f"{series_pb2.Series.State.Name(series.state)} {series.rrule} {series.series_id}".rstrip())
    for occurrence in series.occurrences:
        outcome = series_pb2.Occurrence.Outcome.Name(occurrence.outcome)
        print(f"  {show(occurrence.slot)} {outcome} {occurrence.reason}".rstrip())
    if series.state != series_pb2.Series.STATE_CONFIRMED:
        print(f"  {model.Failure.Reason.Name(series.failure.reason)} {series.failure.message}")
    return 0 if series.state == series_pb2.Series.STATE_CONFIRMED else 1


def say_err(text):
    print(text, file=sys.stderr, flush=True)


async def main():
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--scheduler", default="127.0.0.1:50051")
    cli.add_argument("--with", dest="attendees", default="", help="ids, with commas; everyone if left out")
    cli.add_argument("--duration-minutes", type=int, default=30)
    cli.add_argument("--from", dest="earliest", type=instant, help="such as 2026-12-01T08:00Z; now if left out")
    cli.add_argument("--until", dest="latest", type=instant)
    cli.add_argument("--zone", default="", help="IANA zone of the working hours, Monday to Friday 08:00 to 17:00")
    cli.add_argument("--title", default="")
    cli.add_argument("--minimum", type=int, default=0, help="how many must attend; all if left out")
    cli.add_argument("--rrule", help="a series, such as FREQ=WEEKLY;COUNT=10: all of its occurrences or none")
    cli.add_argument("--request-id", default=str(uuid.uuid4()), help="to ask again for the outcome of an earlier run")
    args = cli.parse_args()

    if args.rrule is None:
        request = pb.ScheduleMeetingRequest(request_id=args.request_id)
    else:  # the window is where the first occurrence may lie
        request = series_pb2.ScheduleSeriesRequest(request_id=args.request_id, rrule=args.rrule)
    spec = request.spec
    spec.title, spec.minimum_participants, spec.window.time_zone = args.title, args.minimum, args.zone
    spec.duration.FromSeconds(args.duration_minutes * 60)
    for participant_id in filter(None, args.attendees.split(",")):
        spec.attendees.add(participant_id=participant_id)
    if args.earliest is not None:
        spec.window.earliest.FromNanoseconds(args.earliest)
    if args.latest is not None:
        spec.window.latest.FromNanoseconds(args.latest)

    async with grpc.aio.insecure_channel(args.scheduler) as channel:
        try:
            stub = rpc.SchedulerServiceStub(channel)
            if args.rrule is None:
                return report((await schedule(stub.ScheduleMeeting, request)).meeting)
            return report_series((await schedule(stub.ScheduleSeries, request)).series)
        except grpc.aio.AioRpcError as error:
            return explain(error)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
