"""Primitives do in machine code what their plain bodies do."""

from __future__ import annotations

from typing import Any

import numpy as np

from tickc.runtime.kernel import kernel
from tickc.runtime.primitive import high_half, leading_zeros, matches, trailing_zeros, word
from tickc.runtime.sources.line_protocol import words_of

OUT = 6


@kernel
def all_primitives(words: Any, out: Any) -> Any:
    """Each primitive at each byte. words: u8[n]; out: u8[n, OUT]."""
    for i in range(out.shape[0]):
        w = word(words, i)
        out[i, 0] = w
        out[i, 1] = np.uint64(trailing_zeros(w))
        out[i, 2] = np.uint64(leading_zeros(w))
        out[i, 3] = high_half(w, word(words, i + 3))
        out[i, 4] = matches(words, i, 44, 61, 255)
        out[i, 5] = matches(words, i, 0, 0, 0)


def test_both_forms_agree() -> None:
    text = np.random.default_rng(5).choice(np.array([0, 1, 44, 61, 128, 255], np.uint8), 500)
    text[100:200] = 0
    words = words_of(text)
    plain, machine = np.zeros((400, OUT), np.uint64), np.zeros((400, OUT), np.uint64)
    all_primitives.interpreted()(words, plain)
    all_primitives.machine()(words, machine)
    assert np.array_equal(plain, machine)
    assert plain[150, 1] == plain[150, 2] == 64 and plain[150, 5] == 2**32 - 1


def test_what_they_say() -> None:
    words = words_of(np.frombuffer(b"a,b=c" + b"x" * 60, np.uint8))
    assert word(words, 0) == int.from_bytes(b"a,b=cxxx", "little")
    assert matches(words, 1, 44, 61, 61) == 0b101
    assert (trailing_zeros(np.uint64(8)), leading_zeros(np.uint64(1 << 60))) == (3, 3)
    assert high_half(np.uint64(2**63), np.uint64(6)) == 3


def test_the_fingerprint_covers_the_instructions() -> None:
    before = all_primitives.fingerprint()
    emit = word.emit
    word.emit = lambda builder, args: emit(builder, args)
    try:
        assert all_primitives.fingerprint() != before
    finally:
        word.emit = emit
    assert all_primitives.fingerprint() == before
