"""Print the alerts that a backfill wrote, a line each.

python examples/show_alerts.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def alerts(folder: Path) -> list[dict[str, str]]:
    """The events of all alerts in the folder, in order of time."""
    found = [json.loads(text) for path in folder.glob("*.jsonl") for text in path.read_text("utf-8").splitlines()]
    return sorted(found, key=lambda event: event["time"])


if __name__ == "__main__":
    for event in alerts(Path(sys.argv[1])):
        print(f"{event['time']:<20}  {event['level']:<8}  {event['message']}")
