"""Primitives: what a processor does in an instruction or two and Numba has no words for.

A primitive is a kernel with a second form of its body, written for LLVM. The plain one says what it means and runs
where kernels are interpreted; the other takes its place in machine code.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from tickc.runtime.kernel import Kernel

P = ParamSpec("P")
R = TypeVar("R")
Emit = Callable[[Any, tuple[Any, ...]], Any]  # (an llvmlite.ir.IRBuilder, the arguments) -> the result


class Primitive(Kernel[P, R]):
    """A kernel that other kernels call; `result` is the name of its type in Numba."""

    def __init__(self, function: Callable[P, R], result: str, emit: Emit) -> None:
        super().__init__(function)
        self.result, self.emit = result, emit
        self._intrinsic: Any = None

    def machine(self) -> Callable[P, R]:
        if self._machine is None:
            import numba

            instructions: Any = self._inlined()

            def compiled(*args: Any) -> Any:
                return instructions(*args)

            called: Any = numba.njit(compiled)
            self._machine = called
            return called
        return self._machine

    def _inlined(self) -> Callable[P, R]:
        if self._intrinsic is None:
            from numba import types as numba_types
            from numba.extending import intrinsic

            result = getattr(numba_types, self.result)

            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                plain = (_pointer(context, builder, t, a) for t, a in zip(signature.args, args))
                return self.emit(builder, tuple(plain))

            def typed(context: Any, *args: Any) -> Any:
                return result(*args), generate

            own = inspect.signature(self.function)
            context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
            typed.__name__ = self.__name__
            typed.__signature__ = own.replace(parameters=[context, *own.parameters.values()])  # type: ignore[attr-defined]
            self._intrinsic = intrinsic(typed)
        return self._intrinsic

    def _codes(self) -> Iterator[types.CodeType]:
        yield from super()._codes()
        yield self.emit.__code__


def _pointer(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array as the address of its first byte, anything else as it is."""
    from llvmlite import ir
    from numba.core import types as numba_types

    if not isinstance(kind, numba_types.Array):
        return value
    return builder.bitcast(context.make_array(kind)(context, builder, value).data, ir.IntType(8).as_pointer())


def primitive(result: str, emit: Emit) -> Callable[[Callable[P, R]], Primitive[P, R]]:
    """Mark a function as a primitive; see the module's docstring."""
    return lambda function: Primitive(function, result, emit)


# ------------------------------------------------------------------------------------------------------ the primitives


def _integer(bits: int) -> Any:
    from llvmlite import ir

    return ir.IntType(bits)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    """What lies at an address that need not be aligned."""
    load = builder.load(builder.bitcast(address, kind.as_pointer()))
    load.align = 1
    return load


def _emit_word(builder: Any, args: tuple[Any, ...]) -> Any:
    base, at = args
    return _load(builder, builder.gep(base, [at]), _integer(64))


def _emit_trailing(builder: Any, args: tuple[Any, ...]) -> Any:
    return builder.cttz(args[0], _integer(1)(0))


def _emit_leading(builder: Any, args: tuple[Any, ...]) -> Any:
    return builder.ctlz(args[0], _integer(1)(0))


def _emit_high_half(builder: Any, args: tuple[Any, ...]) -> Any:
    wide = _integer(128)
    product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
    return builder.trunc(builder.lshr(product, wide(64)), _integer(64))


def _emit_matches(builder: Any, args: tuple[Any, ...]) -> Any:
    from llvmlite import ir

    words, at, *wanted = args
    lanes = ir.VectorType(_integer(8), 32)
    text = _load(builder, builder.gep(words, [at]), lanes)
    found = None
    for byte in wanted:
        one = builder.insert_element(
            ir.Constant(lanes, ir.Undefined), builder.trunc(byte, _integer(8)), _integer(32)(0)
        )
        every = builder.shuffle_vector(
            one, ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(_integer(32), 32), [0] * 32)
        )
        equal = builder.icmp_unsigned("==", text, every)
        found = equal if found is None else builder.or_(found, equal)
    return builder.zext(builder.bitcast(found, _integer(32)), _integer(64))


@primitive("uint64", _emit_word)
def word(words: Any, i: Any) -> Any:
    """The eight bytes from the byte `i` on, the first one lowest. words: u8[n] that begin at each byte of a text."""
    return words[i]


@primitive("int64", _emit_trailing)
def trailing_zeros(value: Any) -> Any:
    """How many of the lowest bits of a u8 are zero, 64 for 0."""
    bits = int(value)
    return (bits & -bits).bit_length() - 1 if bits else 64


@primitive("int64", _emit_leading)
def leading_zeros(value: Any) -> Any:
    """How many of the highest bits of a u8 are zero, 64 for 0."""
    return 64 - int(value).bit_length()


@primitive("uint64", _emit_high_half)
def high_half(a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two u8."""
    return np.uint64(int(a) * int(b) >> 64)


@primitive("uint64", _emit_matches)
def matches(words: Any, i: Any, a: Any, b: Any, c: Any) -> Any:
    """Which of the 32 bytes from the byte `i` on are a, b or c: a bit for each, as u8. words: as in `word`."""
    text = words[i : i + 32 : 8].tobytes()
    return np.uint64(sum(1 << k for k, byte in enumerate(text) if byte in (a, b, c)))
