"""Training with torch: a table as batches of tensors, exact over ranks, workers and restarts.

Problem: a training run lasts days, is killed, and goes on with another number of GPUs; it must neither lose a row nor read one twice, and all ranks
must take the same number of steps. Contract: docs/lanes.md, docs/torch.md. Rank r of N reads the lanes congruent to r modulo N, whatever workers it
has; a state is a small dict that torchdata's StatefulDataLoader nests, and that `merge_states` turns into one that fits any number of ranks and
workers. How: a `Run` gives the batches, prepared by threads of its own; a `Dataset` knows its place among ranks and workers, and makes tensors of
them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
except ImportError:
    from ._errors import needs

    raise needs("torch", "torch") from None

from ._choices import Choices
from ._convert import Ragged
from ._cursor import Cursor
from ._errors import InvalidRequest
from ._request import whole
from ._run import Epoch, Last, Run
from ._torch_pass import Making, Pass, Progress, decide_pinning
from ._torch_ranks import Shared, check_not_alone, place_in_world
from ._torch_state import Place, check_state, make_state, merge_states

__all__ = ["Dataset", "Figures", "Ragged", "merge_states"]


class Figures(NamedTuple):
    """What a pass of one rank comes to: batches, and rows that are left out or come twice."""

    steps: int | None
    dropped: int
    repeated: int


class Dataset(IterableDataset[Any]):
    """Batches of a run as dicts of tensors, for `DataLoader(dataset, batch_size=None)`, `StatefulDataLoader(dataset, batch_size=None)` or a loop.

    `rank` and `world` are those of torch.distributed (of `group`, where one is given), whose ranks then agree on the snapshot of its first; without a
    process group there is one rank. Batches have `batch_rows` rows. `last`: at the end "drop" and "pad" give all ranks the same number of full
    batches, "uneven" gives every row once. `nulls`, `strings`, `decimals` and `lists` are those of `Scan.to_torch`. `transform` is called on each
    batch, in the worker where there are workers. `pin_memory`: "auto" pins where there is CUDA and no worker process, which cannot; its DataLoader
    can.

    Threads read ahead, so that `num_workers=0` is parallel already; workers pay where `transform` is slow, and each has a memory budget of its own.
    """

    def __init__(
        self,
        run: Run,
        *,
        batch_rows: int = 1024,
        last: Last = "drop",
        rank: int | None = None,
        world: int | None = None,
        group: torch.distributed.ProcessGroup | None = None,
        nulls: Any = "error",
        strings: Any = "error",
        decimals: Any = "error",
        lists: Any = "ragged",
        transform: Callable[[dict[str, Any]], Any] | None = None,
        pin_memory: bool | Literal["auto"] = "auto",
    ) -> None:
        if not isinstance(run, Run):
            raise InvalidRequest(f"a Dataset of a {type(run).__name__}", advice="give it a run: scan.lanes(64), or scan.shuffle(seed=0).lanes(64)")
        if last not in ("drop", "pad", "uneven"):
            raise InvalidRequest(f"last is {last!r}", advice="give one of: drop, pad, uneven")
        self.batch_rows = whole("batch_rows", batch_rows, least=1) or 1
        self.last: Last = last
        self.choices = Choices(True, nulls, strings, decimals, lists)
        self.transform = transform
        self.pin_memory = pin_memory
        decide_pinning(pin_memory, worker=False, cuda=torch.cuda.is_available())
        # Resuming takes the snapshot of the state, which a run that is planned already would refuse.
        self._given = _copied(run)
        self._alone = rank is None and world is None
        self.rank, self.world, self._run = place_in_world(_copied(run), rank, world, group, {"batch_rows": self.batch_rows, "last": last})
        self._run.pin()
        self._place(0, 1)
        self._loaded: dict[str, Any] | None = None
        self._progress = Progress()
        self._shared = Shared(run.lanes)

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next pass is of."""
        return self._shared.epoch

    def set_epoch(self, epoch: int) -> None:
        """The next pass reads this epoch, in the order of its own shuffle; one that was loaded and is of this epoch goes on where it was."""
        number = whole("the epoch", epoch, least=0, most=2**64 - 1) or 0
        if self._loaded is not None and self._loaded["epoch"] != number:
            self._loaded = None
        if number != self._shared.epoch:
            self._progress = Progress()
        self._shared.choose_epoch(number)

    def figures(self, workers: int = 0) -> Figures:
        """What the next pass of this rank comes to, with so many DataLoader workers. Counts the rows that a filter or deletes leave."""
        count = max(whole("workers", workers, least=0) or 0, 1)
        steps, dropped, repeated = 0, 0, 0
        for worker in range(count):
            place = self._place(worker, count)
            state = self._resumable(0)
            if state is not None and self._is_mine(state, place):
                return Figures(state["left"], state["dropped"], state["repeated"])
            with self._epoch(state).shard(place.shard, place.shards).batches(self.batch_rows, self.last) as batches:
                if batches.steps is None:
                    return Figures(None, 0, 0)
                steps, dropped, repeated = steps + batches.steps, dropped + batches.dropped, repeated + batches.repeated
        return Figures(steps, dropped, repeated)

    def __iter__(self) -> Iterator[Any]:
        check_not_alone(self._alone, self.world)
        info = get_worker_info()
        place = self._place(0, 1) if info is None else self._place(info.id, info.num_workers)
        making = self._making(worker=info is not None)
        slot = 0 if info is None else 1 + info.id
        state = self._resumable(slot)
        same = state is not None and self._is_mine(state, place)
        if state is not None and not same and not state["whole"]:
            raise InvalidRequest(
                f"the state is of {Place.of(state)}, and this is {place}",
                advice="dataset.load_state_dict(fastdata.torch.merge_states([...])) with the states of all ranks",
            )
        batches = self._epoch(state).shard(place.shard, place.shards).batches(self.batch_rows, self.last)
        self._shared.begin(slot)
        self._progress = Progress()
        known = {**state, "left": 0} if state is not None and state["ended"] else state if same else None
        return Pass(batches, place, known, self._progress, making)

    def state_dict(self) -> dict[str, Any]:
        """Where the latest pass in this process is: what `load_state_dict` and `merge_states` take. Small, and made of texts and numbers."""
        if get_worker_info() is None and self._shared.read_by_workers:
            raise InvalidRequest(
                "the batches were read by DataLoader workers, whose progress this process does not know",
                advice="use torchdata's StatefulDataLoader and its state_dict(), or num_workers=0",
            )
        state = self._progress.state()
        if state is not None:
            return state
        loaded = self._resumable(0)
        place = self._place(0, 1)
        if loaded is not None:
            if self._is_mine(loaded, place) or not loaded["whole"]:
                return dict(loaded)
            # Merged from another world: from here on it is this rank's part of it, to be merged with the others'.
            return make_state(Cursor.from_json(loaded["cursor"]), place, self.batch_rows, self.last, ended=loaded["ended"])
        return make_state(self._run_now().epoch(self.epoch).cursor, place, self.batch_rows, self.last, whole=True)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The next pass goes on where this state was: of the same rank, world and worker, or merged by `merge_states`."""
        loaded = check_state(state)
        chosen = self._shared.chosen_epoch
        if chosen is not None and chosen != loaded["epoch"]:
            if loaded["ended"]:
                return
            raise InvalidRequest(
                f"the state is in the middle of epoch {loaded['epoch']}, and set_epoch({chosen}) was called",
                advice=f"call set_epoch({loaded['epoch']}) first",
            )
        run = _copied(self._given)
        run.resume(loaded["cursor"])
        self._run = run
        self._loaded = loaded
        self._progress = Progress()
        info = get_worker_info()
        self._shared.load(None if info is None else 1 + info.id, loaded["epoch"], run.pin())

    def _making(self, *, worker: bool) -> Making:
        pin = decide_pinning(self.pin_memory, worker=worker, cuda=not worker and torch.cuda.is_available())
        return Making(self.batch_rows, self.last, self.choices, self.transform, pin)

    def _place(self, worker: int, workers: int) -> Place:
        """Worker w of W on rank r of N reads the lanes r + wN modulo NW: all workers of a rank together those of the rank."""
        shards = self.world * workers
        if shards > self._run.lanes:
            among = f"{self.world} ranks" if workers == 1 else f"{self.world} ranks x {workers} workers"
            raise InvalidRequest(
                f"{among} need {shards} lanes, and the run has {self._run.lanes}",
                advice=f"make the run with .lanes({shards}) or more (their number cannot change within a run), or use fewer workers",
            )
        return Place(self.rank, self.world, worker, workers)

    def _is_mine(self, state: dict[str, Any], place: Place) -> bool:
        return Place.of(state) == place and (state["batch_rows"], state["last"]) == (self.batch_rows, self.last)

    def _resumable(self, slot: int) -> dict[str, Any] | None:
        """The loaded state, until a pass has begun with it."""
        if self._loaded is None or self._shared.begun(slot) or self._loaded["epoch"] != self.epoch:
            return None
        return self._loaded

    def _run_now(self) -> Run:
        """The run, at the snapshot that a worker's state may have brought."""
        pin = self._shared.pin
        if pin is not None and pin != self._run.pin():
            self._run = self._run.with_pin(pin)
        return self._run

    def _epoch(self, state: dict[str, Any] | None) -> Epoch:
        run = self._run_now()
        return run.epoch(self.epoch) if state is None else run.resume(state["cursor"])

    def __getstate__(self) -> dict[str, Any]:
        # Where a pass is, only the process knows that reads it.
        check_not_alone(self._alone, self.world)
        return {name: value for name, value in self.__dict__.items() if name != "_progress"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._progress = Progress()


def _copied(run: Run) -> Run:
    """A run that plans by itself: what it pins, the caller's does not."""
    answer = copy.copy(run)
    answer._planner = copy.copy(run._planner)
    return answer
