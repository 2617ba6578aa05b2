"""Planning once, and what a plan says.

Problem: what is read in pieces, by several consumers and in several processes must be of one snapshot. Contract: a `Planner` asks the lake at first
need; from then on its request names that snapshot and schema, in this process and wherever it is pickled to. How: plans belong to a process and are
made anew in another, from the pinned request; of two threads that plan at the same time the first one's snapshot holds.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from . import _native
from ._display import number, size
from ._errors import PlanMismatch, translated
from ._facts import Facts, decode

if TYPE_CHECKING:
    from ._lake import Lake

_KEPT = 4
_WHICH = ("snapshotId", "ref", "asOfMs", "toSnapshotId", "schemaId")


class Planner:
    """The plans of one request, and the snapshot they are all of."""

    def __init__(self, lake: Lake, request: dict[str, Any], *, pinned: bool = False, digest: str | None = None) -> None:
        self.lake = lake
        self._given = request
        self._digest = digest
        # One entry at most, "request": written once, by whichever thread plans first.
        self._pins: dict[str, dict[str, Any]] = {"request": request} if pinned else {}
        self._plans: dict[str, _native.Plan] = {}
        self._process = os.getpid()

    @property
    def request(self) -> dict[str, Any]:
        """The request, with snapshot and schema once it was planned."""
        return self._pins.get("request", self._given)

    @property
    def unshuffled(self) -> dict[str, Any]:
        """The request without a shuffle, which is of its lanes only."""
        return {name: value for name, value in self.request.items() if name != "shuffle"}

    @property
    def pinned(self) -> bool:
        return bool(self._pins)

    def pin(self) -> tuple[int | None, int | None]:
        """Snapshot and schema; plans if it must."""
        if not self._pins:
            self.plan()
        request = self.request
        snapshot = request.get("toSnapshotId" if "fromSnapshotId" in request else "snapshotId")
        return (None if snapshot is None else int(snapshot), request.get("schemaId"))

    def at(self, pin: tuple[int | None, int | None]) -> dict[str, Any]:
        """The request as it was given, at this snapshot and in this schema."""
        snapshot, schema = pin
        request = {name: value for name, value in self._given.items() if name not in _WHICH}
        if snapshot is not None:
            request["toSnapshotId" if "fromSnapshotId" in request else "snapshotId"] = str(snapshot)
        if schema is not None:
            request["schemaId"] = int(schema)
        return request

    def plan(self, **changes: Any) -> _native.Plan:
        """The plan of the request with these members changed."""
        if self._process != os.getpid():
            self._plans, self._process = {}, os.getpid()
        key = json.dumps(changes, sort_keys=True)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._make(changes)
            while len(self._plans) >= _KEPT:
                self._plans.pop(next(iter(self._plans)), None)
            plan = self._plans.setdefault(key, plan)
        return plan

    def _make(self, changes: dict[str, Any]) -> _native.Plan:
        request = {**self.unshuffled, **changes}
        plan = self.lake._plan(json.dumps(request))
        with translated:
            facts = json.loads(plan.facts())
        if self._digest is not None and facts["planDigest"] != self._digest:
            raise PlanMismatch(
                f"this piece is of plan {self._digest}, but {request['table']} now plans as {facts['planDigest']}",
                advice="cut the scan into shards again",
                stage="plan",
            )
        if not self._pins:
            which = {name: facts["request"][name] for name in _WHICH if name in facts["request"]}
            mine = {**{name: value for name, value in self._given.items() if name not in _WHICH}, **which}
            if self._pins.setdefault("request", mine) is not mine and self.request != mine:
                return self._make(changes)
        return plan

    def __getstate__(self) -> dict[str, Any]:
        return {"lake": self.lake, "given": self._given, "digest": self._digest, "pins": dict(self._pins)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["lake"], state["given"], digest=state["digest"])  # type: ignore[misc]
        self._pins = state["pins"]


class ScanPlan(Facts):
    """What a scan will cost, from metadata alone: `files`, `bytes`, `rows_estimated`, `snapshot_id`, `files_pruned_by_bounds`, ..."""

    def __init__(self, text: str) -> None:
        super().__init__(decode(text))
        self._text = text

    def _rows(self) -> list[tuple[str, str]]:
        def count(name: str) -> str:
            return "hidden" if self.get("rows_hidden") else number(int(self.get(name) or 0))

        pruned = f"{count('files_pruned_by_partition')} by partition, {count('files_pruned_by_bounds')} by column bounds"
        estimate = self.get("rows_estimated")
        rows = [
            ("table", str(self["table"])),
            ("snapshot", f"{self['snapshot_id']}, schema {self['schema_id']}"),
            ("columns", ", ".join(self["columns"])),
            ("files", f"{count('files')} to read of {count('files_considered')}; pruned: {pruned}"),
            ("row groups", f"{count('row_groups_estimated')} in {count('blocks')} blocks"),
            ("bytes", f"{size(self['bytes'])} in whole files"),
            ("rows", "not told" if estimate is None else f"{number(int(estimate))} before filters and deletes"),
        ]
        return rows + [("note", note) for note in self.get("notes") or []]

    def explain(self) -> str:
        """The plan as `fastdata plan` prints it."""
        with translated:
            return _native.render_explanation(self._text)

    def __repr__(self) -> str:
        return self.explain().rstrip("\n")

    def _repr_html_(self) -> str:
        from ._display import html_table

        return html_table("Plan", None, self._rows())


class ScanStats(Facts):
    """What a scan cost and where the time went. Times are microseconds; decode, filter and delete are summed over threads."""

    def __init__(self, text: str) -> None:
        from ._facts import snake

        super().__init__({snake(name): int(value) for name, value in json.loads(text).items()})

    def _rows(self) -> list[tuple[str, str]]:
        from ._display import duration

        facts = {name: self.get(name, 0) for name in _STATS}
        spent = ("planning", "storage", "decode", "filter", "delete", "consumer")
        times = ", ".join(f"{name} {duration(facts[f'{name}_us'])}" for name in spent)
        pruned = f"{number(facts['row_groups_pruned'])} pruned"
        less = f"{number(facts['rows_deleted'])} deleted, {number(facts['rows_filtered'])} filtered out"
        again = f"{number(facts['retries'])} retries, {number(facts['hedges'])} hedges"
        return [
            ("rows", f"{number(facts['rows'])} in {number(facts['batches'])} batches, {size(facts['bytes_returned'])}"),
            ("decoded", f"{number(facts['rows_decoded'])} rows, {less}"),
            ("read", f"{number(facts['files_read'])} files, {number(facts['row_groups_read'])} row groups ({pruned})"),
            ("storage", f"{size(facts['bytes_fetched'])} in {number(facts['requests'])} requests, {again}"),
            ("time", f"{duration(facts['total_us'])} to read, the first batch after {duration(facts['first_batch_us'])}: {times}"),
        ]

    _title = "Scan statistics"


_STATS = (
    "rows", "batches", "bytes_returned", "rows_decoded", "rows_deleted", "rows_filtered", "files_read", "row_groups_read", "row_groups_pruned",
    "bytes_fetched", "requests", "retries", "hedges", "planning_us", "storage_us", "decode_us", "filter_us", "delete_us", "consumer_us", "total_us",
    "first_batch_us",
)  # fmt: skip
