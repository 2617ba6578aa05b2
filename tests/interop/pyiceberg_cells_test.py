#!/usr/bin/env python3
"""The comparison of pyiceberg_cells.py sees every kind of difference, and none where spellings alone differ."""
import datetime
import decimal
import unittest

import pyarrow as pa
from pyiceberg_cells import MovedFileIO, differences

NAN = float("nan")
INSTANTS = [datetime.datetime(11, 3, 5), None, datetime.datetime(2026, 1, 31)]
NESTED = pa.struct([("x", pa.int64()), ("y", pa.list_(pa.struct([("z", pa.binary())])))])

OURS = pa.table({
    "integer": pa.array([1, 2, None], pa.int32()),
    "float": pa.array([NAN, -0.0, 1.5], pa.float32()),
    "string": pa.array(["x", None, ""], pa.string()),
    "binary": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "map": pa.array([[("a", 1), ("b", 2)], None, []], pa.map_(pa.string(), pa.int32())),
    "struct": pa.array([{"x": 1, "y": [{"z": b"q"}]}, None, {"x": None, "y": None}], NESTED),
    "instant": pa.array(INSTANTS, pa.timestamp("us", "UTC")),
    "decimal": pa.array([decimal.Decimal("1.20"), None, decimal.Decimal("-3.00")], pa.decimal128(10, 2)),
    "nothing": pa.nulls(3),
})
SPELLED_OTHERWISE = {
    "integer": pa.int64(), "float": pa.float64(), "string": pa.large_string(), "binary": pa.large_binary(),
    "list": pa.large_list(pa.int32()), "decimal": pa.decimal128(20, 2),
}


def with_column(name, values):
    at = OURS.schema.get_field_index(name)
    return OURS.set_column(at, name, pa.array(values, OURS.schema.field(name).type))


class Comparison(unittest.TestCase):
    def test_order_width_and_spelling_make_no_difference(self):
        theirs = OURS
        for name, kind in SPELLED_OTHERWISE.items():
            theirs = theirs.set_column(theirs.schema.get_field_index(name), name, theirs[name].cast(kind))
        entries = pa.array([[("b", 2), ("a", 1)], None, []], OURS.schema.field("map").type)
        theirs = theirs.set_column(theirs.schema.get_field_index("map"), "map", entries)
        self.assertEqual(differences(OURS, theirs.take([2, 0, 1]))[0], [])
        self.assertEqual(differences(OURS.slice(1), theirs.slice(1).take([1, 0]))[0], [])

    def test_a_cell_that_differs_is_seen(self):
        changes = {
            "integer": [1, 3, None], "float": [NAN, 0.0, 1.5], "string": ["x", "", ""], "binary": [b"ab", None, b"ce"],
            "list": [[1, None], [], []], "map": [[("a", 1), ("b", 3)], None, []],
            "struct": [{"x": 1, "y": [{"z": b"q"}]}, {"x": None, "y": None}, {"x": None, "y": None}],
            "instant": [None, None, datetime.datetime(2026, 1, 31)], "decimal": [decimal.Decimal("1.21"), None, decimal.Decimal("-3.00")],
        }
        for name, values in changes.items():
            self.assertEqual(differences(OURS, with_column(name, values))[0], [{"column": name, "cells": 1}])

    def test_values_that_changed_rows_are_seen(self):
        pairs = OURS.select(["integer", "string"])
        swapped = pa.table({"integer": pairs["integer"], "string": pairs["string"].take([1, 0, 2])})
        self.assertEqual(differences(pairs, swapped)[0], [{"pairs": 2}])

    def test_rows_columns_and_types_that_differ_are_seen(self):
        self.assertEqual(differences(OURS, OURS.slice(1))[0], [{"rows": 3, "pyiceberg_rows": 2}])
        self.assertIn("pyiceberg_columns", differences(OURS, OURS.drop_columns(["map"]))[0][0])
        zoneless = pa.table({"t": pa.array(INSTANTS, pa.timestamp("us"))})
        zoned = pa.table({"t": pa.array(INSTANTS, pa.timestamp("us", "UTC"))})
        expected = {"column": "t", "type": "timestamp in us", "pyiceberg_type": "timestamp in us UTC"}
        self.assertEqual(differences(zoneless, zoned)[0], [expected])


class Places(unittest.TestCase):
    def test_every_spelling_of_a_moved_table_leads_to_the_copy(self):
        for baked, asked in [
            ("s3a://bucket/t", "s3://bucket/t/data/f"), ("s3://bucket/t/", "/t/data/f"), ("file:/tmp/t", "/tmp/t/data/f"),
            ("/tmp/t", "file:///tmp/t/data/f"), ("/user/t", "hdfs://host:8020/user/t/data/f"), ("data/t", "data/t/data/f"),
            ("./t", "t/data/f"),
        ]:
            self.assertEqual(MovedFileIO([(baked, "/copy")]).place(asked), "/copy/data/f")
        self.assertEqual(MovedFileIO([("s3://bucket/t", "/copy")]).place("s3://bucket/tea/f"), "s3://bucket/tea/f")


if __name__ == "__main__":
    unittest.main()
