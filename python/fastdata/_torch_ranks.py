"""A reader's place among ranks and workers, and what the processes of a run share.

Contract: all ranks of a process group read the snapshot of its first, with the same settings, or one of them says why not. Worker processes see the
epoch that was set, and the next ones of a rank what earlier ones took up: a small tensor in shared memory, which outlives them and persistent workers
see at once.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist

from ._errors import Error, InternalError, InvalidRequest
from ._request import whole
from ._run import Pin, Run

_ADVICE = "make the Dataset after torch.distributed.init_process_group(), or give rank= and world="


def place_in_world(run: Run, rank: int | None, world: int | None, group: Any, settings: dict[str, Any]) -> tuple[int, int, Run]:
    """Rank, world, and the run at the snapshot that all ranks read."""
    if (rank is None) != (world is None):
        raise InvalidRequest(f"rank={rank!r} and world={world!r}", advice="give both, or neither to take those of torch.distributed")
    if rank is not None and world is not None:
        if group is not None:
            raise InvalidRequest("rank and world, and a group as well", advice="give either rank= and world=, or group=")
        mine, ranks = whole("rank", rank, least=0) or 0, whole("world", world, least=1) or 1
        if mine >= ranks:
            raise InvalidRequest(f"rank {mine} of a world of {ranks}", advice="ranks count from 0 to one less than the world's size")
        return mine, ranks, run
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(group), dist.get_world_size(group), _agreed(run, group, {**settings, "lanes": run.lanes, "seed": run.seed})
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InvalidRequest(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and there is no process group: every rank would read all rows", advice=_ADVICE
        )
    return 0, 1, run


def check_not_alone(alone: bool, world: int) -> None:
    """Refuses a Dataset that took itself for the only one, where a process group came up after it."""
    if alone and world == 1 and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise InvalidRequest("the Dataset was made before the process group: every rank would read all rows", advice=_ADVICE)


def _agreed(run: Run, group: Any, settings: dict[str, Any]) -> Run:
    """The run at the first rank's snapshot. An error of the first rank reaches all: none waits for an answer that does not come."""
    said: list[Any] = [None]
    first = dist.get_rank(group) == 0
    if first:
        try:
            said = [(run.pin(), settings)]
        except Exception as error:
            said = [error if isinstance(error, Error) else InternalError(f"rank 0 could not plan: {error!r}")]
    dist.broadcast_object_list(said, src=0 if group is None else dist.get_global_rank(group, 0), group=group)
    if isinstance(said[0], Exception):
        raise said[0]
    pin, theirs = said[0]
    for name, value in settings.items():
        if theirs[name] != value:
            raise InvalidRequest(
                f"{name} is {value!r} on rank {dist.get_rank(group)} and {theirs[name]!r} on rank 0", advice=f"give all ranks the same {name}"
            )
    return run if first else run.with_pin(pin)


_EPOCH, _CHOSEN, _BY_WORKERS, _PINNED, _SNAPSHOT, _SCHEMA, _BEGUN = range(7)
_NONE = -1


class Shared:
    """What a Dataset and its copies in worker processes have in common. Slot 0 is the process itself, slot 1 + w its worker w."""

    def __init__(self, slots: int) -> None:
        self._cells = torch.zeros(_BEGUN + 1 + slots, dtype=torch.int64)
        self._cells.share_memory_()

    @property
    def epoch(self) -> int:
        return int(self._cells[_EPOCH])

    @property
    def chosen_epoch(self) -> int | None:
        """The epoch, where it was set and not loaded."""
        return self.epoch if self._cells[_CHOSEN] else None

    def choose_epoch(self, number: int) -> None:
        if number != self.epoch:
            self._cells[_BY_WORKERS] = 0
        self._cells[_EPOCH] = number
        self._cells[_CHOSEN] = 1

    @property
    def pin(self) -> Pin | None:
        """The snapshot and schema of the state that was loaded last, in whichever process."""
        if not self._cells[_PINNED]:
            return None
        snapshot, schema = int(self._cells[_SNAPSHOT]), int(self._cells[_SCHEMA])
        return (None if snapshot == _NONE else snapshot, None if schema == _NONE else schema)

    @property
    def read_by_workers(self) -> bool:
        """Whether the latest pass of this epoch was read by worker processes."""
        return bool(self._cells[_BY_WORKERS])

    def begun(self, slot: int) -> bool:
        """Whether this process began a pass since a state was loaded."""
        return bool(self._cells[_BEGUN + slot])

    def begin(self, slot: int) -> None:
        self._cells[_BEGUN + slot] = 1
        self._cells[_BY_WORKERS] = int(slot > 0)

    def load(self, slot: int | None, epoch: int, pin: Pin) -> None:
        """A state was loaded: for one worker, or for all processes."""
        if slot is None:
            self._cells[_BEGUN:] = 0
            self._cells[_BY_WORKERS] = 0
        else:
            self._cells[_BEGUN + slot] = 0
        snapshot, schema = pin
        self._cells[_SNAPSHOT] = _NONE if snapshot is None else snapshot
        self._cells[_SCHEMA] = _NONE if schema is None else schema
        self._cells[_PINNED] = 1
        self._cells[_EPOCH] = epoch
        self._cells[_CHOSEN] = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self._cells.is_shared():
            self._cells.share_memory_()
