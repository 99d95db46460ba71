"""Clocks of time zones, by the rules of Go's package time. Seconds count from 1970, a clock's from its own 1970."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

_FIRST, _LAST = -62_135_424_000, 253_402_128_000  # a day within the years 1 to 9999


def offset(seconds: int, zone: tzinfo) -> int:
    """Seconds that the zone's clock is ahead of UTC at a moment."""
    at = datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
    ahead = zone.fromutc(at).utcoffset()
    return 86_400 * ahead.days + ahead.seconds if ahead else 0


def clock(seconds: int, zone: tzinfo) -> int:
    """What the zone's clock shows at a moment."""
    return seconds + offset(seconds, zone)


def moment(clock: int, zone: tzinfo) -> int:
    """The moment at which the zone's clock shows `clock`, as time.Date finds it.

    Of a clock that is shown twice it is the one that the offset around that many seconds in UTC leads to; one that is
    never shown is moved by the length of the gap.
    """
    ahead = offset(clock, zone)
    return clock - offset(clock - ahead, zone) if ahead else clock
