"""Compares a results document with what Kapacitor gave."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

# Go has its own versions of these: results within 8 ulp pass. Bessel functions pass within 1e-12 relative.
_GO_MATH = re.compile(
    r"\b(acosh?|asinh?|atan2?|atanh|cbrt|cosh?|erfc?|exp2?|expm1|gamma|hypot|log(10|1p|2)?|pow|sinh?|tanh?)\s*\("
)
_BESSEL = re.compile(r"\b(j0|j1|jn|y0|y1|yn)\s*\(")
Same = Callable[[Any, Any], bool]


def slack(script: str) -> tuple[int, float]:
    """(ulps, relative difference) by which a float may differ."""
    if "holtWinters" in script:
        return 0, 1e-6
    if _BESSEL.search(script):
        return 8, 1e-12
    return (8, 0.0) if _GO_MATH.search(re.sub(r"\.log\(|\|\s*log\(", "", script)) else (0, 0.0)


def equality(ulps: int, relative: float) -> Same:
    """Equality of JSON values: ints exactly, floats to the last bit or within the slack."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
        if isinstance(a, list):
            return isinstance(b, list) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
        if isinstance(a, bool) or isinstance(b, bool):
            return a is b
        if a == b:
            return True
        if isinstance(a, float) and isinstance(b, (int, float)) and (ulps or relative):
            room = max(ulps * math.ulp(max(abs(a), abs(b))), relative * abs(a), 1e-15 if relative else 0.0)
            return abs(a - b) <= room
        return False

    return same


def differences(expected: dict[str, Any], got: dict[str, Any], script: str, order: str = "total") -> Iterable[str]:
    """What differs, in words; nothing where the documents agree."""
    refusal = expected.get("error") or expected.get("runtime_error")
    if refusal and not (expected.get("sinks") or expected.get("alerts")):
        yield from _refusal(refusal, got)
        return
    failure = got.get("error") or got.get("runtime_error")
    if failure != (refusal.removeprefix("task run: ") if refusal else None):
        yield f"failed: {failure}, should: {refusal}"
        return
    same = equality(*slack(script))
    for kind, clean in (("sinks", _row), ("alerts", _event(script)), ("writes", _line)):
        want, have = expected.get(kind) or {}, got.get(kind) or {}
        for name in sorted({*want, *have}):
            one = [clean(x) for x in want.get(name, [])]
            other = [clean(x) for x in have.get(name, [])]
            yield from _sequences(f"{kind} {name}", one, other, same, order)


def _refusal(refusal: str, got: dict[str, Any]) -> Iterable[str]:
    text = got.get("error") or got.get("runtime_error")
    if not text:
        yield f"accepted, should be refused: {refusal}"
    elif (at := re.search(r"line (\d+) char (\d+)", refusal)) and at[0] not in text:
        yield f"refused elsewhere: {text!r}, should be {refusal!r}"


def _sequences(where: str, want: list[Any], have: list[Any], same: Same, order: str) -> Iterable[str]:
    if order == "group":
        want, have = (sorted(x, key=_group) for x in (want, have))  # stable: the order within a group stays
    elif order == "any":
        want, have = (sorted(x, key=_text) for x in (want, have))
    if len(want) != len(have):
        yield f"{where}: {len(have)} results, should be {len(want)}"
    for i, (a, b) in enumerate(zip(want, have)):
        if not same(a, b):
            yield f"{where} #{i}: {_text(b)[:400]} should be {_text(a)[:400]}"
            return


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _group(result: Any) -> str:
    series = (result.get("series") or [{}])[0] if isinstance(result, dict) else {}
    return _text([series.get("name"), series.get("tags") or {}])


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """Absent, null and empty are one."""
    series = result.get("series") or []
    return {"series": [{k: v for k, v in s.items() if v not in (None, {}, [])} for s in series]}


def _event(script: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def clean(event: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in event.items() if k != "details" or ".details(" in script}
        return {**kept, "data": _row(kept.get("data") or {})}

    return clean


def _line(line: str) -> list[Any]:
    """Line protocol as series, fields by name (a float as number), time."""
    found = re.match(r"((?:\\.|[^ ])+) (.*) (-?\d+)$", line, re.DOTALL)
    if not found:
        return [line]
    fields = re.findall(r'((?:\\.|[^=,])+)=("(?:\\.|[^"\\])*"|[^,]*)', found[2])
    return [found[1], {k: _field(v) for k, v in fields}, found[3]]


def _field(text: str) -> Any:
    try:
        return float(text) if text not in ("NaN", "-0") else text
    except ValueError:
        return text
