"""How far a run has come: a value of a few hundred bytes to keep beside a model's checkpoint.

Contract: immutable, comparable, picklable; its JSON is the engine's cursor and, as `epoch`, the number of the epoch, which the engine knows of
shuffled runs only. The cursors of all ranks merge into one, with which any number of ranks goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from . import _native
from ._display import number
from ._errors import InvalidRequest, PlanMismatch, translated

_ADVICE = "give a Cursor as batches.cursor() made it, its to_json(), or a list of those of all ranks"


class Cursor:
    """The rows that each lane has yielded, and of what: plan, snapshot, seed and epoch."""

    __slots__ = ("_epoch", "_text")
    _epoch: int
    _text: str

    def __init__(self) -> None:
        raise TypeError("a Cursor is made by batches.cursor(), epoch.cursor or Cursor.from_json(...)")

    @classmethod
    def _of(cls, text: str, epoch: int) -> Cursor:
        """A cursor of the engine's JSON."""
        cursor = cls.__new__(cls)
        cursor._epoch = epoch
        cursor._text = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
        return cursor

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> Cursor:
        """The cursor of what `to_json` returned, or of the engine's own JSON."""
        try:
            members = dict(text) if isinstance(text, Mapping) else json.loads(text)
        except (ValueError, TypeError):
            raise InvalidRequest("a cursor that is no JSON", advice=_ADVICE) from None
        if not isinstance(members, dict) or "planDigest" not in members:
            raise InvalidRequest("JSON that is no cursor", advice=_ADVICE)
        shuffle = members.get("shuffle")
        try:
            known = int(shuffle["epoch"]) if isinstance(shuffle, dict) and "epoch" in shuffle else None
        except (ValueError, TypeError):
            raise InvalidRequest("a cursor whose epoch is no number", advice=_ADVICE) from None
        epoch = members.pop("epoch", known or 0)
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0 or known not in (None, epoch):
            raise InvalidRequest(f"a cursor with the epoch {epoch!r}", advice=_ADVICE)
        cursor = cls._of(json.dumps(members), epoch)
        with translated:
            # The engine alone knows what a cursor may hold.
            return cls._of(_native.merge_cursors([cursor._text]), epoch)

    @classmethod
    def of(cls, cursor: Cursor | str | bytes | Mapping[str, Any] | Iterable[Any]) -> Cursor:
        """Whatever holds a cursor, or the cursors of all ranks, as one."""
        if isinstance(cursor, Cursor):
            return cursor
        if isinstance(cursor, (str, bytes, Mapping)):
            return cls.from_json(cursor)
        if not isinstance(cursor, Iterable):
            raise InvalidRequest(f"a {type(cursor).__name__} is no cursor", advice=_ADVICE)
        each: Iterable[Any] = cursor
        return cls.merge(cls.of(one) for one in each)

    @classmethod
    def merge(cls, cursors: Iterable[Cursor]) -> Cursor:
        """The cursors of all ranks as one: each lane is where the furthest says. Those of different runs or epochs are a `plan-mismatch`."""
        each = list(cursors)
        if not each:
            raise InvalidRequest("no cursors to merge", advice="give those of all ranks")
        epochs = sorted({cursor._epoch for cursor in each})
        if len(epochs) > 1:
            raise PlanMismatch(f"cursors of the epochs {', '.join(map(str, epochs))}", advice="merge the cursors of one epoch of one run only")
        with translated:
            return cls._of(_native.merge_cursors([cursor._text for cursor in each]), epochs[0])

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({**json.loads(self._text), "epoch": self._epoch}, sort_keys=True, separators=(",", ":"))

    @property
    def _members(self) -> dict[str, Any]:
        return dict(json.loads(self._text))

    @property
    def epoch(self) -> int:
        """The number of the epoch."""
        return self._epoch

    @property
    def snapshot_id(self) -> int | None:
        value = self._members.get("snapshotId")
        return None if value is None else int(value)

    @property
    def schema_id(self) -> int | None:
        value = self._members.get("schemaId")
        return None if value is None else int(value)

    @property
    def seed(self) -> int | None:
        """The shuffle's seed; None without a shuffle."""
        shuffle = self._members.get("shuffle")
        return None if shuffle is None else int(shuffle["seed"])

    @property
    def lanes(self) -> int:
        return int(self._members["lanes"])

    @property
    def positions(self) -> dict[int, int]:
        """Rows yielded by each lane that has yielded any."""
        return {int(lane): int(position["rows"]) for lane, position in self._members.get("positions", {}).items()}

    @property
    def rows(self) -> int:
        """Rows yielded by all lanes together."""
        return sum(self.positions.values())

    @property
    def plan_digest(self) -> str:
        return str(self._members["planDigest"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cursor) and (self._text, self._epoch) == (other._text, other._epoch)

    def __hash__(self) -> int:
        return hash((self._text, self._epoch))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Cursor.from_json, (self.to_json(),))

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        where = f"snapshot {self.snapshot_id}, plan {self.plan_digest[:8]}"
        return f"Cursor(epoch {self.epoch}, {number(self.rows)} rows of {self.lanes} lanes{seed}, {where})"
