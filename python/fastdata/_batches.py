"""Iterators of batches: those of a scan (`Rows`) and those of a rank in training (`Batches`).

Contract: bounded memory, whatever the table's size; `close()`, or the end of a `with` block, ends every read at once. They belong to the process
that made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import NoReturn, TypeVar

from . import _native
from ._batch import Batch
from ._cursor import Cursor
from ._errors import InvalidRequest, translated
from ._plan import ScanStats
from ._schema import Schema

_Self = TypeVar("_Self", bound="Rows")


class Rows(Iterator[Batch]):
    """The batches of a scan, in its order."""

    def __init__(self, source: _native.Stream | _native.Feed) -> None:
        self._source = source
        self._closed = False
        self._schema: Schema | None = None

    @property
    def schema(self) -> Schema:
        """Columns and their Arrow types."""
        if self._schema is None:
            with translated:
                self._schema = Schema(self._source.schema())
        return self._schema

    def __iter__(self: _Self) -> _Self:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise InvalidRequest("these batches are closed", advice="take new ones: .batches()")
        with translated:
            batch = next(self._source)
        return Batch(batch, self.schema)

    @property
    def stats(self) -> ScanStats:
        """What was read so far, and where the time went."""
        with translated:
            return ScanStats(self._source.stats())

    def close(self) -> None:
        """Ends every read. Idempotent."""
        self._closed = True
        with translated:
            self._source.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an iterator of batches belongs to its process and does not pickle: send the scan, the shard or the run, and a cursor")

    def _state(self) -> str:
        return "closed" if self._closed else "done" if self._source.done() else "open"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._state()}, {self.stats['rows']} rows so far)"


class Batches(Rows):
    """The batches of one rank: its lanes, some of them at a time, prepared ahead by threads of their own."""

    _source: _native.Feed

    def __init__(self, feed: _native.Feed, epoch: int) -> None:
        super().__init__(feed)
        self._epoch = epoch

    def cursor(self) -> Cursor:
        """Where to go on: behind the last batch that was taken. It holds this rank's lanes as they are, and the others as they began."""
        with translated:
            return Cursor._of(self._source.cursor(), self._epoch)

    @property
    def steps(self) -> int | None:
        """How many batches there are from the start of this iterator: the same on all ranks; None where `last` is "uneven"."""
        return self._source.steps

    @property
    def dropped(self) -> int:
        """Rows of this rank that `last="drop"` leaves out."""
        return self._source.dropped

    @property
    def repeated(self) -> int:
        """Rows that `last="pad"` gives this rank a second time."""
        return self._source.repeated
