"""A compiled task: its module, and what can be done with it."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tickc.runtime.kernel import cache_folder

if TYPE_CHECKING:
    from tickc.compiler import Compiled
    from tickc.runtime.batch import Rows
    from tickc.runtime.graph import Graph, Output
    from tickc.runtime.results import Results


@dataclass(frozen=True)
class Task:
    """A task that was compiled from a script or loaded from a generated module.

    name: the task's id. source: the module's text. lines: operator name -> (first, last) line of the script.
    """

    name: str
    source: str
    module: ModuleType
    lines: Mapping[str, tuple[int, int]]

    @staticmethod
    def of(compiled: Compiled) -> Task:
        """The task of a compiled script."""
        text = compiled.module.text
        return Task(compiled.task, text, load_text(text, compiled.task), compiled.module.lines)

    @staticmethod
    def load(path: str | Path) -> Task:
        """The task of a generated module; its name is the file's. Raises OSError where it cannot be read."""
        text = Path(path).read_text(encoding="utf-8")
        name = Path(path).stem
        module = _execute(text, name, str(path))
        return Task(name, text, module, module.LINES)

    def build(self) -> Graph:
        """The graph of operators with fresh state."""
        return self.module.build()

    def process(self, batches: Iterable[Rows]) -> Iterator[Output]:
        """Send rows through the task; yields what leaves it, in order, then what the end of the input releases."""
        return self.build().run(batches)

    def replay(self, recording: Any) -> Results:
        """Replay a recording as Kapacitor does and collect all results.

        recording: the path of a stream recording (`.srpl`, plain or gzip), or rows (one batch or an iterable).
        """
        from tickc.runtime.batch import Rows
        from tickc.runtime.results import Results
        from tickc.runtime.sources.recording import open_recording

        if isinstance(recording, Rows):
            recording = [recording]
        elif isinstance(recording, (str, Path)):
            recording = open_recording(recording)
        results = Results(self.name)
        for output in self.process(recording):
            results.add(output)
        return results

    def backfill(
        self,
        inputs: str | Path | Sequence[str | Path],
        output: str | Path | None = None,
        start: Any = None,
        stop: Any = None,
        workers: int | None = None,
        **options: Any,
    ) -> Any:
        """Run the task over files of history.

        inputs: paths or globs (Parquet, Arrow IPC, CSV, line protocol). With an `output` folder the results are written
        there and a summary is returned; without one, {sink name: pyarrow.Table}. start, stop: RFC 3339 text or ns, stop
        exclusive. options: see tickc.backfill.Options.
        """
        from tickc.backfill import backfill

        return backfill(self, inputs, output, start=start, stop=stop, workers=workers, **options)


def load_text(text: str, name: str) -> ModuleType:
    """Import a generated module from the cache folder, so that tracebacks show its lines."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]
    path = cache_folder() / "modules" / f"m_{digest}.py"
    try:
        if not path.exists():
            _write_whole(path, text)
    except OSError:  # no folder to write to: the text is kept in memory instead
        linecache.cache[str(path)] = (len(text), None, text.splitlines(True), str(path))
    return _execute(text, f"tickc_module_{digest}", str(path))


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as f:
        f.write(text)
    os.replace(f.name, path)


def _execute(text: str, name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, loader=None, origin=path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    sys.modules.setdefault(name, module)
    exec(compile(text, path, "exec"), module.__dict__)
    return module
