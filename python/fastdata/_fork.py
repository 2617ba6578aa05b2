"""Forks and plans keep out of each other's way.

Problem: a catalog's client (SQLite's, the system's name lookup) has locks that a fork copies as they are; a child forked while another thread plans
would wait for ever. Contract: a fork waits until no thread plans, a plan until the fork is done. Reading needs no such care: a child never uses its
parent's streams. A plan that takes longer than `_PATIENCE` seconds, which waits for a network, is not waited for.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

_PATIENCE = 5.0


class _Planning:
    """`with planning:` around native calls that reach a catalog."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def before_fork(self) -> None:
        self._changed.acquire()
        self._changed.wait_for(lambda: self._count == 0, _PATIENCE)

    def after_in_parent(self) -> None:
        self._changed.release()

    def after_in_child(self) -> None:
        self._reset()


planning = _Planning()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=planning.before_fork, after_in_parent=planning.after_in_parent, after_in_child=planning.after_in_child)
