"""States of `fastdata.torch.Dataset`: what a checkpoint holds, and how the states of one world become that of another.

Contract: a state is a flat dict of texts and numbers. `cursor` is that of the reader it was taken from, who knows the rows of its own lanes only; it
may go on with it alone, for `left` more batches, so that all readers still take the same number of steps. Any other world needs the states of all
readers, merged: a `whole` state, whose cursor holds every lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._cursor import Cursor
from ._errors import InvalidRequest

_KEYS = ("epoch", "cursor", "whole", "rank", "world", "worker", "workers", "batch_rows", "last", "left", "dropped", "repeated", "ended")
_ADVICE = "give what Dataset.state_dict(), StatefulDataLoader.state_dict() or merge_states() returned"


@dataclass(frozen=True)
class Place:
    """One reader among all: a worker process of a rank."""

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Place:
        return cls(state["rank"], state["world"], state["worker"], state["workers"])

    @property
    def shard(self) -> int:
        """Lanes congruent to this modulo `shards`: those of all workers of a rank are congruent to the rank modulo the world."""
        return self.rank + self.world * self.worker

    @property
    def shards(self) -> int:
        return self.world * self.workers

    def __str__(self) -> str:
        among = "" if self.workers == 1 else f", worker {self.worker} of {self.workers}"
        return f"rank {self.rank} of {self.world}{among}"


def make_state(cursor: Cursor, place: Place, batch_rows: int, last: str, **known: Any) -> dict[str, Any]:
    """A state; what is not `known` is worked out when the pass begins."""
    state: dict[str, Any] = {"fastdata": 1, "epoch": cursor.epoch, "cursor": cursor.to_json(), "whole": place.shards == 1}
    state.update(rank=place.rank, world=place.world, worker=place.worker, workers=place.workers, batch_rows=batch_rows, last=last)
    return {**state, "left": None, "dropped": 0, "repeated": 0, "ended": False, **known}


def check_state(state: Any) -> dict[str, Any]:
    """A copy of a state; refuses what is none."""
    if not isinstance(state, Mapping) or "fastdata" not in state:
        loader = isinstance(state, Mapping) and ("_snapshot" in state or "dataset_state" in state)
        advice = "give it to the StatefulDataLoader's load_state_dict, or merge_states([...]) of all ranks' to the Dataset's" if loader else _ADVICE
        raise InvalidRequest(f"a {type(state).__name__} that is no state of a Dataset", advice=advice)
    if state["fastdata"] != 1 or not all(key in state for key in _KEYS):
        raise InvalidRequest("a state of another version of fastdata", advice="resume with the version that made it")
    return dict(state)


def merge_states(states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The states of all ranks as one, for `Dataset.load_state_dict` on any rank of any world, with any number of workers.

    Takes those of `Dataset.state_dict()` and of torchdata's `StatefulDataLoader.state_dict()`, with however many workers. Refuses a set that lacks
    a rank or a worker, whose rows would come twice, and states of different runs or epochs.
    """
    if isinstance(states, Mapping):
        states = [states]
    each = [check_state(inner) for state in states for inner in _unnested(state)]
    if not each:
        raise InvalidRequest("no states to merge", advice=_ADVICE)
    if not all(state["whole"] for state in each) or len(each) > 1:
        _check_complete([Place.of(state) for state in each])
    cursor = Cursor.merge(Cursor.from_json(state["cursor"]) for state in each)
    ended = all(state["ended"] for state in each)
    return make_state(cursor, Place(), each[0]["batch_rows"], each[0]["last"], ended=ended)


def _unnested(state: Any) -> Iterator[Any]:
    """The states of the Dataset in that of a StatefulDataLoader: one for each worker."""
    if isinstance(state, Mapping) and "_snapshot" in state:
        if state.get("_steps_since_snapshot"):
            raise InvalidRequest(
                f"a StatefulDataLoader's state that is {state['_steps_since_snapshot']} steps old",
                advice="make the loader with snapshot_every_n_steps=1, its default, so that states can be merged",
            )
        for worker in state["_snapshot"]["_worker_snapshots"].values():
            yield worker["dataset_state"]
    elif isinstance(state, Mapping) and "dataset_state" in state:
        yield state["dataset_state"]
    else:
        yield state


def _check_complete(places: list[Place]) -> None:
    worlds = sorted({place.world for place in places})
    if len(worlds) > 1:
        raise InvalidRequest(f"states of worlds of {' and '.join(map(str, worlds))} ranks", advice="merge the states of one checkpoint")
    for rank in range(worlds[0]):
        mine = [place for place in places if place.rank == rank]
        if not mine:
            raise InvalidRequest(
                f"the state of rank {rank} of {worlds[0]} is missing: its rows would come twice", advice="give the states of all ranks"
            )
        counts = sorted({place.workers for place in mine})
        if len(counts) > 1:
            raise InvalidRequest(f"states of rank {rank} with {' and '.join(map(str, counts))} workers", advice="merge the states of one checkpoint")
        for worker in range(counts[0]):
            found = sum(place.worker == worker for place in mine)
            if found != 1:
                what = "is missing: its rows would come twice" if not found else "is there twice"
                raise InvalidRequest(
                    f"the state of {Place(rank, worlds[0], worker, counts[0])} {what}", advice="give each state of one checkpoint once"
                )
