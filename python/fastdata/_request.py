"""The keywords of `Table.scan` as the JSON of a `fastdata.v1.ScanRequest` (docs/scan-request.md).

What only the table can tell (columns, filters, snapshots) is left to the engine; here are the slips that Python invites.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Any

from ._errors import InvalidRequest

_ORDERS = {"stable": "ORDER_STABLE", "fast": "ORDER_FAST"}
_STRINGS = {"utf8": "STRINGS_UTF8", "utf8_view": "STRINGS_UTF8_VIEW", "dictionary": "STRINGS_DICTIONARY"}
_COMPRESSIONS = {"none": "COMPRESSION_NONE", "lz4": "COMPRESSION_LZ4", "zstd": "COMPRESSION_ZSTD"}


def scan_request(
    *,
    columns: Sequence[str] | None = None,
    where: str | None = None,
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
    order: str | None = None,
    strings: str | None = None,
    compression: str | None = None,
) -> dict[str, Any]:
    """The members of a request that were given, the table excepted."""
    request: dict[str, Any] = {
        "snapshotId": _text(whole("snapshot", snapshot)),
        "ref": _words("ref", ref),
        "asOfMs": _text(as_of_ms(as_of)),
        "fromSnapshotId": _text(whole("after", after)),
        "toSnapshotId": _text(whole("up_to", up_to)),
        "schemaId": whole("schema_id", schema_id, most=2**31 - 1),
        "columns": _columns(columns),
        "filter": _words("where", where),
        "limit": _text(whole("limit", limit, least=0)),
        "sample": _sample(sample, seed),
        "batchRows": whole("batch_rows", batch_rows, least=1, most=2**32 - 1),
        "batchBytes": _text(whole("batch_bytes", batch_bytes, least=1)),
        "order": _choice("order", order, _ORDERS),
        "strings": _choice("strings", strings, _STRINGS),
        "compression": _choice("compression", compression, _COMPRESSIONS),
    }
    return {name: value for name, value in request.items() if value is not None}


def whole(name: str, value: int | None, *, least: int | None = None, most: int = 2**63 - 1) -> int | None:
    """An integer of Python or NumPy, or None; anything else is refused by the name of the keyword."""
    if value is None:
        return None
    index = getattr(value, "__index__", None)
    if isinstance(value, bool) or index is None:
        raise InvalidRequest(f"{name} is {value!r}", advice=f"give {name} as an integer")
    number = int(index())
    if least is not None and number < least:
        raise InvalidRequest(f"{name} is {number}", advice=f"give {name} of at least {least}")
    if number > most:
        raise InvalidRequest(f"{name} is {number}", advice=f"give {name} of at most {most}")
    return number


def as_of_ms(value: datetime | date | str | int | None) -> int | None:
    """Milliseconds from the Unix epoch; without a zone it is UTC, and a date is its start."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value)
        except ValueError:
            raise InvalidRequest(f"as_of is {value!r}", advice='give a time such as "2026-01-31" or "2026-01-31T12:00:00+00:00"') from None
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    else:
        raise InvalidRequest(f"as_of is {value!r}", advice="give a datetime, a date, ISO text, or milliseconds from the epoch")
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _words(name: str, value: str | None) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InvalidRequest(f"{name} is {value!r}", advice=f"give {name} as text, or leave it out")
    return value


def _columns(columns: Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    if isinstance(columns, str):
        raise InvalidRequest(f"columns is the text {columns!r}", advice=f"give a list: columns=[{columns!r}]")
    names = list(columns)
    if not names:
        raise InvalidRequest("columns is empty", advice="name at least one, or leave columns out for all")
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"a column is named {name!r}", advice="give column names as text")
    return names


def _sample(fraction: float | None, seed: int) -> dict[str, Any] | None:
    if fraction is None:
        return None
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
        raise InvalidRequest(f"sample is {fraction!r}", advice="give a fraction between 0 and 1")
    return {"fraction": float(fraction), "seed": str(whole("seed", seed, least=0, most=2**64 - 1))}


def _choice(name: str, value: str | None, choices: dict[str, str]) -> str | None:
    if value is None:
        return None
    if value not in choices:
        raise InvalidRequest(f"{name} is {value!r}", advice=f"give one of: {', '.join(choices)}")
    return choices[value]
