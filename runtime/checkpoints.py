"""Checkpoints of a run: the state from which it goes on when it was broken off.

    FOLDER/manifest.json       of which run it is, how far it came, and which file holds the state; replaced as a whole
    FOLDER/state-00001.arrow   the state, as one Arrow IPC stream (see runtime/snapshot.py)

The state of the moment of one checkpoint is complete on the disk before the manifest names it.
"""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.sinks.files import whole_file
from tickc.runtime.snapshot import read, write

MANIFEST = "manifest.json"
FORMAT = 2  # of the manifest and the state
EVERY = 60.0  # seconds between two checkpoints, where nobody says
SHARE = 20  # a checkpoint may cost this part of the time before it
CANNOT = "the run that was broken off cannot be gone on with"
ANEW = "leave --resume out to begin anew"

Identity = Mapping[str, Any]


class Checkpoints:
    """Checkpoints of one run in a folder. identity: what has to be the same for a run to go on, by its name."""

    def __init__(self, folder: str, identity: Identity, every: float = EVERY) -> None:
        self.folder, self.identity, self.every = Path(folder), _plain(identity), every
        self.last = clock.monotonic()
        self.cost = 0.0
        self.number = 0

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return clock.monotonic() - self.last >= max(self.every, SHARE * self.cost)

    def save(self, state: Any, rows: int) -> None:
        """Make a checkpoint of a frozen state (see runtime/snapshot.py), reached after so many rows."""
        began = clock.monotonic()
        self.number += 1
        name = f"state-{self.number:05}.arrow"
        with whole_file(self.folder / name) as file:
            write(state, file)
        manifest = {"format": FORMAT, "run": self.identity, "state": name, "number": self.number, "rows": rows}
        with whole_file(self.folder / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=2).encode())
        for old in self.folder.glob("state-*.arrow"):
            if old.name != name:
                old.unlink()
        self.last = clock.monotonic()
        self.cost = self.last - began

    def load(self) -> Any | None:
        """The state of the last checkpoint, frozen; None where there is none. OutputError where the run is another."""
        manifest = read_manifest(os.fspath(self.folder))
        if manifest is None:
            return None
        if changed := changes(manifest["run"], self.identity):
            raise OutputError(f"{CANNOT}: {changed} changed", ANEW)
        self.number = manifest["number"]
        try:
            return read(self.folder / manifest["state"], copied=False)
        except Exception as error:
            raise OutputError(f"{CANNOT}: its checkpoint cannot be read: {error}", ANEW) from None


def read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of the last checkpoint in a folder; None where there is none that can be used."""
    try:
        manifest = json.loads(Path(folder, MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None


def changes(saved: Identity, own: Identity) -> str:
    """What is not the same in the identities of two runs, in words; empty where all is."""
    own = _plain(own)
    return " and ".join(what for what in own if saved.get(what) != own[what])


def _plain(identity: Identity) -> dict[str, Any]:
    """As JSON gives it back."""
    return dict(json.loads(json.dumps(identity)))
