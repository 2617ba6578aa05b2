"""What the package offers, and that it says what its documents say."""

from __future__ import annotations

import datetime as dt
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import PYTHON, REPOSITORY, command, environment, need, python

import fastdata as fd
from fastdata._errors import KINDS


def ids(scan: fd.Scan, column: str = "id") -> list[int]:
    return [value for batch in scan.batches() for value in batch.to_pydict()[column]]


def command_says(lake: fd.Lake, table: str, where: str) -> list[str]:
    """What `fastdata plan` prints of it, without the time it took."""
    place = "--server" if lake.mode == "served" else "--warehouse"
    return command("plan", table, "--select", "id", "--where", where, place, lake.location).splitlines()[:-1]


def test_every_exported_name_is_there_and_documented() -> None:
    for name in fd.__all__:
        exported = getattr(fd, name)
        assert name in ("__version__", "options") or inspect.getdoc(exported), name
        if inspect.isclass(exported) and not issubclass(exported, Exception):
            public = [m for m in vars(exported).items() if not m[0].startswith("_") and (callable(m[1]) or isinstance(m[1], property))]
            undocumented = [f"{name}.{member}" for member, value in public if not inspect.getdoc(value)]
            plain = {"Batch.num_rows", "Batch.column_names", "Batch.to_polars", "Batch.to_arrow", "Cursor.snapshot_id", "Cursor.schema_id"}
            plain |= {"Cursor.lanes", "Cursor.plan_digest", "Run.lake", "Scan.lake"}
            assert set(undocumented) <= plain, undocumented


def test_there_is_one_exception_for_each_kind_of_the_documents() -> None:
    table = (REPOSITORY / "docs/errors.md").read_text().split("## Bad input")[0]
    assert set(re.findall(r"^\| `([a-z-]+)`", table, re.M)) == set(KINDS)
    for error in KINDS.values():
        assert getattr(fd, error.__name__) is error


def test_the_keywords_are_those_of_the_document() -> None:
    rows = re.findall(r"^\| `\w+` \| `\w+` \| .*? \| (.*?) \| [^|]* \|$", (REPOSITORY / "docs/scan-request.md").read_text(), re.M)
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)} - {"lake"}
    scan = set(inspect.signature(fd.Table.scan).parameters) - {"self"}
    assert named - {"lanes", "shuffle"} == scan
    assert {"seed", "window"} <= set(inspect.signature(fd.Scan.shuffle).parameters)
    assert "n" in inspect.signature(fd.Scan.lanes).parameters


def test_the_stub_of_the_native_module_is_true() -> None:
    need("mypy")
    line = [sys.executable, "-m", "mypy.stubtest", "fastdata._native", "--ignore-disjoint-bases", "--mypy-config-file", str(PYTHON / "pyproject.toml")]
    # Elsewhere than the sources, which lack the module that was built.
    done = subprocess.run(line, capture_output=True, text=True, timeout=250, env=environment(), cwd=PYTHON / "tests")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_needs_no_other(warehouse: Path) -> None:
    blocked = "import sys\nfor name in ('pyarrow', 'numpy', 'pandas', 'polars', 'duckdb', 'torch'): sys.modules[name] = None\n"
    script = blocked + (
        "import fastdata as fd\n"
        "lake = fd.connect(sys.argv[1])\n"
        "scan = lake['tpch.nation'].scan(['n_name'], 'n_nationkey < 2')\n"
        "print([row for batch in scan.batches() for row in batch.to_pylist()])\n"
        "try: scan.to_arrow()\n"
        "except ImportError as error: print(isinstance(error, fd.Error), error)\n"
    )
    rows, error = python(script, str(warehouse)).stdout.split("\n", 1)
    assert rows == "[{'n_name': 'ALGERIA'}, {'n_name': 'ARGENTINA'}]"
    assert error.startswith("True") and "pyarrow" in error and "pip install" in error


def test_tables_are_listed_by_the_names_that_open_them(lake: fd.Lake) -> None:
    assert {"demo.events", "tpch.lineitem", "py.many"} <= set(lake.tables())
    assert set(lake.tables("tpch")) == {name for name in lake.tables() if name.startswith("tpch.")}
    assert "py.many" in lake and "py.manny" not in lake and 3 not in lake
    assert lake["py.many"] == lake.table("py.many")
    assert lake["py.many"].count() == 60_000


def test_a_lake_says_how_it_is_read(lake: fd.Lake) -> None:
    assert lake.mode == ("served" if lake.location.startswith("grpc://") else "embedded")
    assert lake.memory >= 1 << 20


def test_a_table_describes_itself(lake: fd.Lake) -> None:
    events = lake["demo.events"]
    facts = events.describe()
    assert facts["format_version"] == 2 and facts.rows == 60_000 and facts["properties"] == {"fastdata.demo": "done, scale 0.1"}
    assert [field["name"] for field in facts["schema"]["fields"]] == events.schema.names
    assert events.schema["event_id"] == "Int64" and events.schema.nullable[0] is False and "kind" in events.schema
    assert facts["current_snapshot"]["snapshot_id"] == next(s["snapshot_id"] for s in events.snapshots() if s["current"])
    assert {ref["name"]: ref["kind"] for ref in events.refs()} == {"main": "branch", "first-import": "tag"}
    assert sum(file["rows"] for file in events.files()) == 60_000
    assert 0 < len(events.files("event_id < 100")) < len(events.files())


def test_a_scan_reads_the_columns_and_rows_it_names(lake: fd.Lake) -> None:
    scan = lake["demo.events"].scan(["user.city", "event_id"], "kind = 'cart' AND event_id < 500")
    assert scan.schema.names == ["user", "event_id"]
    rows = [row for batch in scan.batches() for row in batch.to_pylist()]
    assert rows and all(set(row) == {"user", "event_id"} and row["event_id"] < 500 for row in rows)
    assert {key for row in rows if row["user"] for key in row["user"]} == {"city"}
    assert scan.count() == len(rows) == lake["demo.events"].count("kind = 'cart' AND event_id < 500")


def test_batches_have_exactly_the_rows_asked_for(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"])
    sizes = [len(batch) for batch in scan.batches(rows=7001)]
    assert sizes == [7001] * 8 + [60_000 - 8 * 7001]
    assert ids(scan) == ids(lake["py.many"].scan(["id"], batch_rows=100))
    assert all(len(batch) <= 100 for batch in lake["py.many"].scan(["id"], batch_rows=100, limit=5000).batches())


def test_limit_sample_and_order(lake: fd.Lake) -> None:
    many = lake["py.many"]
    assert ids(many.scan(["id"], limit=10)) == ids(many.scan(["id"]))[:10]
    assert ids(many.scan(["id"], limit=0)) == []
    some = ids(many.scan(["id"], sample=0.5, seed=1))
    assert 0 < len(some) < 60_000 and some == ids(many.scan(["id"], sample=0.5, seed=1)) != ids(many.scan(["id"], sample=0.5, seed=2))
    assert sorted(ids(many.scan(["id"], order="fast"))) == list(range(60_000))


def test_snapshots_references_times_and_ranges(lake: fd.Lake) -> None:
    evolved = lake["py.evolved"]
    first, second = [s["snapshot_id"] for s in evolved.snapshots()]
    assert evolved.scan(snapshot=first).schema.names == ["id"] and evolved.scan(snapshot=second).schema.names == ["id", "note"]
    assert evolved.scan(snapshot=first, schema_id=1).schema.names == ["id", "note"]
    assert sorted(ids(evolved.scan(snapshot=first))) == list(range(100))
    assert sorted(ids(evolved.scan(after=first))) == sorted(ids(evolved.scan(after=first, up_to=second))) == list(range(100, 200))
    assert lake["demo.events"].scan(ref="first-import").count() == 20_000
    when = evolved.snapshots()[0]["timestamp_ms"]
    moment = dt.datetime.fromtimestamp(when / 1000, dt.timezone.utc) + dt.timedelta(milliseconds=1)
    for as_of in (when, moment, moment.replace(tzinfo=None), moment.isoformat(), moment.isoformat().replace("+00:00", "Z")):
        assert evolved.scan(as_of=as_of).count() == 100, as_of
    assert evolved.scan(as_of=dt.date.today() + dt.timedelta(days=2)).count() == 200


def test_a_scan_keeps_the_snapshot_it_planned_with(lake: fd.Lake, iceberg: Any) -> None:
    pa = need("pyarrow")
    name = f"py.grows_{lake.mode}"
    table = iceberg.create_table(name, pa.schema([("id", pa.int64())]))
    table.append(pa.table({"id": [1, 2]}))
    scan, pinned = lake[name].scan(), lake[name].scan().pin()
    run = lake[name].scan().lanes(2)
    assert run.pin() == (table.current_snapshot().snapshot_id, 0)
    table.append(pa.table({"id": [3]}))
    assert sorted(ids(pinned)) == [1, 2] and pinned.count() == 2 and pinned.to_polars().height == 2
    assert pinned.request["snapshotId"] == str(table.metadata.snapshots[0].snapshot_id)
    assert [shard.request["snapshotId"] for shard in pinned.shards(2)] == [pinned.request["snapshotId"]] * 2
    assert sum(run.epoch(1).counts()) == 2
    assert sorted(ids(scan)) == [1, 2, 3], "a scan that planned nothing yet reads the current snapshot"


def test_plan_explain_and_stats_say_what_it_costs(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"], "id < 7000")
    assert scan.stats is None
    plan = scan.plan()
    assert (plan.files, plan["files_considered"], plan["files_pruned_by_bounds"]) == (2, 12, 10)
    assert plan.snapshot_id == int(scan.request["snapshotId"]) and "py.many" in repr(plan)
    assert [text.splitlines()[:-1] for text in (scan.explain(), repr(plan))] == [command_says(lake, "py.many", "id < 7000")] * 2
    with scan.batches() as batches:
        total = sum(len(batch) for batch in batches)
        assert batches.stats.rows == total == 7000
    assert scan.stats is not None and scan.stats.rows == 7000 and scan.stats["total_us"] > 0
    scan.to_polars()
    assert scan.stats.rows == 7000


def test_shards_are_the_scan_in_pieces(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"], "id % 2 = 0")
    shards = scan.shards(5)
    assert [(shard.number, shard.of) for shard in shards] == [(n, 5) for n in range(5)]
    # A part of a file has its share of the file's rows, rounded down.
    assert all(shard.rows and shard.bytes for shard in shards) and 59_900 < sum(shard.rows or 0 for shard in shards) <= 60_000
    pieces = [ids(shard) for shard in shards]
    assert sorted(value for piece in pieces for value in piece) == list(range(0, 60_000, 2))
    assert [shard.count() for shard in shards] == [len(piece) for piece in pieces]
    assert max(map(len, pieces)) < 2 * min(map(len, pieces))
    assert shards[3].to_polars()["id"].to_list() == pieces[3]


def test_a_shard_that_would_hold_other_rows_is_refused(lake: fd.Lake) -> None:
    shard = pickle.loads(pickle.dumps(lake["py.many"].scan(["id"]).shards(4)[2]))
    shard._planner._digest = "0" * 32
    with pytest.raises(fd.PlanMismatch, match=r"py\.many now plans as [0-9a-f]{32}\n  help: cut the scan into shards again"):
        next(shard.batches())


def test_a_batch_gives_its_rows_in_every_form(lake: fd.Lake) -> None:
    pa, pl = need("pyarrow"), need("polars")
    batch = next(lake["py.nested"].scan().batches())
    assert len(batch) == batch.num_rows == 4 and batch.num_bytes > 0 and batch.column_names[0] == "id"
    rows = batch.to_pylist()
    assert rows[0]["user"] == {"city": "Oslo", "geo": {"lat": 59.9, "lon": 10.7}} and rows[2]["user"] is None
    assert batch.to_pydict()["tags"] == [["a", None, "b"], [], None, ["c"]]
    assert batch.to_polars().equals(pl.DataFrame(batch)) and batch.to_arrow().equals(pa.record_batch(batch))
    assert batch.to_pandas()["id"].tolist() == [0, 1, 2, 3]
    assert batch.slice(1, 2).to_pydict()["id"] == [1, 2] and batch.slice(3).to_pydict()["id"] == [3] and len(batch.slice(4)) == 0
    assert batch["id"].objects() == [0, 1, 2, 3]
    assert batch.schema == lake["py.nested"].schema


def test_progress_is_one_option() -> None:
    assert fd.options.progress == "auto"
    with pytest.raises(fd.InvalidRequest, match='give True, False or "auto"'):
        fd.options.progress = "yes"  # type: ignore[assignment]


def test_the_console_script_is_the_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from fastdata._command import main

    monkeypatch.setattr(sys, "argv", ["fastdata", "--version"])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 0 and fd.__version__ in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["fastdata", "scan", "a.b", "--warehouse", "/nowhere"])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code not in (0, None)
