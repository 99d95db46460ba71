"""What several operators share: the tags of groups as columns."""

from __future__ import annotations

import numpy as np

from tickc.runtime.batch import Array, Groups, Text, Vocabulary

NO_TEXT = Vocabulary([""])


class _TagTable:
    """The dimension values of all groups of one table, a column a dimension; grows with the table."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.known = 0
        self.codes: dict[str, Array] = {}  # i4[room], -1 where the group lacks the dimension
        self.values: dict[str, Vocabulary] = {}

    def refresh(self) -> None:
        """Take in the groups that are new since the last call."""
        total = len(self.groups)
        for code in range(self.known, total):
            for dim, value in self.groups[code].tags.items():
                if dim not in self.codes:
                    self.codes[dim] = np.full(max(16, total), -1, np.int32)
                    self.values[dim] = Vocabulary()
                if len(self.codes[dim]) <= code:
                    room = np.full(max(total, 2 * len(self.codes[dim])), -1, np.int32)
                    room[: len(self.codes[dim])] = self.codes[dim]
                    self.codes[dim] = room
                self.codes[dim][code] = self.values[dim].code(value)
        for dim, codes in self.codes.items():
            if len(codes) < total:
                self.codes[dim] = np.concatenate(
                    [codes, np.full(max(total, 2 * len(codes)) - len(codes), -1, np.int32)]
                )
        self.known = total


def group_tags(groups: Groups, codes: Array) -> dict[str, Text]:
    """The tags of the groups `codes` (i4[n]) as columns of n: a dimension that a group lacks is absent, one that its
    points lack is the empty string. What a group costs is paid once for each table, not for each row."""
    table = groups.derived.get("tags")
    if table is None:
        table = groups.derived["tags"] = _TagTable(groups)
    if table.known < len(groups):
        table.refresh()
    return {dim: Text(column[codes], table.values[dim]) for dim, column in table.codes.items()}


def no_text(n: int) -> Text:
    """`n` empty strings: what stands for the database and policy that a node drops."""
    return Text(np.broadcast_to(np.int32(0), (n,)), NO_TEXT)
