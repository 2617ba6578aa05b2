"""The columns of a table, a scan or a batch, as Arrow has them."""

from __future__ import annotations

from collections.abc import Iterator

from . import _native
from ._display import columns_text, html_table
from ._errors import NotFound


class Schema:
    """Names and Arrow types in order; `schema[name]` is the type as text. Any Arrow library takes it through `__arrow_c_schema__`."""

    __slots__ = ("_schema", "names", "nullable", "types")

    def __init__(self, schema: _native.Schema) -> None:
        self._schema = schema
        self.names: list[str] = schema.names()
        self.types: list[str] = schema.types()
        self.nullable: list[bool] = schema.nullable()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> str:
        return self.types[self.index(name)]

    def empty(self) -> _native.Batch:
        """A batch of these columns without rows."""
        return self._schema.empty()

    def index(self, name: str) -> int:
        """Where the column is; `not-found` names the columns there are."""
        try:
            return self.names.index(name)
        except ValueError:
            raise NotFound(f"no column named {name!r}", advice=f"the columns are: {', '.join(self.names)}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self._schema == other._schema

    __hash__ = None  # type: ignore[assignment]

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(n, t, "" if null else "not null") for n, t, null in zip(self.names, self.types, self.nullable, strict=True)]

    def __repr__(self) -> str:
        return f"Schema of {len(self)} columns\n" + columns_text(self._rows())

    def _repr_html_(self) -> str:
        return html_table(f"Schema of {len(self)} columns", ("column", "type", ""), self._rows())
