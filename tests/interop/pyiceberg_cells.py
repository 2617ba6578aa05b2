#!/usr/bin/env python3
"""Reads tables with pyiceberg and with fastdata, and says where a cell differs.

Each line of standard input is {"metadata": FILE, "arguments": [...], "command": [...]}: a metadata file, the arguments by which fastdata finds
the table's files where they lie now (--moved, --rewrite FROM=TO, --allow PREFIX), and fastdata's command that prints all rows as an Arrow stream.
Each answer is one line:

    {"outcome": "equal", "rows", "cells"}
    {"outcome": "different", "rows", "differences": [...], "examples": {COLUMN: [fastdata's cell, pyiceberg's cell]}}
    {"outcome": "pyiceberg fails", "error"}
    {"outcome": "fastdata refuses", "error", "pyiceberg_rows"}

with "snapshots" beside it: for each snapshot of the table, by its id, the same of the table as of then.

A difference is {"columns": [...], "pyiceberg_columns": [...]}, {"column": NAME, "type", "pyiceberg_type"}, {"rows": N, "pyiceberg_rows": M},
{"column": NAME, "cells": N}, or {"pairs": N}: the columns agree one by one, N rows do not.

Rows are compared as multisets: neither reader promises an order. Two cells are equal where type family and value are: NaN equals NaN, -0.0 is not 0.0,
1.20 is not 1.2, a map has no order. int and long are one family, and so are float and double, string types, and binary and fixed.

pyiceberg finds the files through a FileIO of ours that knows the same rewrites. It changes where bytes are read and nothing else: locations in metadata
and in delete files stay as they are stored.
"""
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.fs import LocalFileSystem
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable


class MovedFileIO(PyArrowFileIO):
    """Opens files at the place that rewrites give them."""

    def __init__(self, rules):
        super().__init__()
        self.rules = rules

    def new_input(self, location):
        return PyArrowFile(location=location, path=self.place(location), fs=LocalFileSystem())

    def place(self, location):
        spelling = plain(location)
        for start, end in self.rules:
            for known in (plain(start), path_of(start)):
                for asked in (spelling, path_of(location)):
                    rest = below(asked, known)
                    if rest is not None:
                        return end.rstrip("/") + "/" + rest
        return spelling


def plain(location):
    """One spelling for the schemes of S3 and of local files."""
    for scheme, instead in (("s3a://", "s3://"), ("s3n://", "s3://"), ("file://", ""), ("file:", ""), ("./", "")):
        if location.startswith(scheme):
            return instead + location[len(scheme):]
    return location


def path_of(location):
    """The path without scheme and authority, which some writers leave out."""
    _, scheme, rest = plain(location).partition("://")
    return "/" + rest.partition("/")[2] if scheme else plain(location)


def below(location, directory):
    directory = directory.rstrip("/") + "/"
    return location[len(directory):] if len(directory) > 1 and location.startswith(directory) else None


def rules_of(arguments, metadata_file, location):
    rules = [tuple(value.split("=", 1)) for flag, value in zip(arguments, arguments[1:]) if flag == "--rewrite"]
    if "--moved" in arguments:
        rules.append((location, metadata_file.rpartition("/metadata/")[0]))
    return rules


def open_with_pyiceberg(metadata_file, arguments):
    metadata = FromInputFile.table_metadata(MovedFileIO([]).new_input(metadata_file))
    io = MovedFileIO(rules_of(arguments, metadata_file, metadata.location))
    return StaticTable(("corpus", "table"), metadata, metadata_file, io, NoopCatalog("corpus"))


def read_with_fastdata(command):
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return pa.ipc.open_stream(done.stdout).read_all()


def family(kind):
    """The name under which types count as one."""
    if isinstance(kind, pa.BaseExtensionType):
        return family(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name}: {family(field.type)}" for field in kind) + ">"
    if pa.types.is_map(kind):
        return f"map<{family(kind.key_type)}, {family(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{family(kind.value_type)}>"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_decimal(kind):
        return f"decimal with {kind.scale} digits"
    if pa.types.is_timestamp(kind):
        return f"timestamp in {kind.unit}" + (" UTC" if kind.tz in ("UTC", "+00:00", "Etc/UTC") else f" {kind.tz}" if kind.tz else "")
    return str(kind)


def one_array(column):
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def comparable(column):
    """The cells as integers, texts or bytes that are equal where the cells are, and can be sorted."""
    array = one_array(column)
    if isinstance(array, pa.ExtensionArray):
        return comparable(array.storage)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return comparable(array.dictionary_decode())
    if pa.types.is_nested(kind):
        return pa.array([json.dumps(value) for value in cells(array)], pa.large_string())
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.int64())
    if pa.types.is_integer(kind):
        return array.cast(pa.int64())
    if pa.types.is_floating(kind):
        doubles = array.cast(pa.float64())
        one_nan = pc.if_else(pc.is_nan(doubles), pa.scalar(float("nan"), pa.float64()), doubles)
        return one_nan.view(pa.int64())
    if family(kind) == "string":
        return array.cast(pa.large_string())
    if family(kind) == "binary":
        return array.cast(pa.binary()).cast(pa.large_binary())
    if pa.types.is_decimal(kind):
        return array.cast(pa.decimal256(76, kind.scale)).cast(pa.large_string())
    if pa.types.is_date32(kind):
        return array.cast(pa.int32()).cast(pa.int64())
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        return array.cast(pa.int64())
    if pa.types.is_boolean(kind):
        return array.cast(pa.int64())
    raise TypeError(f"no way to compare {kind}")


def cells(array):
    """The cells as values that JSON can spell, nested ones as lists."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray) or not pa.types.is_nested(kind):
        return [value.hex() if isinstance(value, bytes) else value for value in comparable(array).to_pylist()]
    if pa.types.is_struct(kind):
        rows = zip(*(cells(child) for child in array.flatten())) if kind.num_fields else ([] for _ in array)
        return [list(row) if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]
    lists = [cells(value.values) if value.is_valid else None for value in array]
    return [sorted(entries, key=json.dumps) if entries and pa.types.is_map(kind) else entries for entries in lists]


def difference_in_shape(ours, theirs):
    if ours.schema.names != theirs.schema.names:
        return [{"columns": ours.schema.names, "pyiceberg_columns": theirs.schema.names}]
    pairs = [(name, family(ours.schema.field(i).type), family(theirs.schema.field(i).type)) for i, name in enumerate(ours.schema.names)]
    found = [{"column": name, "type": mine, "pyiceberg_type": other} for name, mine, other in pairs if mine != other]
    if ours.num_rows != theirs.num_rows:
        found.append({"rows": ours.num_rows, "pyiceberg_rows": theirs.num_rows})
    return found


def order_by(columns):
    """Indices that sort rows by all these columns."""
    table = pa.table(columns, names=[str(i) for i in range(len(columns))])
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names])


def unequal(a, b):
    same = pc.equal(a, b)
    both_null = pc.and_(pc.is_null(a), pc.is_null(b))
    return pc.invert(pc.or_(pc.fill_null(same, False), both_null))


def differences(ours, theirs):
    """Where the tables differ, or an empty list; and an example for each column that does."""
    found, examples = difference_in_shape(ours, theirs), {}
    if found or ours.num_rows == 0:
        return found, examples
    names = ours.schema.names
    mine, other = [comparable(c) for c in ours.columns], [comparable(c) for c in theirs.columns]
    agree = [i for i in range(len(names)) if not pc.any(unequal(mine[i].take(order_by([mine[i]])), other[i].take(order_by([other[i]])))).as_py()]
    differ = [i for i in range(len(names)) if i not in agree]
    # Rows are paired by the columns that agree; where those leave a choice, by the others.
    keys = agree + differ
    if keys:
        my_order, their_order = order_by([mine[i] for i in keys]), order_by([other[i] for i in keys])
    wrong = {i: unequal(mine[i].take(my_order), other[i].take(their_order)) for i in keys}
    for i in differ:
        at = pc.index(wrong[i], True).as_py()
        examples[names[i]] = [str(one_array(table.column(i)).take(order)[at]) for table, order in ((ours, my_order), (theirs, their_order))]
        found.append({"column": names[i], "cells": pc.sum(wrong[i]).as_py()})
    mispaired = max((pc.sum(wrong[i]).as_py() for i in agree), default=0)
    return found + ([{"pairs": mispaired}] if mispaired else []), examples


def compare(table, snapshot, command):
    try:
        theirs = table.scan(snapshot_id=snapshot).to_arrow()
    except Exception as error:  # whatever it raises is its answer
        return {"outcome": "pyiceberg fails", "error": f"{type(error).__name__}: {error}"}
    try:
        ours = read_with_fastdata(command if snapshot is None else [*command, "--snapshot", str(snapshot)])
    except RuntimeError as error:
        return {"outcome": "fastdata refuses", "error": str(error), "pyiceberg_rows": theirs.num_rows}
    found, examples = differences(ours, theirs)
    if found:
        return {"outcome": "different", "rows": ours.num_rows, "differences": found, "examples": examples}
    return {"outcome": "equal", "rows": ours.num_rows, "cells": ours.num_rows * ours.num_columns}


def compare_all(request):
    try:
        table = open_with_pyiceberg(request["metadata"], request["arguments"])
    except Exception as error:  # as above
        return {"outcome": "pyiceberg fails", "error": f"{type(error).__name__}: {error}", "snapshots": {}}
    now = compare(table, None, request["command"])
    ids = [snapshot.snapshot_id for snapshot in table.snapshots()]
    return {**now, "snapshots": {str(id): compare(table, id, request["command"]) for id in ids}}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(compare_all(json.loads(line))), flush=True)
