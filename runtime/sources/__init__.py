"""Where points come from: line protocol, recordings, Parquet, Arrow IPC and CSV, all as `Rows`.

A source reads only the columns, measurements and range of time that it is asked for, yields batches of some 64 K rows
in the order of the file, and counts what it must leave out. What cannot be read at all is a `SourceError`.
"""

from tickc.runtime.sources.base import Problem, Problems, SourceError, Wanted
from tickc.runtime.sources.inputs import Input, expand, format_of, open_inputs
from tickc.runtime.sources.line_protocol import parse_lines
from tickc.runtime.sources.recording import read_recording, write_recording

__all__ = [
    "Input",
    "Problem",
    "Problems",
    "SourceError",
    "Wanted",
    "expand",
    "format_of",
    "open_inputs",
    "parse_lines",
    "read_recording",
    "write_recording",
]
