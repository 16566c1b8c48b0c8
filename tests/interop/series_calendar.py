"""Books a series with real agents, and reads what they wrote with another calendar program's library.

Usage: series_calendar.py QUORATE. PYTHONPATH must hold the folder with the generated stubs.
"""
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import icalendar
import recurring_ical_events
from google.protobuf import timestamp_pb2
from harness import DEADLINE, Process, channel_to, check, free_address, main, step, watch_until
from quorate.v1 import meeting_pb2, scheduler_service_pb2 as pb, series_pb2, time_pb2
from quorate.v1 import scheduler_service_pb2_grpc as rpc

STARTED = []
# Alice is away on the third Tuesday.
ALICE = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//test//EN\r
BEGIN:VEVENT\r
UID:away\r
DTSTAMP:20260101T000000Z\r
DTSTART:20270330T060000Z\r
DTEND:20270330T080000Z\r
SUMMARY:Away\r
END:VEVENT\r
END:VCALENDAR\r
"""


def at(text):
    """An instant, by its ISO form in UTC."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(datetime.fromisoformat(text))
    return stamp


def span(slot):
    ends = (slot.start_time, slot.end_time)
    return tuple(end.ToDatetime(tzinfo=timezone.utc) for end in ends)


def booked(series):
    """The slots of the occurrences that stand."""
    standing = (series_pb2.Occurrence.OUTCOME_BOOKED, series_pb2.Occurrence.OUTCOME_MOVED)
    return [span(o.slot) for o in series.occurrences if o.outcome in standing]


def body():
    quorate = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        calendars = Path(folder) / "calendars"
        calendars.mkdir()
        (calendars / "alice.ics").write_text(ALICE, newline="")
        address = free_address()
        server = Process("the scheduler", [quorate, "serve", "--listen", address, "--in-memory"])
        agent = Process(
            "the agent", [quorate, "agent", "--scheduler", f"http://{address}", "--calendar", str(calendars)]
        )
        STARTED.extend([server, agent])
        stub = rpc.SchedulerServiceStub(channel_to(address, server))
        watch_until(
            stub.WatchParticipants(pb.WatchParticipantsRequest(), timeout=DEADLINE),
            lambda m: m.participant.participant_id == "alice" and m.participant.connected,
        )
        spec = meeting_pb2.MeetingSpec(
            title="Weekly; with, signs",
            attendees=[meeting_pb2.Attendee(participant_id="alice")],
            window=meeting_pb2.Window(time_zone="Europe/Berlin"),
        )
        spec.duration.seconds = 1800
        request = series_pb2.ScheduleSeriesRequest(
            spec=spec,
            first_slot=time_pb2.TimeRange(start_time=at("2027-03-16T08:00:00"), end_time=at("2027-03-16T08:30:00")),
            rrule="FREQ=WEEKLY;COUNT=6",
            exclude_dates=["2027-04-13"],
            conflict_policy=series_pb2.CONFLICT_POLICY_MOVE_WITHIN,
        )
        request.move_tolerance.seconds = 7200
        series = stub.ScheduleSeries(request, timeout=DEADLINE).series
        outcomes = [series_pb2.Occurrence.Outcome.Name(o.outcome).removeprefix("OUTCOME_") for o in series.occurrences]
        check(
            outcomes == ["BOOKED", "BOOKED", "MOVED", "BOOKED", "EXCLUDED", "BOOKED"],
            f"the series was booked otherwise: {outcomes}",
        )
        stub.CancelMeeting(pb.CancelMeetingRequest(meeting_id=series.occurrences[1].meeting_id), timeout=DEADLINE)
        series = stub.GetSeries(series_pb2.GetSeriesRequest(series_id=series.series_id), timeout=DEADLINE).series
        want = booked(series)
        check(len(want) == 4, f"four occurrences should stand: {want}")
        hours = [start.hour for start, _ in want]
        check(hours[0] == 8 and hours[-1] == 7, f"09:00 in Berlin should stay 09:00: {want}")
        # What is said to an agent comes in order: whoever has the confirm of a later meeting has all that came before it.
        later = pb.ScheduleMeetingRequest(
            spec=meeting_pb2.MeetingSpec(title="Later", attendees=spec.attendees),
            slot=time_pb2.TimeRange(start_time=at("2027-06-01T08:00:00"), end_time=at("2027-06-01T08:30:00")),
        )
        waited_for = {stub.ScheduleMeeting(later, timeout=DEADLINE).meeting.meeting_id}
        waited_for.update(o.meeting_id for o in series.occurrences if span(o.slot) in want)

        def all_delivered(message):
            if message.event.type == pb.MeetingEvent.TYPE_DELIVERED:
                waited_for.discard(message.event.meeting.meeting_id)
            return not waited_for

        watch_until(stub.WatchMeetings(pb.WatchMeetingsRequest(resume_after=0), timeout=DEADLINE), all_delivered)
        check(agent.stop() == 0, f"the agent should end in order: {agent.story()}")
        text = (calendars / "alice.quorate.ics").read_text()
        calendar = icalendar.Calendar.from_ical(text)
        mine = [event for event in calendar.walk("VEVENT") if str(event["SUMMARY"]) != "Later"]
        uids = {str(event["UID"]) for event in mine}
        check(uids == {f"{series.series_id}@quorate"}, f"one recurring event: {uids}")
        for line in ("RRULE:FREQ=WEEKLY", "EXDATE;TZID=Europe/Berlin:", "RECURRENCE-ID;TZID=Europe/Berlin:"):
            check(f"\n{line}" in text, f"{line} should be there:\n{text}")
        found = recurring_ical_events.of(calendar).between((2027, 1, 1), (2028, 1, 1))
        found = [event for event in found if str(event["SUMMARY"]) != "Later"]
        found = sorted((event.start.astimezone(timezone.utc), event.end.astimezone(timezone.utc)) for event in found)
        check(found == sorted(want), f"another program reads {found}, booked is {want} in\n{text}")
        titles = {str(event["SUMMARY"]) for event in mine}
        check(titles == {"Weekly; with, signs"}, f"the title: {titles}")
        check(server.stop() == 0, f"the scheduler should end in order: {server.story()}")
        step("a series is one recurring event for other programs too, with its exceptions, over a change of clocks")


if __name__ == "__main__":
    sys.exit(main(body, STARTED))
