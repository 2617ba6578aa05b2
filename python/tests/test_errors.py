"""Bad input: each error is of its class, names the thing, and says what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import free_port

import fastdata as fd
from fastdata._errors import KINDS

# What is done wrong, the class of the error, what its message names, and the next step that it gives.
REQUESTS: list[tuple[str, Callable[[fd.Table], Any], type[fd.Error], str, str]] = [
    ("a wrong column", lambda t: t.scan(["idd"]).schema, fd.NotFound, "idd", "id"),
    ("a column of a batch", lambda t: next(t.scan().batches())["idd"], fd.NotFound, "idd", "columns are: id, word, x"),
    ("a wrong column in a filter", lambda t: t.scan(where="idd = 1").schema, fd.NotFound, "idd", "id"),
    ("a filter that does not parse", lambda t: t.scan(where="id >").batches(), fd.InvalidRequest, "character 5", ""),
    ("a filter of the wrong type", lambda t: t.scan(where="id = 'x'").count(), fd.InvalidRequest, "filter", ""),
    ("no filter", lambda t: t.scan(where=" "), fd.InvalidRequest, "where is ' '", "leave it out"),
    ("a snapshot that is not there", lambda t: t.scan(snapshot=17).pin(), fd.NotFound, "17", "snapshots"),
    ("a reference that is not there", lambda t: t.scan(ref="mian").pin(), fd.NotFound, "mian", "main"),
    ("two ways to choose a snapshot", lambda t: t.scan(snapshot=1, ref="main").pin(), fd.InvalidRequest, "more than one", "one of them"),
    ("up_to without after", lambda t: t.scan(up_to=1).pin(), fd.InvalidRequest, "after", "after=ID"),
    ("a time that is none", lambda t: t.scan(as_of="yesterday"), fd.InvalidRequest, "yesterday", "2026-01-31"),
    ("a text of columns", lambda t: t.scan("id"), fd.InvalidRequest, "'id'", "columns=['id']"),
    ("no columns", lambda t: t.scan([]), fd.InvalidRequest, "columns is empty", "leave columns out"),
    ("a column that is no text", lambda t: t.scan([1]), fd.InvalidRequest, "named 1", "text"),
    ("an order that is none", lambda t: t.scan(order="random"), fd.InvalidRequest, "'random'", "stable, fast"),
    ("strings of no type", lambda t: t.scan(strings="utf16"), fd.InvalidRequest, "'utf16'", "utf8_view"),
    ("a negative limit", lambda t: t.scan(limit=-1), fd.InvalidRequest, "limit is -1", "at least 0"),
    ("a limit that is no number", lambda t: t.scan(limit=1.5), fd.InvalidRequest, "limit is 1.5", "integer"),
    ("too large a sample", lambda t: t.scan(sample=2), fd.InvalidRequest, "sample is 2", "between 0 and 1"),
    ("batches of no rows", lambda t: t.scan().batches(rows=0), fd.InvalidRequest, "rows is 0", "at least 1"),
    ("a shuffle without lanes", lambda t: t.scan().shuffle(1).to_polars(), fd.InvalidRequest, "shuffled", ".lanes(64)"),
    ("shards of a shuffle", lambda t: t.scan().shuffle(1).shards(2), fd.InvalidRequest, "shuffled", "before .shuffle"),
    ("shards of a shard", lambda t: t.scan().shards(2)[0].shards(2), fd.InvalidRequest, "shard", "scan that it was cut from"),
    ("no shards", lambda t: t.scan().shards(0), fd.InvalidRequest, "n is 0", "at least 1"),
    ("too many lanes", lambda t: t.scan().lanes(5000).epoch(0).counts(), fd.InvalidRequest, "5000 lanes", "64 lanes"),
    ("a limit over lanes", lambda t: t.scan(limit=5).lanes(2).epoch(0).counts(), fd.InvalidRequest, "limit", "leave out"),
    ("more ranks than lanes", lambda t: t.scan().lanes(4).epoch(0).shard(0, 6), fd.InvalidRequest, "6 ranks", "at least 6 lanes"),
    ("a rank beyond the world", lambda t: t.scan().lanes(4).epoch(0).shard(2, 2), fd.InvalidRequest, "rank 2 of a world of 2", "from 0"),
    ("a world of none", lambda t: t.scan().lanes(4).epoch(0).shard(0, 0), fd.InvalidRequest, "world of 0", "from 0"),
    ("another end", lambda t: t.scan().lanes(4).epoch(0).batches(8, "wrap"), fd.InvalidRequest, "'wrap'", "drop, pad, uneven"),
    ("steps of no rows", lambda t: t.scan().lanes(4).epoch(0).batches(0), fd.InvalidRequest, "rows is 0", "at least 1"),
    ("a negative epoch", lambda t: t.scan().lanes(4).epoch(-1), fd.InvalidRequest, "epoch is -1", "at least 0"),
    ("a cursor that is none", lambda t: t.scan().lanes(4).resume("hello"), fd.InvalidRequest, "no JSON", "Cursor"),
    ("JSON that is no cursor", lambda t: t.scan().lanes(4).resume({"a": 1}), fd.InvalidRequest, "no cursor", "Cursor"),
    ("no cursors", lambda t: t.scan().lanes(4).resume([]), fd.InvalidRequest, "no cursors", "all ranks"),
    ("an object as a cursor", lambda t: t.scan().lanes(4).resume(3), fd.InvalidRequest, "int", "Cursor"),
    ("progress that is none", lambda t: t.scan(limit=1).to_polars(progress="yes"), fd.InvalidRequest, "'yes'", "True, False"),
]  # fmt: skip


@pytest.mark.parametrize(("done", "kind", "names", "advises"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
def test_bad_input_names_the_thing_and_the_fix(lake: fd.Lake, done: Callable[[fd.Table], Any], kind: type, names: str, advises: str) -> None:
    with pytest.raises(kind) as caught:
        done(lake["py.many"])
    error = caught.value
    assert names in error.message and advises in (error.advice or ""), error
    assert error.message in str(error) and (error.advice or "") in str(error)
    assert error.kind in KINDS and error.retryable is False


def test_a_table_that_is_not_there_is_named_with_the_nearest(lake: fd.Lake) -> None:
    for used in (lambda t: t.schema, lambda t: t.describe(), lambda t: t.count(), lambda t: t.scan().to_polars()):
        with pytest.raises(fd.NotFound, match=r"py\.manny") as caught:
            used(lake["py.manny"])
        assert "py.many" in (caught.value.advice or "")
        assert isinstance(caught.value, LookupError)
    with pytest.raises(fd.InvalidRequest, match=r"namespace\.table"):
        lake[""]


def test_a_closed_lake_and_closed_batches_say_so(lake: fd.Lake) -> None:
    with fd.connect(lake.location) as own:
        scan = own["py.many"].scan()
        batches = scan.batches(rows=10)
        next(batches)
    for _ in range(2):
        with pytest.raises(fd.InvalidRequest, match="is closed\n  help: connect again"):
            own["py.many"].scan().to_polars()
    batches.close()
    batches.close()
    with pytest.raises(fd.InvalidRequest, match="closed\n  help: take new ones"):
        next(batches)
    with lake["py.many"].scan().lanes(4).epoch(0).batches() as steps:
        next(steps)
    with pytest.raises(fd.InvalidRequest, match="closed"):
        next(steps)


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"location": "/no/such/place"}, fd.NotFound, "/no/such/place.*does not exist"),
        ({"location": __file__}, fd.NotFound, "is a file"),
        ({"location": "/no/such.toml"}, fd.ConfigError, "such.toml.*\n.*path of a file"),
        ({"location": "s3://bucket/lake"}, fd.InvalidRequest, "s3://.*\n.*grpc://HOST:PORT"),
        ({"location": "http://127.0.0.1:1"}, fd.InvalidRequest, "http://.*\n.*grpc"),
        ({"location": "grpc://me:secret@127.0.0.1:1"}, fd.InvalidRequest, "credentials.*\n.*FASTDATA_TOKEN"),
        ({"location": "grpc://127.0.0.1:1", "threads": 2}, fd.InvalidRequest, "takes no threads"),
        ({"location": ".", "token": "t"}, fd.InvalidRequest, "takes no token"),
        ({"location": ".", "retry_seconds": 3}, fd.InvalidRequest, "takes no retry_seconds"),
        ({"location": "grpc://127.0.0.1:1", "ca": "-----BEGIN"}, fd.ConfigError, "ca: there is no such file"),
        ({"location": ".", "timeout": 0}, fd.InvalidRequest, "timeout is 0.*\n.*seconds"),
        ({"location": "grpc://127.0.0.1:1", "timeout": "5s"}, fd.InvalidRequest, "timeout is '5s'"),
        ({"location": ".", "memory": "much"}, fd.InvalidRequest, "'much'.*\n.*512MiB"),
        ({"location": ".", "memory": 0}, fd.InvalidRequest, "memory is 0"),
        ({"location": ".", "memory": True}, fd.InvalidRequest, "memory is True"),
    ],
)
def test_connect_refuses_what_it_cannot_open(arguments: dict[str, Any], kind: type[fd.Error], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        fd.connect(**arguments)
    assert "secret" not in str(caught.value) and "BEGIN" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(fd.Unavailable) as caught:
        fd.connect(f"grpc://127.0.0.1:{free_port()}", retry_seconds=0.5).tables()
    assert isinstance(caught.value, ConnectionError) and caught.value.retryable


def test_wrong_configuration_is_told_in_full(tmp_path: Path) -> None:
    (tmp_path / "fastdata.toml").write_text('memory = "much"\nthreds = 4\n')
    with pytest.raises(fd.ConfigError) as caught:
        fd.connect(tmp_path / "fastdata.toml")
    assert "memory" in str(caught.value) and "threds" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_budget_that_is_too_small_names_what_it_takes(lake: fd.Lake, warehouse: Path) -> None:
    small = fd.connect(warehouse, memory="1MiB")
    run = small["py.big"].scan().shuffle(1, window=400_000).lanes(4)
    with pytest.raises(fd.BudgetTooSmall, match=r"MiB|bytes") as caught:
        next(run.epoch(0).batches())
    assert isinstance(caught.value, MemoryError)


def test_files_that_are_gone_or_broken_are_typed_in_every_library(warehouse: Path, iceberg: Any) -> None:
    import duckdb
    import pyarrow as pa

    for name, harm, kind in (("gone", Path.unlink, fd.MissingFile), ("broken", lambda path: path.write_bytes(b"PAR1" + b"\0" * 90), fd.Corrupt)):
        table = iceberg.create_table(f"py.{name}", pa.schema([("id", pa.int64())]))
        table.append(pa.table({"id": [1, 2]}))
        (path,) = [Path(task.file.file_path.removeprefix("file://")) for task in table.scan().plan_files()]
        harm(path)
        scan = fd.connect(warehouse)[f"py.{name}"].scan()
        pulls = (scan.to_polars, scan.to_arrow, lambda scan=scan: scan.to_duckdb(duckdb.connect(), "x"), lambda scan=scan: list(scan.batches()))
        for pull in pulls:
            with pytest.raises(kind, match=path.name):
                pull()


def test_errors_pickle_whole() -> None:
    for kind, error in KINDS.items():
        made = error(f"what of {kind}", advice="do that", stage="plan", retryable=True)
        copy = pickle.loads(pickle.dumps(made))
        assert type(copy) is error and str(copy) == str(made) == f"what of {kind}\n  help: do that"
        assert (copy.kind, copy.stage, copy.retryable, copy.advice) == (kind, "plan", True, "do that")
