"""Rows of a Parquet file that may pass a filter, read by Polars.

Polars decodes the columns of the filter first and the others only where it holds, which for a selective filter is
several times faster than decoding all rows. Its comparisons differ from a lambda's in one way that matters here: NaN is
greater than any number, so a row with NaN may pass that the lambda refuses. So what comes out is a superset of the rows
that can pass, in their order, and the lambda still decides on each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tickc.runtime.sources.base import Conjunct


def usable(conjuncts: Sequence[Conjunct], schema: Any) -> list[Conjunct]:
    """The conjuncts on columns of a pyarrow schema that hold values of the literal's type."""
    return [c for c in conjuncts if c[0] in schema.names and _comparable(schema.field(c[0]).type, c[2])]


def _comparable(arrow_type: Any, literal: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if isinstance(literal, bool):
        return bool(pa.types.is_boolean(arrow_type))
    if isinstance(literal, str):
        return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))
    return bool(pa.types.is_float64(arrow_type) or pa.types.is_int64(arrow_type))


SELECTIVE = 0.25  # the part of the rows up to which Polars' way is the faster one


def selective(conjunct: Conjunct, statistics: Any) -> bool:
    """Whether few rows of a row group of those statistics can be expected to pass, were its values spread evenly."""
    _, operator, literal = conjunct
    if statistics is None or not statistics.has_min_max or operator == "!=":
        return False
    low, high = statistics.min, statistics.max
    if operator == "==":
        return bool(low != high)
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (low, high, literal)) or not low < high:
        return False
    below = (literal - low) / (high - low)
    return bool(below <= SELECTIVE if operator in ("<", "<=") else 1.0 - below <= SELECTIVE)


def read_rows(path: str, first: int, rows: int, columns: Sequence[str], conjuncts: Sequence[Conjunct]) -> Any:
    """A pyarrow.Table of `columns` of the rows [first, first + rows) for which all conjuncts may hold, in order."""
    import polars as pl

    scan = pl.scan_parquet(path, hive_partitioning=False, glob=False).slice(first, rows)
    frame = scan.filter(*(_expression(c) for c in conjuncts)).select(columns).collect()
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _expression(conjunct: Conjunct) -> Any:
    import polars as pl

    name, operator, literal = conjunct
    column = pl.col(name)
    match operator:
        case "==":
            return column == literal
        case "!=":
            return column != literal
        case "<":
            return column < literal
        case "<=":
            return column <= literal
        case ">":
            return column > literal
    return column >= literal
