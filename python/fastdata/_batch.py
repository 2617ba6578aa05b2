"""A batch of rows, as people see it.

Contract: an Arrow record batch that any Arrow library takes over without a copy (`polars.DataFrame(batch)`, `pyarrow.record_batch(batch)`), and
that needs no such library itself. It holds memory of this process, so that it does not pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from . import _native
from ._display import cut, html_table, number, size
from ._errors import InvalidRequest, translated
from ._request import whole
from ._schema import Schema

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

_SHOWN = 10


class Batch:
    """Rows in columns. `len(batch)` is the rows; `batch["name"]` the column with this name."""

    __slots__ = ("_batch", "_schema")

    def __init__(self, batch: _native.Batch, schema: Schema | None = None) -> None:
        self._batch = batch
        self._schema = schema

    @property
    def schema(self) -> Schema:
        """Columns and their Arrow types."""
        if self._schema is None:
            self._schema = Schema(self._batch.schema())
        return self._schema

    @property
    def num_rows(self) -> int:
        return self._batch.num_rows

    @property
    def num_bytes(self) -> int:
        """Bytes that the rows take."""
        return self._batch.num_bytes

    @property
    def column_names(self) -> list[str]:
        return self.schema.names

    def __len__(self) -> int:
        return self._batch.num_rows

    def __getitem__(self, name: str) -> _native.Column:
        return self._batch.column(self.schema.index(name))

    def slice(self, offset: int, length: int | None = None) -> Batch:
        """Rows from `offset` on, `length` of them or all that are left; no copy."""
        start = whole("offset", offset, least=0) or 0
        if start > len(self):
            raise InvalidRequest(f"offset {start} of a batch of {len(self)} rows", advice=f"give an offset of at most {len(self)}")
        rows = len(self) - start if length is None else min(whole("length", length, least=0) or 0, len(self) - start)
        return Batch(self._batch.slice(start, rows), self._schema)

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        with translated:
            return self._batch.__arrow_c_array__(requested_schema)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        with translated:
            return self._batch.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._batch.__arrow_c_schema__()

    def to_polars(self) -> polars.DataFrame:
        from ._tables import polars_frame

        return polars_frame([self._batch], self.schema)

    def to_arrow(self) -> pyarrow.RecordBatch:
        from ._tables import arrow_batch

        return arrow_batch(self._batch)

    def to_pandas(self, **options: Any) -> pandas.DataFrame:
        """`options` are those of `pyarrow.Table.to_pandas`."""
        from ._tables import pandas_frame

        return pandas_frame([self._batch], self.schema, options)

    def to_numpy(self, **options: Any) -> dict[str, Any]:
        """A NumPy array for each column; `options` as those of `Scan.to_numpy`."""
        from ._convert import to_numpy

        return to_numpy([self._batch], **options)

    def to_torch(self, **options: Any) -> dict[str, Any]:
        """A tensor for each column; `options` as those of `Scan.to_torch`."""
        from ._convert import to_torch

        return to_torch([self._batch], **options)

    def to_pydict(self) -> dict[str, list[Any]]:
        """A list of Python objects for each column; None for NULL."""
        with translated:
            return {name: self._batch.column(index).objects() for index, name in enumerate(self.column_names)}

    def to_pylist(self) -> list[dict[str, Any]]:
        """A dict for each row."""
        columns = self.to_pydict()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Batch holds memory of this process and does not pickle: send batch.to_arrow(), to_polars() or to_pydict()")

    def _title(self) -> str:
        return f"Batch of {number(len(self))} rows, {len(self.schema)} columns, {size(self.num_bytes)}"

    def __repr__(self) -> str:
        return f"{self._title()}\n{self._batch.render(_SHOWN)}"

    def _repr_html_(self) -> str:
        head = [f"{name} ({kind})" for name, kind in zip(self.schema.names, self.schema.types, strict=True)]
        rows = self.slice(0, _SHOWN).to_pylist()
        return html_table(self._title(), head, [["" if v is None else cut(str(v), 100) for v in row.values()] for row in rows])
