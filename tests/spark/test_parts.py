"""What needs no Spark: histories are functions of their seed, unequal cells are found, and shrinking keeps what fails."""

import argparse
import contextlib
import decimal
import io
import json
import tempfile
import unittest
from pathlib import Path

import pyarrow as pa

import coverage
import generate
import predicates
import run
from columns import arrow_table, field
from compare import Rows, difference
from model import Model
from outcome import Broken, Outcome
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

    def test_the_histories_of_a_short_run_try_all_that_is_wanted(self):
        spark = [seed for seed in coverage.SEEDS if seed % 5]
        self.assertEqual((len(spark), len(set(coverage.SEEDS))), (10, 12))
        tried = set().union(*(coverage.tried(generate.history(seed)["steps"]) for seed in spark))
        self.assertEqual(coverage.WANTED - tried, set(), "`python tests/spark/coverage.py` prints seeds that have it")
        # Each of these is told from what is like it.
        positions = {"write.delete.mode": "merge-on-read"}
        create = {"op": "create", "version": 2, "fields": [field("d", "date")], "terms": [], "properties": positions}
        term = {"transform": "year", "path": ["d"]}
        append, delete = {"op": "append", "rows": [], "branch": None}, {"op": "delete", "where": None}
        unwritten = coverage.tried([create, append, {"op": "add_term", "term": term}])
        self.assertEqual(unwritten, {"create", "append", "add_term", "a table of version 2"})
        self.assertIn("rows written by year", coverage.tried([create, {"op": "add_term", "term": term}, append]))
        self.assertIn("delete by positions in version 2", coverage.tried([create, delete]))
        self.assertIn("delete by files in version 2", coverage.tried([{**create, "properties": {}}, delete]))
        self.assertNotIn("drop_column", coverage.tried([create, {"op": "drop_column", "path": ["d"]}]), "the last column stays")

    def test_every_step_asks_for_some_columns_and_rows_of_a_snapshot(self):
        for step in generate.history(3)["steps"]:
            self.assertTrue(any(one["ref"][0] == "snapshot" and one["where"] and one["columns"] for one in step["checks"]))


class FakePlayer:
    """Answers what it is told to, a history each; then Spark has ended."""

    def __init__(self, *answers):
        self.left, self.histories = list(answers), []

    def play(self, history):
        self.histories.append(history)
        answer = self.left.pop(0)(history) if callable(self.left[0]) else self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answers(self):
        return bool(self.left)


class Runs(unittest.TestCase):
    def played(self, player, histories, shrink_seconds=0, wanted=frozenset()):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            failures, regressions = Path(folder, "failures"), Path(folder, "none")
            asked = argparse.Namespace(
                histories=histories, first=1, replay=None, failures=failures, regressions=regressions, shrink_seconds=shrink_seconds
            )
            played = run.Played(player, asked)
            run.play_each(played, asked)
            problems = played.summary(wanted)
            saved = {path.stem: json.loads(path.read_text())["steps"] for path in failures.glob("*.json")}
        return played, problems, saved, said.getvalue()

    def test_more_than_one_early_end_in_twenty_fails_a_run(self):
        step = {"op": "append"}
        whole, early = Outcome([step] * 4), Outcome([step], unreadable="step 1, append: a ClassCastException")
        for ends, problems in [(1, 0), (2, 0), (3, 1)]:
            played, found, _, said = self.played(FakePlayer(*[early] * ends, *[whole] * (40 - ends)), 40)
            self.assertEqual((played.passed, played.failed, len(found)), (40, 0, problems), said)
            self.assertIn(f"ended early: {ends} of 40 histories", said)
        self.assertIn("FAILED: 3 of 40 histories ended early", said)

    def test_more_than_one_refused_step_in_ten_fails_a_run(self):
        for refused, problems in [(1, 0), (2, 0), (3, 1)]:
            played, found, _, said = self.played(FakePlayer(Outcome([{"op": "append"}] * 19, refused=["update"] * refused)), 1)
            self.assertEqual((played.passed, len(found)), (1, problems), said)
        self.assertIn("FAILED: 3 of 22 steps were refused", said)

    def test_what_is_wanted_has_to_be_played_not_only_asked_for(self):
        create = generate.history(1)["steps"][0]
        _, found, _, said = self.played(FakePlayer(Outcome([create])), 1, wanted=frozenset(["create", "append"]))
        self.assertEqual(found, ["not tried: append"], said)

    def test_a_broken_history_is_shrunk_and_saved(self):
        def play(history):
            """Breaks at the first drop of a column, and otherwise from the number of the table on."""
            at = next((i for i, step in enumerate(history["steps"]) if step["op"] == "drop_column"), None)
            player.left.append(play)
            return Outcome() if at is None else Broken(at, RuntimeError(f"Spark cannot do it\nno column {len(player.histories)}"))

        seed = next(n for n in range(1, 99) if any(step["op"] == "drop_column" for step in generate.history(n)["steps"][3:]))
        player = FakePlayer(play)
        with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
            asked = argparse.Namespace(failures=Path(folder), shrink_seconds=20)
            played = run.Played(player, asked)
            played.one(f"seed {seed}", generate.history(seed), known=False)
            saved = json.loads(Path(folder, f"seed-{seed}.json").read_text())
        self.assertEqual(played.failed, 1)
        self.assertEqual([step["op"] for step in saved["steps"]], ["create", "drop_column"])

    def test_a_run_stops_when_spark_has_ended(self):
        player = FakePlayer(Outcome(), Broken(0, ConnectionRefusedError("nobody is there")))
        played, _, saved, said = self.played(player, 30)
        self.assertEqual((played.passed, played.failed, len(player.histories), saved), (1, 1, 2, {}))
        self.assertIn("no further history is played", said)


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
