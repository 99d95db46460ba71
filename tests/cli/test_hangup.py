"""SIGHUP has the documents of sideload loaded anew."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest


@pytest.mark.parametrize("broken", [False, True])
def test_a_hangup_reloads_what_sideload_reads(tmp_path: Path, environment: dict[str, str], broken: bool) -> None:
    """Each point is posted before the next is read; at the first, the document changes and the signal is sent."""
    folder, results = tmp_path / "documents", tmp_path / "out.json"
    folder.mkdir()
    document = folder / "a.json"
    document.write_text('{"limit": 1}')
    (tmp_path / "cpu.lp").write_text("".join(f"cpu,host=a v={i} {i}000000000\n" for i in range(3)))
    posted: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.append(body["series"][0]["values"][0][1])
            if len(posted) == 1:
                document.write_text("{" if broken else '{"limit": 2}')
                process.send_signal(signal.SIGHUP)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    (tmp_path / "task.tick").write_text(
        f"stream|from()|sideload().source('file://{folder}').order('a.json').field('limit', 0.0)|httpPost('{url}')"
    )
    command = ["backfill", "task.tick", "--input", "cpu.lp", "--output", results, "--batch-rows", "1", "--handlers"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tickc", *map(str, command)],
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, told = process.communicate(timeout=120)
    server.shutdown()
    server.server_close()
    assert process.returncode == 0, told
    assert posted == ([1, 1, 1] if broken else [1, 2, 2])
    assert (
        told.count(
            "sideload2: the documents stay as they were" if broken else "sideload2: the documents were loaded anew"
        )
        == 1
    )
