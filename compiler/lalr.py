"""What the parsers of TICKscript and InfluxQL share: an LALR parser that tokens are fed to, and precedence."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lark import Lark

_T = TypeVar("_T")


class Grammar:
    """The parser made of a grammar's file and of a builder, which has a method for each rule or alias of the grammar,
    called with the parts as the parser reduces them, and no state before it begins. One at a time may use it, under
    `lock`."""

    def __init__(self, path: Path, builder: Any) -> None:
        self.lock = threading.Lock()
        self.lark = _lark(path, builder)
        self.builder: Any = self.lark.options.transformer  # another one of the same class, where tables were kept

    def start(self) -> Any:
        """An interactive parser of Lark's at its start; of the tokens that it is fed it looks at the `type` alone."""
        return self.lark.parse_interactive("")


def _lark(path: Path, builder: Any) -> Lark:
    """The parser of a grammar. It is kept in the cache folder, as its tables take longer than a small script."""
    import lark

    from tickc.runtime.kernel import cache_folder

    grammar = path.read_text(encoding="utf-8")
    key = f"{lark.__version__} {sys.version} {type(builder).__module__} {grammar}"
    kept = cache_folder() / "grammars" / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    if kept.exists():
        with contextlib.suppress(Exception), kept.open("rb") as f:  # what is damaged is made anew
            return lark.Lark.load(f)
    made = lark.Lark(grammar, parser="lalr", lexer="basic", transformer=builder)
    with contextlib.suppress(OSError):  # where it cannot be written, each process works it out
        kept.parent.mkdir(parents=True, exist_ok=True)
        own = kept.with_name(f"{kept.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            with own.open("wb") as f:
                made.save(f)
            own.replace(kept)
        finally:
            own.unlink(missing_ok=True)
    return made


def climb(flat: Sequence[Any], levels: Mapping[str, int], fold: Callable[[_T, Any, _T], _T]) -> _T:
    """Operands and operators in turn, as a tree: operators of a higher level first, equal ones from the left.

    `fold` makes one of a left side, an operator and a right side.
    """
    values: list[_T] = [flat[0]]
    operators: list[Any] = []

    def close(level: int) -> None:
        while operators and levels[operators[-1].text] >= level:
            right, left = values.pop(), values.pop()
            values.append(fold(left, operators.pop(), right))

    for operator, operand in zip(flat[1::2], flat[2::2]):
        close(levels[operator.text])
        operators.append(operator)
        values.append(operand)
    close(0)
    return values[0]
