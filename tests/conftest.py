"""Options of the test run, and what tests in several folders need."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_data import script
from influxd import ABSENT, INFLUXD, influxd, start_influxd

__all__ = ["influxd", "start_influxd"]  # fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update",
        action="store_true",
        default=False,
        help="write plans, generated code and messages as they are now; a reviewer reads the difference",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if INFLUXD is None:
        terminalreporter.write_line(f"WARNING: {ABSENT}", yellow=True, bold=True)


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether snapshots are to be written anew."""
    return bool(request.config.getoption("--update"))


@pytest.fixture(scope="session")
def example_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of the examples."""
    folder = tmp_path_factory.mktemp("example_data")
    script("make_data").write(folder)
    return folder
