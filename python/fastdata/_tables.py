"""Batches as tables of other libraries, each imported only where it is used.

Contract: no copy where the types allow. How: each batch crosses by its Arrow capsules and the pieces are put together without joining their memory,
so that errors of a scan stay errors of this package, and Ctrl-C stays Ctrl-C, which they would not be inside another library's reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import needs

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from ._schema import Schema


def polars_frame(batches: Sequence[_native.Batch], schema: Schema) -> polars.DataFrame:
    try:
        import polars as pl
    except ImportError:
        raise needs("polars", "polars") from None
    if not batches:
        return pl.DataFrame(schema=pl.Schema(schema))
    return pl.concat([pl.DataFrame(batch) for batch in batches], rechunk=False)


def arrow_batch(batch: _native.Batch) -> pyarrow.RecordBatch:
    try:
        import pyarrow as pa
    except ImportError:
        raise needs("pyarrow", "arrow") from None
    return pa.record_batch(batch)


def arrow_table(batches: Sequence[_native.Batch], schema: Schema) -> pyarrow.Table:
    try:
        import pyarrow as pa
    except ImportError:
        raise needs("pyarrow", "arrow") from None
    return pa.Table.from_batches([pa.record_batch(batch) for batch in batches], schema=pa.schema(schema))


def pandas_frame(batches: list[_native.Batch], schema: Schema, options: dict[str, Any]) -> pandas.DataFrame:
    """Takes the batches out of the list: their memory goes as pandas' grows."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise needs("pandas", "pandas") from None
    table = arrow_table(batches, schema)
    batches.clear()
    frame: pandas.DataFrame = table.to_pandas(**{"split_blocks": True, "self_destruct": True, **options})
    return frame
