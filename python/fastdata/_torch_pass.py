"""One pass of a reader over its part of an epoch, and where it is.

Contract: an iterator of batches of tensors. It stops after the steps that all readers take, also when it was resumed with a cursor that knows
nothing of the others. Its place is known while it runs, after it was left, and at its end.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ._batches import Batches
from ._choices import Choices
from ._convert import convert
from ._errors import InvalidRequest
from ._torch_state import Place, make_state


@dataclass(frozen=True)
class Making:
    """How batches become what the loop gets."""

    batch_rows: int
    last: str
    choices: Choices
    transform: Callable[[dict[str, Any]], Any] | None
    pin: bool


class Progress:
    """Where the latest pass is; the pass lives no longer for it."""

    def __init__(self) -> None:
        self._pass: Callable[[], Pass | None] = lambda: None
        self._left: dict[str, Any] | None = None

    def follow(self, running: Pass) -> None:
        self._pass = weakref.ref(running)

    def leave(self, state: dict[str, Any]) -> None:
        self._pass, self._left = lambda: None, state

    def state(self) -> dict[str, Any] | None:
        running = self._pass()
        return self._left if running is None else running.state()


class Pass(Iterator[Any]):
    """`left` batches, or as many as there are; `known` is the state that this reader goes on with."""

    def __init__(self, batches: Batches, place: Place, known: dict[str, Any] | None, progress: Progress, making: Making) -> None:
        self._batches: Batches | None = batches
        self._place = place
        self._making = making
        self._progress = progress
        self._process = os.getpid()
        self._end: dict[str, Any] = {}
        if known is None or known["left"] is None:
            self._left, self.dropped, self.repeated = batches.steps, batches.dropped, batches.repeated
        else:
            self._left, self.dropped, self.repeated = known["left"], known["dropped"], known["repeated"]
        progress.follow(self)

    def __iter__(self) -> Pass:
        return self

    def __next__(self) -> Any:
        if self._batches is None or self._left == 0:
            self.close()
            raise StopIteration
        try:
            batch = next(self._batches)
        except StopIteration:
            self._left = 0
            self.close()
            raise
        if self._left is not None:
            self._left -= 1
        making = self._making
        values: Any = convert(batch._batch, making.choices)
        if making.transform is not None:
            values = making.transform(values)
        return pinned(values) if making.pin else values

    def state(self) -> dict[str, Any]:
        if self._batches is None:
            return self._end
        figures = {"left": self._left, "dropped": self.dropped, "repeated": self.repeated, "ended": self._left == 0}
        return make_state(self._batches.cursor(), self._place, self._making.batch_rows, self._making.last, **figures)

    def close(self) -> None:
        """Ends every read; the state stays. Idempotent."""
        if self._batches is not None:
            self._end = self.state()
            self._batches.close()
            self._batches = None
            self._progress.leave(self._end)

    def __del__(self) -> None:
        # A forked child inherits the pass, and the threads behind it stay with the parent.
        if self.__dict__.get("_batches") is not None and os.getpid() == self._process and not sys.is_finalizing():
            self.close()


def decide_pinning(choice: bool | Literal["auto"], *, worker: bool, cuda: bool) -> bool:
    """Whether batches are pinned by this process: a worker cannot, and without CUDA there is nothing to pin for."""
    if choice == "auto":
        return cuda and not worker
    if choice is not True and choice is not False:
        raise InvalidRequest(f"pin_memory is {choice!r}", advice='give True, False or "auto"')
    if choice and worker:
        raise InvalidRequest(
            "pin_memory=True in a DataLoader worker, which cannot pin",
            advice='give it to the loader: DataLoader(..., pin_memory=True), and "auto" to the Dataset',
        )
    if choice and not cuda:
        raise InvalidRequest("pin_memory=True, and torch sees no CUDA device", advice='leave it at "auto"')
    return choice


def pinned(value: Any) -> Any:
    """The same with its tensors in pinned memory."""
    if isinstance(value, torch.Tensor):
        return value.pin_memory()
    if isinstance(value, dict):
        return {key: pinned(item) for key, item in value.items()}
    if isinstance(value, tuple):
        items = [pinned(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return [pinned(item) for item in value] if isinstance(value, list) else value
