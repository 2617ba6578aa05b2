"""Compares the rows of two readers cell by cell.

Contract: `Rows` holds a table as columns (name and type) and rows of cells. Rows are compared as multisets: no reader promises an order.
Two cells are equal where value and type are: NaN equals NaN, -0.0 is not 0.0, 1.20 is not 1.2, a timestamp with a zone is not one without,
a null struct is not a struct of nulls, an empty list is not null; a map has no order.
"""

import collections
import json
import math

import pyarrow as pa

from columns import ARROW, GENERIC, children, field, is_primitive

NAMES = {kind: name for name, kind in (ARROW | GENERIC).items() if name != "uuid"}


class Rows:
    """Columns with their types, and rows of cells that JSON can spell."""

    def __init__(self, names, kinds, rows):
        self.names, self.kinds, self.rows = names, kinds, rows

    @classmethod
    def of(cls, table):
        table = table.combine_chunks()
        kinds = [kind_of(column.type) for column in table.schema]
        columns = [cells(column.chunk(0)) if column.num_chunks else [] for column in table.columns]
        return cls(table.schema.names, kinds, [list(row) for row in zip(*columns)] if columns else [[] for _ in range(table.num_rows)])

    def where(self, truth):
        """The rows whose truth is true, not false nor null."""
        return Rows(self.names, self.kinds, [row for row, holds in zip(self.rows, truth) if holds is True])

    def select(self, paths):
        """The columns at these paths: roots in the order of the paths, below them what the paths leave, in the order of the type."""
        wanted = {}
        for path in paths:
            want(wanted, path)
        at = [self.names.index(name) for name in wanted]
        kept = list(wanted.values())
        kinds = [pruned_kind(self.kinds[i], below) for i, below in zip(at, kept)]
        rows = [[pruned(self.kinds[i], row[i], below) for i, below in zip(at, kept)] for row in self.rows]
        return Rows(list(wanted), kinds, rows)


def want(wanted, path):
    """Notes a path in a tree in which None stands for everything below."""
    if len(path) == 1:
        wanted[path[0]] = None
    elif wanted.get(path[0], {}) is not None:
        want(wanted.setdefault(path[0], {}), path[1:])


def pruned_kind(kind, wanted):
    if wanted is None or is_primitive(kind):
        return kind
    below = [(name, {**child, "type": pruned_kind(child["type"], wanted[name])}) for name, child in children(kind) if name in wanted]
    if "struct" in kind:
        return {"struct": [child for _, child in below]}
    kept = dict(below)
    if "list" in kind:
        return {"list": kept["element"]}
    # Keys come whole, and with all of the values where nothing of them is asked for.
    return {"map": [kind["map"][0], kept.get("value", kind["map"][1])]}


def pruned(kind, cell, wanted):
    if wanted is None or cell is None or is_primitive(kind):
        return cell
    if "struct" in kind:
        return [pruned(child["type"], value, wanted[name]) for (name, child), value in zip(children(kind), cell) if name in wanted]
    if "list" in kind:
        return [pruned(kind["list"]["type"], value, wanted["element"]) for value in cell]
    return ordered([key, pruned(kind["map"][1]["type"], value, wanted.get("value"))] for key, value in cell)


def kind_of(kind):
    """The Iceberg type that an Arrow type stands for."""
    if isinstance(kind, pa.BaseExtensionType):
        return "uuid" if kind.extension_name == "arrow.uuid" else kind_of(kind.storage_type)
    if kind in NAMES:
        return NAMES[kind]
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_struct(kind):
        return {"struct": [field(child.name, kind_of(child.type)) for child in kind]}
    if pa.types.is_list(kind):
        return {"list": field("element", kind_of(kind.value_type))}
    if pa.types.is_map(kind):
        return {"map": [field("key", kind_of(kind.key_type)), field("value", kind_of(kind.item_type))]}
    return str(kind)


def cells(array):
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return cells(array.storage)
    if pa.types.is_struct(kind):
        rows = zip(*(cells(child) for child in array.flatten())) if kind.num_fields else ([] for _ in array)
        return [list(row) if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]
    if pa.types.is_map(kind):
        return [ordered([key, item] for key, item in cells(entries)) if entries is not None else None for entries in parts(array)]
    if pa.types.is_list(kind):
        return [cells(items) if items is not None else None for items in parts(array)]
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        array = array.cast(pa.int64())
    elif pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    return [spelled(value) for value in array.to_pylist()]


def parts(array):
    return [value.values if value.is_valid else None for value in array]


def spelled(value):
    """Floats as text that tells -0.0 from 0.0, and NaN equal to itself; bytes as hexadecimal; decimals with their digits."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, (bool, int, str)) else format(value, "f")


def ordered(entries):
    return sorted(entries, key=json.dumps)


def difference(expected, found, limit=None, shown=5):
    """Where rows differ from those expected, as JSON, or None. With a limit, any of the expected rows will do, as many as it allows."""
    if expected.names != found.names:
        return {"columns": found.names, "expected columns": expected.names}
    kinds = [
        {"column": name, "type": there, "expected type": here}
        for name, here, there in zip(expected.names, expected.kinds, found.kinds)
        if json.dumps(bare(here)) != json.dumps(bare(there))
    ]
    if kinds:
        return {"types": kinds}
    here, there = (collections.Counter(json.dumps(row) for row in rows.rows) for rows in (expected, found))
    if here == there or (limit and len(found.rows) == min(limit, len(expected.rows)) and there <= here):
        return None
    missing, extra = list((here - there).elements()), list((there - here).elements())
    told = {"columns": expected.names, "rows": len(found.rows), "expected rows": len(expected.rows)}
    return told | {"missing": [json.loads(row) for row in missing[:shown]], "not expected": [json.loads(row) for row in extra[:shown]]}


def bare(kind):
    """A type without what is required: writers and readers tell it differently in nested types."""
    if is_primitive(kind):
        return kind
    if "struct" in kind:
        return {"struct": [[child["name"], bare(child["type"])] for child in kind["struct"]]}
    if "list" in kind:
        return {"list": bare(kind["list"]["type"])}
    return {"map": [bare(child["type"]) for child in kind["map"]]}
