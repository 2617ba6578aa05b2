"""How things look: reprs, tables of notebooks, and progress."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
import types
from typing import Any

import pytest
from support import environment

import fastdata as fd
from fastdata._display import duration, number, size
from fastdata._progress import Progress

Q = re.escape


def test_reprs_say_what_things_are(lake: fd.Lake) -> None:
    table = lake["py.many"]
    scan, planned = (table.scan(["id"], "id < 10", limit=3) for _ in range(2))
    shard = table.scan(["id"]).shards(4)[1]
    run = table.scan(["id"]).shuffle(7).lanes(8)
    batches = run.epoch(2).batches(10)
    batch = next(batches)
    for thing, says in [
        (lake, rf"Lake\('{Q(lake.location)}', {lake.mode}\)"),
        (table, r"Table\('py.many', Lake\(.*\)\)"),
        (scan, r"Scan\('py.many', columns 'id', filter 'id < 10', limit '3', order 'ORDER_STABLE'\)"),
        (table.schema, r"Schema of 3 columns\n  id    Int64\n  word  Utf8\n  x     Float64"),
        (shard, r"Shard\(1 of 4, about 1\d \d{3} rows, .*KiB, py.many"),
        (run, r"Run\('py.many', 8 lanes, seed 7\)"),
        (run.epoch(2), r"Epoch\(2 of Run"),
        (run.epoch(2).shard(1, 4), r"EpochShard\(rank 1 of 4, 2 lanes, "),
        (batches, r"Batches\(open, \d+ rows so far\)"),
        (batches.cursor(), r"Cursor\(epoch 2, 10 rows of 8 lanes, seed 7, snapshot \d+, plan [0-9a-f]{8}\)"),
        (batch, r"Batch of 10 rows, 1 columns, 80 B\n(?s:.*)id"),
        (table.describe(), r"local\.py\.many\n  location  file://(?s:.*)rows +60 000 before deletes(?s:.*)columns\n  1  id    long"),
        (planned.plan(), r"table +local\.py\.many\nsnapshot +\d+, schema 0\ncolumns +id"),
    ]:
        assert re.match(says, repr(thing)), repr(thing)
    scan.to_polars()
    assert re.match(r"Scan statistics\n  rows +3 in 1 batches", repr(scan.stats))


def test_html_is_a_table_of_the_same(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"], "id < 10")
    for thing in (lake, lake["py.many"], scan, scan.schema, scan.plan(), lake["py.many"].describe(), next(scan.batches())):
        html = thing._repr_html_()
        assert html.startswith("<div>") and html.count("<table>") == html.count("</table>") >= 1
        assert re.search("py.many|Int64|Batch of", html)
    assert "tpch.lineitem" in lake._repr_html_()


def test_html_escapes_what_comes_from_tables_and_people(lake: fd.Lake) -> None:
    scan = lake["py.nested"].scan(["id", "user"], "user.city <> '<script>alert(1)</script>' OR id = 3")
    for thing in (scan, next(scan.batches()), scan.plan(), lake["py.nested"]):
        html = thing._repr_html_()
        assert "<script>" not in html and "<b>Rome</b>" not in html
    assert "&lt;b&gt;Rome&lt;/b&gt;" in next(scan.batches())._repr_html_()
    assert "&lt;script&gt;" in scan._repr_html_()


def test_figures_are_for_people() -> None:
    assert [size(0), size(1023), size(1536), size(5 << 30)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
    assert [number(7), number(600_572), number(5018132115386540392)] == ["7", "600 572", "5018132115386540392"]
    assert [duration(1300), duration(2_100_000)] == ["1.3 ms", "2.1 s"]


PULL = """
import sys, time, fastdata as fd, fastdata._progress as p
p._DELAY, p._EVERY = 0.0, 0.0
fd.options.progress = eval(sys.argv[3])
scan = fd.connect(sys.argv[1])["py.big"].scan()
progress = eval(sys.argv[2])
import duckdb
scan.to_duckdb(duckdb.connect(), "x", progress=progress) if sys.argv[4] == "duckdb" else getattr(scan, sys.argv[4])(progress=progress)
"""


def on_terminal(*arguments: str) -> str:
    """What a script writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-c", PULL, *arguments]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=theirs, env=environment())
    os.close(theirs)
    written, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 1)
        try:
            part = os.read(ours, 65536) if ready else None
        except OSError:
            break
        if part == b"":
            break
        written += part or b""
    os.close(ours)
    assert process.wait(10) == 0, written.decode()
    return written.decode()


@pytest.mark.parametrize("pull", ["to_polars", "to_arrow", "duckdb"])
def test_a_terminal_shows_a_bar(lake: fd.Lake, pull: str) -> None:
    shown = on_terminal(lake.location, "None", "'auto'", pull)
    lines = shown.replace("\x1b[K", "").split("\r")
    assert len(lines) > 3 and lines[1].startswith("py.big  ")
    assert re.search(r"#{24} 100%  4 800 000 rows, \d+\.\d MiB, .*/s, \d+\.\d s", lines[-2] + lines[-1]), lines[-2:]
    shares = [int(share) for share in re.findall(r"(\d+)%", shown)]
    assert shares == sorted(shares) and shares[-1] == 100


def test_progress_is_off_with_one_argument(lake: fd.Lake) -> None:
    assert on_terminal(lake.location, "False", "'auto'", "to_polars") == ""
    assert on_terminal(lake.location, "None", "False", "to_polars") == ""


def test_without_a_terminal_nothing_is_shown_unless_asked_for(lake: fd.Lake) -> None:
    for progress, shows in (("None", False), ("True", True)):
        line = [sys.executable, "-c", PULL, lake.location, progress, "'auto'", "to_polars"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment(), check=True)
        assert ("4 800 000 rows" in done.stderr) == shows and "\r" not in done.stderr


def test_a_notebook_shows_one_output_that_changes(lake: fd.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            shown.append(data["text/plain"])

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append("first " + data["text/plain"])
        return Handle()

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: type("ZMQInteractiveShell", (), {})()
    module: Any = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("fastdata._progress._DELAY", 0.0)
    monkeypatch.setattr("fastdata._progress._EVERY", 0.01)
    with Progress(None, "py.many", 100, lambda: {"rows": 50, "bytes_returned": 1 << 20}):
        time.sleep(0.2)
    assert shown[0].startswith("first py.many") and " 50%" in shown[0] and "100%" in shown[-1] and len(shown) > 2


def test_a_short_pull_shows_nothing(lake: fd.Lake, capfd: pytest.CaptureFixture[str]) -> None:
    lake["tpch.region"].scan().to_polars(progress=True)
    assert capfd.readouterr().err == ""
