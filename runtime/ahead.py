"""Several rounds of a graph at once, on the threads of its team.

What an operator does in one round is a *turn*. A turn needs what the operator's parents made in that round, and the
operator as its turn in the round before left it; beside those, turns can run at the same time: one operator works on a
round while those above it are at later ones. Every operator so sees the same batches in the same order as on one
thread, its state is in one place, and what leaves the graph is given out round by round: no result depends on how many
threads there are, or which of them is faster. An operator that shares something with others (`Operator.alone` is
False) takes its turns in one order with all that do.

What a turn makes of rows alone, without the operator's state (`Later`), is made after the operator's next turn may
begin; so the turns of one operator overlap as well. And an operator may have other threads help within a turn
(`Team.map`). See docs/decisions/workers.md.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, pairwise

from tickc.runtime.batch import Batch
from tickc.runtime.graph import Entering, Graph, Later, Operator, Output, TaskFailed, first_of, made_now

AHEAD, MOST_AHEAD = 2, 8  # rounds under way for each thread, and for all
POURING = 4  # batches of one turn from which they are given out one by one; see `Operator.pours`


class _Round:
    """A round under way. made: what operators made that others are to read; waits: for how many other turns each turn
    waits; over: which are; outputs: what left the graph, by operator; pouring: an operator of which much comes, what it
    made so far, and the rest."""

    def __init__(self, number: int, graph: Graph, entering: dict[int, Batch], waits: list[int]) -> None:
        n = len(graph.operators)
        self.number = number
        self.made: dict[int, list[Batch | Later]] = {i: [batch] for i, batch in entering.items()}
        self.readers = Counter(p for parents in graph.parents for p in parents)
        self.waits = list(waits)
        self.over = [False] * n
        self.outputs: list[list[Output]] = [[] for _ in range(n)]
        self.errors: dict[int, Exception] = {}
        self.pouring: tuple[int, Iterator[Batch | Later]] | None = None
        self.entered = sum(len(batch.rows) for batch in entering.values())

    def has(self, i: int) -> bool:
        """Whether what an operator made is there, or is to be poured."""
        return self.over[i] or (self.pouring is not None and self.pouring[0] == i)


class Ahead:
    """Sends batches through a graph with `workers` threads, the caller's among them."""

    def __init__(self, graph: Graph, workers: int) -> None:
        if workers < 1:
            raise ValueError("workers must be 1 or more")
        self.graph, self.workers = graph, workers
        self.under_way: deque[_Round] = deque()
        self._holding = False
        self._begun = 0
        self._failed: int | None = None  # the first round in which an operator failed: none after it matters
        self._ready: dict[int, list[tuple[int, int]]] = {}  # turns, by the thread that had the operator last; heaps
        self._thread = [0] * len(graph.operators)  # which had each operator last
        self._taken = [0] * len(graph.operators)  # how many turns of each operator are over, but for what is made later
        self._before, self._after = _lanes(graph.operators)
        above = _needed(graph)
        self._needs = [len(turns) for turns in above]
        self._children = [[i for i, turns in enumerate(above) if p in turns] for p in range(len(above))]

    def rounds(self, batches: Iterable[Entering]) -> Iterator[Iterator[Output]]:
        """What leaves the graph for each of `batches`, in order; each is to be used up before the next."""
        if self.workers == 1 or self.graph.why_in_turn():
            yield from map(self.graph.feed, batches)
            return
        team = self.graph.team
        for op in self.graph.operators:
            op.defers = True
        team.start(self.workers, self)
        try:
            for some in batches:
                self._begin(self.graph.admit(some))
                while len(self.under_way) > (0 if self._holding else min(AHEAD * self.workers, MOST_AHEAD)):
                    yield self._delivered()
                self._holding = False
            while self.under_way:
                yield self._delivered()
        finally:
            with team.bell:
                self._ready.clear()
            team.stop()
            for op in self.graph.operators:
                op.defers = False

    def settled(self) -> bool:
        """Whether all that was sent has come out; if not, it will before more is sent."""
        self._holding = bool(self.under_way)
        return not self.under_way

    # -- turns

    def _begin(self, entering: dict[int, Batch]) -> None:
        """Put a round under way."""
        graph = self.graph
        this = _Round(self._begun, graph, entering, self._needs)
        with graph.team.bell:
            self._begun += 1
            self.under_way.append(this)
            for i in range(len(graph.operators)):
                rounds_before, j = self._before[i]
                if self._taken[j] <= this.number - rounds_before:
                    this.waits[i] += 1
                if not this.waits[i]:
                    self._push(this, i)
            graph.team.bell.notify_all()

    def take(self) -> Callable[[], None] | None:
        """The next turn: of an operator that the thread had before, whose state is in its processor's cache, or else of
        any; of those, in the earliest round, the operator that comes first."""
        me = threading.get_ident()
        waiting = [turns for turns in self._ready.values() if turns and not self._in_vain(turns[0][0])]
        if not waiting:
            return None
        own = self._ready.get(me)
        number, i = heapq.heappop(own if own in waiting else min(waiting))
        self._thread[i] = me
        return partial(self._turn, self._round(number), i)

    def _in_vain(self, number: int) -> bool:
        """Whether a round comes after one that failed."""
        return self._failed is not None and number > self._failed

    def _push(self, this: _Round, i: int) -> None:
        heapq.heappush(self._ready.setdefault(self._thread[i], []), (this.number, i))

    def _round(self, number: int) -> _Round:
        return self.under_way[number - self.under_way[0].number]

    def _turn(self, this: _Round, i: int) -> None:
        """Take an operator's turn in a round."""
        op = self.graph.operators[i]
        made = this.made.get(i, [])
        try:
            given = [this.made[p] for p in self.graph.parents[i]]
            coming = iter(()) if i in self.graph.failures else self.graph.worked(i, given)
            branch = self.graph.branch(i) if op.pours else None
            for batch in coming:
                made.append(batch)
                if branch is not None and len(made) >= POURING:
                    this.pouring = i, chain(made, coming)
                    with self.graph.team.bell:
                        self.graph.team.bell.notify_all()
                    return
        except Exception as error:  # raised where the round is given out
            self._fail(this, i, error)
        self._end(this, i, made)

    def _end(self, this: _Round, i: int, made: list[Batch | Later]) -> None:
        """An operator's turn is over but for what is made later."""
        graph = self.graph
        this.outputs[i].extend(graph.operators[i].outputs)
        graph.operators[i].outputs.clear()
        with graph.team.bell:
            self._taken[i] = this.number + 1
            rounds_after, j = self._after[i]
            if this.number + rounds_after < self._begun:
                self._unblock(self._round(this.number + rounds_after), j)
            graph.team.bell.notify_all()
        try:
            made = [batch for some in made for batch in made_now(some)]
        except Exception as error:
            made = []
            self._fail(this, i, error)
        with graph.team.bell:
            this.over[i] = True
            this.made[i] = made if this.readers[i] else []
            for p in graph.parents[i]:
                this.readers[p] -= 1
                if not this.readers[p]:
                    this.made[p] = []
            for child in self._children[i]:
                self._unblock(this, child)
            graph.team.bell.notify_all()

    def _unblock(self, this: _Round, i: int) -> None:
        this.waits[i] -= 1
        if not this.waits[i]:
            self._push(this, i)

    def _fail(self, this: _Round, i: int, error: Exception) -> None:
        if isinstance(error, TaskFailed):
            self.graph.failures[i] = error
            if self.graph.goes_on:
                return
        with self.graph.team.bell:
            this.errors.setdefault(i, error)
            self._failed = this.number if self._failed is None else min(self._failed, this.number)

    # -- what comes out

    def _delivered(self) -> Iterator[Output]:
        """What leaves the graph in the earliest round; the round is over with it."""
        this, graph = self.under_way[0], self.graph
        graph.rounds += 1
        graph.entered += this.entered
        for i in range(len(graph.operators)):
            graph.team.help(partial(this.has, i))
            if not this.over[i]:
                yield from self._poured(this, i)
            error = this.errors.get(i)
            if error is not None and not isinstance(error, TaskFailed):
                raise error
            yield from graph.leaving(this.outputs[i])
        with graph.team.bell:
            self.under_way.popleft()
        failures = {i: error for i, error in this.errors.items() if isinstance(error, TaskFailed)}
        if failures:
            raise first_of(failures)

    def _poured(self, this: _Round, i: int) -> Iterator[Output]:
        """Take the rest of a turn of which much comes, one batch after another through all operators below.

        All turns before it are over: no operator below it, none of which has another parent, is at work.
        """
        assert this.pouring is not None
        failures, branch = self.graph.failures, self.graph.branch(i)
        assert branch is not None
        failed = {*failures}
        try:
            for some in this.pouring[1]:
                for batch in made_now(some):
                    yield from self.graph.poured(i, batch, branch, failures)
        except TaskFailed as error:
            failures[i] = error
        for j in {i, *branch} & ({*failures} - failed):
            self._fail(this, j, failures[j])
        this.pouring = None
        self._end(this, i, [])


def _needed(graph: Graph) -> list[set[int]]:
    """The operators whose turns in a round each operator needs: its parents; and, where it shares something with an
    operator that much may be poured into, the one that pours."""
    found = [{*parents} for parents in graph.parents]
    common = {i for i, op in enumerate(graph.operators) if not op.alone}
    for i, op in enumerate(graph.operators):
        if op.pours and common.intersection(graph.branch(i) or ()):
            for j in common:
                found[j] |= {i} if j > i else set()
    return found


def _lanes(operators: list[Operator]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """For each operator the turn that has to be over before its own, and the one that has to wait for it: how many
    rounds earlier, or later, and of which operator."""
    before = [(1, i) for i in range(len(operators))]
    after = list(before)
    common = [i for i, op in enumerate(operators) if not op.alone]
    for i, j in pairwise(common):
        after[i], before[j] = (0, j), (0, i)
    if common:
        before[common[0]], after[common[-1]] = (1, common[-1]), (1, common[0])
    return before, after
