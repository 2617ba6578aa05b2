"""What needs no Spark: histories are functions of their seed, unequal cells are found, and shrinking keeps what fails."""

import decimal
import json
import unittest

import pyarrow as pa

import generate
import predicates
from columns import arrow_table, field
from compare import Rows, difference
from model import Model
from shrink import shrink


class Histories(unittest.TestCase):
    def test_a_seed_gives_one_history_and_it_survives_json(self):
        for seed in range(20):
            history = generate.history(seed)
            self.assertEqual(history, generate.history(seed))
            self.assertEqual(history, json.loads(json.dumps(history)))
        self.assertNotEqual(generate.history(1)["steps"], generate.history(2)["steps"])

    def test_every_operation_comes_within_some_hundred_seeds_and_every_step_applies(self):
        seen = set()
        for seed in range(300):
            model = Model()
            for step in generate.history(seed)["steps"]:
                model.apply(step)
                seen.add(step["op"])
        self.assertEqual(seen, {"create", *generate.WEIGHTS})


class Cells(unittest.TestCase):
    def differ(self, kind, one, other):
        return difference(*(Rows.of(pa.table({"x": pa.array([value], kind)})) for value in (one, other)))

    def test_cells_that_look_alike_differ(self):
        struct = pa.struct([("a", pa.int32())])
        pairs = [
            (pa.float64(), 0.0, -0.0), (pa.float32(), float("nan"), None), (pa.list_(pa.int32()), [], None), (struct, {"a": None}, None),
            (pa.map_(pa.string(), pa.int32()), [("a", None)], []), (pa.binary(), b"", None), (pa.string(), "", None),
            (pa.timestamp("us"), 0, 1), (pa.list_(struct), [None], [{"a": None}]),
        ]  # fmt: skip
        for kind, one, other in pairs:
            with self.subTest(kind=str(kind)):
                self.assertIsNotNone(self.differ(kind, one, other))
                self.assertIsNone(self.differ(kind, one, one))
                self.assertIsNone(self.differ(kind, other, other))

    def test_types_that_hold_the_same_value_differ(self):
        one = decimal.Decimal("1")
        kinds = [
            (pa.int32(), pa.int64(), 1),
            (pa.float32(), pa.float64(), 1.5),
            (pa.decimal128(9, 2), pa.decimal128(10, 2), one),
            (pa.timestamp("us"), pa.timestamp("us", "UTC"), 0),
        ]
        for here, there, value in kinds:
            self.assertIn("types", difference(*(Rows.of(pa.table({"x": pa.array([value], kind)})) for kind in (here, there))))

    def test_rows_are_a_multiset_and_maps_have_no_order(self):
        kind = pa.map_(pa.string(), pa.int32())
        self.assertIsNone(self.differ(kind, [("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
        here, there = (Rows.of(pa.table({"x": values})) for values in ([1, 1, 2], [1, 2, 2]))
        self.assertEqual(difference(here, there)["missing"], [[1]])
        self.assertIsNone(difference(here, Rows.of(pa.table({"x": [2, 1]})), limit=2))
        self.assertIsNotNone(difference(here, Rows.of(pa.table({"x": [2, 2]})), limit=2))
        self.assertIsNotNone(difference(here, Rows.of(pa.table({"x": [2]})), limit=2))
        self.assertEqual(difference(here, there)["not expected"], [[2]])

    def test_paths_prune_what_they_leave_out(self):
        inner = {"struct": [field("a", "int"), field("b", "string")]}
        fields = [
            field("k", "int"),
            field("s", inner),
            field("l", {"list": field("element", inner)}),
            field("m", {"map": [field("key", "int", True), field("value", inner)]}),
        ]
        both = {"a": 1, "b": "x"}
        rows = Rows.of(arrow_table(fields, [{"k": 7, "s": both, "l": [both, None], "m": [[5, both]]}, {"k": 8}]))
        self.assertEqual(rows.select([["s", "b"], ["k"]]).rows, [[["x"], 7], [None, 8]])
        self.assertEqual(rows.select([["l", "element", "a"]]).rows, [[[[1], None]], [None]])
        self.assertEqual(rows.select([["m", "value", "b"]]).rows, [[[[5, ["x"]]]], [None]])
        self.assertEqual(rows.select([["m", "key"]]).rows, rows.select([["m"]]).rows)


class Predicates(unittest.TestCase):
    def test_both_dialects_of_one_predicate(self):
        predicate = {
            "and": [
                {"path": ["s", "Odd name"], "type": "string", "compare": "<=", "value": "it's"},
                {"not": {"path": ["n"], "type": "double", "in": ["NaN", None], "not_in": False}},
            ]
        }
        self.assertEqual(
            predicates.text(predicate, True), "((`s`.`Odd name` <= 'it\\'s') AND (NOT (`n` IN (CAST('NaN' AS DOUBLE), NULL))))"
        )
        self.assertEqual(
            predicates.text(predicate, False), "((\"s\".\"Odd name\" <= 'it''s') AND (NOT (\"n\" IN (CAST('NaN' AS DOUBLE), NULL))))"
        )


class Shrinking(unittest.TestCase):
    def test_what_is_left_is_what_fails(self):
        def fails(history):
            """As if the rows of an append with the key 7 were lost after any delete."""
            lost = any(row.get("key") == 7 for step in history["steps"] if step["op"] == "append" for row in step["rows"])
            deleted = [i for i, step in enumerate(history["steps"]) if step["op"] == "delete"]
            return (
                {"step": deleted[-1], "check": history["steps"][deleted[-1]]["checks"][0]}
                if lost and deleted and history["steps"][deleted[-1]]["checks"]
                else None
            )

        check = {"ref": ["current"], "columns": None, "where": None}
        rows = [{"key": n, "x": n} for n in range(20)]
        steps = [{"op": "create", "fields": [field("key", "int"), field("x", "int")], "terms": [], "properties": {"a": "b"}, "checks": []}]
        steps += [
            {"op": op, "rows": rows, "where": None, "checks": [check, check]} for op in ("append", "upgrade", "append", "delete", "append")
        ]
        history = {"seed": 1, "steps": steps}
        left, failure = shrink(history, fails(history), fails, 20)
        self.assertEqual([step["op"] for step in left["steps"]], ["create", "append", "delete"])
        self.assertEqual([row["key"] for row in left["steps"][1]["rows"]], [7])
        self.assertEqual(left["steps"][0]["properties"], {})
        self.assertEqual(failure["step"], 2)


if __name__ == "__main__":
    unittest.main()
