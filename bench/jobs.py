"""The jobs: a TICKscript, and what a good engineer would write by hand in Polars and in SQL for the same question.

The peers answer more loosely (their windows are aligned, ties and late points are theirs); they are here for speed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def rows_wanted() -> int:
    """How many rows the benchmarks run on."""
    return int(os.environ.get("TICKC_BENCH_ROWS", "1000000"))


@dataclass(frozen=True)
class Job:
    """script: the TICKscript; polars: from the file's path to a frame; sql: a query on {path}."""

    script: str
    polars: Callable[[Path], Any]
    sql: str


def alert_polars(path: Path) -> Any:
    import polars as pl

    level = pl.when(pl.col("used") > 98.0).then(3).when(pl.col("used") > 90.0).then(2).otherwise(0)
    return (
        pl.scan_parquet(path)
        .select("time", "host", "usage_idle")
        .filter(pl.col("usage_idle") < 95.0)
        .with_columns(used=100.0 - pl.col("usage_idle"))
        .with_columns(level=level)
        .with_columns(previous=pl.col("level").shift(1).over("host").fill_null(0))
        .filter(pl.col("level") != pl.col("previous"))
        .collect()
    )


def mean_polars(path: Path) -> Any:
    import polars as pl

    minute = pl.col("time").dt.truncate("1m")
    return pl.scan_parquet(path).group_by("host", minute).agg(pl.col("usage_idle").mean()).collect()


def percentile_polars(path: Path) -> Any:
    import polars as pl

    windows = pl.scan_parquet(path).select("time", "host", "usage_idle").sort("host", "time")
    grouped = windows.group_by_dynamic("time", every="1m", period="10m", group_by="host")
    return grouped.agg(pl.col("usage_idle").quantile(0.95, "nearest")).collect()


def state_polars(path: Path) -> Any:
    import polars as pl

    elapsed = pl.col("time").diff().over("host").dt.total_nanoseconds() / 1e9
    high = pl.col("rate") > 0.0
    return (
        pl.scan_parquet(path)
        .select("time", "host", "usage_user")
        .with_columns(rate=pl.col("usage_user").diff().over("host") / elapsed)
        .drop_nulls("rate")
        .with_columns(run=(high != high.shift(1)).fill_null(True).cum_sum().over("host"), high=high)
        .with_columns(since=pl.col("time") - pl.col("time").first().over("host", "run"))
        .filter(pl.col("high") & (pl.col("since").dt.total_seconds() > 20))
        .collect()
    )


def join_polars(path: Path) -> Any:
    import polars as pl

    minute = pl.col("time").dt.truncate("1m")
    cpu = pl.scan_parquet(path)
    idle = cpu.group_by("host", minute).agg(idle=pl.col("usage_idle").mean())
    user = cpu.group_by("host", minute).agg(user=pl.col("usage_user").mean())
    joined = idle.join(user, on=["host", "time"])
    return joined.with_columns(ratio=pl.col("user") / (100.0 - pl.col("idle"))).collect()


JOBS = {
    "alert": Job(
        """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |where(lambda: "usage_idle" < 95.0)
    |eval(lambda: 100.0 - "usage_idle")
        .as('used')
    |alert()
        .warn(lambda: "used" > 90.0)
        .crit(lambda: "used" > 98.0)
        .stateChangesOnly()
        .log('cpu')
""",
        alert_polars,
        """SELECT * FROM (
             SELECT time, host, used, level, coalesce(lag(level) OVER (PARTITION BY host ORDER BY time), 0) AS previous
             FROM (SELECT time, host, 100.0 - usage_idle AS used,
                          CASE WHEN 100.0 - usage_idle > 98.0 THEN 3 WHEN 100.0 - usage_idle > 90.0 THEN 2 ELSE 0 END
                          AS level
                   FROM '{path}' WHERE usage_idle < 95.0)) WHERE level <> previous""",
    ),
    "mean": Job(
        """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |window()
        .period(1m)
        .every(1m)
    |mean('usage_idle')
    |httpOut('mean')
""",
        mean_polars,
        "SELECT host, time_bucket(INTERVAL '1 minute', time) AS m, avg(usage_idle) FROM '{path}' GROUP BY host, m",
    ),
    "percentile": Job(
        """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |window()
        .period(10m)
        .every(1m)
    |percentile('usage_idle', 95.0)
    |eval(lambda: "percentile")
        .as('p95')
    |httpOut('p95')
""",
        percentile_polars,
        """SELECT host, m, quantile_disc(usage_idle, 0.95) FROM (
             SELECT host, usage_idle, unnest(range(time_bucket(INTERVAL '1 minute', time),
                    time_bucket(INTERVAL '1 minute', time) + INTERVAL '10 minutes', INTERVAL '1 minute')) AS m
             FROM '{path}') GROUP BY host, m""",
    ),
    "state": Job(
        """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_user")
        .as('user')
    |derivative('user')
        .unit(1s)
        .as('rate')
    |stateDuration(lambda: "rate" > 0.0)
        .unit(1s)
    |where(lambda: "state_duration" > 20.0)
    |httpOut('rising')
""",
        state_polars,
        """SELECT * FROM (
             SELECT time, host, rate, high,
                    time - first_value(time) OVER (PARTITION BY host, run ORDER BY time) AS since
             FROM (SELECT time, host, rate, high, sum(turn) OVER (PARTITION BY host ORDER BY time) AS run
                   FROM (SELECT time, host, rate, high,
                                CASE WHEN high = lag(high) OVER (PARTITION BY host ORDER BY time)
                                THEN 0 ELSE 1 END AS turn
                         FROM (SELECT time, host, rate, rate > 0 AS high
                               FROM (SELECT time, host, (usage_user - lag(usage_user) OVER w)
                                            / (epoch_ns(time) - epoch_ns(lag(time) OVER w)) * 1e9 AS rate
                                     FROM '{path}' WINDOW w AS (PARTITION BY host ORDER BY time))
                               WHERE rate IS NOT NULL))))
           WHERE high AND since > INTERVAL '20 seconds'""",
    ),
    "join": Job(
        """var cpu = stream
    |from()
        .measurement('cpu')
        .groupBy('host')

var idle = cpu
    |window()
        .period(1m)
        .every(1m)
    |mean('usage_idle')

var user = cpu
    |window()
        .period(1m)
        .every(1m)
    |mean('usage_user')

idle
    |join(user)
        .as('idle', 'user')
    |eval(lambda: "user.mean" / (100.0 - "idle.mean"))
        .as('ratio')
    |httpOut('ratio')
""",
        join_polars,
        """SELECT i.host, i.m, u.v / (100.0 - i.v) FROM
             (SELECT host, time_bucket(INTERVAL '1 minute', time) AS m, avg(usage_idle) AS v FROM '{path}'
              GROUP BY ALL) i
             JOIN (SELECT host, time_bucket(INTERVAL '1 minute', time) AS m, avg(usage_user) AS v FROM '{path}'
                   GROUP BY ALL) u USING (host, m)""",
    ),
}
