"""Tables in Metaflow flows: plan in one step, `foreach` over shards, pull each where its task runs.

Problem: what a step leaves in `self` is pickled into the datastore, for other machines and for later; a resumed run must read what the first one read.
Contract: tables and shards are picklable artifacts, hold no secret (a task takes a server's token from `FASTDATA_TOKEN`), and open their lake again in the
task that uses them. Shards keep the snapshot that they were planned on: tasks that are retried, and steps after `resume`, read the same rows.
How: they are the package's own tables and shards; this module adds names as flows write them. It imports nothing of Metaflow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from fastdata import Lake, connect
from fastdata._scan import Scan, Shard
from fastdata._table import Table as LakeTable

__all__ = ["Table"]


class Table:
    """`Table("ml", "features", lake="./warehouse")`: a table by namespace and name.

    namespace: as it is written in a scan, `"prod.ml"` (a catalog or an outer namespace first), or its parts, `["prod", "ml"]`.
    lake: what `fastdata.connect` takes (a warehouse's folder, a `fastdata.toml`, `grpc://HOST:PORT`), or an open lake, for one with a
    memory budget or threads of its own; without it the catalogs of the `fastdata.toml` at hand.
    """

    def __init__(self, namespace: str | Sequence[str], name: str, lake: str | os.PathLike[str] | Lake | None = None) -> None:
        parts = [namespace] if isinstance(namespace, str) else [_quoted(part) for part in namespace]
        self.name = ".".join([*parts, _quoted(name)])
        self.lake = lake if isinstance(lake, Lake) else connect(lake)

    @property
    def table(self) -> LakeTable:
        """The table itself: its schema, snapshots, files."""
        return self.lake.table(self.name)

    def scan(self, columns: Sequence[str] | None = None, where: str | None = None, **more: Any) -> Scan:
        """A scan; the keywords are those of `fastdata.Table.scan`."""
        return self.table.scan(columns, where, **more)

    def shards(self, number: int, columns: Sequence[str] | None = None, where: str | None = None, **more: Any) -> list[Shard]:
        """The scan in `number` pieces of about equal weight, planned now: what a step leaves in `self` for `foreach`.

        Each of them has the methods of a scan: `self.input.to_polars()`. Metaflow starts at most 100 tasks for a `foreach` unless it is
        run with `--max-num-splits`.
        """
        return self.scan(columns, where, **more).shards(number)

    def __repr__(self) -> str:
        return f"Table({self.name!r}, lake={self.lake.location!r})"


def _quoted(part: str) -> str:
    """A part of a name as SQL quotes it, where it needs quotes."""
    return part if re.fullmatch(r"[^\W\d]\w*", part) else '"' + part.replace('"', '""') + '"'
