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
    import duckdb
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


def duckdb_table(con: duckdb.DuckDBPyConnection, name: str, stream: _native.Stream) -> duckdb.DuckDBPyRelation:
    """Makes the table batch by batch, in one transaction where none is open yet."""
    try:
        import duckdb
    except ImportError:
        raise needs("duckdb", "duckdb") from None
    table = '"' + name.replace('"', '""') + '"'
    piece = f"fastdata_piece_{id(stream)}"
    own = _begun(con)
    try:
        con.register(piece, stream.schema().empty())
        con.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {piece}").fetchall()
        for batch in stream:
            con.register(piece, batch)
            con.execute(f"INSERT INTO {table} SELECT * FROM {piece}").fetchall()
        if own:
            con.commit()
    except BaseException as error:
        if own:
            con.rollback()
        # DuckDB wraps Ctrl-C in an error of its own.
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        told = str(error)
        if isinstance(error, RuntimeError | duckdb.Error) and ("interrupted" in told.lower() or "KeyboardInterrupt" in told):
            raise KeyboardInterrupt from None
        raise
    finally:
        con.unregister(piece)
    return con.sql(f"SELECT * FROM {table}")


def _begun(con: duckdb.DuckDBPyConnection) -> bool:
    """Begins a transaction; False within one of the caller's, in which two statements have the same number."""
    first, second = (con.execute("SELECT txid_current()").fetchall() for _ in range(2))
    if first == second:
        return False
    con.begin()
    return True
