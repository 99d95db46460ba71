"""Files that rows are written to: Parquet and Arrow data sets, files of lines.

What a backfill leaves, a folder of many sinks, is written by `tickc.runtime.outputs`.
"""

from tickc.runtime.sinks.files import SinkError, whole_file

__all__ = ["SinkError", "whole_file"]
