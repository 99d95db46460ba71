"""Moments that a person types."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:[Zz]|([+-])(\d\d):(\d\d))?)?"
)
_EPOCH = date(1970, 1, 1).toordinal()
_MIN, _MAX = -(2**63), 2**63 - 1


def nanoseconds(value: str | int | datetime | None) -> int | None:
    """A moment as ns since 1970: RFC 3339 text (UTC where it says no zone), ns, or a datetime; far years are clamped.

    Raises ValueError with a message for people.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    ns = int(value) if isinstance(value, int) or re.fullmatch(r"[+-]?\d{1,30}", value) else _parsed(value)
    if ns is None:
        raise ValueError(f"{value!r} is no time: expected is RFC 3339, such as 2024-01-31T12:00:00Z, or nanoseconds")
    return min(max(ns, _MIN), _MAX)


def duration(value: str | int | timedelta) -> int:
    """A length of time as ns: text such as 90m or 1h30m, ns, or a timedelta.

    Raises ValueError with a message for people.
    """
    if isinstance(value, timedelta):
        return (value.days * 86400 + value.seconds) * 10**9 + value.microseconds * 1000
    if isinstance(value, int):
        return value
    from tickc.runtime.gotext import EvalError, parse_duration_influx

    try:
        ns = parse_duration_influx(value)
    except EvalError:
        ns = -1
    if ns < 0:
        raise ValueError(f"{value!r} is no length of time: expected is one such as 90s, 10m or 1h30m")
    return ns


def _parsed(text: str) -> int | None:
    found = _RFC3339.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(v or 0) for v in found.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    offset = int(found[9] or 0) * 60 + int(found[10] or 0)
    minutes = days * 1440 + hour * 60 + minute - (-offset if found[8] == "-" else offset)
    return (minutes * 60 + second) * 1_000_000_000 + int((found[7] or "0")[:9].ljust(9, "0"))
