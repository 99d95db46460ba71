"""time.Time and time.Duration for templates: arithmetic, calendar, layouts, the text of both.

Instants are integers, nanoseconds since 1970 in UTC, of any size; what Go gives as int64 wraps as Go's does.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone, tzinfo
from functools import lru_cache

from .strconv import INT64_MAX, INT64_MIN, quote, wrap64

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR_ONE = -719162 * DAY  # 0001-01-01 00:00 UTC, Go's zero time
RFC3339 = "2006-01-02T15:04:05Z07:00"
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
        return duration_text(self)

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


def duration_text(ns: int) -> str:
    """Go's text of a duration: `1m30s`, `1.5ms`, `0s`."""
    if ns == 0:
        return "0s"
    size = abs(ns)
    sign = "-" if ns < 0 else ""
    if size < SECOND:
        unit, name = next((u, n) for u, n in ((1_000_000, "ms"), (1000, "µs"), (1, "ns")) if size >= u)
        return sign + _decimal(size, unit) + name
    minutes, rest = divmod(size, MINUTE)
    text = _decimal(rest, SECOND) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h" if hours else "") + f"{minutes}m" + text
    return sign + text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(unit)) - 1, '0').rstrip('0')}"


# --------------------------------------------------------------------------------------------------------- calendar


def civil(days: int) -> tuple[int, int, int]:
    """Year, month, day of a day counted from 1970-01-01, proleptic Gregorian."""
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def days_from_civil(year: int, month: int, day: int) -> int:
    """The day's number from 1970-01-01; months outside 1…12 and any day carry over."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


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
        moment = datetime.fromtimestamp(seconds, timezone.utc).astimezone(self.zone)
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
            return utc_text(self.ns)
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def _local(self) -> int:
        """Nanoseconds since 1970 on the clock of the zone."""
        return self.ns if self.loc is UTC else self.ns + self.loc.offset(self.ns)[1] * SECOND

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
        shift = datetime.fromtimestamp(self.ns // SECOND, timezone.utc).astimezone(self.loc.zone).dst()
        return bool(shift)

    def add(self, duration: int) -> GoTime:
        return GoTime(self.ns + duration, self.loc)

    def add_date(self, years: int, months: int, days: int) -> GoTime:
        """The same clock time on the date so far away; days that a month lacks carry over."""
        year, month, day = self.date()
        local = days_from_civil(year + years, month + months, day + days) * DAY + self.clock()
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
        return "".join(part if kind == "" else _chunk(self, kind, part) for kind, part in _layout(layout))

    def go_string(self) -> str:
        """The Go expression that makes this time."""
        year, month, day = self.date()
        clock = self.clock()
        hour, minute, second = clock // HOUR, clock // MINUTE % 60, clock // SECOND % 60
        return (f"time.Date({year}, time.{MONTHS[month - 1]}, {day}, {hour}, {minute}, {second}, "
                f"{clock % SECOND}, {self.loc.label})")  # fmt: skip

    def strict_text(self) -> str:
        """RFC 3339; raises ValueError with Go's text for years it has no form for."""
        if not 0 <= self.date()[0] <= 9999:
            raise ValueError("year outside of range [0,9999]")
        return self.format(RFC3339_NANO)

    def binary(self) -> bytes:
        """MarshalBinary."""
        seconds, rest = divmod(self.ns - YEAR_ONE, SECOND)
        minutes = -1 if self.loc is UTC else self.loc.offset(self.ns)[1] // 60
        return (b"\x01" + (seconds & (1 << 64) - 1).to_bytes(8, "big") + rest.to_bytes(4, "big")
                + (minutes & 0xFFFF).to_bytes(2, "big"))  # fmt: skip


@lru_cache(maxsize=64)
def _day_text(day: int) -> str:
    year, month, number = civil(day)
    return f"{_padded(year, 4)}-{month:02d}-{number:02d} "


def utc_text(ns: int) -> str:
    """Go's String of a UTC instant: `2020-09-13 12:26:41.5 +0000 UTC`."""
    seconds, rest = divmod(ns, SECOND)
    day, second = divmod(seconds, 86400)
    text = f"{_day_text(day)}{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{text}.{str(rest).rjust(9, '0').rstrip('0')} +0000 UTC" if rest else text + " +0000 UTC"


# ---------------------------------------------------------------------------------------------------------- layouts

_CHUNKS = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|0[1-6]|002|15|1|2006|2|_(?=2006)|_2|__2|3|4|5|PM|pm"
    r"|-070000|-07:00:00|-0700|-07:00|-07|Z070000|Z07:00:00|Z0700|Z07:00|Z07|[.,](?:0+|9+)(?![0-9])"
)


@lru_cache(maxsize=256)
def _layout(layout: str) -> tuple[tuple[str, str], ...]:
    """The layout as (kind, text) parts; kind is empty for literal text."""
    parts: list[tuple[str, str]] = []
    end = 0
    for match in _CHUNKS.finditer(layout):
        if match.start() > end:
            parts.append(("", layout[end : match.start()]))
        text = match.group()
        kind = "" if text == "_" else "frac" if text[0] in ".," else "zone" if text[0] in "-Z" else text
        parts.append((kind, text))
        end = match.end()
    return (*parts, ("", layout[end:]))


def _padded(value: int, width: int) -> str:
    """Go's appendInt: the sign does not count for the width."""
    return f"-{-value:0{width}d}" if value < 0 else f"{value:0{width}d}"


def _chunk(time: GoTime, kind: str, text: str) -> str:
    match kind:
        case "frac":
            return _fraction(time.clock() % SECOND, text)
        case "zone":
            return _offset(time.loc.offset(time.ns)[1], text)
        case "MST":
            return time.zone_name()
        case "2006":
            return _padded(time.date()[0], 4)
        case "06":
            return f"{abs(time.date()[0]) % 100:02d}"
        case "January" | "Jan":
            return MONTHS[time.date()[1] - 1][: len(text) if kind == "Jan" else None]
        case "1" | "01":
            return f"{time.date()[1]:0{len(text)}d}"
        case "Monday" | "Mon":
            return WEEKDAYS[time.weekday()][: len(text) if kind == "Mon" else None]
        case "2" | "02":
            return f"{time.date()[2]:0{len(text)}d}"
        case "_2":
            return f"{time.date()[2]:2d}"
        case "__2":
            return f"{time.year_day():3d}"
        case "002":
            return f"{time.year_day():03d}"
        case "15":
            return f"{time.clock() // HOUR:02d}"
        case "3" | "03":
            return f"{(time.clock() // HOUR + 11) % 12 + 1:0{len(text)}d}"
        case "4" | "04":
            return f"{time.clock() // MINUTE % 60:0{len(text)}d}"
        case "5" | "05":
            return f"{time.clock() // SECOND % 60:0{len(text)}d}"
    morning = time.clock() < 12 * HOUR
    return ("AM" if morning else "PM") if kind == "PM" else ("am" if morning else "pm")


def _fraction(rest: int, text: str) -> str:
    digits = len(text) - 1
    if text[1] == "9" and rest == 0:
        return ""
    shown = f"{rest:09d}"[:digits]
    if text[1] == "9":
        shown = shown.rstrip("0")
        return text[0] + shown if shown else ""
    return text[0] + shown


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
