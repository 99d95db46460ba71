"""InfluxQL on local points: the tree of a query (`tree`) and its evaluation (`evaluate`)."""

from tickc.runtime.influxql.tree import (
    Binary,
    Bucket,
    Call,
    Duration,
    Field,
    Lit,
    Measurement,
    Paren,
    Ref,
    Regex,
    Select,
    Time,
    Wildcard,
    chain,
)

__all__ = [
    "Binary", "Bucket", "Call", "Duration", "Field", "Lit", "Measurement", "Paren", "Ref", "Regex", "Select", "Time",
    "Wildcard", "chain",
]  # fmt: skip
