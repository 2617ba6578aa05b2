"""How things look: figures for people, tables in a terminal, tables in a notebook.

Whatever comes from a table or a person is escaped in HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes as `16.5 MiB`."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def number(count: int) -> str:
    """`600 572`; figures of sixteen digits and more are ids and stay together."""
    return f"{count:,}".replace(",", " ") if abs(count) < 10**15 else str(count)


def duration(micros: float) -> str:
    """Microseconds as `1.3 ms` or `2.1 s`."""
    return f"{micros / 1000:.1f} ms" if micros < 1_000_000 else f"{micros / 1_000_000:.1f} s"


def cut(text: str, most: int) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= most else text[: most - 3] + "..."


def columns_text(rows: Iterable[Sequence[str]], indent: str = "  ") -> str:
    """Rows as aligned columns, each line with the indent before it."""
    lines = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(indent + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines)


def html_table(title: str, head: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    """A table for a notebook. Everything given is text, and is escaped."""
    parts = [f"<div><b>{escape(title)}</b>", "<table>"]
    if head is not None:
        parts.append("<thead><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr></thead>")
    parts.append("<tbody>")
    parts += ["<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    parts.append("</tbody></table></div>")
    return "".join(parts)
