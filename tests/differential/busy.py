"""Busy time of calendars, as icalendar and recurring-ical-events have it.

Reads a list of tasks from standard input (JSON): {"file", "zone", "windows": [[from, to], ...]}, times in seconds since
1970. Writes a list of answers: for each task {"windows": [{"busy": [[from, to], ...], "tentative": ..., "unsure": ...},
...]}, sorted, merged and clipped, or {"error": ...}. With the argument "time" it also says how long each step took, in
seconds, and leaves out what is unsure.

What blocks is RFC 4791 section 7.10, as for a CalDAV server: nothing that is cancelled or transparent, tentative events
apart. Floating times and all-day events are read in the task's zone.

Unsure is the time around an end where the package does not follow RFC 5545: it adds every length on the wall clock, so
an event over a change of clocks ends an hour early or late. After the RFC, hours, minutes and seconds of a DURATION are
exact (section 3.3.6), and with DTEND each occurrence lasts exactly as long as the first (section 3.8.5.3).
"""

import datetime
import json
import sys
import time
import zoneinfo

import icalendar
import recurring_ical_events

UTC = datetime.timezone.utc


def instant(value, home):
    """A date, floating or zoned time as seconds since 1970."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if value.tzinfo is None:
        value = value.replace(tzinfo=home)
    return int(value.astimezone(UTC).timestamp())


def merged(ranges, begin, end):
    """Sorted, without overlaps or neighbours that touch, clipped to the window."""
    done = []
    for start, stop in sorted(ranges):
        start, stop = max(start, begin), min(stop, end)
        if start >= stop:
            continue
        if done and start <= done[-1][1]:
            done[-1][1] = max(done[-1][1], stop)
        else:
            done.append([start, stop])
    return done


def crosses(start, end, home):
    """Whether clocks change between the two, or skip one of them."""
    if not isinstance(start, datetime.datetime) or not isinstance(end, datetime.datetime):
        return False
    start, end = (at if at.tzinfo else at.replace(tzinfo=home) for at in (start, end))
    there_and_back = start.astimezone(UTC).astimezone(start.tzinfo)
    return start.utcoffset() != end.utcoffset() or there_and_back != start


def crossing(calendar, home):
    """The UIDs of which an event, as it is written, is over a change of clocks: no occurrence has a sure length."""
    return {str(event.get("UID")) for event in calendar.walk("VEVENT") if crosses(event.start, event.end, home)}


def busy(query, begin, end, home, unsure):
    """The answer for one window."""
    found = {"busy": [], "tentative": [], "unsure": []}
    slack = 3 * 3600
    # Floating times may lie up to a day outside; what is too much is clipped.
    first = datetime.datetime.fromtimestamp(begin, UTC) - datetime.timedelta(days=2)
    last = datetime.datetime.fromtimestamp(end, UTC) + datetime.timedelta(days=2)
    for event in query.between(first, last):
        status = str(event.get("STATUS", "")).upper()
        if status == "CANCELLED" or str(event.get("TRANSP", "")).upper() == "TRANSPARENT":
            continue
        kind = "tentative" if status == "TENTATIVE" else "busy"
        stop = instant(event.end, home)
        found[kind].append((instant(event.start, home), stop))
        if unsure is not None and (str(event.get("UID")) in unsure or crosses(event.start, event.end, home)):
            found["unsure"].append((stop - slack, stop + slack))
    return {kind: merged(ranges, begin, end) for kind, ranges in found.items()}


def answer(task, timed):
    """One calendar and its windows."""
    begun = time.perf_counter()
    with open(task["file"], "rb") as file:
        calendar = icalendar.Calendar.from_ical(file.read())
    read = time.perf_counter()
    query = recurring_ical_events.of(calendar)
    loaded = time.perf_counter()
    home = zoneinfo.ZoneInfo(task["zone"])
    unsure = None if timed else crossing(calendar, home)
    windows, took = [], []
    for begin, end in task["windows"]:
        asked = time.perf_counter()
        windows.append(busy(query, begin, end, home, unsure))
        took.append(time.perf_counter() - asked)
    result = {"windows": windows}
    if timed:
        result.update(read=read - begun, index=loaded - read, queries=took)
    return result


def main():
    timed = sys.argv[1:] == ["time"]
    answers = []
    for task in json.load(sys.stdin):
        try:
            answers.append(answer(task, timed))
        except Exception as error:  # noqa: BLE001: whatever it can't read is an answer too
            answers.append({"error": f"{type(error).__name__}: {error}"})
    json.dump(answers, sys.stdout)


main()
