"""Settings of this process that are no part of a request."""

from __future__ import annotations

from typing import Literal

from ._errors import InvalidRequest

Progress = Literal["auto"] | bool


class Options:
    """`fastdata.options`: what applies where a call does not say otherwise."""

    __slots__ = ("_progress",)

    def __init__(self) -> None:
        self._progress: Progress = "auto"

    @property
    def progress(self) -> Progress:
        """Whether long pulls show a bar: True, False, or "auto": on a terminal and in a notebook, for pulls of more than a second."""
        return self._progress

    @progress.setter
    def progress(self, value: Progress) -> None:
        if value is not True and value is not False and value != "auto":
            raise InvalidRequest(f"options.progress is {value!r}", advice='give True, False or "auto"')
        self._progress = value

    def __repr__(self) -> str:
        return f"Options(progress={self._progress!r})"


options = Options()
