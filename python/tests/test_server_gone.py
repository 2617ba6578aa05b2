"""A server that goes away in the middle: the stream resumes where it broke, or fails by its class after the time given."""

from __future__ import annotations

import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Server

import fastdata as fd

ROWS = 600_572


def opened(server: Server, retry_seconds: float) -> fd.Scan:
    """A scan whose rows cannot all have been pulled when the server goes: they take many times the budget."""
    return fd.connect(server.url, memory="2MiB", retry_seconds=retry_seconds)["tpch.lineitem"].scan(["l_orderkey", "l_linenumber", "l_comment"])


def keys(batch: fd.Batch) -> list[tuple[int, int]]:
    columns = batch.to_pydict()
    return list(zip(columns["l_orderkey"], columns["l_linenumber"], strict=True))


@pytest.mark.parametrize("pause", [0.0, 1.5])
def test_a_stream_resumes_where_it_broke(own_server: Server, pause: float, embedded: fd.Lake) -> None:
    batches = opened(own_server, 60).batches(rows=5000)
    seen = keys(next(batches))
    for _ in range(3):
        seen += keys(next(batches))
        own_server.kill()
        restart = threading.Timer(pause, own_server.start)
        restart.start()
        for _ in range(25):
            seen += keys(next(batches))
        restart.join()
    seen += [key for batch in batches for key in keys(batch)]
    assert len(seen) == len(set(seen)) == ROWS
    assert seen == [key for batch in embedded["tpch.lineitem"].scan(["l_orderkey", "l_linenumber"]).batches() for key in keys(batch)]


def test_a_run_resumes_where_it_broke(own_server: Server, embedded: fd.Lake) -> None:
    def epoch(scan: fd.Scan) -> fd.Epoch:
        return scan.shuffle(3, window=5000).lanes(8).epoch(1)

    batches = epoch(opened(own_server, 60)).batches(2000, "uneven")
    seen = [key for _ in range(5) for key in keys(next(batches))]
    own_server.kill()
    restart = threading.Timer(0.5, own_server.start)
    restart.start()
    seen += [key for batch in batches for key in keys(batch)]
    restart.join()
    undisturbed = epoch(embedded["tpch.lineitem"].scan(["l_orderkey", "l_linenumber"]))
    lanes = [[key for batch in undisturbed.shard(lane, 8).batches(5000, "uneven") for key in keys(batch)] for lane in range(8)]
    lane_of = {key: number for number, lane in enumerate(lanes) for key in lane}
    assert len(seen) == len(lane_of) == ROWS
    for number, lane in enumerate(lanes):
        assert [key for key in seen if lane_of[key] == number] == lane


def test_an_epoch_that_begins_while_the_server_is_away_waits_for_it(own_server: Server) -> None:
    run = opened(own_server, 60).shuffle(3, window=5000).lanes(8)
    next(run.epoch(0).batches(2000, "uneven"))
    own_server.kill()
    restart = threading.Timer(4, own_server.start)
    restart.start()
    batches = run.epoch(0).batches(2000, "drop")
    restart.join()
    assert batches.steps == ROWS // 2000 and len(next(batches)) == 2000


@pytest.mark.parametrize("pull", ["batches", "feed", "polars", "duckdb"])
def test_a_server_that_stays_away_is_unavailable_after_the_time_given(own_server: Server, pull: str) -> None:
    import duckdb

    scan = opened(own_server, 1.5).pin()
    batches = scan.lanes(4).epoch(0).batches(1000) if pull == "feed" else scan.batches()
    next(batches)
    own_server.kill()
    began = time.monotonic()
    with pytest.raises(fd.Unavailable) as caught:
        if pull == "polars":
            scan.to_polars()
        elif pull == "duckdb":
            scan.to_duckdb(duckdb.connect(), "x")
        else:
            for _ in batches:
                pass
    took = time.monotonic() - began
    assert 1 <= took < 12, f"{took:.1f} s"
    assert caught.value.retryable and caught.value.advice and f"127.0.0.1:{own_server.port}" in str(caught.value)


def test_a_run_goes_on_from_the_cursor_once_the_server_is_back(own_server: Server) -> None:
    scan = opened(own_server, 1)
    run = scan.shuffle(2, window=3000).lanes(4)
    batches = run.epoch(0).batches(1000, "uneven")
    seen: list[tuple[int, int]] = []
    seen += keys(next(batches))
    own_server.kill()
    with pytest.raises(fd.Unavailable):
        for batch in batches:
            seen += keys(batch)
    cursor = batches.cursor()
    assert cursor.rows == len(seen)
    own_server.start()
    again = opened(own_server, 1).shuffle(2, window=3000).lanes(4).resume(cursor)
    seen += [key for rank in range(2) for batch in again.shard(rank, 2).batches(1000, "uneven") for key in keys(batch)]
    assert len(seen) == len(set(seen)) == ROWS


def test_a_frozen_server_is_noticed_and_waited_for(own_server: Server) -> None:
    import signal

    batches = opened(own_server, 60).batches()
    rows = len(next(batches))
    own_server.signal(signal.SIGSTOP)
    threading.Timer(2, own_server.signal, (signal.SIGCONT,)).start()
    assert rows + sum(len(batch) for batch in batches) == ROWS


def test_a_timeout_caps_what_a_server_that_says_nothing_is_waited_for(own_server: Server) -> None:
    lake = fd.connect(own_server.url, memory="2MiB", retry_seconds=60, timeout=1.5)
    scan = lake["tpch.lineitem"].scan(["l_orderkey", "l_comment"])
    batches, feed = scan.batches(rows=100), scan.lanes(4).epoch(0).batches(100, "uneven")
    next(batches), next(feed)
    own_server.signal(signal.SIGSTOP)
    calls: list[Callable[[], object]] = [
        lake.tables,
        lake["tpch.lineitem"].describe,
        lake["tpch.nation"].scan().to_arrow,
        scan.count,
        scan.to_arrow,
        lambda: list(batches),
        lambda: list(feed),
        lambda: fd.connect(own_server.url, timeout=0.7).tables(),
    ]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(fd.DeadlineExceeded, match=r"timeout of (1\.5s|700ms)") as caught:
            call()
        assert time.monotonic() - began < 8 and isinstance(caught.value, TimeoutError) and not caught.value.retryable
    own_server.signal(signal.SIGCONT)
    assert fd.connect(own_server.url, timeout=60)["tpch.nation"].scan().to_arrow().num_rows == 25


def test_a_timeout_caps_what_a_catalog_that_says_nothing_is_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = tmp_path / "lake.toml"
        settings.write_text(f'[catalogs.lake]\ntype = "rest"\nuri = "http://127.0.0.1:{silent.getsockname()[1]}"\n')
        lake = fd.connect(settings, timeout=0.5)
        for call in (lake.tables, lake["ns.t"].describe, lake["ns.t"].scan().to_arrow):
            began = time.monotonic()
            with pytest.raises(fd.DeadlineExceeded, match="timeout of 500ms"):
                call()
            assert time.monotonic() - began < 8
        assert pickle.loads(pickle.dumps(lake)) == lake != fd.connect(settings)
