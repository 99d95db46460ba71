"""InfluxQL: the query in a script becomes a tree (tickc.runtime.influxql.tree); what is wrong with it is told."""

from tickc.compiler.influxql.check import refusal
from tickc.compiler.influxql.parser import QueryError, parse, reread

__all__ = ["QueryError", "parse", "refusal", "reread"]
