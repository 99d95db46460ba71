"""Files that rows are written to: Parquet, Arrow IPC, JSON Lines, line protocol.

A sink writes to a temporary name in the folder of its file and takes the real name when it is closed, so the file
appears whole or not at all. What a backfill leaves, a folder of many sinks, is written by `tickc.runtime.outputs`.
"""

from tickc.runtime.sinks.files import Sink, SinkError, open_sink, to_arrow, whole_file

__all__ = ["Sink", "SinkError", "open_sink", "to_arrow", "whole_file"]
