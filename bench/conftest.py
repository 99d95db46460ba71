"""Data for the benchmarks, and the tables that a run ends with.

Each job is run by tickc, by hand-written Polars and by DuckDB on the same Parquet file in the same run; what counts is
the ratio. `TICKC_BENCH_ROWS` sets the rows (1,000,000 if unset), `--history` keeps the figures in history.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import history
import numpy as np
import pytest
from jobs import rows_wanted

HOSTS = 100
STEP = 10_000_000_000  # ns between two points of a host
START = 1_600_000_000_000_000_000
FIELDS = (
    "usage_idle", "usage_user", "usage_system", "usage_nice", "usage_iowait", "usage_irq", "usage_softirq",
    "usage_steal", "usage_guest", "usage_guest_nice",
)  # fmt: skip


def write_cpu(path: Path, rows: int, seed: int = 1) -> None:
    """10-field `cpu` data of 100 hosts, 10 s apart: slow waves, noise, and now and then an incident on one host."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = np.random.default_rng(seed)
    names = pa.array([f"host{i:03d}" for i in range(HOSTS)])
    schema = pa.schema(
        [("time", pa.timestamp("us")), ("host", pa.dictionary(pa.int32(), pa.string()))]
        + [(f, pa.float64()) for f in FIELDS]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows // HOSTS, 10_000):
            steps = np.arange(first, min(first + 10_000, rows // HOSTS))
            time = START + np.repeat(steps, HOSTS) * STEP
            host = np.tile(np.arange(HOSTS, dtype=np.int32), len(steps))
            wave = 55.0 + 25.0 * np.sin(np.repeat(steps, HOSTS) / 400.0 + host)
            columns = [np.round(np.clip(wave + chance.normal(0, 2, len(time)), 0, 100), 2) for _ in FIELDS]
            busy = (np.repeat(steps, HOSTS) // 60 + host * 7) % 997 == 0
            columns[0] = np.where(busy, np.round(chance.uniform(0, 4, len(time)), 2), columns[0])
            arrays = [pa.array(time // 1000).cast(schema[0].type), pa.DictionaryArray.from_arrays(host, names)]
            writer.write_batch(pa.record_batch([*arrays, *map(pa.array, columns)], schema=schema))


@pytest.fixture(scope="session")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Parquet file."""
    path = tmp_path_factory.mktemp("bench") / "cpu.parquet"
    write_cpu(path, rows_wanted())
    yield path


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tables: jobs and single nodes next to Polars and DuckDB, threads, scheduled queries, sources. The run is added to
    the history."""
    session = getattr(config, "_benchmarksession", None)
    benches = [bench for bench in getattr(session, "benchmarks", []) if bench.group and bench.stats]
    jobs: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, float]] = {}
    queries: dict[str, float] = {}
    threads: dict[str, dict[int, float]] = {}
    stages: dict[str, dict[str, float]] = {}
    shares: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    many: dict[str, dict[str, tuple[float, float]]] = {}
    for bench in benches:
        if bench.group == "sources":
            size = bench.extra_info["bytes"] / 1e6
            taken = {"wall": bench.stats.min, "core": bench.extra_info["core"]}
            sources[bench.extra_info["source"]] = {k: size / max(v, 1e-9) for k, v in taken.items()}
        elif bench.group == "workers":
            job, workers = bench.extra_info["job"], bench.params["workers"]
            threads.setdefault(job, {})[workers] = bench.stats.min * 1e3
            shares.setdefault(job, {})[workers] = bench.extra_info
        elif bench.group.startswith("many "):
            times = bench.stats.min, bench.extra_info["cpu"]
            many.setdefault(bench.group.removeprefix("many "), {})[bench.params["engine"]] = times
        elif bench.group == "queries":
            queries[bench.name.removeprefix("test_")] = bench.stats.min / bench.extra_info["runs"] * 1e6
        else:
            engine = (bench.params or {}).get("engine", "tickc")
            jobs.setdefault(bench.group, {})[engine] = bench.stats.min * 1e3
            if "stages" in bench.extra_info:
                stages[bench.group] = bench.extra_info["stages"]
    if not benches:
        return
    before = history.last(rows_wanted())
    write = terminalreporter.write_line
    tables = (
        _jobs_table(jobs, before.get("jobs", {})),
        _stages_table(stages, before.get("stages", {})),
        _workers_table(threads, shares),
        _queries_table(queries),
        _many_table(many),
        _sources_table(sources, before.get("sources", {})),
    )
    for table in tables:
        for line in table:
            write(line)
    if getattr(config.option, "history", False):
        history.add(rows_wanted(), jobs, sources, stages)
        write(f"added to {history.FILE.name}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--history", action="store_true", help="Add the run to bench/history.jsonl.")


ENGINES = ("tickc", "decode", "compute", "polars", "duckdb")


def _jobs_table(jobs: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> Iterator[str]:
    """Best times in ms by job and engine, what the peers take for each of tickc's, and what tickc took before."""
    if not jobs:
        return
    yield ""
    yield f"{rows_wanted():,} rows, best of several runs, in ms; before: tickc in the last run of the history"
    heads = "".join(f"{e:>10}" for e in ENGINES)
    yield f"{'job':<16}{heads}{'polars/tickc':>14}{'duckdb/tickc':>14}{'before':>10}"
    for job, times in jobs.items():
        shown = "".join(f"{times[e]:>10.1f}" if e in times else f"{'':>10}" for e in ENGINES)
        ratios = "".join(
            f"{times[peer] / times['tickc']:>13.1f}x" if peer in times and "tickc" in times else f"{'':>14}"
            for peer in ("polars", "duckdb")
        )
        last = before.get(job, {}).get("tickc")
        yield f"{job:<16}{shown}{ratios}{'' if last is None else f'{last:.1f}':>10}"


def _stages_table(stages: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> Iterator[str]:
    """Processor time in ms of the stages of each job, in one run of its operators."""
    if not stages:
        return
    yield ""
    yield f"{'job':<16}{'stage':<34}{'processor, ms':>14}{'before':>10}"
    for job, times in stages.items():
        for stage, taken in times.items():
            last = before.get(job, {}).get(stage)
            yield f"{job:<16}{stage:<34}{taken:>14.1f}{'' if last is None else f'{last:.1f}':>10}"
            job = ""


def _workers_table(
    threads: dict[str, dict[int, float]], shares: dict[str, dict[int, dict[str, dict[str, float]]]]
) -> Iterator[str]:
    """Best times in ms of the operators alone, by the number of threads; below each job, of another run, the processor
    time of its stages and how busy each thread was."""
    if not threads:
        return
    yield ""
    yield f"{'operators, ms':<34}{'1 worker':>12}{'2 workers':>12}{'ratio':>8}"
    for job, times in threads.items():
        one, two = times.get(1, float("nan")), times.get(2, float("nan"))
        yield f"{job:<34}{one:>12.1f}{two:>12.1f}{one / two:>8.2f}"
        for kind, unit, scale in (("stages", "", 1), ("busy", " %", 100)):
            found = {n: told[kind] for n, told in shares[job].items()}
            for name in dict.fromkeys(name for told in found.values() for name in told):
                cells = (f"{found[n][name] * scale:.1f}{unit}" if name in found.get(n, {}) else "" for n in (1, 2))
                yield f"    {name:<30}" + "".join(f"{cell:>12}" for cell in cells)


def _queries_table(queries: dict[str, float]) -> Iterator[str]:
    """µs a run of a scheduled query, and what the peers take for each of tickc's."""
    if not queries:
        return
    yield ""
    yield f"{'scheduled query':<16}{'µs a run':>10}{'/ tickc':>10}"
    for engine, taken in queries.items():
        yield f"{engine:<16}{taken:>10.0f}{taken / queries.get('tickc', taken):>9.1f}x"


def _many_table(many: dict[str, dict[str, tuple[float, float]]]) -> Iterator[str]:
    """Seconds of one task, of a thousand, and of compiling these: by the clock, and of processors."""
    if not many:
        return
    yield ""
    yield f"{rows_wanted():,} rows, a thousand tasks, in s: by the clock (of processors)"
    yield f"{'tasks by':<16}{'one':>16}{'many':>16}{'many / one':>12}{'scripts':>16}"
    for kind, times in many.items():
        shown = {name: f"{wall:.2f} ({cpu:.2f})" for name, (wall, cpu) in times.items()}
        ratio = f"{times['many'][0] / times['one'][0]:.1f}x" if {"one", "many"} <= times.keys() else ""
        one, all_, scripts = (shown.get(name, "") for name in ("one", "many", "scripts"))
        yield f"{kind:<16}{one:>16}{all_:>16}{ratio:>12}{scripts:>16}"


def _sources_table(sources: dict[str, dict[str, float]], before: dict[str, dict[str, float]]) -> Iterator[str]:
    """MB/s by source, in wall time and per core."""
    if not sources:
        return
    yield ""
    yield f"{'source, MB/s':<34}{'wall':>10}{'a core':>10}{'before':>10}"
    for name, speeds in sources.items():
        last = before.get(name, {}).get("core")
        yield f"{name:<34}{speeds['wall']:>10.0f}{speeds['core']:>10.0f}{'' if last is None else f'{last:.0f}':>10}"
