"""Answers of the engine as Python values.

Problem: answers are JSON with camelCase names and 64-bit integers as strings. Contract: names become snake_case and those strings become int;
what belongs to the table (its properties, a snapshot's summary) stays as it is written. `Facts` is such an answer, read-only, with a repr.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_INTEGERS = {
    "snapshot_id", "parent_snapshot_id", "timestamp_ms", "rows", "bytes", "data_files", "delete_files", "sequence_number", "exact_rows",
    "rows_estimated",
}  # fmt: skip
_AS_WRITTEN = {"properties", "summary"}
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """`currentSnapshot` as `current_snapshot`."""
    return _HUMP.sub(r"_\1", name).lower()


def plain(value: Any) -> Any:
    """A JSON answer with Python's names and numbers."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    answer = {}
    for key, item in value.items():
        name = snake(key)
        if name in _AS_WRITTEN:
            answer[name] = item
        elif name in _INTEGERS and isinstance(item, str):
            answer[name] = int(item)
        else:
            answer[name] = plain(item)
    return answer


def decode(text: str) -> Any:
    """The text of a JSON answer with Python's names and numbers."""
    return plain(json.loads(text))


class Facts(Mapping[str, Any]):
    """A read-only answer: a mapping whose keys are attributes too."""

    _title = "facts"

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = dict(facts)

    def __getitem__(self, key: str) -> Any:
        return self._facts[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._facts:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self.__dict__.get('_facts', ()))}")
        return self._facts[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._facts]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def _rows(self) -> list[tuple[str, str]]:
        return [(key, _short(value)) for key, value in self._facts.items() if value not in (None, [], {})]

    def __repr__(self) -> str:
        width = max((len(key) for key, _ in self._rows()), default=0)
        return "\n".join([self._title, *(f"  {key:{width}}  {value}" for key, value in self._rows())])

    def _repr_html_(self) -> str:
        from ._display import html_table

        return html_table(self._title, None, self._rows())


def _short(value: Any) -> str:
    from ._display import cut, number

    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return cut(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False), 100)
