"""Training with torch: exact over ranks, workers and restarts, on the real torch and torchdata."""

from __future__ import annotations

import json
import pickle
import random
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import fastdata as fd
from support import need

torch = need("torch")
need("torchdata")

import fastdata.torch as ft
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

LANES = 12
ROWS = 500

# torchdata's loader calls a function that newer torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


@pytest.fixture
def run(lake: fd.Lake) -> fd.Run:
    """60 000 rows of 12 files, shuffled."""
    return lake["py.many"].scan(columns=["id"]).shuffle(seed=7, window=1500).lanes(LANES)


@pytest.fixture(autouse=True)
def no_uneven_shares() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lanes do not divide among.*")
        yield


def loaders(run: fd.Run, world: int, workers: int, state: Any = None, **options: Any) -> list[Any]:
    """A loader for each rank; `state` is a merged one, or a list with the loaders' own."""
    made = []
    for rank in range(world):
        dataset = ft.Dataset(pickle.loads(pickle.dumps(run)), **{"batch_rows": ROWS, "last": "uneven", "rank": rank, "world": world, **options})
        if isinstance(state, dict):
            dataset.load_state_dict(state)
        made.append(StatefulDataLoader(dataset, batch_size=None, num_workers=workers))
        if isinstance(state, list):
            made[-1].load_state_dict(state[rank])
    return made


def ids(batch: dict[str, Any]) -> list[int]:
    values: list[int] = batch["id"].tolist()
    return values


def take(loader: Any, steps: int) -> list[int]:
    """The ids of so many batches, or of all that are left."""
    batches = iter(loader)
    return [value for batch in (next(batches, None) for _ in range(steps)) if batch is not None for value in ids(batch)]


def everything(loader: Any) -> list[int]:
    return [value for batch in loader for value in ids(batch)]


def places(run: fd.Run, epoch: int = 0) -> dict[int, tuple[int, int]]:
    """Lane and position of every row in an undisturbed run."""
    answer = {}
    for lane in range(run.lanes):
        shard = run.epoch(epoch).shard(lane, run.lanes)
        rows = [value for batch in shard.batches(4096, "uneven") for value in batch.to_pydict()["id"]]
        answer.update({value: (lane, position) for position, value in enumerate(rows)})
    return answer


def check_order(streams: list[list[int]], where: dict[int, tuple[int, int]]) -> None:
    """Each lane's rows come in their order, and from one stream only."""
    seen: dict[int, tuple[int, int]] = {}
    for stream, values in enumerate(streams):
        for value in values:
            lane, position = where[value]
            before = seen.get(lane)
            assert before is None or (before[0] == stream and before[1] < position), f"lane {lane}: row {position} of stream {stream} after {before}"
            seen[lane] = (stream, position)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_each_row_comes_once_when_a_run_is_killed_and_goes_on_in_another_world(run: fd.Run, world: int, workers: int) -> None:
    chance = random.Random(f"{world} {workers}")
    where = places(run)
    for after in chance.sample([(ranks, count) for ranks in (1, 2, 3) for count in (0, 2)], 2):
        before = loaders(run, world, workers)
        steps = chance.randrange(0, 120 // world)
        first = [take(loader, steps) for loader in before]
        states = [json.loads(json.dumps(loader.state_dict())) for loader in before]
        second = [take(loader, 10_000) for loader in loaders(run, *after, ft.merge_states(states))]
        assert sorted(value for stream in first + second for value in stream) == sorted(where)
        check_order(first, where)
        check_order(second, where)
        read = {value for stream in first for value in stream}
        ends = {lane: max((where[v][1] for v in read if where[v][0] == lane), default=-1) for lane in range(run.lanes)}
        assert all(where[value][1] > ends[where[value][0]] for stream in second for value in stream)


def test_ranks_may_have_different_numbers_of_workers(run: fd.Run) -> None:
    readers = [loaders(run, 2, 0)[0], loaders(run, 2, 2)[1]]
    read = [value for loader in readers for value in take(loader, 20)]
    rest = loaders(run, 1, 0, ft.merge_states([loader.state_dict() for loader in readers]))[0]
    assert sorted(read + everything(rest)) == list(range(60_000))
    assert sorted(value for loader in readers for value in everything(loader)) == list(range(60_000))


def test_a_chain_of_restarts_reads_each_row_once(run: fd.Run) -> None:
    chance = random.Random(5)
    read: list[int] = []
    state: dict[str, Any] | None = None
    for world, workers in [(3, 0), (1, 2), (2, 0), (2, 2), (3, 2), (1, 0)]:
        readers = loaders(run, world, workers, state)
        # Ranks need not have come to the same step.
        read += [value for loader in readers for value in take(loader, chance.randrange(1, 12))]
        state = ft.merge_states([loader.state_dict() for loader in readers])
    assert len(read) < 60_000
    read += everything(loaders(run, 2, 0, state)[0]) + everything(loaders(run, 2, 0, state)[1])
    assert sorted(read) == list(range(60_000))


def test_rows_and_order_are_the_same_in_both_modes(run: fd.Run, embedded: fd.Lake) -> None:
    other = embedded["py.many"].scan(columns=["id"]).shuffle(seed=7, window=1500).lanes(LANES)
    for workers in (0, 2):
        mine = [[ids(batch) for batch in loader] for loader in loaders(run, 2, workers)]
        assert mine == [[ids(batch) for batch in loader] for loader in loaders(other, 2, workers)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("last", ["drop", "pad"])
def test_all_ranks_take_the_same_number_of_steps_and_say_what_that_costs(run: fd.Run, last: Any, workers: int) -> None:
    readers = loaders(run, 3, workers, last=last)
    figures = [loader.dataset.figures(workers) for loader in readers]
    batches = [[ids(batch) for batch in loader] for loader in readers]
    assert {len(each) for each in batches} == {figure.steps for figure in figures}
    assert {len(batch) for each in batches for batch in each} == {ROWS}
    read = [value for each in batches for batch in each for value in batch]
    assert len(set(read)) == 60_000 - sum(figure.dropped for figure in figures)
    assert len(read) - len(set(read)) == sum(figure.repeated for figure in figures)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("last", ["drop", "pad"])
def test_steps_stay_equal_where_each_rank_resumes_alone(lake: fd.Lake, last: Any, workers: int) -> None:
    # Seven lanes among three ranks: shares are as unequal as they get.
    run = lake["py.many"].scan(columns=["id"], where="id % 5 < 3 or id < 20000").lanes(7)
    whole = [len(list(loader)) for loader in loaders(run, 3, workers, last=last)]
    assert len(set(whole)) == 1
    for steps in (1, whole[0] // 2, whole[0] - 1, whole[0]):
        readers = loaders(run, 3, workers, last=last)
        read = [take(loader, steps) for loader in readers]
        states = [loader.state_dict() for loader in readers]
        rest = [[ids(batch) for batch in loader] for loader in loaders(run, 3, workers, states, last=last)]
        if steps < whole[0]:
            assert [steps + len(each) for each in rest] == whole
            if last == "drop":
                values = [value for stream in read for value in stream] + [value for each in rest for batch in each for value in batch]
                assert len(values) == len(set(values))
        else:
            # A finished epoch is not gone on with: the loader begins it anew.
            assert [len(each) for each in rest] in (whole, [0, 0, 0])


def test_a_finished_epoch_yields_no_more_in_another_world(run: fd.Run) -> None:
    # What the three ranks drop would make one more batch of a single one.
    readers = loaders(run, 3, 0, last="drop", batch_rows=700)
    assert sum(loader.dataset.figures().dropped for loader in readers) > 700
    for loader in readers:
        everything(loader)
    state = ft.merge_states([loader.dataset.state_dict() for loader in readers])
    dataset = ft.Dataset(run, batch_rows=700)
    dataset.load_state_dict(state)
    assert list(dataset) == []
    dataset.set_epoch(1)
    assert len(list(dataset)) == 60_000 // 700


@pytest.mark.parametrize("workers", [0, 2])
def test_set_epoch_reaches_workers_that_persist(run: fd.Run, workers: int) -> None:
    dataset = ft.Dataset(run, batch_rows=ROWS, last="uneven")
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    passes = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        passes.append(everything(loader))
    assert passes[0] == passes[2] != passes[1]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(60_000))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loaded_state_is_used_for_one_pass(run: fd.Run, workers: int) -> None:
    first = loaders(run, 1, 0)[0]
    read = take(first, 40)
    dataset = ft.Dataset(run, batch_rows=ROWS, last="uneven")
    dataset.load_state_dict(ft.merge_states([first.state_dict()]))
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    assert sorted(read + everything(loader)) == list(range(60_000))
    assert sorted(everything(loader)) == list(range(60_000))
    dataset.set_epoch(1)
    assert sorted(everything(loader)) == list(range(60_000))


def test_a_state_of_an_epoch_is_resumed_in_its_epoch(run: fd.Run) -> None:
    dataset = ft.Dataset(run, batch_rows=ROWS, last="uneven")
    dataset.set_epoch(3)
    read = take(dataset, 10)
    state = dataset.state_dict()
    other = ft.Dataset(run, batch_rows=ROWS, last="uneven")
    other.load_state_dict(state)
    assert other.epoch == 3
    other.set_epoch(3)
    assert sorted(read + everything(other)) == list(range(60_000))
    other.set_epoch(2)
    with pytest.raises(fd.InvalidRequest, match=r"middle of epoch 3, and set_epoch\(2\)"):
        other.load_state_dict(state)


def test_a_state_is_known_while_a_pass_runs_after_it_was_left_and_before_it_begins(run: fd.Run) -> None:
    dataset = ft.Dataset(run, batch_rows=ROWS, last="uneven")
    begin = dataset.state_dict()
    batches = iter(dataset)
    read = ids(next(batches)) + ids(next(batches))
    running = dataset.state_dict()
    del batches
    left = dataset.state_dict()
    assert running == left != begin
    for state, before in ((begin, []), (left, read)):
        other = ft.Dataset(run, batch_rows=ROWS, last="uneven")
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert sorted(before + everything(other)) == list(range(60_000))


def test_a_plain_loader_with_workers_does_not_pass_for_progress(run: fd.Run) -> None:
    dataset = ft.Dataset(run, batch_rows=ROWS)
    next(iter(DataLoader(dataset, batch_size=None, num_workers=2)))
    with pytest.raises(fd.InvalidRequest, match="DataLoader workers.*\n.*StatefulDataLoader"):
        dataset.state_dict()
    dataset.set_epoch(1)
    assert dataset.state_dict()["epoch"] == 1


def test_workers_may_be_spawned(lake: fd.Lake) -> None:
    run = lake["py.many"].scan(columns=["id"]).lanes(4)
    dataset = ft.Dataset(run, batch_rows=ROWS, last="uneven")
    loader = StatefulDataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    read = take(loader, 30)
    dataset.load_state_dict(ft.merge_states([loader.state_dict()]))
    assert sorted(read + everything(DataLoader(dataset, batch_size=None))) == list(range(60_000))


def test_states_taken_before_the_first_batch_of_a_resumed_run_merge(run: fd.Run) -> None:
    first = ft.Dataset(run, batch_rows=50, last="uneven", rank=0, world=1)
    seen = take(first, 4)
    merged = ft.merge_states([first.state_dict()])
    for begun in ((), (0,), (0, 1)):
        again = [ft.Dataset(run, batch_rows=50, last="uneven", rank=rank, world=2) for rank in range(2)]
        for dataset in again:
            dataset.load_state_dict(merged)
        more = [value for rank in begun for value in take(again[rank], 2)]
        last = ft.Dataset(run, batch_rows=50, last="uneven", rank=0, world=1)
        last.load_state_dict(ft.merge_states([dataset.state_dict() for dataset in again]))
        everyone = seen + more + everything(last)
        assert len(everyone) == len(set(everyone)) == sum(run.epoch(0).counts()), f"{begun=}"


def test_an_incomplete_set_of_states_is_refused(run: fd.Run) -> None:
    readers = loaders(run, 3, 0)
    for loader in readers:
        take(loader, 3)
    states = [loader.state_dict() for loader in readers]
    with pytest.raises(fd.InvalidRequest, match="rank 1 of 3 is missing"):
        ft.merge_states([states[0], states[2]])
    with pytest.raises(fd.InvalidRequest, match="rank 1 of 3 is there twice"):
        ft.merge_states([states[0], states[1], states[1], states[2]])
    with pytest.raises(fd.InvalidRequest, match="worlds of 1 and 3 ranks"):
        ft.merge_states([*states, ft.Dataset(run).state_dict()])
    with pytest.raises(fd.InvalidRequest, match="rank 0 of 3 is missing"):
        ft.merge_states(states[1])
    with pytest.raises(fd.InvalidRequest, match="no states"):
        ft.merge_states([])
    two = loaders(run, 1, 2)[0]
    take(two, 2)
    state = two.state_dict()
    del state["_snapshot"]["_worker_snapshots"]["worker_1"]
    with pytest.raises(fd.InvalidRequest, match="rank 0 of 1, worker 1 of 2 is missing"):
        ft.merge_states([state])


def test_a_state_behind_the_rows_that_were_read_is_refused(run: fd.Run) -> None:
    loader = StatefulDataLoader(ft.Dataset(run, batch_rows=ROWS), batch_size=None, num_workers=2, snapshot_every_n_steps=4)
    take(loader, 3)
    with pytest.raises(fd.InvalidRequest, match="3 steps old.*\n.*snapshot_every_n_steps=1"):
        ft.merge_states([loader.state_dict()])


def test_a_state_of_another_place_or_run_is_refused(run: fd.Run, lake: fd.Lake) -> None:
    readers = loaders(run, 2, 0)
    take(readers[0], 2)
    state = readers[0].dataset.state_dict()
    other = ft.Dataset(run, batch_rows=ROWS, last="uneven", rank=1, world=2)
    other.load_state_dict(state)
    with pytest.raises(fd.InvalidRequest, match="state is of rank 0 of 2, and this is rank 1 of 2\n.*merge_states"):
        iter(other)
    for stranger in (
        lake["py.many"].scan(columns=["id"]).shuffle(seed=8, window=1500).lanes(LANES),
        lake["py.many"].scan(columns=["id"], where="id > 5").shuffle(seed=7, window=1500).lanes(LANES),
        lake["py.many"].scan(columns=["id"]).shuffle(seed=7, window=1500).lanes(LANES + 1),
        lake["tpch.orders"].scan().shuffle(seed=7, window=1500).lanes(LANES),
    ):
        with pytest.raises(fd.PlanMismatch):
            ft.Dataset(stranger).load_state_dict(state)
    with pytest.raises(fd.InvalidRequest, match="no state of a Dataset\n.*StatefulDataLoader's load_state_dict"):
        other.load_state_dict(readers[0].state_dict())
    with pytest.raises(fd.InvalidRequest, match="no state of a Dataset"):
        other.load_state_dict({})
    with pytest.raises(fd.InvalidRequest, match="another version"):
        other.load_state_dict({**state, "fastdata": 2})


def test_a_run_goes_on_in_the_snapshot_of_its_state(lake: fd.Lake) -> None:
    table = lake["py.evolved"]
    old = min(table.snapshots(), key=lambda snapshot: snapshot["sequence_number"])["snapshot_id"]
    dataset = ft.Dataset(table.scan(columns=["id"], snapshot=old).lanes(4), batch_rows=10, last="uneven")
    read = take(dataset, 3)
    for workers in (0, 2):
        loader = loaders(table.scan(columns=["id"]).lanes(4), 1, workers, dataset.state_dict(), batch_rows=10)[0]
        assert sorted(read + everything(loader)) == list(range(100))
        loader.dataset.set_epoch(1)
        assert sorted(everything(loader)) == list(range(100))
    mine = StatefulDataLoader(dataset, batch_size=None, num_workers=2)
    read = take(mine, 3)
    loader = loaders(table.scan(columns=["id"]).lanes(4), 1, 2, [mine.state_dict()], batch_rows=10)[0]
    assert sorted(read + everything(loader)) == list(range(100))
    loader.dataset.set_epoch(1)
    assert sorted(everything(loader)) == list(range(100))


def test_too_many_ranks_and_workers_name_the_lanes_needed(lake: fd.Lake) -> None:
    run = lake["py.many"].scan(columns=["id"]).lanes(5)
    with pytest.raises(fd.InvalidRequest, match=r"6 ranks need 6 lanes, and the run has 5\n.*\.lanes\(6\)"):
        ft.Dataset(run, rank=0, world=6)
    dataset = ft.Dataset(run, rank=1, world=3)
    with pytest.raises(fd.InvalidRequest, match=r"3 ranks x 2 workers need 6 lanes, and the run has 5"):
        next(iter(DataLoader(dataset, batch_size=None, num_workers=2)))
    with pytest.raises(fd.InvalidRequest, match=r"3 ranks x 2 workers need 6 lanes"):
        dataset.figures(2)


def test_bad_arguments_name_the_fix(run: fd.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in (
        ({"rank": 2, "world": 2}, "rank 2 of a world of 2"),
        ({"rank": 0}, "give both"),
        ({"last": "wrap"}, "drop, pad, uneven"),
        ({"batch_rows": 0}, "batch_rows"),
        ({"pin_memory": "yes"}, "pin_memory is 'yes'"),
        ({"strings": "object"}, "strings='object' is no choice"),
    ):
        with pytest.raises(fd.InvalidRequest, match=message):
            ft.Dataset(run, **options)
    with pytest.raises(fd.InvalidRequest, match="a Dataset of a Scan\n.*lanes"):
        ft.Dataset(run.scan)  # type: ignore[arg-type]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(fd.InvalidRequest, match="WORLD_SIZE is 2.*\n.*init_process_group"):
        ft.Dataset(run)


def test_a_column_without_a_tensor_is_named_with_the_fix(lake: fd.Lake) -> None:
    run = lake["py.many"].scan(columns=["id", "word"]).lanes(4)
    with pytest.raises(fd.Unsupported, match="column 'word' is .*\n.*strings="):
        next(iter(ft.Dataset(run)))
    with pytest.raises(fd.Unsupported, match="column 'word' is .*"):
        next(iter(DataLoader(ft.Dataset(run), batch_size=None, num_workers=1)))
    run = lake["py.many"].scan(columns=["id", "x"]).lanes(4)
    with pytest.raises(fd.InvalidRequest, match="column 'x' .* NULL"):
        list(ft.Dataset(run))
    batch = next(iter(ft.Dataset(run, nulls={"x": "mask"})))
    assert batch["x__valid"].dtype == torch.bool and not batch["x__valid"].all()


def double(batch: dict[str, Any]) -> Any:
    return batch["id"], batch["id"] * 2


@pytest.mark.parametrize("workers", [0, 2])
def test_transform_makes_the_batch(run: fd.Run, workers: int) -> None:
    one, two = next(iter(DataLoader(ft.Dataset(run, transform=double), batch_size=None, num_workers=workers)))
    assert len(one) == 1024 and (one * 2 == two).all()


def test_pinning_is_decided_by_cuda_and_by_who_reads() -> None:
    from fastdata._torch_pass import decide_pinning

    assert decide_pinning("auto", worker=False, cuda=True)
    assert not decide_pinning("auto", worker=True, cuda=True)
    assert not decide_pinning("auto", worker=False, cuda=False)
    assert decide_pinning(True, worker=False, cuda=True)
    assert not decide_pinning(False, worker=False, cuda=True)
    with pytest.raises(fd.InvalidRequest, match="in a DataLoader worker"):
        decide_pinning(True, worker=True, cuda=True)
    with pytest.raises(fd.InvalidRequest, match="no CUDA"):
        decide_pinning(True, worker=False, cuda=False)


def test_what_is_pinned_reaches_into_batches(run: fd.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pins: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pins.append(self) or self)
    nested = {"a": torch.zeros(2), "r": ft.Ragged(torch.zeros(1), torch.zeros(2)), "words": ["w"], "pair": (torch.zeros(1), [torch.zeros(1)])}
    batch = next(iter(ft.Dataset(run, transform=lambda _: nested)))
    assert len(pins) == 5 and isinstance(batch["r"], ft.Ragged) and batch["words"] == ["w"]
    next(iter(ft.Dataset(run, pin_memory=False)))
    assert len(pins) == 5
