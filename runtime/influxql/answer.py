"""What a query answers, from whichever place: local points or a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickc.runtime.batch import Column, Text

Array = np.ndarray


@dataclass(frozen=True)
class Answer:
    """The series that queries answer: m series with n rows in all, in the order of runs, within each as InfluxDB
    orders them.

    run: i8[m], ascending, which of the time ranges asked for the series is of; name: its measurement; tags: its
    dimensions (name -> m values, sorted by name): "" where the series lacks the tag, absent where the query of that
    range has no such dimension, as `GROUP BY *` before the tag came; start, stop: i8[m], its rows `start:stop`.
    time: i8[n] ns; fields: the other columns by name in the order of the SELECT list, n values each, of the kinds that
    the database would give (ints stay ints); a null cell is absent. Rows without any value are there as the database
    gives them.
    """

    run: Array
    name: Text
    tags: Mapping[str, Text]
    start: Array
    stop: Array
    time: Array
    fields: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.run)
