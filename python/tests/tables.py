"""Tables that pyiceberg writes into the demo warehouse: another writer's files, which pyiceberg itself reads back as the oracle.

py.types: every primitive type, with NULLs. py.nested: structs, lists and maps, NULL at every level. py.many: many files of many row groups.
py.empty: no snapshot. py.evolved: two snapshots, a column added between them. py.big: narrow files that decode to hundreds of MiB.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

MANY_FILES = 12
MANY_ROWS = 5000
BIG_FILES = 12
BIG_ROWS = 400_000


def catalog(warehouse: Path) -> Any:
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog("local", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}")


def write(warehouse: Path) -> None:
    """Makes the tables that are not there yet."""
    lake = catalog(warehouse)
    lake.create_namespace_if_not_exists("py")
    for name, make in (("types", _types), ("nested", _nested), ("many", _many), ("empty", _empty), ("evolved", _evolved), ("big", _big)):
        if not lake.table_exists(f"py.{name}"):
            make(lake)


def _types(lake: Any) -> None:
    import pyarrow as pa

    day, moment = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, 30, 15, 123456)
    rows = [
        (True, 1, 2**40, 1.5, -2.25, Decimal("12.34"), day, dt.time(1, 2, 3, 4), moment, moment.replace(tzinfo=dt.timezone.utc), "ä", b"\x00\xff"),
        (False, -(2**31), -(2**63), float("inf"), -0.0, Decimal("-0.01"), dt.date(1969, 12, 31), dt.time(0), dt.datetime(1969, 1, 1), None, "", b""),
        (None,) * 12,
    ]  # fmt: skip
    fields = [
        ("b", pa.bool_()), ("i", pa.int32()), ("l", pa.int64()), ("f", pa.float32()), ("d", pa.float64()), ("dec", pa.decimal128(9, 2)),
        ("day", pa.date32()), ("at", pa.time64("us")), ("ts", pa.timestamp("us")), ("tz", pa.timestamp("us", "UTC")), ("s", pa.string()),
        ("bin", pa.binary()),
    ]  # fmt: skip
    columns = {name: pa.array([row[n] for row in rows], kind) for n, (name, kind) in enumerate(fields)}
    columns["id"] = pa.array(range(len(rows)), pa.int64())
    columns["fixed"] = pa.array([b"abcd", None, b"\x00\x01\x02\x03"], pa.binary(4))
    columns["u"] = pa.array([uuid.UUID(int=7).bytes, None, uuid.UUID(int=2**127).bytes], pa.uuid())
    _append(lake, "types", [pa.table(columns)])


def _nested(lake: Any) -> None:
    import pyarrow as pa

    kind = pa.schema([
        ("id", pa.int64()),
        ("user", pa.struct([("city", pa.string()), ("geo", pa.struct([("lat", pa.float64()), ("lon", pa.float64())]))])),
        ("tags", pa.list_(pa.string())),
        ("events", pa.list_(pa.struct([("name", pa.string()), ("price", pa.float64())]))),
        ("grid", pa.list_(pa.list_(pa.int32()))),
        ("attrs", pa.map_(pa.string(), pa.int64())),
    ])  # fmt: skip
    rows = [
        {"id": 0, "user": {"city": "Oslo", "geo": {"lat": 59.9, "lon": 10.7}}, "tags": ["a", None, "b"],
         "events": [{"name": "buy", "price": 1.5}, {"name": None, "price": None}], "grid": [[1, 2], [], None, [3]], "attrs": [("x", 1), ("y", None)]},
        {"id": 1, "user": {"city": None, "geo": None}, "tags": [], "events": [], "grid": [], "attrs": []},
        {"id": 2, "user": None, "tags": None, "events": None, "grid": None, "attrs": None},
        {"id": 3, "user": {"city": "<b>Rome</b>", "geo": {"lat": None, "lon": 0.0}}, "tags": ["c"], "events": [{"name": "x", "price": 0.0}],
         "grid": [[None]], "attrs": [("z", 9)]},
    ]  # fmt: skip
    _append(lake, "nested", [pa.Table.from_pylist(rows, schema=kind)])


def _many(lake: Any) -> None:
    import pyarrow as pa

    def part(n: int) -> Any:
        ids = range(n * MANY_ROWS, (n + 1) * MANY_ROWS)
        columns = {
            "id": pa.array(ids, pa.int64()),
            "word": pa.array([f"w{i % 97}" for i in ids], pa.string()),
            "x": pa.array([i / 7 if i % 11 else None for i in ids], pa.float64()),
        }
        return pa.table(columns)

    _append(lake, "many", [part(n) for n in range(MANY_FILES)], {"write.parquet.row-group-limit": "1000"})


def _empty(lake: Any) -> None:
    import pyarrow as pa

    lake.create_table("py.empty", pa.schema([("id", pa.int64()), ("s", pa.string())]))


def _evolved(lake: Any) -> None:
    import pyarrow as pa
    from pyiceberg.types import StringType

    table = _append(lake, "evolved", [pa.table({"id": pa.array(range(100), pa.int64())})])
    with table.update_schema() as change:
        change.add_column("note", StringType())
    table.append(pa.table({"id": pa.array(range(100, 200), pa.int64()), "note": pa.array(["n"] * 100)}))


def _big(lake: Any) -> None:
    import pyarrow as pa

    words = [f"{n:032d}" for n in range(50)]

    def part(n: int) -> Any:
        ids = pa.array(range(n * BIG_ROWS, (n + 1) * BIG_ROWS), pa.int64())
        text = pa.array((words * (BIG_ROWS // len(words) + 1))[:BIG_ROWS], pa.string())
        return pa.table({"id": ids, **{f"s{k}": text for k in range(4)}})

    _append(lake, "big", [part(n) for n in range(BIG_FILES)], {"write.parquet.row-group-limit": "100000"})


def _append(lake: Any, name: str, parts: list[Any], properties: dict[str, str] | None = None) -> Any:
    table = lake.create_table(f"py.{name}", parts[0].schema, properties=properties or {})
    for part in parts:
        table.append(part)
    return table
