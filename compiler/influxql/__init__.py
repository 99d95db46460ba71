"""InfluxQL: the query in a script becomes a tree (tickc.runtime.influxql.tree); what is wrong with it is told."""

from tickc.compiler.influxql.parser import QueryError, parse, reread
from tickc.runtime.influxql.compile import compiled
from tickc.runtime.influxql.reduce import QueryRefused
from tickc.runtime.influxql.tree import Select

__all__ = ["QueryError", "parse", "refusal", "reread"]


def refusal(select: Select) -> QueryRefused | None:
    """Why a database refuses `select`, which must be as the parser gives it, or None.

    Its text may be no query: Kapacitor prints some names without quotes, and some numbers with exponents.
    """
    try:
        reread(select)
        compiled(select)
    except QueryError as error:
        return QueryRefused(str(error), select)
    except QueryRefused as refused:
        return refused
    return None
