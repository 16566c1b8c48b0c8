"""Half-open ranges of time, as (start, end) in nanoseconds since 1970: what agent.py computes with."""
from datetime import datetime, timezone


def instant(text):
    """Reads an ISO 8601 time. It needs an offset: a time without one means something else elsewhere."""
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if when.tzinfo is None:
        raise ValueError(f"{text} has no offset, such as Z or +01:00")
    return int(when.timestamp()) * 10**9


def interval(text):
    """Reads START/END."""
    start, end = map(instant, text.split("/"))
    if start >= end:
        raise ValueError(f"{text} ends before it starts")
    return start, end


def span(message):
    """The range of anything that has a start_time and an end_time."""
    return message.start_time.ToNanoseconds(), message.end_time.ToNanoseconds()


def put(message, interval):
    """Writes a range into anything that has a start_time and an end_time, and returns that."""
    message.start_time.FromNanoseconds(interval[0])
    message.end_time.FromNanoseconds(interval[1])
    return message


def minus(ranges, taken):
    """What is left of `ranges` without `taken`."""
    for t0, t1 in taken:
        ranges = [r for s, e in ranges for r in ((s, min(e, t0)), (max(s, t1), e)) if r[0] < r[1]]
    return ranges


def overlaps(a, b):
    return a[0] < b[1] and b[0] < a[1]


def show(message):
    """A range for people, in UTC."""
    start, end = (datetime.fromtimestamp(t / 10**9, timezone.utc) for t in span(message))
    return f"{start:%Y-%m-%dT%H:%M}/{end:%Y-%m-%dT%H:%M}Z"
