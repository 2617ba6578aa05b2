"""Processes, threads and signals: forks, Ctrl-C, and the interpreter's lock."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from support import Server, line_of, need, running

import fastdata as fd

forked: Any = multiprocessing.get_context("fork")


def in_fork(work: Callable[[], Any]) -> Any:
    """What the function returns in a forked child, or the class and text of what it raises; bounded in time."""
    ours, theirs = forked.Pipe(duplex=False)

    def run(answer: Connection) -> None:
        try:
            answer.send(work())
        except Exception as error:
            answer.send((type(error).__name__, str(error)))

    child = forked.Process(target=run, args=(theirs,), daemon=True)
    child.start()
    theirs.close()
    answered = ours.poll(30)
    answer = ours.recv() if answered else None
    child.join(10)
    if child.is_alive():
        child.kill()
    assert answered, "the child neither answered nor failed"
    assert child.exitcode == 0
    return answer


pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_lake_and_its_scans_open_themselves_again_in_a_fork(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"], "id < 1000").pin()
    run = lake["py.many"].scan(["id"]).shuffle(1).lanes(4)
    first = next(run.epoch(0).batches(100)).to_pydict()

    def child() -> Any:
        rows = sum(len(batch) for batch in scan.batches())
        return rows, scan.count(), lake.tables("py"), next(run.epoch(0).batches(100)).to_pydict()

    assert in_fork(child) == (1000, 1000, lake.tables("py"), first)
    assert scan.count() == 1000, "the parent's goes on"


def test_an_iterator_refuses_to_be_used_in_a_fork_and_goes_on_in_the_parent(lake: fd.Lake) -> None:
    rows = lake["py.many"].scan(["id"]).batches(rows=100)
    steps = lake["py.many"].scan(["id"]).lanes(4).epoch(0).batches(100)
    next(rows), next(steps)
    for iterator in (rows, steps):
        kind, text = in_fork(lambda iterator=iterator: next(iterator))
        assert kind == "ForkError" and "is a fork of process" in text and "open it again" in text
    assert sum(len(batch) for batch in rows) == 60_000 - 100
    assert len(next(steps)) == 100


def test_a_fork_while_another_thread_reads_does_no_harm(lake: fd.Lake) -> None:
    stop = threading.Event()
    seen = []

    def read() -> None:
        while not stop.is_set():
            seen.append(sum(len(batch) for batch in lake["py.many"].scan(["id"]).batches(rows=5000)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert in_fork(lambda: lake["tpch.region"].count()) == 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(seen) == {60_000}


def test_scans_shards_and_runs_work_in_a_spawned_process(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"], "id < 100").pin()
    run = lake["py.many"].scan(["id"]).shuffle(5).lanes(4)
    assert pickle.loads(pickle.dumps(scan)) == scan
    things = [scan, *scan.shards(2), lake["py.many"].scan(["id"], "id < 100")]
    script = """
import pickle, sys
*scans, run = pickle.loads(bytes.fromhex(sys.argv[1]))
print([sorted(i for b in s.batches() for i in b.to_pydict()["id"]) for s in scans])
print(next(run.epoch(2).batches(50)).to_pydict()["id"])
"""
    from support import python

    out = python(script, pickle.dumps([*things, run]).hex()).stdout.splitlines()
    expected = [sorted(i for b in s.batches() for i in b.to_pydict()["id"]) for s in things]
    assert out == [repr(expected), repr(next(run.epoch(2).batches(50)).to_pydict()["id"])]
    assert expected[0] == sorted(expected[1] + expected[2]) == list(range(100))


# Each pulls for as long as it is left alone.
PULLS = {
    "iterate": "for batch in scan.batches(): pass",
    "feed": "for batch in table.scan().shuffle(1, window=50_000).lanes(8).epoch(0).batches(1000): pass",
    "polars": "scan.to_polars()",
    "polars_capsule": "import polars; polars.DataFrame(scan)",
    "arrow": "scan.to_arrow()",
    "pyarrow_capsule": "import pyarrow; pyarrow.table(scan)",
    "pandas": "scan.to_pandas()",
    "duckdb": "import duckdb; scan.to_duckdb(duckdb.connect(), 'x')",
    "count": "table.count('id % 7 = 3')",
}


def interrupted(error: str, what: str) -> None:
    """A library that reads a capsule by itself may report the interrupt in an error of its own, before ours follows."""
    assert error.rstrip().endswith("KeyboardInterrupt") or (what.endswith("capsule") and "interrupted" in error), error


@pytest.mark.parametrize("pull", list(PULLS))
def test_ctrl_c_ends_a_pull_at_once(lake: fd.Lake, pull: str) -> None:
    script = f"""
import sys, fastdata as fd
lake = fd.connect(sys.argv[1])
table = lake["py.big"]
scan = table.scan()
{PULLS[pull]}
print("pulled once")
while True:
    {PULLS[pull]}
"""
    with running(script, lake.location) as process:
        # DuckDB writes of its own progress between.
        while line_of(process) != "pulled once":
            pass
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        took = time.monotonic() - began
    interrupted(error, pull)
    assert process.returncode == -signal.SIGINT or pull.endswith("capsule")
    assert took < 6, f"{took:.1f} s"


WAITS = {
    "iterate": "next(batches)",
    "feed": "next(steps)",
    "polars": "scan.to_polars()",
    "polars_capsule": "polars.DataFrame(scan)",
    "duckdb": "scan.to_duckdb(duckdb.connect(), 'x')",
    "plan": "lake['py.many'].schema",
    "count": "scan.count()",
}


@pytest.mark.parametrize("wait", list(WAITS))
def test_ctrl_c_ends_a_wait_for_a_frozen_server(own_server: Server, wait: str) -> None:
    script = f"""
import sys, duckdb, polars, fastdata as fd
lake = fd.connect(sys.argv[1], memory="2MiB", retry_seconds=100)
scan = lake["py.big"].scan().pin()
batches, steps = scan.batches(), scan.lanes(4).epoch(0).batches(1000)
next(batches), next(steps)
# DuckDB swallows an interrupt while it looks for other libraries, once.
lake["tpch.region"].scan().to_duckdb(duckdb.connect(), "x")
print("ready")
sys.stdin.readline()
print("go")
while True:
    {WAITS[wait]}
"""
    with running(script, own_server.url, stdin=subprocess.PIPE) as process:
        assert line_of(process) == "ready"
        own_server.signal(signal.SIGSTOP)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert line_of(process) == "go"
        time.sleep(1)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        took = time.monotonic() - began
    interrupted(error, wait)
    assert took < 6, f"{took:.1f} s"


def counted_while(work: Callable[[], object]) -> tuple[int, float]:
    """How far this thread counts while another works, and for how long."""
    worker = threading.Thread(target=work)
    count, began = 0, time.monotonic()
    worker.start()
    while worker.is_alive():
        count += 1
    return count, time.monotonic() - began


@pytest.mark.parametrize("consumer", ["batches", "arrow", "polars", "polars_capsule", "feed"])
def test_other_threads_run_while_one_reads(lake: fd.Lake, consumer: str) -> None:
    pl = need("polars")
    scan = lake["py.big"].scan()

    def batches() -> None:
        for _ in scan.batches():
            pass

    def feed() -> None:
        for _ in scan.lanes(8).epoch(0).batches(4096):
            pass

    works: dict[str, Callable[[], object]] = {
        "batches": batches, "arrow": scan.to_arrow, "polars": scan.to_polars, "polars_capsule": lambda: pl.DataFrame(scan), "feed": feed,
    }  # fmt: skip
    works[consumer]()
    idle, seconds = counted_while(lambda: time.sleep(0.2))
    count, took = counted_while(works[consumer])
    # Two cores are shared with the decoders; a lock held for the whole read would leave next to nothing.
    assert count / took > 0.02 * idle / seconds, f"{count} in {took:.2f} s, idle {idle} in {seconds:.2f} s"


def test_no_lock_is_held_while_a_server_is_waited_for(own_server: Server) -> None:
    lake = fd.connect(own_server.url, memory="2MiB", retry_seconds=60)
    batches = lake["py.big"].scan().batches()
    next(batches)
    own_server.signal(signal.SIGSTOP)
    done: list[int] = []
    reader = threading.Thread(target=lambda: done.append(sum(len(batch) for batch in batches)))
    reader.start()
    time.sleep(1)
    assert reader.is_alive(), "the server is frozen, so that the reader waits; and this thread runs"
    own_server.signal(signal.SIGCONT)
    reader.join(120)
    assert done


def test_many_threads_read_at_a_time(lake: fd.Lake) -> None:
    scan = lake["py.many"].scan(["id"])
    sums: list[int] = []

    def read() -> None:
        sums.append(sum(sum(batch.to_pydict()["id"]) for batch in scan.batches(rows=777)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [sum(range(60_000))] * 4


def test_closing_in_another_thread_ends_a_wait(own_server: Server) -> None:
    lake = fd.connect(own_server.url, memory="2MiB", retry_seconds=60)
    batches = lake["py.big"].scan().batches()
    next(batches)
    own_server.signal(signal.SIGSTOP)
    failed: list[BaseException] = []

    def read() -> None:
        try:
            for _ in batches:
                pass
        except fd.Error as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.5)
    batches.close()
    reader.join(5)
    assert not reader.is_alive()
    assert all("closed" in str(error) for error in failed)
