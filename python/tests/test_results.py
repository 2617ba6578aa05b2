"""The rows that come out are those that pyiceberg reads, in every library and without copies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from support import need, plain_rows

import fastdata as fd

TABLES = ["py.types", "py.nested", "py.many", "py.empty", "py.evolved", "tpch.orders", "tpch.customer"]


@pytest.mark.parametrize("name", TABLES)
def test_arrow_has_the_rows_that_pyiceberg_reads(lake: fd.Lake, iceberg: Any, name: str) -> None:
    expected = iceberg.load_table(name).scan().to_arrow()
    table = lake[name].scan().to_arrow()
    assert table.column_names == expected.column_names == lake[name].schema.names
    assert plain_rows(table.to_pylist()) == plain_rows(expected.to_pylist())


@pytest.mark.parametrize("name", TABLES)
def test_python_objects_are_the_rows_that_pyiceberg_reads(lake: fd.Lake, iceberg: Any, name: str) -> None:
    rows = [row for batch in lake[name].scan().batches() for row in batch.to_pylist()]
    expected = iceberg.load_table(name).scan().to_arrow().to_pylist()
    for row in expected:
        # pyarrow gives uuids as objects.
        row.update({key: value.bytes for key, value in row.items() if key == "u" and value is not None})
    assert plain_rows(rows) == plain_rows(expected)


@pytest.mark.parametrize("name", TABLES)
def test_polars_has_the_rows_that_pyiceberg_reads(lake: fd.Lake, iceberg: Any, name: str) -> None:
    pl = need("polars")
    expected = pl.DataFrame(iceberg.load_table(name).scan().to_arrow())
    scan = lake[name].scan()
    key = expected.columns[0] if name != "py.types" else "id"
    for frame in (scan.to_polars(), pl.DataFrame(scan)):
        assert frame.schema == expected.schema
        assert frame.sort(key).equals(expected.sort(key))


@pytest.mark.parametrize("name", TABLES)
def test_pandas_has_the_rows_that_pyiceberg_reads(lake: fd.Lake, iceberg: Any, name: str) -> None:
    pd = need("pandas")
    table = iceberg.load_table(name).scan().to_arrow()
    key = table.column_names[0] if name != "py.types" else "id"
    for options in ({}, {"types_mapper": pd.ArrowDtype}):
        frame, expected = lake[name].scan().to_pandas(**options), table.to_pandas(**options)
        assert list(frame.columns) == list(expected.columns) and len(frame) == len(expected)
        if name == "py.nested":
            assert repr(frame.sort_values(key).to_dict("list")) == repr(expected.sort_values(key).to_dict("list"))
        else:
            sorted_ = [f.sort_values(key).reset_index(drop=True) for f in (frame, expected)]
            pd.testing.assert_frame_equal(*sorted_, check_dtype=not options)


def test_duckdb_makes_a_table_of_a_scan(lake: fd.Lake) -> None:
    duckdb = need("duckdb")
    con = duckdb.connect()
    scan = lake["py.many"].scan(["id", "x"], "id >= 100")
    made = scan.to_duckdb(con, 'odd "name"')
    assert made.aggregate("count(*), sum(id), count(x)").fetchall()[0] == (59_900, sum(range(100, 60_000)), 59_900 - 5445)
    scan.to_duckdb(con, 'odd "name"', progress=False)
    assert con.sql("SELECT table_name FROM duckdb_tables()").fetchall() == [('odd "name"',)]
    con.begin()
    lake["py.empty"].scan().to_duckdb(con, "none")
    con.rollback()
    assert con.sql("SELECT table_name FROM duckdb_tables()").fetchall() == [('odd "name"',)], "a transaction stays its caller's"
    assert lake["py.empty"].scan().to_duckdb(con, "none").columns == ["id", "s"]
    batch = next(scan.batches(rows=10))  # noqa: F841  DuckDB finds it by its name.
    assert con.sql("SELECT min(id), count(*) FROM batch").fetchall()[0] == (100, 10)


def test_duckdb_reads_a_scan_several_times_in_one_query(lake: fd.Lake) -> None:
    duckdb = need("duckdb")
    con = duckdb.connect()
    scan = lake["py.many"].scan(["id", "word"])
    con.register("many", scan)
    for _ in range(2):
        query = "SELECT count(*), sum(a.id) FROM many a JOIN many b ON a.id = b.id WHERE b.word IN (SELECT word FROM many WHERE id < 3)"
        expected = [i for i in range(60_000) if i % 97 < 3]
        assert con.sql(query).fetchall()[0] == (len(expected), sum(expected))
    assert con.sql("SELECT count(*) FROM scan").fetchall()[0] == (60_000,)


def test_numpy_has_the_values(lake: fd.Lake) -> None:
    np = need("numpy")
    arrays = lake["py.many"].scan().to_numpy()
    order = np.argsort(arrays["id"])
    assert (arrays["id"][order] == np.arange(60_000)).all()
    assert np.ma.count_masked(arrays["x"]) == math.ceil(60_000 / 11)
    assert arrays["word"][order][:3].tolist() == ["w0", "w1", "w2"]


def test_an_empty_result_keeps_its_columns(lake: fd.Lake) -> None:
    pa, pl = need("pyarrow"), need("polars")
    for scan in (lake["py.empty"].scan(), lake["py.many"].scan(where="id < 0")):
        names = scan.schema.names
        assert list(scan.batches()) == [] and scan.count() == 0
        assert scan.to_arrow().column_names == scan.to_polars().columns == pl.DataFrame(scan).columns == pa.table(scan).column_names == names
        assert list(scan.to_pandas().columns) == names and scan.to_polars().schema["id"] == pl.Int64
        assert list(scan.to_numpy()) == names and all(len(array) == 0 for array in scan.to_numpy().values())


@pytest.mark.parametrize("strings", ["utf8", "utf8_view", "dictionary"])
def test_strings_come_in_the_type_asked_for(lake: fd.Lake, strings: Any) -> None:
    pa, pl = need("pyarrow"), need("polars")
    scan = lake["py.many"].scan(["word"], strings=strings)
    kind = {"utf8": pa.string(), "utf8_view": pa.string_view(), "dictionary": pa.dictionary(pa.int32(), pa.string())}[strings]
    assert scan.to_arrow().schema.field("word").type == kind
    assert sorted(scan.to_polars()["word"].cast(pl.String).unique()) == sorted(f"w{n}" for n in range(97))


def test_a_requested_schema_is_honoured(lake: fd.Lake) -> None:
    pa = need("pyarrow")
    scan = lake["py.many"].scan(["id", "word"])
    for words in (pa.string_view(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        wanted = pa.schema([("id", pa.int64()), ("word", words)])
        with pa.RecordBatchReader.from_stream(scan, schema=wanted) as reader:
            table = reader.read_all()
        assert table.schema.types == wanted.types and sorted(table["id"].to_pylist()) == list(range(60_000))
    assert [field.type for field in pa.schema(scan)] == [pa.int64(), pa.string()]


def test_a_requested_type_that_would_lose_values_is_not_given(lake: fd.Lake) -> None:
    pa = need("pyarrow")
    scan = lake["tpch.lineitem"].scan(["l_orderkey", "l_extendedprice", "l_shipdate"], limit=10)
    own = pa.schema(scan)
    for asked in ([pa.int32()] * 3, [pa.float64(), pa.decimal128(15, 0), pa.timestamp("us")], [pa.int16(), pa.int64(), pa.string()]):
        wanted = pa.schema(list(zip(own.names, asked, strict=True)))
        with pa.RecordBatchReader.from_stream(scan, schema=wanted) as reader:
            assert reader.schema.types == own.types, f"{asked}"
            assert reader.read_all().equals(pa.table(scan))


def test_decimals_become_the_nearest_floats(lake: fd.Lake) -> None:
    np = need("numpy")
    batch = next(lake["tpch.lineitem"].scan(["l_extendedprice"]).batches(rows=5000))
    floats = np.asarray(batch["l_extendedprice"].floats())
    assert floats.tolist() == [float(value) for value in batch.to_pydict()["l_extendedprice"]]


def test_threads_that_share_an_iterator_all_see_its_end(lake: fd.Lake) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for _ in range(10):
        batches = lake["py.many"].scan(["id"]).batches(rows=5000)
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(lambda _: sum(len(batch) for batch in batches), range(4)))
        assert sum(rows) == 60_000


def test_arrow_and_numpy_take_the_memory_over_without_a_copy(lake: fd.Lake) -> None:
    pa, np = need("pyarrow"), need("numpy")
    batch = next(lake["py.many"].scan(["id", "word", "x"]).batches())
    taken = batch.to_arrow()
    assert isinstance(taken, pa.RecordBatch)
    address = batch["id"].values(False).__array_interface__["data"][0]
    assert taken.column(0).buffers()[1].address == address
    assert np.asarray(batch["id"].values(False)).ctypes.data == address
    assert batch["word"].data(False).__array_interface__["data"][0] == taken.column(1).buffers()[2].address
    again = [batch.to_arrow().column(1).buffers()[2].address for _ in range(2)]
    assert again == [taken.column(1).buffers()[2].address] * 2, "each consumer sees the same memory"
    assert batch.slice(10, 5).to_arrow().column(0).buffers()[1].address in (address, address + 80)


def test_polars_takes_views_without_a_copy(lake: fd.Lake) -> None:
    pl = need("polars")
    long = lake["tpch.orders"].scan(["o_comment"], strings="utf8_view")
    batch = next(long.batches())
    (buffers,) = [column.buffers() for column in [batch.to_arrow().column(0)]]
    shared = batch.to_polars().to_arrow(compat_level=pl.CompatLevel.newest()).column(0).chunk(0).buffers()
    assert {b.address for b in buffers[2:] if b} & {b.address for b in shared[2:] if b}


def test_to_polars_asks_for_views(lake: fd.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("fastdata._tables.polars_frame", lambda batches, schema: asked.append(schema.types))
    lake["py.many"].scan(["word"]).to_polars()
    lake["py.many"].scan(["word"], strings="utf8").to_polars()
    assert asked == [["Utf8View"], ["Utf8"]]


def test_a_table_of_duckdb_is_whole_or_not_there(warehouse: Path, iceberg: Any) -> None:
    duckdb, pa = need("duckdb"), need("pyarrow")
    table = iceberg.create_table("py.half", pa.schema([("id", pa.int64())]))
    for n in range(2):
        table.append(pa.table({"id": [n] * 1000}))
    scan = fd.connect(warehouse)["py.half"].scan()
    (second,) = [task.file.file_path for task in table.scan(row_filter="id = 1").plan_files()]
    Path(second.removeprefix("file://")).unlink()
    con = duckdb.connect()
    con.execute("CREATE TABLE x AS SELECT 42 AS before")
    for name in ("x", "y"):
        with pytest.raises(fd.MissingFile):
            scan.to_duckdb(con, name)
    assert con.sql("FROM x").fetchall() == [(42,)]
    assert con.sql("SELECT table_name FROM duckdb_tables()").fetchall() == [("x",)]


def test_several_iterators_of_one_scan_do_not_disturb_each_other(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"])
    iterators = [scan.batches(rows=1000) for _ in range(4)]
    rounds = [[next(it).to_pydict()["id"] for it in iterators] for _ in range(60)]
    assert all(batch == batches[0] for batches in rounds for batch in batches)
    assert sorted(value for batches in rounds for value in batches[0]) == list(range(60_000))
    assert all(next(it, None) is None for it in iterators)
