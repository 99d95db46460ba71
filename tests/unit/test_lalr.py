"""What the parsers share: the tables of a grammar in the cache folder, and precedence."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tickc.compiler.lalr import Grammar, climb

GRAMMAR = """
%declare A _COMMA
start: A (_COMMA A)* -> listed
"""


@dataclass
class Token:
    type: str
    text: str = ""


class Builder:
    def listed(self, parts: list[Any]) -> list[str]:
        return [token.text for token in parts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "listed.lark"
    path.write_text(GRAMMAR)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TICKC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "grammars"


def parsed(path: Path) -> list[str]:
    parser = Grammar(path, Builder()).start()
    result: list[str] = []
    for token in (Token("A", "x"), Token("_COMMA", ","), Token("A", "y"), Token("$END")):
        assert token.type in parser.choices()
        result = parser.feed_token(token)
    return result


def test_tables_are_kept_and_found(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(path) == ["x", "y"]
    [kept] = folder.iterdir()
    assert kept.name.startswith("listed-")
    monkeypatch.setattr("lark.lark.load_grammar", None)  # what works tables out
    assert parsed(path) == ["x", "y"]


def test_another_grammar_has_other_tables(path: Path, folder: Path) -> None:
    parsed(path)
    path.write_text(GRAMMAR.replace("(_COMMA A)*", "_COMMA A"))
    assert parsed(path) == ["x", "y"]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [slice(0), slice(40), slice(100), slice(-10), slice(5, None)])
def test_damaged_tables_are_made_anew(path: Path, folder: Path, damage: slice) -> None:
    parsed(path)
    [kept] = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[damage])
    assert parsed(path) == ["x", "y"]
    assert len(kept.read_bytes()) == len(whole)


def test_a_folder_that_cannot_be_written_is_no_error(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TICKC_CACHE", str(tmp_path / "file" / "cache"))
    assert parsed(path) == ["x", "y"]


def test_a_full_disk_leaves_nothing_behind(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(parser: Any, file: Any) -> None:
        file.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lark.Lark.save", full)
    assert parsed(path) == ["x", "y"]
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("flat", "tree"),
    [
        ("a", "a"),
        ("a + b - c", "((a+b)-c)"),
        ("a + b * c", "(a+(b*c))"),
        ("a * b + c", "((a*b)+c)"),
        ("a = b + c * d - e = f", "((a=((b+(c*d))-e))=f)"),
    ],
)
def test_precedence(flat: str, tree: str) -> None:
    levels = {"=": 1, "+": 2, "-": 2, "*": 3}
    parts = [Token("OPERATOR", part) if part in levels else part for part in flat.split()]
    assert climb(parts, levels, lambda left, op, right: f"({left}{op.text}{right})") == tree
