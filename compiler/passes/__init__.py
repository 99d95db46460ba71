"""The optimiser: passes from plan to plan, in the order in which they run.

Constants first, since a filter that always holds may vanish. Equal pipelines are shared while they are as written.
Filters move before windows fold and chains become loops or blocks, which would hide what a filter could move over.
Columns are counted last, when it is known who reads them.
"""

from __future__ import annotations

from collections.abc import Callable

from tickc.compiler.ir import Plan
from tickc.compiler.passes.fold_constants import fold_constants
from tickc.compiler.passes.fuse_joins import fuse_joins
from tickc.compiler.passes.fuse_kernels import fuse_kernels
from tickc.compiler.passes.fuse_rows import fuse_rows
from tickc.compiler.passes.fuse_windows import fuse_windows
from tickc.compiler.passes.prune_columns import prune_columns
from tickc.compiler.passes.push_filters import push_filters
from tickc.compiler.passes.push_projection import push_projection
from tickc.compiler.passes.share_pipelines import share_pipelines

PASSES: tuple[tuple[str, Callable[[Plan], Plan]], ...] = tuple(
    (run.__name__, run)
    for run in (
        fold_constants,
        share_pipelines,
        push_filters,
        fuse_windows,
        fuse_joins,
        fuse_kernels,
        prune_columns,
        fuse_rows,
        push_projection,
    )
)
