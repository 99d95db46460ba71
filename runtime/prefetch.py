"""Asking for memory before it is needed.

With a million groups the state of each is in no cache, and a kernel that goes from row to row waits for memory at each.
Where it tells which states the next rows will need, several of them come at the same time. Kernels take how many rows
ahead that is as an argument, None for not at all: then nothing of it is in their machine code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tickc.runtime.kernel import Kernel

AHEAD = 16  # rows between asking and needing: about as many lines of a cache as can be under way
LINE = 64  # bytes of a line
CACHE = 512 << 10  # bytes that a processor mostly finds in a cache of its own


def rows_ahead(state: np.ndarray) -> int | None:
    """How many rows ahead a kernel is to ask for their parts of `state`; None where it finds them in a cache."""
    return AHEAD if state.nbytes > CACHE else None


class _Prefetch(Kernel[[Any, int, int], None]):
    """A kernel that is an instruction of the processor; nothing where it is interpreted."""

    def _inlined(self) -> Callable[[Any, int, int], None]:
        if self._called is None:
            self._called = _instruction()
        return self._called


def _instruction() -> Any:
    """`prefetch` for Numba."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def instruction(typing: Any, array: Any, row: Any, offset: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            made = context.make_array(signature.args[0])(context, builder, given[0])
            row, offset = (context.cast(builder, given[k], signature.args[k], types.intp) for k in (1, 2))
            first, *_ = cgutils.unpack_tuple(builder, made.strides)
            place = cgutils.pointer_add(builder, made.data, builder.add(builder.mul(row, first), offset))
            pointer, i32 = cgutils.voidptr_t, ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
            to_write, keep, data = i32(1), i32(3), i32(1)
            call = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
            builder.call(call, [builder.bitcast(place, pointer), to_write, keep, data])
            return context.get_dummy_value()

        return types.void(array, row, offset), generate

    return instruction


@_Prefetch
def prefetch(array, row, offset):  # type: ignore[no-untyped-def]
    """Have the line of a cache with the byte `offset` of array[row] come, which is not waited for."""
