"""Kernels: plain Python functions on arrays that become machine code once there is work enough.

`@kernel` marks a function that keeps to what Numba compiles: scalars, NumPy arrays, structured arrays, other kernels.
Until a kernel has seen `COMPILE_AFTER` elements its body runs as ordinary Python, which is the same arithmetic on NumPy
scalars (int64 wraps, float division follows IEEE); a hundred points never pay for importing Numba, let alone for a
compilation. Machine code is cached on disk, keyed by the byte code of the kernel and of all kernels that it calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

COMPILE_AFTER = 20_000  # elements; about where interpreting costs as much as loading Numba and the cached code
COMPILED_AS = "callees inlined by LLVM"  # part of the key of cached machine code
_BUILDING = threading.RLock()  # held by the thread that makes machine code's dispatchers, which others are to use too


def interpreting_is_a_choice() -> bool:
    """Whether kernels may be compiled; `TICKC_INTERPRET=1` says that they may not."""
    return os.environ.get("TICKC_INTERPRET") != "1"


def cache_folder() -> Path:
    """Where machine code, generated modules and parsers are kept: `$TICKC_CACHE`, or the user's cache folder."""
    if explicit := os.environ.get("TICKC_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickc"


class Kernel(Generic[P, R]):
    """A function that is interpreted at first and compiled once it has seen enough work.

    bare: it allocates nothing, so that its code need not count who uses an array, which makes calls with many faster.
    """

    def __init__(self, function: Callable[P, R], bare: bool = False) -> None:
        self.function = function
        self.how: dict[str, Any] = {"nogil": True, "error_model": "numpy", **({"_nrt": False} if bare else {})}
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._work = 0
        self._machine: Callable[P, R] | None = None
        self._interpreted: Callable[P, R] | None = None
        self._called: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._machine is not None:
            return self._machine(*args, **kwargs)
        self._work += max((a.size for a in args if isinstance(a, np.ndarray)), default=1)
        if self._work >= COMPILE_AFTER and interpreting_is_a_choice():
            return self.machine()(*args, **kwargs)
        with np.errstate(all="ignore"):
            return self.interpreted()(*args, **kwargs)

    def interpreted(self) -> Callable[P, R]:
        """The function as plain Python, with the kernels that it calls as plain Python too."""
        if self._interpreted is None:
            self._interpreted = self._with({name: k.interpreted() for name, k in self._callees().items()})
        return self._interpreted

    def machine(self) -> Callable[P, R]:
        """The compiled form (a Numba dispatcher), with the kernels that it calls compiled too."""
        with _BUILDING:
            if self._machine is None:
                import numba

                function = self._with({name: k._inlined() for name, k in self._callees().items()})
                dispatcher = numba.njit(**self.how)(function)
                _enable_cache(dispatcher, function, self.fingerprint())
                self._machine = dispatcher
        return self._machine

    def compiled(self) -> bool:
        """Whether machine code is at hand: loaded, or kept in the cache by an earlier run."""
        if self._machine is not None:
            return True
        return any((cache_folder() / "kernels").glob(f"*{self.__name__}-{self.fingerprint()[:16]}.*.nbi"))

    def _inlined(self) -> Callable[P, R]:
        """The compiled form for use in other kernels: inlined, as a call with arrays costs more than most bodies.

        LLVM inlines it, not Numba, which would have to find the types of each copy.
        """
        return self._callee(forceinline=True)

    def _callee(self, **how: Any) -> Callable[P, R]:
        """A compiled form for kernels alone: without what Python needs to call it, and not cached by itself."""
        if self._called is None:
            import numba

            function = self._with({name: k._inlined() for name, k in self._callees().items()})
            how |= {**self.how, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
            self._called = numba.njit(**how)(function)
        return self._called

    def _with(self, callees: dict[str, Any]) -> Callable[P, R]:
        """The function with other globals for the kernels that it calls."""
        f = self.function
        code, defaults, closure = f.__code__, f.__defaults__, f.__closure__
        function = types.FunctionType(code, {**f.__globals__, **callees}, f.__name__, defaults, closure)
        function.__qualname__ = f.__qualname__
        function.__module__ = f.__module__
        return function

    def fingerprint(self) -> str:
        """Hash of the byte code of this kernel and of all kernels it calls, with the constants they read."""
        digest = hashlib.sha256(COMPILED_AS.encode())
        seen: set[int] = set()

        def add(k: Kernel[Any, Any]) -> None:
            if id(k) in seen:
                return
            seen.add(id(k))
            digest.update(repr(k.how).encode())
            if k.function.__module__.startswith("tickc."):  # that of a generated module hangs on how it was loaded
                digest.update(k.function.__module__.encode())
            for code in k._codes():
                _hash_code(digest, code)
                for name in sorted(_names(code)):
                    value = k.function.__globals__.get(name)
                    if isinstance(value, (int, float, str, tuple, np.ndarray)):
                        digest.update(f"{name}={value!r}".encode())
                        if isinstance(value, np.ndarray):
                            digest.update(value.tobytes())
            for _, callee in sorted(k._callees().items()):
                add(callee)

        add(self)
        return digest.hexdigest()

    def _codes(self) -> Iterator[types.CodeType]:
        """What the machine code is made of, for the fingerprint."""
        yield self.function.__code__

    def _callees(self) -> dict[str, Kernel[Any, Any]]:
        found = self.function.__globals__
        names = _names(self.function.__code__)
        return {n: found[n] for n in names if isinstance(found.get(n), Kernel) and found[n] is not self}


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Mark `function` as a kernel; see the module's docstring."""
    return Kernel(function)


def bare_kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Mark `function` as a kernel that allocates nothing."""
    return Kernel(function, bare=True)


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _hash_code(digest: hashlib._Hash, code: types.CodeType) -> None:
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames)).encode())
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _hash_code(digest, constant)
        else:
            digest.update(repr(constant).encode())


def _enable_cache(dispatcher: Any, function: Callable[..., Any], fingerprint: str) -> None:
    """Cache `dispatcher` under tickc's folder rather than beside the source, which may not be writable."""
    from numba.core import caching

    folder = cache_folder() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # no place to keep it: compiled anew in each process
    if not os.access(folder, os.W_OK):
        return

    class Locator(caching._CacheLocator):
        def ensure_cache_path(self) -> None:
            folder.mkdir(parents=True, exist_ok=True)

        def get_cache_path(self) -> str:
            return str(folder)

        def get_source_stamp(self) -> str:
            return fingerprint

        def get_disambiguator(self) -> str:
            return fingerprint[:16]

        @classmethod
        def from_function(cls, py_func: Any, py_file: Any) -> Locator:
            return cls()

    class Impl(caching.CompileResultCacheImpl):
        _locator_classes: Any = [Locator]

    class Cache(caching.FunctionCache):
        _impl_class = Impl

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except (AttributeError, ImportError, EOFError, pickle.UnpicklingError):
                self.flush()  # what lies there is damaged, or names what this version does not have: compiled anew
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            with contextlib.suppress(OSError):  # a full disk costs a compilation next time, not this run
                super().save_overload(sig, data)

    dispatcher._cache = Cache(function)
