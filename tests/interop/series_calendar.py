"""Books a series with real agents, and reads what they wrote with another calendar program's library.

Usage: series_calendar.py QUORATE. PYTHONPATH must hold the folder with the generated stubs.
"""
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import icalendar
import recurring_ical_events
from google.protobuf import field_mask_pb2, timestamp_pb2
from harness import DEADLINE, Process, channel_to, check, free_address, main, step, watch_until
from quorate.v1 import meeting_pb2, scheduler_service_pb2 as pb, series_pb2, time_pb2
from quorate.v1 import scheduler_service_pb2_grpc as rpc

STARTED = []
TITLE = "Weekly; with, signs"
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


class World:
    """A scheduler, and Alice's agent, which can be started anew over the same journal."""

    def __init__(self, folder):
        quorate, self.calendars = sys.argv[1], Path(folder) / "calendars"
        self.calendars.mkdir()
        (self.calendars / "alice.ics").write_text(ALICE, newline="")
        address = free_address()
        self.server = Process("the scheduler", [quorate, "serve", "--listen", address, "--in-memory"])
        STARTED.append(self.server)
        journal = ["--data-dir", str(Path(folder) / "journal")]
        self.argv = [quorate, "agent", "--scheduler", f"http://{address}", "--calendar", str(self.calendars)] + journal
        self.stub = rpc.SchedulerServiceStub(channel_to(address, self.server))
        self.markers = 0
        self.start_agent()

    def start_agent(self):
        self.agent = Process("the agent", self.argv)
        STARTED.append(self.agent)
        self.until_connected(True)

    def until_connected(self, connected):
        watch_until(
            self.stub.WatchParticipants(pb.WatchParticipantsRequest(), timeout=DEADLINE),
            lambda m: m.participant.participant_id == "alice" and m.participant.connected == connected,
        )

    def series(self, series_id):
        return self.stub.GetSeries(series_pb2.GetSeriesRequest(series_id=series_id), timeout=DEADLINE).series

    def written(self):
        """What the agent has written of all that was decided so far; it is started anew."""
        # What is said to an agent comes in order: whoever has the confirm of a later meeting has all that came before it.
        self.markers += 1
        day = f"2027-06-{self.markers:02}"
        later = pb.ScheduleMeetingRequest(
            spec=meeting_pb2.MeetingSpec(title="Later", attendees=[meeting_pb2.Attendee(participant_id="alice")]),
            slot=time_pb2.TimeRange(start_time=at(f"{day}T08:00:00"), end_time=at(f"{day}T08:30:00")),
        )
        marker = self.stub.ScheduleMeeting(later, timeout=DEADLINE).meeting.meeting_id
        delivered = pb.MeetingEvent.TYPE_DELIVERED
        watch_until(
            self.stub.WatchMeetings(pb.WatchMeetingsRequest(resume_after=0), timeout=DEADLINE),
            lambda m: m.event.type == delivered and m.event.meeting.meeting_id == marker,
        )
        check(self.agent.stop() == 0, f"the agent should end in order: {self.agent.story()}")
        text = (self.calendars / "alice.quorate.ics").read_text()
        self.until_connected(False)
        self.start_agent()
        return text


def read_back(text, series):
    """What another program reads of the series' event: it must be what is booked. Its title, and its revision."""
    calendar = icalendar.Calendar.from_ical(text)
    mine = [event for event in calendar.walk("VEVENT") if str(event["SUMMARY"]) != "Later"]
    uids = {str(event["UID"]) for event in mine}
    check(uids == {f"{series.series_id}@quorate"}, f"one recurring event: {uids}")
    want = sorted(booked(series))
    found = recurring_ical_events.of(calendar).between((2027, 1, 1), (2028, 1, 1))
    found = [event for event in found if str(event["SUMMARY"]) != "Later"]
    slots = sorted((event.start.astimezone(timezone.utc), event.end.astimezone(timezone.utc)) for event in found)
    check(slots == want, f"another program reads {slots}, booked is {want} in\n{text}")
    titles = {event.start.astimezone(timezone.utc): str(event["SUMMARY"]) for event in found}
    sequences = {int(event["SEQUENCE"]) for event in mine}
    check(len(sequences) == 1, f"the event and its exceptions have one revision: {sequences}")
    check("\nATTENDEE" not in text, f"nobody organizes it: {text}")
    return titles, sequences.pop()


def schedule(world):
    """Six Tuesdays, of which one is excluded, and one is where Alice is free."""
    spec = meeting_pb2.MeetingSpec(
        title=TITLE,
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
    series = world.stub.ScheduleSeries(request, timeout=DEADLINE).series
    outcomes = [series_pb2.Occurrence.Outcome.Name(o.outcome).removeprefix("OUTCOME_") for o in series.occurrences]
    check(
        outcomes == ["BOOKED", "BOOKED", "MOVED", "BOOKED", "EXCLUDED", "BOOKED"],
        f"the series was booked otherwise: {outcomes}",
    )
    return series


def move(world, occurrence, start, end):
    slot = time_pb2.TimeRange(start_time=at(start), end_time=at(end))
    request = pb.RescheduleMeetingRequest(meeting_id=occurrence.meeting_id, slot=slot)
    answer = world.stub.RescheduleMeeting(request, timeout=DEADLINE)
    check(not answer.HasField("failure"), f"it should have been moved: {answer.failure}")


def body():
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        series = schedule(world)
        series_id, of = series.series_id, series.occurrences
        world.stub.CancelMeeting(pb.CancelMeetingRequest(meeting_id=of[1].meeting_id), timeout=DEADLINE)
        series = world.series(series_id)
        want = booked(series)
        check(len(want) == 4, f"four occurrences should stand: {want}")
        hours = [start.hour for start, _ in want]
        check(hours[0] == 8 and hours[-1] == 7, f"09:00 in Berlin should stay 09:00: {want}")
        text = world.written()
        for line in ("RRULE:FREQ=WEEKLY", "EXDATE;TZID=Europe/Berlin:", "RECURRENCE-ID;TZID=Europe/Berlin:"):
            check(f"\n{line}" in text, f"{line} should be there:\n{text}")
        titles, first = read_back(text, series)
        check(set(titles.values()) == {TITLE}, f"the title: {titles}")
        step("a series is one recurring event for other programs too, with its exceptions, over a change of clocks")

        # The first is renamed and goes away; another goes away and comes back.
        rename = meeting_pb2.MeetingSpec(title="Kick-off")
        mask = field_mask_pb2.FieldMask(paths=["title"])
        update = pb.UpdateMeetingRequest(meeting_id=of[0].meeting_id, spec=rename, update_mask=mask)
        world.stub.UpdateMeeting(update, timeout=DEADLINE)
        move(world, of[0], "2027-03-16T12:00:00", "2027-03-16T13:00:00")
        move(world, of[3], "2027-04-07T12:00:00", "2027-04-07T12:30:00")
        move(world, of[3], "2027-04-06T07:00:00", "2027-04-06T07:30:00")
        titles, second = read_back(world.written(), world.series(series_id))
        noon = datetime(2027, 3, 16, 12, tzinfo=timezone.utc)
        check([at for at, title in titles.items() if title != TITLE] == [noon], f"one has another title: {titles}")
        check(titles[noon] == "Kick-off" and second > first, f"revision {second} after {first}: {titles}")
        # Nothing of it changes.
        _, again = read_back(world.written(), world.series(series_id))
        check(again == second, f"revision {again} after {second}, but nothing changed")
        # What came back, and had the highest revision, is called off.
        world.stub.CancelMeeting(pb.CancelMeetingRequest(meeting_id=of[3].meeting_id), timeout=DEADLINE)
        text = world.written()
        _, third = read_back(text, world.series(series_id))
        check("\nEXDATE;TZID=Europe/Berlin:20270406T090000" in text, f"it is called off in\n{text}")
        check(third > second, f"revision {third} after {second}")
        step("what is renamed, moved and called off is so for other programs, and the revision never falls")
        check(world.agent.stop() == 0, f"the agent should end in order: {world.agent.story()}")
        check(world.server.stop() == 0, f"the scheduler should end in order: {world.server.story()}")


if __name__ == "__main__":
    sys.exit(main(body, STARTED))
