"""Training: a scan as epochs of lanes, which ranks share and checkpoints remember.

Problem: a run reads a table for days, is stopped, and goes on with another number of ranks; no row may be lost or come twice. Contract:
docs/lanes.md. A `Run` has a fixed number of lanes; rank r of N reads the lanes r, r + N, ...; the order within each lane depends on the table's
snapshot and the seed alone; a cursor of any rank count resumes on any other. Without a shuffle every epoch has the same order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from . import _native
from ._batches import Batches
from ._cursor import Cursor
from ._errors import InvalidRequest, NotFound, PlanMismatch, translated
from ._plan import Planner
from ._request import whole

if TYPE_CHECKING:
    from ._lake import Lake
    from ._scan import Scan

Last = Literal["drop", "pad", "uneven"]
Pin = tuple[int | None, int | None]
_LAST = ("drop", "pad", "uneven")


class Run:
    """A scan cut into lanes, epoch by epoch, all of one snapshot. Picklable. Made by `scan.lanes(n)`."""

    def __init__(self, planner: Planner, lanes: int, interleave: int) -> None:
        self._planner = planner
        self.lanes = lanes
        self.interleave = interleave

    @property
    def lake(self) -> Lake:
        return self._planner.lake

    @property
    def scan(self) -> Scan:
        """The scan that this is a run of, at its snapshot once planned."""
        from ._scan import Scan

        return Scan(self._planner)

    @property
    def seed(self) -> int | None:
        """The shuffle's seed; None without a shuffle."""
        shuffle = self._planner.request.get("shuffle")
        return None if shuffle is None else int(shuffle["seed"])

    def _plan(self, epoch: int) -> _native.Plan:
        shuffle = self._planner.request.get("shuffle")
        if shuffle is None:
            return self._planner.plan(lanes=self.lanes)
        return self._planner.plan(lanes=self.lanes, shuffle={**shuffle, "epoch": str(epoch)})

    def pin(self) -> Pin:
        """The ids of snapshot and schema that every epoch reads; plans if it must. `with_pin` takes them over in another process."""
        if not self._planner.pinned:
            self._plan(0)
        return self._planner.pin()

    def with_pin(self, pin: Pin) -> Run:
        """The same run at the snapshot of another process."""
        snapshot, schema = (whole("a pin's part", part) for part in pin)
        return Run(Planner(self.lake, self._planner.at((snapshot, schema)), pinned=True), self.lanes, self.interleave)

    def epoch(self, number: int = 0) -> Epoch:
        """An epoch from its beginning."""
        return Epoch(self, whole("the epoch", number, least=0, most=2**64 - 1) or 0, None)

    def resume(self, cursor: Cursor | str | bytes | Mapping[str, Any] | Iterable[Any]) -> Epoch:
        """The rest of the epoch that a cursor is of: a `Cursor`, its JSON, or a list of those of all ranks.

        A run that has planned nothing yet takes the cursor's snapshot. `plan-mismatch` where the cursor is of another table, snapshot, filter, seed
        or number of lanes.
        """
        where = Cursor.of(cursor)
        self._adopt(where)
        snapshot = self.pin()[0]
        if where.snapshot_id != snapshot and "fromSnapshotId" not in self._planner.request:
            raise PlanMismatch(
                f"the cursor is of snapshot {where.snapshot_id}, the run of {snapshot}",
                advice="resume with a run that has planned nothing yet, which takes the cursor's snapshot",
            )
        with translated:
            self._plan(where.epoch).check(where._text)
        return Epoch(self, where.epoch, where)

    def _adopt(self, cursor: Cursor) -> None:
        if self._planner.pinned or "snapshotId" in self._planner.request:
            return
        if cursor.lanes != self.lanes:
            raise PlanMismatch(
                f"the cursor is of a run of {cursor.lanes} lanes, this one has {self.lanes}",
                advice=f"resume with .lanes({cursor.lanes}); the number of lanes is fixed for the life of a run",
            )
        table = self._planner.request["table"]
        adopted = self.with_pin((cursor.snapshot_id, cursor.schema_id))
        try:
            adopted._plan(cursor.epoch)
        except NotFound as error:
            raise PlanMismatch(
                f"the cursor is of snapshot {cursor.snapshot_id}, in which {table} cannot be read: {error.message}",
                advice="the cursor is of another table, or its snapshot has expired; resume the run that it was made with",
                stage=error.stage,
            ) from error
        self._planner = adopted._planner

    def __repr__(self) -> str:
        seed = "table order" if self.seed is None else f"seed {self.seed}"
        return f"Run({self._planner.request['table']!r}, {self.lanes} lanes, {seed})"


class Epoch:
    """One pass over the rows, from its beginning or from where a cursor says. Picklable."""

    def __init__(self, run: Run, number: int, start: Cursor | None) -> None:
        self.run = run
        self.number = number
        self._start = start

    @property
    def cursor(self) -> Cursor:
        """Where it begins."""
        if self._start is None:
            with translated:
                return Cursor._of(self.run._plan(self.number).start(), self.number)
        return self._start

    def counts(self) -> list[int]:
        """The rows of each lane in the whole epoch, exactly: filters and deletes applied. Worked out once for a plan."""
        with translated:
            return self.run._plan(self.number).counts()

    def shard(self, rank: int = 0, world: int = 1) -> EpochShard:
        """The part of rank `rank` of `world`: the lanes congruent to it. Warns where the lanes do not divide evenly."""
        mine, ranks = whole("rank", rank, most=2**32 - 1) or 0, whole("world", world, most=2**32 - 1) or 0
        lanes = self.run.lanes
        if not 0 <= mine < ranks:
            raise InvalidRequest(f"rank {mine} of a world of {ranks}", advice="ranks count from 0 to one less than the world's size")
        if ranks > lanes:
            raise InvalidRequest(
                f"{ranks} ranks (times workers) and {lanes} lanes: a rank would have none",
                advice=f"make the run with at least {ranks} lanes: .lanes({ranks}); their number cannot change within a run",
            )
        if lanes % ranks:
            most = -(-lanes // ranks)
            warnings.warn(
                f"{lanes} lanes do not divide among {ranks} ranks: the largest share is {most} lanes, the smallest {lanes // ranks}; "
                f"a number of lanes that {ranks} divides gives equal shares",
                stacklevel=2,
            )
        return EpochShard(self, mine, ranks)

    def batches(self, rows: int = 1024, last: Last = "drop") -> Batches:
        """All lanes in one process: `shard(0, 1).batches(...)`."""
        return self.shard().batches(rows, last)

    def __repr__(self) -> str:
        begins = "" if self._start is None else f", from row {self._start.rows} on"
        return f"Epoch({self.number} of {self.run!r}{begins})"


class EpochShard:
    """One rank's part of an epoch. Picklable."""

    def __init__(self, epoch: Epoch, rank: int, world: int) -> None:
        self.epoch = epoch
        self.rank = rank
        self.world = world

    @property
    def lanes(self) -> list[int]:
        """The lanes of this rank."""
        return list(range(self.rank, self.epoch.run.lanes, self.world))

    def batches(self, rows: int = 1024, last: Last = "drop") -> Batches:
        """Batches of `rows` rows. At the end "drop" and "pad" give every rank the same number of full batches, and say how many rows they
        `dropped` or `repeated`; "uneven" gives every row once.
        """
        if last not in _LAST:
            raise InvalidRequest(f"last is {last!r}", advice=f"give one of: {', '.join(_LAST)}")
        size = whole("rows", rows, least=1)
        if size is None:
            raise InvalidRequest("rows is None", advice="give the rows of a batch")
        epoch = self.epoch
        start = None if epoch._start is None else epoch._start._text
        with translated:
            feed = epoch.run._plan(epoch.number).feed(
                rank=self.rank, world=self.world, batch_rows=size, last=last, interleave=epoch.run.interleave, cursor=start
            )
        if feed.steps == 0 and feed.dropped:
            warnings.warn(f"no batch of {size} rows comes: {feed.dropped} rows of this rank are dropped; last=\"uneven\" gives them", stacklevel=2)
        return Batches(feed, epoch.number)

    def __repr__(self) -> str:
        return f"EpochShard(rank {self.rank} of {self.world}, {len(self.lanes)} lanes, {self.epoch!r})"
