"""What the caller chose for NULLs, texts, decimals and lists, column by column.

A choice is one value for all columns, or a dict from a column (`"user"`), or a dotted name below it (`"user.city"`), to a value; the longest name
that fits decides, and columns that no name fits take the default. A wrong value, and a name that fits no column, are errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._errors import InvalidRequest, NotFound

_WORDS = {
    "nulls": ("error", "masked", "nan", "mask"),
    "strings": ("error", "object", "fixed", "bytes", "codes", "drop"),
    "decimals": ("error", "object", "float64"),
    "lists": ("ragged",),
}
_NUMPY_ONLY = {"masked", "object", "fixed"}


@dataclass(frozen=True)
class Choices:
    """How columns become arrays; `torch` says of which kind. Built once for many batches."""

    torch: bool
    nulls: Any
    strings: Any
    decimals: Any
    lists: Any
    writable: bool = False

    def __post_init__(self) -> None:
        for what in _WORDS:
            choice = getattr(self, what)
            for value in choice.values() if isinstance(choice, Mapping) else (choice,):
                self._check(what, value)

    def _check(self, what: str, value: Any) -> None:
        words = [word for word in _WORDS[what] if not (self.torch and word in _NUMPY_ONLY)]
        if isinstance(value, str):
            # A text is also what fills NULLs of a text column, which only NumPy has.
            fits = value in words or (what == "nulls" and not self.torch)
        elif what == "nulls":
            fits = value is not None and not isinstance(value, (Mapping, list, tuple, set))
        elif what == "strings":
            fits = isinstance(value, Sequence) and all(isinstance(word, (str, bytes)) for word in value)
        else:
            fits = what == "lists" and isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not fits:
            others = {"nulls": " or a value to fill in", "strings": " or a list of all words", "lists": " or the length of every list"}
            words_said = ", ".join(repr(word) for word in words)
            raise InvalidRequest(
                f"{what}={value!r} is no choice", advice=f"give {words_said}{others.get(what, '')}, or a dict from column to one of these"
            )

    def of(self, what: str, name: str) -> Any:
        """The choice for the column or field of this dotted name."""
        choice = getattr(self, what)
        if not isinstance(choice, Mapping):
            return choice
        fitting = [key for key in choice if name == key or name.startswith(f"{key}.")]
        if not fitting:
            return self._default(what)
        return choice[max(fitting, key=len)]

    def _default(self, what: str) -> str:
        if what == "lists":
            return "ragged"
        if self.torch:
            return "error"
        return "masked" if what == "nulls" else "object"

    def check_names(self, names: Sequence[str], columns: Sequence[str]) -> None:
        """Refuses a name in a dict that fits none of these dotted names."""
        for what in _WORDS:
            choice = getattr(self, what)
            for key in choice if isinstance(choice, Mapping) else ():
                if not any(name == key or name.startswith(f"{key}.") for name in names):
                    raise NotFound(f"{what} names {key!r}, and there is no such column", advice=f"the columns are {', '.join(columns)}")
