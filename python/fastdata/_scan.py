"""A scan: what to read of one table, and every way to take its rows.

Contract: a scan is a value. It plans once, at first need, and keeps that snapshot; it pickles with its request and no secret; each stream it
gives is fresh and lazy, so that several consumers may read at a time. `Shard` is one of several pieces of a scan, for a task elsewhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import _native
from ._batches import Rows
from ._display import html_table, number, size
from ._errors import Error, InvalidRequest, translated
from ._options import Progress as Choice
from ._plan import Planner, ScanPlan, ScanStats
from ._progress import Progress
from ._request import whole
from ._schema import Schema

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow

    from ._lake import Lake
    from ._run import Run


class Scan:
    """Rows of a table, not yet read.

    Whatever takes Arrow streams takes it: `polars.DataFrame(scan)`, `pyarrow.table(scan)`, and DuckDB by its variable's name.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._last: _native.Stream | None = None

    @classmethod
    def _of(cls, lake: Lake, request: dict[str, Any]) -> Scan:
        return Scan(Planner(lake, request))

    @property
    def lake(self) -> Lake:
        return self._planner.lake

    @property
    def request(self) -> dict[str, Any]:
        """The JSON of docs/scan-request.md; with snapshot and schema once the scan was planned."""
        return json.loads(json.dumps(self._planner.request))  # type: ignore[no-any-return]

    @property
    def schema(self) -> Schema:
        """Columns and their Arrow types, in the order in which they come."""
        with translated:
            return Schema(self._plan().schema())

    def pin(self) -> Scan:
        """Plans now, if it has not: from here on snapshot and schema are fixed. Returns itself."""
        self._planner.pin()
        return self

    def _plan(self, **changes: Any) -> _native.Plan:
        return self._planner.plan(**changes)

    def _stream(self, batch_rows: int | None = None, **changes: Any) -> _native.Stream:
        if "shuffle" in self._planner.request:
            raise InvalidRequest("a shuffled scan is read by lanes", advice="scan.shuffle(...).lanes(64).epoch(0).shard(rank, world).batches()")
        with translated:
            stream = self._plan(**changes).rows(lanes=self._lanes(), batch_rows=batch_rows)
        self._last = stream
        return stream

    def _lanes(self) -> list[int] | None:
        return None

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        stream = self._stream()
        with translated:
            return stream.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def batches(self, rows: int | None = None) -> Rows:
        """An iterator of batches in bounded memory: as they are decoded, or of exactly `rows` rows each, the last excepted."""
        return Rows(self._stream(whole("rows", rows, least=1)))

    def _pull(self, progress: Choice | None, **changes: Any) -> tuple[list[_native.Batch], Schema]:
        """All batches, held in memory, and their schema."""
        stream = self._stream(**changes)
        try:
            with self._progress(progress, stream), translated:
                return list(stream), Schema(stream.schema())
        finally:
            stream.close()

    def _pull_some(self, progress: Choice | None) -> list[_native.Batch]:
        """All batches; one without rows where there are none."""
        batches, schema = self._pull(progress)
        return batches or [schema.empty()]

    def _progress(self, choice: Choice | None, stream: _native.Stream) -> Progress:
        return Progress(choice, self._name(), self._estimate(), lambda: ScanStats(stream.stats()))

    def _estimate(self) -> int | None:
        """Rows to decode, as far as metadata tells."""
        with translated:
            estimate = json.loads(self._plan().facts()).get("rowsEstimated")
        return None if estimate is None else int(estimate)

    def to_polars(self, *, progress: Choice | None = None) -> polars.DataFrame:
        """All rows. Strings cross as views, which Polars takes without a copy, unless the scan says otherwise."""
        from ._tables import polars_frame

        changes = {} if "strings" in self._planner.request else {"strings": "STRINGS_UTF8_VIEW"}
        return polars_frame(*self._pull(progress, **changes))

    def to_arrow(self, *, progress: Choice | None = None) -> pyarrow.Table:
        """All rows, in the memory they were decoded to."""
        from ._tables import arrow_table

        return arrow_table(*self._pull(progress))

    def to_pandas(self, *, progress: Choice | None = None, **options: Any) -> pandas.DataFrame:
        """All rows, by way of pyarrow; `options` are those of `pyarrow.Table.to_pandas`, such as `types_mapper=pandas.ArrowDtype`."""
        from ._tables import pandas_frame

        return pandas_frame(*self._pull(progress), options)

    def to_duckdb(self, con: duckdb.DuckDBPyConnection, name: str, *, progress: Choice | None = None) -> duckdb.DuckDBPyRelation:
        """Makes the table `name` in DuckDB of all rows, instead of one of that name, and returns it.

        It is there whole or not at all. Without it, `con.sql("SELECT ... FROM scan")` reads the rows and keeps none.
        """
        from ._tables import duckdb_table

        stream = self._stream()
        try:
            with self._progress(progress, stream), translated:
                return duckdb_table(con, name, stream)
        finally:
            stream.close()

    def to_numpy(
        self, nulls: Any = "masked", strings: Any = "object", writable: bool = False, *, progress: Choice | None = None, **options: Any
    ) -> dict[str, Any]:
        """A NumPy array for each column, of all rows. NULLs, strings and other types as `fastdata._convert.to_numpy` has them."""
        from ._convert import to_numpy

        return to_numpy(self._pull_some(progress), nulls=nulls, strings=strings, writable=writable, **options)

    def to_torch(self, nulls: Any = "error", strings: Any = "error", *, progress: Choice | None = None, **options: Any) -> dict[str, Any]:
        """A tensor for each column, of all rows. NULLs, strings and other types as `fastdata._convert.to_torch` has them."""
        from ._convert import to_torch

        return to_torch(self._pull_some(progress), nulls=nulls, strings=strings, **options)

    def plan(self) -> ScanPlan:
        """What it will cost, from metadata alone."""
        self.pin()
        return ScanPlan(self.lake._answer("Explain", json.dumps(self._planner.unshuffled)))

    def explain(self) -> str:
        """The plan as text: what is read, what is not and why."""
        return self.plan().explain()

    def count(self) -> int:
        """The rows, exactly: of metadata where that is enough, else by reading the columns of filter and deletes."""
        self.pin()
        return int(self.lake._ask("Count", json.dumps(self._planner.unshuffled))["rows"])

    @property
    def stats(self) -> ScanStats | None:
        """What the last stream of this scan cost so far, and where the time went; None before the first."""
        if self._last is None:
            return None
        with translated:
            return ScanStats(self._last.stats())

    def shuffle(self, seed: int = 0, *, window: int | None = None, block: int | None = None) -> Scan:
        """The rows in an order that depends on `seed` and the epoch; `.lanes(n)` reads it.

        `window` rows are permuted together, in memory; `block` rows are read in one piece: smaller blocks mix better and cost more.
        """
        shuffle: dict[str, Any] = {"seed": str(whole("seed", seed, least=0, most=2**64 - 1) or 0)}
        for name, value in (("windowRows", whole("window", window, least=1, most=2**32 - 1)), ("blockRows", whole("block", block, least=1, most=2**32 - 1))):
            if value is not None:
                shuffle[name] = value
        return Scan(self._derived(shuffle=shuffle))

    def lanes(self, n: int = 64, *, interleave: int = 2) -> Run:
        """For training: `n` deterministic sequences, at least as many as ranks times workers will ever be.

        A rank reads at `interleave` places of its lanes at a time. The order within a lane depends on snapshot, seed, epoch and `n` alone.
        """
        from ._run import Run

        number = whole("lanes", n, least=1, most=2**32 - 1)
        together = whole("interleave", interleave, least=1, most=2**32 - 1)
        if number is None or together is None:
            raise InvalidRequest(f"lanes({n!r}, interleave={interleave!r})", advice="give numbers, or leave them out")
        return Run(self._derived(), number, together)

    def shards(self, n: int) -> list[Shard]:
        """`n` pieces of about equal weight, all of one snapshot, each for a task of its own; they pickle."""
        pieces = whole("n", n, least=1, most=2**32 - 1)
        if pieces is None:
            raise InvalidRequest("n is None", advice="give the number of shards")
        if "shuffle" in self._planner.request:
            raise InvalidRequest("shards of a shuffled scan", advice="take the shards before .shuffle(...), or read it by .lanes(n)")
        self.pin()
        answer = self.lake._ask("Shards", json.dumps({"request": self._planner.request, "shards": pieces}))
        request = {**self._planner.request, "lanes": pieces}
        hidden = bool(answer.get("rows_hidden"))
        return [
            Shard(Planner(self.lake, request, pinned=True, digest=answer["plan_digest"]), shard, len(answer["shards"]), hidden)
            for shard in answer["shards"]
        ]

    def _derived(self, **changes: Any) -> Planner:
        return Planner(self.lake, {**self._planner.request, **changes}, pinned=self._planner.pinned)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Scan) and self._key() == other._key()

    def __hash__(self) -> int:
        # Planning fixes the snapshot, which must not move it in a dict.
        return hash((self.lake, self._planner.request["table"]))

    def _key(self) -> tuple[object, ...]:
        return (self.lake, json.dumps(self._planner.request, sort_keys=True), *(self._lanes() or ()))

    def _name(self) -> str:
        return str(self._planner.request["table"])

    def _members(self) -> list[tuple[str, str]]:
        def shown(value: Any) -> str:
            if isinstance(value, list):
                return ", ".join(map(str, value))
            return json.dumps(value) if isinstance(value, dict) else str(value)

        return [(name, shown(value)) for name, value in self._planner.request.items() if name != "table"]

    def __repr__(self) -> str:
        members = "".join(f", {name} {value!r}" for name, value in self._members())
        return f"{type(self).__name__}({self._name()!r}{members})"

    def _repr_html_(self) -> str:
        shown = html_table(f"{type(self).__name__} of {self._name()}", None, self._members())
        try:
            return shown + self.schema._repr_html_()
        except Error as error:
            return shown + html_table("error", None, [("", str(error))])


class Shard(Scan):
    """One of several pieces of a scan: `number` of `of`.

    `rows` and `bytes` are as metadata has them, before filters and deletes; None where a policy hides them.
    """

    def __init__(self, planner: Planner, facts: dict[str, Any], of: int, hidden: bool = False) -> None:
        super().__init__(planner)
        self.number = int(facts["lane"])
        self.of = of
        self.rows: int | None = None if hidden else int(facts["rows"])
        self.bytes: int | None = None if hidden else int(facts["bytes"])

    def _lanes(self) -> list[int] | None:
        return [self.number]

    def _estimate(self) -> int | None:
        return self.rows

    def count(self) -> int:
        """The rows of this piece, exactly. Counts all pieces, once for a plan."""
        with translated:
            return self._plan().counts()[self.number]

    def _refuse(self, what: str) -> InvalidRequest:
        return InvalidRequest(f"a shard has no {what}: it is one piece already", advice=f"call {what} on the scan that it was cut from")

    def shuffle(self, seed: int = 0, *, window: int | None = None, block: int | None = None) -> Scan:
        """Refused: a shard is one piece already."""
        raise self._refuse("shuffle")

    def lanes(self, n: int = 64, *, interleave: int = 2) -> Run:
        """Refused: a shard is one piece already."""
        raise self._refuse("lanes")

    def shards(self, n: int) -> list[Shard]:
        """Refused: a shard is one piece already."""
        raise self._refuse("shards")

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.number)

    def _name(self) -> str:
        return f"{super()._name()}, shard {self.number} of {self.of}"

    def __repr__(self) -> str:
        told = "" if self.rows is None or self.bytes is None else f"about {number(self.rows)} rows, {size(self.bytes)}, "
        return f"Shard({self.number} of {self.of}, {told}{super()._name()})"
