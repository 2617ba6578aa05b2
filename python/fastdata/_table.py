"""One table of a lake: what it is, and scans of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from ._display import columns_text, cut, html_table, number, size
from ._errors import Error, translated
from ._facts import Facts
from ._request import scan_request
from ._scan import Scan
from ._schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._lake import Lake


class Description(Facts):
    """What a table is: `uuid`, `location`, `schema` (Iceberg's), `current_snapshot`, `rows`, `bytes`, `data_files`, `properties`, `refs`, ..."""

    @property
    def _title(self) -> str:  # type: ignore[override]
        return str(self["table"])

    def _columns(self) -> list[tuple[str, str, str, str]]:
        return [_column(field) for field in self["schema"]["fields"]]

    def _rows(self) -> list[tuple[str, str]]:
        snapshot = self.get("current_snapshot") or {}
        rows = [
            ("location", str(self.get("location"))),
            ("format", f"version {self.get('format_version')}"),
            ("snapshot", f"{snapshot['snapshot_id']} ({snapshot.get('operation')})" if snapshot else "none"),
            ("rows", _told(self.get("rows"), number) + " before deletes"),
            ("bytes", _told(self.get("bytes"), size)),
            ("files", f"{_told(self.get('data_files'), number)} data, {_told(self.get('delete_files'), number)} delete"),
        ]
        rows += [(ref["kind"], f"{ref['name']} -> {ref['snapshot_id']}") for ref in self.get("refs") or []]
        rows += [("property", f"{name} = {cut(value, 100)}") for name, value in (self.get("properties") or {}).items()]
        return rows + [("note", note) for note in self.get("notes") or []]

    def __repr__(self) -> str:
        return "\n".join([self._title, columns_text(self._rows()), "columns", columns_text(self._columns())])

    def _repr_html_(self) -> str:
        return html_table(self._title, None, self._rows()) + html_table("columns", ("id", "column", "type", ""), self._columns())


def _told(figure: Any, shown: Callable[[int], str]) -> str:
    """A figure of the snapshot's summary, which may lack it, or hide it."""
    return "not told" if figure is None else shown(int(figure))


def _column(field: dict[str, Any]) -> tuple[str, str, str, str]:
    return (str(field["id"]), field["name"], field["type"], "required" if field["required"] else "")


class Table:
    """A table by its name. It holds no state of the table: each call asks anew, and each scan keeps the snapshot it planned with. Picklable."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.lake = lake
        self.name = name

    def _ask(self, action: str, **request: object) -> Any:
        return self.lake._ask(action, json.dumps({"table": self.name, **request}))

    @property
    def schema(self) -> Schema:
        """The columns as Arrow types, in the table's current schema."""
        plan = self.lake._plan(json.dumps({"table": self.name}))
        with translated:
            return Schema(plan.schema())

    def describe(self) -> Description:
        """What the table's metadata says: schema, snapshot, rows, bytes, files, properties, references."""
        return Description(self._ask("Describe"))

    def snapshots(self) -> list[dict[str, Any]]:
        """The snapshots: `snapshot_id`, `parent_snapshot_id`, `timestamp_ms`, `operation`, `schema_id`, `summary`, `refs`, `current`, ..."""
        return list(self._ask("Snapshots"))

    def refs(self) -> list[dict[str, Any]]:
        """Branches and tags: `name`, `snapshot_id`, `kind`."""
        return list(self._ask("Refs"))

    def files(self, where: str | None = None) -> list[dict[str, Any]]:
        """The data files, or those that may hold rows for which `where` holds: `path`, `rows`, `bytes`, `partition`, ..."""
        return list(self._ask("Files", **scan_request(where=where)))

    def count(self, where: str | None = None) -> int:
        """The rows, exactly: deletes applied, and the filter where one is given."""
        return int(self._ask("Count", **scan_request(where=where))["rows"])

    def scan(
        self,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        *,
        snapshot: int | None = None,
        ref: str | None = None,
        as_of: datetime | date | str | int | None = None,
        after: int | None = None,
        up_to: int | None = None,
        schema_id: int | None = None,
        limit: int | None = None,
        sample: float | None = None,
        seed: int = 0,
        batch_rows: int | None = None,
        batch_bytes: int | None = None,
        order: Literal["stable", "fast"] = "stable",
        strings: Literal["utf8", "utf8_view", "dictionary"] | None = None,
        compression: Literal["none", "lz4", "zstd"] | None = None,
    ) -> Scan:
        """What to read; nothing is read, nor planned, before its rows are asked for.

        `columns`: dotted paths reach into structs. `where`: a SQL boolean expression. At most one of: `snapshot` (an id), `ref` (a branch or tag),
        `as_of` (a time: datetime, date, ISO text or milliseconds; UTC where no zone is given), `after` (only rows appended after this snapshot,
        `up_to` another); else the current snapshot. `schema_id` reads in that schema of the table. `limit` is in rows; `sample` is a fraction of the
        blocks, chosen by `seed`. A batch ends at `batch_rows` or `batch_bytes`. `order="fast"` takes batches as they are decoded. `strings` is the
        Arrow type of string columns, `compression` that of batches from a server.
        """
        request = scan_request(
            columns=columns,
            where=where,
            snapshot=snapshot,
            ref=ref,
            as_of=as_of,
            after=after,
            up_to=up_to,
            schema_id=schema_id,
            limit=limit,
            sample=sample,
            seed=seed,
            batch_rows=batch_rows,
            batch_bytes=batch_bytes,
            order=order,
            strings=strings,
            compression=compression,
        )
        return Scan._of(self.lake, {"table": self.name, **request})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and (self.lake, self.name) == (other.lake, other.name)

    def __hash__(self) -> int:
        return hash((self.lake, self.name))

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {self.lake!r})"

    def _repr_html_(self) -> str:
        try:
            return self.describe()._repr_html_()
        except Error as error:
            return html_table(repr(self), None, [("error", str(error))])
