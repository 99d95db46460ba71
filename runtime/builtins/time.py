"""Lambda functions on times: parts of the calendar and the clock, in UTC. A time is int64 ns since 1970."""

from __future__ import annotations

from typing import Any

import numpy as np

from tickc.runtime.builtins import builtin
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind

_TIME = (Kind.TIME,)
_MINUTE = 60_000_000_000  # ns
_HOUR = 3_600_000_000_000
_DAY = 86_400_000_000_000


@builtin("unixNano", _TIME, Kind.INT, vector=lambda time: time)
@kernel
def unix_nano(time: int) -> np.int64:
    """The time as nanoseconds since 1970."""
    return np.int64(time)


@builtin("minute", _TIME, Kind.INT, vector=lambda time: time // _MINUTE % 60)
@kernel
def minute(time: int) -> np.int64:
    """The minute of the hour, 0 to 59."""
    return np.int64(time) // 60_000_000_000 % 60


@builtin("hour", _TIME, Kind.INT, vector=lambda time: time // _HOUR % 24)
@kernel
def hour(time: int) -> np.int64:
    """The hour of the day, 0 to 23."""
    return np.int64(time) // 3_600_000_000_000 % 24


@builtin("weekday", _TIME, Kind.INT, vector=lambda time: (time // _DAY + 4) % 7)
@kernel
def weekday(time: int) -> np.int64:
    """The day of the week, 0 for Sunday to 6."""
    return (np.int64(time) // 86_400_000_000_000 + 4) % 7


@kernel
def civil(time: Any) -> tuple[Any, Any, Any]:
    """Year, month and day of a time (Howard Hinnant's civil_from_days: years begin in March)."""
    days = np.int64(time) // 86_400_000_000_000 + 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (1 if month <= 2 else 0), month, day


def _dates(times: np.ndarray) -> np.ndarray:
    return (times // _DAY).astype("M8[D]")


def _days_of_month(times: np.ndarray) -> np.ndarray:
    dates = _dates(times)
    return (dates - dates.astype("M8[M]")).astype(np.int64) + 1


@builtin("day", _TIME, Kind.INT, vector=_days_of_month)
@kernel
def day(time: int) -> np.int64:
    """The day of the month, 1 to 31."""
    return civil(time)[2]


@builtin("month", _TIME, Kind.INT, vector=lambda times: _dates(times).astype("M8[M]").astype(np.int64) % 12 + 1)
@kernel
def month(time: int) -> np.int64:
    """The month, 1 to 12."""
    return civil(time)[1]


@builtin("year", _TIME, Kind.INT, vector=lambda times: _dates(times).astype("M8[Y]").astype(np.int64) + 1970)
@kernel
def year(time: int) -> np.int64:
    """The year."""
    return civil(time)[0]
