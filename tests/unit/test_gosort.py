"""Permutations against those of Go's sort.Sort (tests/fixtures/go/sort.json.gz), NaN and ties included."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from tickc.runtime import gosort
from tickc.runtime.kernel import Kernel

FIXTURE = Path(__file__).parents[1] / "fixtures/go/sort.json.gz"
ROWS = json.loads(gzip.decompress(FIXTURE.read_bytes()))
FORMS = ("value", "time", "value-time", "value+time", "time+value")


def splitmix(seed: int, n: int) -> np.ndarray:
    """The first n numbers of the fixtures' generator."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def series(pattern: str, n: int, modulus: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and times, as sort.go makes them."""
    numbers = (splitmix(seed, 2 * n) % np.uint64(modulus)).astype(np.int64)
    a, times, i = numbers[0::2], numbers[1::2].copy(), np.arange(n)
    patterns = {
        "sorted": i // modulus,
        "reversed": (n - i) // modulus,
        "organ": np.minimum(i, n - i),
        "sawtooth": i % modulus,
        "nearly": np.where(a != 0, i, a),
    }
    values = patterns.get(pattern, a).astype(np.float64)
    if pattern == "nan":
        values[a == 0] = np.nan
    if pattern == "zeros":
        even = a % 2 == 0
        values[even] = np.copysign(0.0, (a % 4 - 1)[even])
    return values, times


def permutation(form: str, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    # an element before and one after, which must stay
    index = np.concatenate([[-7], np.arange(values.size), [-9]]).astype(np.int64)
    lo, hi = 1, values.size + 1
    match form:
        case "value":
            gosort.sort_by_float(values, index, lo, hi)
        case "time":
            gosort.sort_by_int(times, index, lo, hi)
        case "value-time":
            gosort.sort_by_two(values, times, index, lo, hi, gosort.BY_KEY_DOWN_THEN_TIE)
        case "value+time":
            gosort.sort_by_two(values, times, index, lo, hi, gosort.BY_KEY_THEN_TIE)
        case "time+value":
            gosort.sort_by_two(times, values, index, lo, hi, gosort.BY_KEY_THEN_TIE)
    assert index[0] == -7 and index[-1] == -9
    return index[1:-1]


def checksum(index: np.ndarray) -> int:
    return zlib.crc32(index.astype("<i4").tobytes())


def test_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "__call__", lambda self, *args: self.function(*args))
    with np.errstate(all="ignore"):
        for pattern, n, modulus, seed, sums in ROWS[::7]:
            if n <= 200:
                values, times = series(pattern, n, modulus, seed)
                got = [checksum(permutation(form, values, times)) for form in FORMS]
                assert got == sums, (pattern, n, modulus)


def test_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "__call__", lambda self, *args: self.machine()(*args))
    forms = FORMS[:4]  # two machine forms; a fifth order would need a third
    for pattern, n, modulus, seed, sums in ROWS:
        values, times = series(pattern, n, modulus, seed)
        got = [checksum(permutation(form, values, times)) for form in forms]
        assert got == sums[:4], (pattern, n, modulus)
