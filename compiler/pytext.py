"""Python text for generated modules: literals that are always escaped, and line breaking as `ruff format` does it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

WIDTH = 100  # of generated code
STEP = "    "
_PRECEDENCE = {ast.BitOr: 1, ast.BitAnd: 3, ast.Add: 5, ast.Sub: 5, ast.Mult: 6, ast.Div: 6, ast.Mod: 6}
_SIGNS = {ast.BitOr: "|", ast.BitAnd: "&", ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_COMPARE, _UNARY, _ATOM = 0, 7, 9


_PLAIN = re.compile(r"[ !#-&(-\[\]-~]*").fullmatch  # text without quotes and backslashes


def string(text: str) -> str:
    """A Python string literal for any text: printable ASCII as it is, all else escaped; double quotes preferred."""
    if _PLAIN(text):
        return f'"{text}"'
    quote = "'" if text.count('"') > text.count("'") else '"'
    out = []
    for c in text:
        if c in ("\\", quote):
            out.append("\\" + c)
        elif " " <= c <= "~" or (c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF):
            out.append(c)
        elif c in "\n\t\r":
            out.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}[c])
        elif ord(c) < 0x100:
            out.append(f"\\x{ord(c):02x}")
        else:
            out.append(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}")
    return quote + "".join(out) + quote


def statement(target: str, expression: str, indent: int = 0) -> str:
    """`target = expression` (or the expression alone where target is empty), broken into lines where it is too long."""
    tree = ast.parse(expression, mode="eval").body
    head = f"{STEP * indent}{target} = " if target else STEP * indent
    return head + _layout(tree, len(head), indent, wrap=True)


def _layout(e: ast.expr, column: int, indent: int, *, wrap: bool = False, tail: int = 0) -> str:
    """`e` on one line where it fits, else exploded. wrap: a broken operator needs parentheses of its own."""
    flat = _flat(e)
    if column + len(flat) + tail <= WIDTH:
        return flat
    match e:
        case ast.Call(func=func, args=args, keywords=keywords) if args or keywords:
            items = [("", a) for a in args] + [(f"{k.arg}=", k.value) for k in keywords]
            return f"{_layout(func, column, indent, tail=1)}({_exploded(items, indent, call=True)})"
        case ast.Tuple(elts=elts) if elts:
            return f"({_exploded([('', a) for a in elts], indent)})"
        case ast.Dict(keys=keys, values=values) if keys:
            return f"{{{_exploded([(f'{_flat(k)}: ', v) for k, v in zip(keys, values) if k is not None], indent)}}}"
        case ast.BinOp():
            if wrap:
                inner = STEP * (indent + 1)
                return f"(\n{inner}{_broken(e, indent + 1)}\n{STEP * indent})"
            return _broken(e, indent)
    return flat


def _exploded(items: Sequence[tuple[str, ast.expr]], indent: int, *, call: bool = False) -> str:
    """One item a line with a trailing comma; the arguments of a call all on the next line where they fit there."""
    inner = STEP * (indent + 1)
    single = len(items) == 1
    together = inner + ", ".join(head + _flat(item) for head, item in items)
    if call and len(together) <= WIDTH:
        return f"\n{together}\n{STEP * indent}"
    lines = [
        f"{inner}{head}{_layout(item, len(inner) + len(head), indent + 1, wrap=not single or bool(head), tail=1)}"
        for head, item in items
    ]
    if single and not items[0][0] and isinstance(items[0][1], ast.BinOp) and call:
        return f"\n{lines[0]}\n{STEP * indent}"
    return "\n" + ",\n".join(lines) + f",\n{STEP * indent}"


def _broken(e: ast.BinOp, indent: int) -> str:
    """The operands of one operator level, a line each."""
    level = _PRECEDENCE[type(e.op)]
    parts: list[tuple[str, ast.expr]] = []
    left: ast.expr = e
    while isinstance(left, ast.BinOp) and _PRECEDENCE[type(left.op)] == level:
        parts.append((_SIGNS[type(left.op)] + " ", left.right))
        left = left.left
    parts.append(("", left))
    pad = STEP * indent
    lines = []
    for i, (sign, part) in enumerate(reversed(parts)):
        parens = _rank(part) < level + (1 if i else 0)
        text = _layout(part, len(pad) + len(sign) + 2 * parens, indent + parens)
        if parens:
            text = f"({text})" if "\n" not in text else f"(\n{pad}{STEP}{text}\n{pad})"
        lines.append(sign + text)
    return f"\n{pad}".join(lines)


def _rank(e: ast.expr) -> int:
    match e:
        case ast.BinOp(op=op):
            return _PRECEDENCE[type(op)]
        case ast.Compare():
            return _COMPARE
        case ast.UnaryOp():
            return _UNARY
    return _ATOM


def _wrapped(e: ast.expr, least: int) -> str:
    text = _flat(e)
    return text if _rank(e) >= least else f"({text})"


def _flat(e: ast.expr) -> str:
    """One line of Python for the forms that generated code uses; it is kept, as each level of a tree asks for it."""
    known: str | None = getattr(e, "flat", None)
    if known is None:
        known = e.flat = _as_flat(e)  # type: ignore[attr-defined]
    return known


def _as_flat(e: ast.expr) -> str:
    match e:
        case ast.Constant(value=str() as text):
            return string(text)
        case ast.Constant(value=int() as value) if not isinstance(value, bool) and abs(value) >= 1_000_000:
            return f"{value:_}"
        case ast.Constant(value=float() as value):
            return repr(value).replace("e+", "e")
        case ast.Constant(value=value):
            return repr(value)
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_wrapped(value, _ATOM)}.{attr}"
        case ast.UnaryOp(op=op, operand=operand):
            return f"{'~' if isinstance(op, ast.Invert) else '-'}{_wrapped(operand, _UNARY)}"
        case ast.BinOp(op=op, left=left, right=right):
            level = _PRECEDENCE[type(op)]
            return f"{_wrapped(left, level)} {_SIGNS[type(op)]} {_wrapped(right, level + 1)}"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"{_wrapped(left, 1)} {_COMPARISONS[type(op)]} {_wrapped(right, 1)}"
        case ast.Call(func=func, args=args, keywords=keywords):
            items = [_flat(a) for a in args] + [f"{k.arg}={_flat(k.value)}" for k in keywords]
            return f"{_wrapped(func, _ATOM)}({', '.join(items)})"
        case ast.Tuple(elts=elts):
            return f"({', '.join(map(_flat, elts))}{',' if len(elts) == 1 else ''})"
        case ast.Dict(keys=keys, values=values):
            return "{" + ", ".join(f"{_flat(k)}: {_flat(v)}" for k, v in zip(keys, values) if k is not None) + "}"
    raise AssertionError(ast.dump(e))
