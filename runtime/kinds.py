"""The types a value can have while a lambda is evaluated and while a point is in flight."""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """Type of one value; Kapacitor's ast.ValueType.

    FLOAT, INT, STRING, BOOL and DURATION can be field values. MISSING is a reference that is neither a field nor
    a tag of the point, NIL a field that is there without a value (join with `fill('null')`), CLASH a name that is
    a field and a tag at once, HOLE a field that holds Kapacitor's marker of a missing value (an eval that keeps a
    name which the point lacks makes them; JSON shows `{}`).
    """

    FLOAT = 0
    INT = 1
    STRING = 2
    BOOL = 3
    DURATION = 4
    TIME = 5
    REGEX = 6
    MISSING = 7
    NIL = 8
    CLASH = 9
    HOLE = 10

    @property
    def label(self) -> str:
        """Kapacitor's name of the type, as its messages have it."""
        return _LABELS[self]


_LABELS = {
    Kind.FLOAT: "float",
    Kind.INT: "int",
    Kind.STRING: "string",
    Kind.BOOL: "boolean",
    Kind.DURATION: "duration",
    Kind.TIME: "time",
    Kind.REGEX: "regex",
    Kind.MISSING: "missing",
    Kind.NIL: "nil",
    Kind.CLASH: "clash",
    Kind.HOLE: "missing",
}
