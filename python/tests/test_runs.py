"""Runs: each row once, in an order that is the table's and the seed's alone, whatever stops and whoever goes on."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import python, running

import fastdata as fd

LANES = 12
ROWS = 20_000
WHERE = f"id < {ROWS} AND id % 3 <> 1"
EXPECTED = [i for i in range(ROWS) if i % 3 != 1]


@pytest.fixture(params=["shuffled", "in table order"])
def run(request: pytest.FixtureRequest, lake: fd.Lake) -> fd.Run:
    return make(lake, request.param == "shuffled")


def make(lake: fd.Lake, shuffled: bool) -> fd.Run:
    scan = lake["py.many"].scan(["id"], WHERE)
    return (scan.shuffle(seed=7, window=700) if shuffled else scan).lanes(LANES, interleave=2)


def ids(batch: fd.Batch) -> list[int]:
    return list(batch.to_pydict()["id"])


def drained(batches: fd.Batches) -> list[int]:
    return [value for batch in batches for value in ids(batch)]


def lanes_of(epoch: fd.Epoch) -> list[list[int]]:
    """What each lane holds, in its order: as many ranks as lanes, each of which reads one."""
    return [drained(epoch.shard(lane, LANES).batches(97, "uneven")) for lane in range(LANES)]


def quiet(epoch: fd.Epoch, rank: int, world: int) -> fd.EpochShard:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return epoch.shard(rank, world)


def in_lane_order(seen: list[int], lanes: list[list[int]]) -> bool:
    """Whether the rows of each lane came in the lane's order."""
    lane_of = {value: number for number, lane in enumerate(lanes) for value in lane}
    found: list[list[int]] = [[] for _ in lanes]
    for value in seen:
        found[lane_of[value]].append(value)
    return found == lanes


def test_every_row_is_in_one_lane(run: fd.Run) -> None:
    lanes = lanes_of(run.epoch(3))
    assert sorted(value for lane in lanes for value in lane) == EXPECTED
    assert run.epoch(3).counts() == [len(lane) for lane in lanes]
    assert all(lanes)


def test_the_order_depends_on_seed_and_epoch_alone(lake: fd.Lake, embedded: fd.Lake) -> None:
    shuffled, other = make(lake, True), make(embedded, True)
    first = lanes_of(shuffled.epoch(0))
    assert first == lanes_of(other.epoch(0)) == lanes_of(pickle.loads(pickle.dumps(shuffled)).epoch(0)), "in both modes, in any process"
    assert first != lanes_of(shuffled.epoch(1)) == lanes_of(other.epoch(1))
    assert any(lane != sorted(lane) for lane in first)
    another = lake["py.many"].scan(["id"], WHERE).shuffle(seed=8, window=700).lanes(LANES)
    assert lanes_of(another.epoch(0)) != first
    plain = make(lake, False)
    assert lanes_of(plain.epoch(0)) == lanes_of(plain.epoch(5)) == lanes_of(make(embedded, False).epoch(0))
    assert all(lane == sorted(lane) for lane in lanes_of(plain.epoch(0)))


@pytest.mark.parametrize("world", [1, 3])
def test_a_rank_sees_one_sequence_at_any_budget(lake: fd.Lake, warehouse: Path, world: int) -> None:
    def sequences(of: fd.Lake, shuffled: bool) -> list[list[int]]:
        scan = of["tpch.lineitem"].scan(["l_orderkey"], "l_linenumber = 1")
        run = (scan.shuffle(seed=7, window=5000) if shuffled else scan).lanes(12)
        return [[v for b in run.epoch(0).shard(r, world).batches(500, "uneven") for v in b.to_pydict()["l_orderkey"]] for r in range(world)]

    for shuffled in (True, False):
        expected = sequences(fd.connect(warehouse, memory="512MiB"), shuffled)
        for memory in ("4MiB", "512MiB"):
            assert sequences(fd.connect(lake.location, memory=memory), shuffled) == expected, f"{shuffled=} {memory=}"


def test_a_closed_feed_gives_its_memory_back_at_once(warehouse: Path) -> None:
    lake = fd.connect(warehouse, memory="48MiB")
    run = lake["tpch.lineitem"].scan().shuffle(seed=7, window=10_000).lanes(8)
    for _ in range(30):
        batches = run.epoch(0).batches(1000, "uneven")
        next(batches)
        batches.close()


def test_memory_that_does_not_suffice_is_an_error_and_no_other_order(warehouse: Path) -> None:
    scan = fd.connect(warehouse, memory="24MiB")["tpch.lineitem"].scan().shuffle(seed=7, window=20_000)
    with pytest.raises(fd.BudgetTooSmall) as caught:
        list(scan.lanes(8, interleave=4).epoch(0).batches(1000, "uneven"))
    assert "4 places" in str(caught.value) and "interleave=1" in str(caught.value), caught.value
    assert sum(len(batch) for batch in scan.lanes(8, interleave=1).epoch(0).batches(1000, "uneven")) == 600_572


def test_an_epoch_without_a_full_batch_warns(run: fd.Run) -> None:
    with pytest.warns(UserWarning, match="uneven"):
        assert list(run.epoch(0).batches(10_000_000)) == []


@pytest.mark.parametrize("seed", range(6))
def test_kill_and_resume_on_other_worlds_gives_every_row_once_in_lane_order(run: fd.Run, seed: int) -> None:
    chance = random.Random(seed)
    lanes = lanes_of(run.epoch(1))
    seen: list[int] = []
    epoch, stops = run.epoch(1), 0
    while True:
        world = chance.choice([1, 2, 3, 4, 5, LANES])
        ranks = [quiet(epoch, rank, world).batches(chance.choice([50, 128, 333]), "uneven") for rank in range(world)]
        if stops == 4:
            seen += [value for batches in ranks for value in drained(batches)]
            break
        for batches in ranks:
            for _ in range(chance.randrange(6)):
                seen += [value for batch in [next(batches, None)] if batch is not None for value in ids(batch)]
        cursors = [batches.cursor() for batches in ranks]
        assert fd.Cursor.merge(cursors).rows == len(seen)
        given: Any = chance.choice([cursors, [cursor.to_json() for cursor in cursors], pickle.loads(pickle.dumps(fd.Cursor.merge(cursors)))])
        for batches in ranks:
            batches.close()
        epoch, stops = pickle.loads(pickle.dumps(run)).resume(given), stops + 1
        assert epoch.number == 1 and epoch.cursor == fd.Cursor.merge(cursors)
    assert sorted(seen) == EXPECTED
    assert in_lane_order(seen, lanes)


def test_a_run_continues_after_it_was_killed(lake: fd.Lake, tmp_path: Path) -> None:
    script = """
import sys, json, os, fastdata as fd
sys.path.insert(0, sys.argv[3])
from test_runs import make, ids
batches = make(fd.connect(sys.argv[1]), True).epoch(4).shard(0, 1).batches(64, "uneven")
for n, batch in enumerate(batches):
    part = sys.argv[2] + ".part"
    with open(part, "w") as file:
        json.dump({"n": n, "ids": ids(batch), "cursor": batches.cursor().to_json()}, file)
    os.replace(part, f"{sys.argv[2]}.{n:05d}")
    print(n, flush=True)
    if n == 40: sys.stdin.read()
"""
    import subprocess

    with running(script, lake.location, str(tmp_path / "step"), os.path.dirname(__file__), stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "step.00017").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    steps = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("step.0*"))]
    seen = [value for step in steps for value in step["ids"]]
    assert [step["n"] for step in steps] == list(range(len(steps))) and len(steps) >= 18
    run = make(lake, True)
    epoch = run.resume(steps[-1]["cursor"])
    for rank in range(3):
        seen += drained(epoch.shard(rank, 3).batches(100, "uneven"))
    assert sorted(seen) == EXPECTED and in_lane_order(seen, lanes_of(run.epoch(4)))


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_drop_and_pad_give_equal_steps_and_say_what_they_cost(run: fd.Run, world: int) -> None:
    rows = 64
    epoch = run.epoch(0)
    for last in ("drop", "pad"):
        ranks = [quiet(epoch, rank, world).batches(rows, last) for rank in range(world)]
        got = [[ids(batch) for batch in batches] for batches in ranks]
        steps = {batches.steps for batches in ranks}
        assert len(steps) == 1 and {len(batches) for batches in got} == steps
        assert all(len(batch) == rows for batches in got for batch in batches)
        came = Counter(value for batches in got for batch in batches for value in batch)
        dropped, repeated = sum(b.dropped for b in ranks), sum(b.repeated for b in ranks)
        assert set(came) <= set(EXPECTED)
        if last == "drop":
            assert repeated == 0 and max(came.values()) == 1 and dropped == len(EXPECTED) - len(came) > 0
        else:
            assert dropped == 0 and set(came) == set(EXPECTED) and sum(came.values()) - len(EXPECTED) == repeated > 0
    uneven = [quiet(epoch, rank, world).batches(rows, "uneven") for rank in range(world)]
    assert sorted(value for batches in uneven for value in drained(batches)) == EXPECTED
    assert [(b.steps, b.dropped, b.repeated) for b in uneven] == [(None, 0, 0)] * world


def test_steps_stay_equal_after_a_resume(run: fd.Run) -> None:
    ranks = [run.epoch(0).shard(rank, 4).batches(100, "drop") for rank in range(4)]
    for batches in ranks:
        next(batches), next(batches)
    epoch = run.resume([batches.cursor() for batches in ranks])
    again = [epoch.shard(rank, 3).batches(100, "drop") for rank in range(3)]
    lengths = [len(list(batches)) for batches in again]
    assert len(set(lengths)) == 1 and [batches.steps for batches in again] == lengths
    assert sum(lengths) * 100 + sum(batches.dropped for batches in again) == len(EXPECTED) - 800


def test_ranks_own_the_lanes_congruent_to_them(run: fd.Run) -> None:
    epoch = run.epoch(0)
    assert [epoch.shard(rank, 4).lanes for rank in range(4)] == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    lanes = lanes_of(epoch)
    for rank in range(4):
        assert sorted(drained(epoch.shard(rank, 4).batches(77, "uneven"))) == sorted(lanes[rank] + lanes[rank + 4] + lanes[rank + 8])


def test_lanes_that_do_not_divide_evenly_warn_with_the_largest_share(run: fd.Run) -> None:
    with pytest.warns(UserWarning, match="12 lanes do not divide among 5 ranks: the largest share is 3 lanes"):
        run.epoch(0).shard(0, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.epoch(0).shard(0, 4)


def test_cursors_of_other_runs_are_refused_by_name(lake: fd.Lake) -> None:
    many = lake["py.many"]
    foreign = {
        "filter": many.scan(["id"], "id < 10").shuffle(7, window=700).lanes(LANES),
        "seed": many.scan(["id"], WHERE).shuffle(8, window=700).lanes(LANES),
        "lanes": many.scan(["id"], WHERE).shuffle(7, window=700).lanes(LANES + 1),
        "window": many.scan(["id"], WHERE).shuffle(7, window=701).lanes(LANES),
        "no shuffle": many.scan(["id"], WHERE).lanes(LANES),
        "table": lake["tpch.orders"].scan().shuffle(7, window=700).lanes(LANES),
    }
    planned = make(lake, True)
    planned.pin()
    for what, other in foreign.items():
        cursor = other.epoch(0).cursor
        for run in (planned, make(lake, True)):
            with pytest.raises(fd.PlanMismatch) as caught:
                run.resume(cursor)
            assert caught.value.advice and isinstance(caught.value, ValueError), what
    older = many.scan(["id"], WHERE, snapshot=many.snapshots()[5]["snapshot_id"]).shuffle(7, window=700).lanes(LANES)
    with pytest.raises(fd.PlanMismatch, match=f"snapshot {older.pin()[0]}, the run of {planned.pin()[0]}"):
        planned.resume(older.epoch(0).cursor)
    with pytest.raises(fd.PlanMismatch, match="epochs 0, 1"):
        planned.resume([planned.epoch(0).cursor, planned.epoch(1).cursor])
    with pytest.raises(fd.PlanMismatch, match="another table, or its snapshot has expired") as caught:
        make(lake, True).resume(foreign["table"].epoch(0).cursor)
    assert "py.many" in str(caught.value)
    with pytest.raises(fd.PlanMismatch, match=rf"13 lanes.*\n.*\.lanes\({LANES + 1}\)"):
        make(lake, True).resume(foreign["lanes"].epoch(0).cursor)


def test_an_altered_cursor_is_refused(run: fd.Run) -> None:
    altered = json.loads(next_cursor(run).to_json())
    lane = next(iter(altered["positions"]))
    altered["positions"][lane]["rows"] = "1"
    with pytest.raises(fd.InvalidRequest, match=r"position in lane .* does not belong to this plan"):
        drained(run.resume(altered).batches(10, "uneven"))


def next_cursor(run: fd.Run) -> fd.Cursor:
    batches = run.epoch(0).batches(10)
    next(batches)
    return batches.cursor()


def test_a_fresh_run_takes_the_snapshot_of_the_cursor(lake: fd.Lake, iceberg: Any) -> None:
    import pyarrow as pa
    from pyiceberg.types import LongType

    name = f"py.resumed_{lake.mode}"
    table = iceberg.create_table(name, pa.schema([("id", pa.int64())]))
    table.append(pa.table({"id": list(range(100))}))
    batches = lake[name].scan().shuffle(1).lanes(4).epoch(2).batches(30)
    seen = ids(next(batches))
    cursor = batches.cursor()
    table.append(pa.table({"id": list(range(100, 200))}))
    with table.update_schema() as change:
        change.add_column("late", LongType())
    run = lake[name].scan().shuffle(1).lanes(4)
    epoch = run.resume(cursor.to_json())
    seen += drained(epoch.batches(30, "uneven"))
    assert sorted(seen) == list(range(100))
    assert sum(run.epoch(3).counts()) == 100, "the next epoch reads the same snapshot"
    assert run.pin() == (cursor.snapshot_id, 0)
    assert sum(lake[name].scan().shuffle(1).lanes(4).epoch(0).counts()) == 200


def test_a_pin_carries_a_run_to_another_process(lake: fd.Lake) -> None:
    run = make(lake, True)
    pin = run.pin()
    assert pin == (lake["py.many"].snapshots()[-1]["snapshot_id"], 0) == make(lake, True).with_pin(pin).pin()
    script = "import sys, pickle, fastdata as fd; sys.path.insert(0, sys.argv[3]); from test_runs import make, lanes_of\n"
    script += "run = make(fd.connect(sys.argv[1]), True).with_pin(eval(sys.argv[2])); print(lanes_of(run.epoch(1)))"
    assert python(script, lake.location, repr(pin), os.path.dirname(__file__)).stdout == f"{lanes_of(run.epoch(1))}\n"


def test_a_cursor_is_a_value(run: fd.Run) -> None:
    cursor = next_cursor(run)
    assert cursor == fd.Cursor.from_json(cursor.to_json()) == pickle.loads(pickle.dumps(cursor))
    assert hash(cursor) == hash(fd.Cursor.from_json(json.loads(cursor.to_json()))) and cursor != run.epoch(0).cursor
    assert (cursor.rows, cursor.epoch, cursor.lanes, cursor.seed) == (10, 0, LANES, run.seed)
    assert cursor.snapshot_id == run.pin()[0] and len(cursor.plan_digest) == 32 and len(cursor.to_json()) < 1000
    engine = {name: value for name, value in json.loads(cursor.to_json()).items() if name != "epoch"}
    assert fd.Cursor.from_json(json.dumps(engine)) == cursor, "the engine's own JSON is taken"
    assert json.loads(run.epoch(6).cursor.to_json())["epoch"] == 6
    with pytest.raises(fd.InvalidRequest, match="epoch"):
        fd.Cursor.from_json({**engine, "epoch": -1})


def test_what_was_prepared_but_not_taken_is_not_in_the_cursor(run: fd.Run) -> None:
    batches = run.epoch(0).batches(32, "uneven")
    taken = [ids(next(batches)) for _ in range(3)]
    time.sleep(0.3)
    assert batches.cursor().rows == sum(map(len, taken)) == 96
    again = run.resume(batches.cursor()).batches(32, "uneven")
    assert ids(next(again)) == ids(next(batches))


def test_batches_end_for_good(run: fd.Run) -> None:
    with run.epoch(0).batches(4096, "uneven") as batches:
        drained(batches)
        assert next(batches, None) is None and "done" in repr(batches)
        assert batches.stats.rows >= len(EXPECTED)
        finished = batches.cursor()
    assert finished.rows == len(EXPECTED)
    assert drained(run.resume(finished).batches(100, "uneven")) == []
