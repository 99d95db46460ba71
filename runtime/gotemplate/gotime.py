"""time.Time and time.Duration for templates: arithmetic, calendar, layouts, the text of both.

Instants are integers, nanoseconds since 1970 in UTC, of any size; what Go gives as int64 wraps as Go's does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC as UTC_ZONE
from datetime import datetime, tzinfo
from functools import lru_cache

from tickc.runtime.gotext import (
    civil,
    days_from_civil,
    format_duration_go,
    format_time_default,
    format_time_rfc3339nano,
    quote,
)

from .strconv import INT64_MAX, INT64_MIN, wrap64

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR_ONE = -719162 * DAY  # 0001-01-01 00:00 UTC, Go's zero time
RFC3339_NANO = "2006-01-02T15:04:05.999999999Z07:00"

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def truncated(value: int, by: int) -> tuple[int, int]:
    """Quotient and remainder with the sign rules of Go's integer division."""
    quotient, rest = divmod(abs(value), by)
    return (quotient, rest) if value >= 0 else (-quotient, -rest)


# -------------------------------------------------------------------------------------------------------- durations


class Duration(int):
    """time.Duration: int64 nanoseconds."""

    def __str__(self) -> str:
        return format_duration_go(self)

    def seconds(self) -> float:
        return self._in(SECOND)

    def minutes(self) -> float:
        return self._in(MINUTE)

    def hours(self) -> float:
        return self._in(HOUR)

    def _in(self, unit: int) -> float:
        whole, rest = truncated(self, unit)
        return float(whole) + float(rest) / unit

    def whole(self, unit: int) -> int:
        """How many whole units, rounded towards zero."""
        return truncated(self, unit)[0]

    def truncate(self, multiple: int) -> Duration:
        return Duration(self - truncated(self, multiple)[1]) if multiple > 0 else self

    def round(self, multiple: int) -> Duration:
        """The nearest multiple, halves away from zero, held within int64."""
        if multiple <= 0:
            return self
        rest = abs(self) % multiple
        size = abs(self) - rest if 2 * rest < multiple else abs(self) - rest + multiple
        return Duration(max(INT64_MIN, -size) if self < 0 else min(INT64_MAX, size))

    def absolute(self) -> Duration:
        return Duration(min(abs(self), INT64_MAX))


# --------------------------------------------------------------------------------------------------------- calendar


_cached_civil = lru_cache(maxsize=64)(civil)


_YEAR_ZERO, _YEAR_10000 = days_from_civil(0, 1, 1) * DAY, days_from_civil(10000, 1, 1) * DAY


class Location:
    """*time.Location: a name and the offsets behind it; without `zone` it is UTC."""

    __slots__ = ("label", "name", "zone")

    def __init__(self, name: str, zone: tzinfo | None = None, label: str | None = None) -> None:
        self.name = name
        self.zone = zone
        self.label = label or f"time.Location({quote(name)})"

    def __str__(self) -> str:
        return self.name

    def offset(self, ns: int) -> tuple[str, int]:
        """Abbreviation and seconds east of UTC at an instant."""
        if self.zone is None:
            return "UTC", 0
        seconds = min(max(ns // SECOND, -62135510400), 253402214400)
        moment = datetime.fromtimestamp(seconds, UTC_ZONE).astimezone(self.zone)
        shift = moment.utcoffset()
        return moment.tzname() or "", 0 if shift is None else shift.days * 86400 + shift.seconds


UTC = Location("UTC", label="time.UTC")
LOCAL = Location("Local", label="time.Local")


def set_local_zone(zone: tzinfo | None) -> None:
    """Make `zone` what `.Time.Local` means; None is UTC, Kapacitor's zone unless its host sets another."""
    LOCAL.zone = zone


class GoTime:
    """time.Time: an instant and the zone it is shown in."""

    __slots__ = ("loc", "ns")

    def __init__(self, ns: int, loc: Location = UTC) -> None:
        self.ns = ns
        self.loc = loc

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GoTime) and self.ns == other.ns and self.loc is other.loc

    def __hash__(self) -> int:
        return hash(self.ns)

    def __str__(self) -> str:
        if self.loc is UTC:
            return format_time_default(self.ns)
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def _local(self) -> int:
        """Nanoseconds since 1970 on the clock of the zone."""
        return self.ns if self.loc is UTC else self.ns + self.loc.offset(self.ns)[1] * SECOND

    def _clock(self) -> _Clock:
        zone, offset = self.loc.offset(self.ns)
        seconds, rest = divmod(self.ns, SECOND)
        days, second = divmod(seconds + offset, 86400)
        year, month, day = _cached_civil(days)
        return _Clock(year, month, day, days, second // 3600, second // 60 % 60, second % 60, rest, zone, offset)

    def date(self) -> tuple[int, int, int]:
        return civil(self._local() // DAY)

    def clock(self) -> int:
        """Nanoseconds since midnight."""
        return self._local() % DAY

    def year_day(self) -> int:
        days = self._local() // DAY
        return days - days_from_civil(civil(days)[0], 1, 1) + 1

    def weekday(self) -> int:
        """0 is Sunday."""
        return (self._local() // DAY + 4) % 7

    def zone_name(self) -> str:
        return self.loc.offset(self.ns)[0]

    def unix(self, unit: int) -> int:
        return wrap64(self.ns // unit)

    def is_zero(self) -> bool:
        return self.ns == YEAR_ONE

    def is_dst(self) -> bool:
        if self.loc.zone is None:
            return False
        shift = datetime.fromtimestamp(self.ns // SECOND, UTC_ZONE).astimezone(self.loc.zone).dst()
        return bool(shift)

    def add(self, duration: int) -> GoTime:
        return GoTime(self.ns + duration, self.loc)

    def add_date(self, years: int, months: int, days: int) -> GoTime:
        """The same clock time on the date so far away; days that a month lacks carry over."""
        year, month, day = self.date()
        carried, month = divmod(month + months - 1, 12)
        local = days_from_civil(year + years + carried, month + 1, day + days) * DAY + self.clock()
        shift = self.loc.offset(local)[1]
        shift = self.loc.offset(local - shift * SECOND)[1]
        return GoTime(local - shift * SECOND, self.loc)

    def sub(self, other: GoTime) -> Duration:
        return Duration(min(max(self.ns - other.ns, INT64_MIN), INT64_MAX))

    def compare(self, other: GoTime) -> int:
        return (self.ns > other.ns) - (self.ns < other.ns)

    def truncate(self, multiple: int) -> GoTime:
        return self.add(-((self.ns - YEAR_ONE) % multiple)) if multiple > 0 else self

    def round(self, multiple: int) -> GoTime:
        """The nearest multiple since the year 1, halves up."""
        if multiple <= 0:
            return self
        rest = (self.ns - YEAR_ONE) % multiple
        return self.add(-rest if 2 * rest < multiple else multiple - rest)

    def at(self, loc: Location) -> GoTime:
        return GoTime(self.ns, loc)

    def format(self, layout: str) -> str:
        """time.Format."""
        clock = self._clock()
        return "".join([part(clock) for part in _layout(layout)])

    def go_string(self) -> str:
        """The Go expression that makes this time."""
        year, month, day = self.date()
        clock = self.clock()
        hour, minute, second = clock // HOUR, clock // MINUTE % 60, clock // SECOND % 60
        return (f"time.Date({year}, time.{MONTHS[month - 1]}, {day}, {hour}, {minute}, {second}, "
                f"{clock % SECOND}, {self.loc.label})")  # fmt: skip

    def strict_text(self) -> str:
        """RFC 3339; raises ValueError with Go's text for years it has no form for."""
        if not _YEAR_ZERO <= self._local() < _YEAR_10000:
            raise ValueError("year outside of range [0,9999]")
        if self.loc is UTC:
            return format_time_rfc3339nano(self.ns)
        return self.format(RFC3339_NANO)

    def binary(self) -> bytes:
        """MarshalBinary."""
        seconds, rest = divmod(self.ns - YEAR_ONE, SECOND)
        minutes = -1 if self.loc is UTC else self.loc.offset(self.ns)[1] // 60
        return (b"\x01" + (seconds & (1 << 64) - 1).to_bytes(8, "big") + rest.to_bytes(4, "big")
                + (minutes & 0xFFFF).to_bytes(2, "big"))  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- layouts

_CHUNKS = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|0[1-6]|002|15|1|2006|2|_(?=2006)|_2|__2|3|4|5|PM|pm"
    r"|-070000|-07:00:00|-0700|-07:00|-07|Z070000|Z07:00:00|Z0700|Z07:00|Z07|[.,](?:0+|9+)(?![0-9])"
)


@dataclass(frozen=True, slots=True)
class _Clock:
    """A time on the clock and calendar of its zone."""

    year: int
    month: int
    day: int
    days: int  # since 1970
    hour: int
    minute: int
    second: int
    rest: int  # nanoseconds
    zone: str
    offset: int  # seconds east of UTC


_Part = Callable[[_Clock], str]


@lru_cache(maxsize=256)
def _layout(layout: str) -> tuple[_Part, ...]:
    """The layout as functions that print its parts."""
    parts: list[_Part] = []
    end = 0
    for match in _CHUNKS.finditer(layout):
        if match.start() > end:
            parts.append(_literal(layout[end : match.start()]))
        text = match.group()
        parts.append(_PARTS[text] if text in _PARTS else _fraction(text) if text[0] in ".," else _literal(text))
        end = match.end()
    if end < len(layout):
        parts.append(_literal(layout[end:]))
    return tuple(parts)


def _literal(text: str) -> _Part:
    return lambda clock: text


def _padded(value: int, width: int) -> str:
    """Go's appendInt: the sign does not count for the width."""
    return f"-{-value:0{width}d}" if value < 0 else f"{value:0{width}d}"


def _year_day(clock: _Clock) -> int:
    return clock.days - days_from_civil(clock.year, 1, 1) + 1


_PARTS: dict[str, _Part] = {
    "2006": lambda c: _padded(c.year, 4),
    "06": lambda c: f"{abs(c.year) % 100:02d}",
    "January": lambda c: MONTHS[c.month - 1],
    "Jan": lambda c: MONTHS[c.month - 1][:3],
    "1": lambda c: str(c.month),
    "01": lambda c: f"{c.month:02d}",
    "Monday": lambda c: WEEKDAYS[(c.days + 4) % 7],
    "Mon": lambda c: WEEKDAYS[(c.days + 4) % 7][:3],
    "2": lambda c: str(c.day),
    "02": lambda c: f"{c.day:02d}",
    "_2": lambda c: f"{c.day:2d}",
    "002": lambda c: f"{_year_day(c):03d}",
    "__2": lambda c: f"{_year_day(c):3d}",
    "15": lambda c: f"{c.hour:02d}",
    "3": lambda c: str((c.hour + 11) % 12 + 1),
    "03": lambda c: f"{(c.hour + 11) % 12 + 1:02d}",
    "4": lambda c: str(c.minute),
    "04": lambda c: f"{c.minute:02d}",
    "5": lambda c: str(c.second),
    "05": lambda c: f"{c.second:02d}",
    "PM": lambda c: "AM" if c.hour < 12 else "PM",
    "pm": lambda c: "am" if c.hour < 12 else "pm",
    "MST": lambda c: c.zone,
}


def _zone_part(text: str) -> _Part:
    return lambda clock: _offset(clock.offset, text)


_PARTS.update({text: _zone_part(text) for text in (
    "-070000", "-07:00:00", "-0700", "-07:00", "-07", "Z070000", "Z07:00:00", "Z0700", "Z07:00", "Z07",
)})  # fmt: skip


def _fraction(text: str) -> _Part:
    """A point or comma and so many digits of the second: zeros keep them all, nines drop zeros at the end."""
    mark, digits, trims = text[0], len(text) - 1, text[1] == "9"

    def show(clock: _Clock) -> str:
        shown = f"{clock.rest:09d}"[:digits]
        if not trims:
            return mark + shown
        shown = shown.rstrip("0")
        return mark + shown if shown else ""

    return show


def _offset(seconds: int, text: str) -> str:
    if text[0] == "Z" and seconds == 0:
        return "Z"
    minutes = abs(seconds) // 60
    colon = ":" if ":" in text else ""
    shown = f"{'-' if seconds < 0 and minutes else '+'}{minutes // 60:02d}"
    digits = sum(c.isdigit() for c in text)
    if digits > 2:
        shown += f"{colon}{minutes % 60:02d}"
    if digits > 4:
        shown += f"{colon}{abs(seconds) % 60:02d}"
    return shown
