"""Progress of long pulls, in a terminal and in a notebook.

Contract: a pull that takes over a second shows rows, share and rate while it runs, on standard error or as a notebook's output, and leaves
nothing behind but the last line. How: a thread of its own looks at the stream's statistics, so that it shows also what another library pulls.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ._display import number, size
from ._errors import InvalidRequest
from ._options import Progress as Choice
from ._options import options

_DELAY = 1.0
_EVERY = 0.25
_WIDTH = 24

Figures = Callable[[], Mapping[str, int]]


class Progress:
    """Shows a pull for the length of a `with` block. `figures` tells its statistics so far; `total` the rows to decode, where they are known."""

    def __init__(self, choice: Choice | None, label: str, total: int | None, figures: Figures) -> None:
        wanted = options.progress if choice is None else choice
        if wanted is not True and wanted is not False and wanted != "auto":
            raise InvalidRequest(f"progress is {choice!r}", advice='give True, False, "auto", or None for fastdata.options.progress')
        self._notebook = _notebook()
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._on = wanted is True or (wanted == "auto" and (self._notebook or self._terminal))
        self._label = label
        self._total = total
        self._figures = figures
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown: Any = None
        self._began = 0.0

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if self._on:
            self._thread = threading.Thread(target=self._watch, name="fastdata-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        if self._shown is not None:
            self._show(done=kind is None)
            if not self._notebook:
                sys.stderr.write("\n")
                sys.stderr.flush()

    def _watch(self) -> None:
        delay = _DELAY
        while not self._ended.wait(delay):
            self._show(done=False)
            delay = _EVERY if self._notebook or self._terminal else 10.0

    def _show(self, *, done: bool) -> None:
        line = self._line(self._figures(), time.monotonic() - self._began, done)
        if self._notebook:
            self._display(line)
        elif self._terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._shown = line
        else:
            sys.stderr.write(line if done else line + "\n")
            sys.stderr.flush()
            self._shown = line

    def _display(self, line: str) -> None:
        from IPython.display import display

        text = {"text/plain": line}
        if self._shown is None:
            self._shown = display(text, raw=True, display_id=True)
        else:
            self._shown.update(text, raw=True)

    def _line(self, figures: Mapping[str, int], seconds: float, done: bool) -> str:
        rows, returned = figures.get("rows", 0), figures.get("bytes_returned", 0)
        rate = f"{size(returned / seconds)}/s" if seconds > 0 else ""
        share = 1.0 if done else self._share(figures)
        bar = "" if share is None else f"{'#' * int(share * _WIDTH):{_WIDTH}.{_WIDTH}} {share:4.0%}  "
        return f"{self._label}  {bar}{number(rows)} rows, {size(returned)}, {rate}, {seconds:.1f} s"

    def _share(self, figures: Mapping[str, int]) -> float | None:
        if not self._total:
            return None
        return min(max(figures.get("rows_decoded", 0), figures.get("rows", 0)) / self._total, 1.0)


def _notebook() -> bool:
    """Whether this runs in a notebook's kernel, which shows what is displayed."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
