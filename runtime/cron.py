"""Cron expressions as Kapacitor reads them (package gorhill/cronexpr): five to seven fields, and its own oddities.

    minute hour day-of-month month day-of-week [year]        second minute hour day-of-month month day-of-week year

A field is `*`, `?` or a list of values, ranges and steps; days may be `L` (last), `15W` (the workday nearest to the
15th), `LW` (last workday), `5L` (last Friday), `5#3` (third Friday). Where both kinds of days are restricted, either
will do.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache

from tickc.runtime import zones
from tickc.runtime.gotext import SECOND, civil, days_from_civil

DAY = 86_400  # seconds
THURSDAY = 4  # 1970-01-01


class CronError(ValueError):
    """An expression that cannot be used; the text is Kapacitor's, but for ranges with which Kapacitor would not end."""


@dataclass(frozen=True)
class _Field:
    """A field of an expression: the values it may have, how they are written, and names for values."""

    name: str
    least: int
    most: int
    value: str
    names: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """The value of `text`; one that Kapacitor's table lacks is 0."""
        return self.names.get(text, 0) if self.names else _number(text)


def _number(text: str) -> int:
    value = int(text) if len(text) <= 4 else 0
    return value if (len(text) <= 2 and value < 60) or 1970 <= value <= 2099 else 0


def _names(first: int, words: str) -> dict[str, int]:
    """Each word, its first three letters and its number, counted from `first`."""
    table: dict[str, int] = {}
    for value, word in enumerate(words.split(), first):
        table |= {word: value, word[:3]: value, str(value): value}
    return table


_MONTHS = _names(1, "january february march april may june july august september october november december")
_WEEKDAYS = _names(0, "sunday monday tuesday wednesday thursday friday saturday") | {"7": 0}


def _words(names: dict[str, int]) -> str:
    return "|".join(name for name in names if name.isalpha())


SECONDS = _Field("second", 0, 59, "0?[0-9]|[1-5][0-9]")
MINUTES = _Field("minute", 0, 59, "0?[0-9]|[1-5][0-9]")
HOURS = _Field("hour", 0, 23, "0?[0-9]|1[0-9]|2[0-3]")
DAYS = _Field("day-of-month", 1, 31, "0?[1-9]|[12][0-9]|3[01]")
MONTHS = _Field("month", 1, 12, f"0?[1-9]|1[012]|{_words(_MONTHS)}", _MONTHS)
WEEKDAYS = _Field("day-of-week", 0, 6, f"0?[0-7]|{_words(_WEEKDAYS)}", _WEEKDAYS)
YEARS = _Field("year", 1970, 2099, "19[789][0-9]|20[0-9]{2}")

_SHORTHANDS = {
    "@yearly": "0 0 0 1 1 * *", "@annually": "0 0 0 1 1 * *", "@monthly": "0 0 0 1 * * *", "@weekly": "0 0 0 * * 0 *",
    "@daily": "0 0 0 * * * *", "@hourly": "0 0 * * * * *",
}  # fmt: skip
_SHORTHAND = re.compile("|".join(_SHORTHANDS))
_PART = re.compile(r"[^\t\n\f\r ]+")


@dataclass(frozen=True)
class _Entry:
    """One entry of a field: its values, whether it is `*`, or the text of one that has another form."""

    values: range = range(0)
    everything: bool = False
    other: str = ""


def _entries(text: str, kind: _Field) -> list[_Entry]:
    """The entries of a field. Raises CronError for a step that is out of range."""
    texts = [part for part in text.split(",") if part]
    if not texts:
        raise CronError(f"{kind.name} field: missing directive")
    return [_entry(part, kind) for part in texts]


@lru_cache
def _form(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?P<all>\*)|(?P<first>{value})(?:-(?P<last>{value}))?)(?:/(?P<step>[0-9]+))?")


def _entry(text: str, kind: _Field) -> _Entry:
    lower = text.lower()
    if lower in ("*", "?"):
        return _Entry(range(kind.least, kind.most + 1), everything=True)
    found = _form(kind.value).fullmatch(lower)
    if found is None:
        return _Entry(other=text)
    first = kind.least if found["all"] else kind.number(found["first"])
    last = kind.most if found["all"] or found["step"] else first
    if found["last"]:
        last = kind.number(found["last"])
    step = _number(found["step"]) if found["step"] else 1
    if not 1 <= step <= kind.most:
        raise CronError(f"invalid interval {lower}")
    return _Entry(range(first, last + 1, step))


def _values(text: str, kind: _Field) -> tuple[int, ...]:
    """The values of a field, ascending."""
    values: set[int] = set()
    for entry in _entries(text, kind):
        if entry.everything:
            return tuple(entry.values)
        if entry.other:
            raise CronError(f"syntax error in {kind.name} field: '{entry.other}'")
        values |= set(entry.values)
    return tuple(sorted(values))


class Cron:
    """A cron expression. Raises CronError."""

    def __init__(self, text: str) -> None:
        parts = _PART.findall(_SHORTHAND.sub(lambda found: _SHORTHANDS[found[0]], text))
        if len(parts) < 5:
            raise CronError("missing field(s)")
        self.seconds = _values(parts.pop(0), SECONDS) if len(parts) >= 7 else (0,)
        self.minutes = _values(parts[0], MINUTES)
        self.hours = _values(parts[1], HOURS)
        self.month_days = _MonthDays(parts[2])
        self.months = _values(parts[3], MONTHS)
        self.weekdays = _Weekdays(parts[4])
        self.years = _values(parts[5] if len(parts) > 5 else "*", YEARS)
        self._month: tuple[tuple[int, int], list[int]] = (0, 0), []
        if self.years:
            self._check()

    def _check(self) -> None:
        """Refuse what Kapacitor takes and does not survive."""
        times = ((SECONDS, self.seconds), (MINUTES, self.minutes), (HOURS, self.hours), (MONTHS, self.months))
        for kind, values in times:
            if not values:
                raise CronError(f"{kind.name} field: a range ends before it begins")
        if not self.months[0]:
            raise CronError("month field: a month is written without a leading zero")

    def next(self, now: int, zone: tzinfo) -> int | None:
        """The match behind `now`, in ns, by the clock of the zone; None where there is none before the year 2100.

        A time that a clock shows twice, or skips, is the moment that Go's time.Date makes of it. Where that is not
        behind `now`, so that Kapacitor would never get on, the match behind the gap is next. From the second run
        through an hour that is shown twice, Kapacitor may go back into the first.
        """
        start = now // SECOND
        shown = zones.clock(start, zone)
        again = zones.moment(shown, zone) != start
        while (found := self._behind(shown)) is not None:
            moment = zones.moment(found, zone)
            if moment > start or again:
                return moment * SECOND
            shown = found
        return None

    def _behind(self, clock: int) -> int | None:
        """The first match behind a time of the clock."""
        today, now = divmod(clock, DAY)
        year, month, day = civil(today)
        matches = year in self.years and month in self.months and day in self._days(year, month)
        if matches and (later := self._later(now)) is not None:
            return today * DAY + later
        for y in self.years[bisect_left(self.years, year) :]:
            for m in self.months[bisect_left(self.months, month) if y == year else 0 :]:
                days = self._days(y, m)
                if later_days := days[bisect_right(days, day) if (y, m) == (year, month) else 0 :]:
                    first = (self.hours[0] * 60 + self.minutes[0]) * 60 + self.seconds[0]
                    return days_from_civil(y, m, later_days[0]) * DAY + first
        return None

    def _later(self, now: int) -> int | None:
        """The first match behind a second of the day, on the same day."""
        minutes, second = divmod(now, 60)
        hour, minute = divmod(minutes, 60)
        if hour in self.hours:
            if minute in self.minutes and (s := _above(second, self.seconds)) is not None:
                return minutes * 60 + s
            if (m := _above(minute, self.minutes)) is not None:
                return (hour * 60 + m) * 60 + self.seconds[0]
        if (h := _above(hour, self.hours)) is not None:
            return (h * 60 + self.minutes[0]) * 60 + self.seconds[0]
        return None

    def _days(self, year: int, month: int) -> list[int]:
        """The days of a month that match; those of the last month that was asked for are kept."""
        if self._month[0] != (year, month):
            self._month = (year, month), self._find_days(year, month)
        return self._month[1]

    def _find_days(self, year: int, month: int) -> list[int]:
        first = days_from_civil(year, month, 1)
        length = days_from_civil(year + month // 12, month % 12 + 1, 1) - first
        weekday = (first + THURSDAY) % 7
        by_date, by_weekday = self.month_days.restricted, self.weekdays.restricted
        if not by_date and not by_weekday:
            return list(range(1, length + 1))
        days = self.month_days.of(weekday, length) if by_date else set()
        return sorted(days | (self.weekdays.of(weekday, length) if by_weekday else set()))


def _above(value: int, values: tuple[int, ...]) -> int | None:
    i = bisect_right(values, value)
    return values[i] if i < len(values) else None


class _MonthDays:
    """Days of a month, by date."""

    def __init__(self, text: str) -> None:
        self.restricted = True
        self.dates: set[int] = set()
        self.near: set[int] = set()  # the workday nearest to a date, of the same month
        self.last = self.last_workday = False
        for entry in _entries(text, DAYS):
            other = entry.other.lower()
            self.dates |= set(entry.values)
            self.restricted &= not entry.everything
            if other == "l":
                self.last = True
            elif other == "lw":
                self.last_workday = True
            elif other:
                self.near.add(_suffixed(entry, DAYS, "w"))

    def of(self, weekday: int, length: int) -> set[int]:
        """The days of a month that begins on `weekday` (Sunday is 0) and has `length` days."""

        def workday(day: int) -> int:
            match (weekday + day - 1) % 7:
                case 6:  # a Saturday
                    return day - 1 if day > 1 else day + 2
                case 0:
                    return day + 1 if day < length else day - 2
            return day

        days = {day for day in self.dates if day <= length} | {workday(day) for day in self.near if day <= length}
        if self.last:
            days.add(length)
        if self.last_workday:
            days.add(workday(length))
        return days


class _Weekdays:
    """Days of a month, by weekday; Sunday is 0."""

    def __init__(self, text: str) -> None:
        self.restricted = True
        self.every: set[int] = set()
        self.last: set[int] = set()
        self.nth: set[tuple[int, int]] = set()
        for entry in _entries(text, WEEKDAYS):
            self.every |= set(entry.values)
            self.restricted &= not entry.everything
            if entry.other[-2:-1] == "#" and entry.other[-1] in "12345":
                self.nth.add((_suffixed(entry, WEEKDAYS, entry.other[-2:]), int(entry.other[-1])))
            elif entry.other:
                self.last.add(_suffixed(entry, WEEKDAYS, "l"))

    def of(self, weekday: int, length: int) -> set[int]:
        """The days of a month that begins on `weekday` and has `length` days."""
        days = set()
        for day in range(1, length + 1):
            name, week = (weekday + day - 1) % 7, (day + 6) // 7
            if name in self.every or (name, week) in self.nth or (name in self.last and day > length - 7):
                days.add(day)
        return days


def _suffixed(entry: _Entry, kind: _Field, suffix: str) -> int:
    """The number in front of a suffix."""
    value = entry.other.lower().removesuffix(suffix)
    if value == entry.other.lower() or not re.fullmatch(kind.value, value):
        raise CronError(f"syntax error in {kind.name} field: '{entry.other}'")
    return kind.number(value)
