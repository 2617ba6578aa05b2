"""Plays a history: Spark changes a table step by step, and after each step fastdata must read what Spark reads.

Contract: `Player.play` returns an Outcome: the first failure, or none, and what was left out. A step that the model finds impossible is
left out silently (a shrunk history has such); one that Spark refuses for a reason of REFUSED is counted; any other error of Spark is an
error of the test, `Broken`. A query is left out where its columns are not there.
"""

import json
import re
import shutil
from pathlib import Path

import fastdata

import session as tables
from checks import Checks, Unreadable, first_lines
from generic import GenericTable
from model import Inapplicable, Model
from outcome import Broken, Outcome
from steps import SparkSteps

# Steps that write rows.
WRITES = "append|overwrite_partitions|delete|update|merge|compact"
# What Spark refuses though the model allows it: the steps, and what the message says.
REFUSED = [
    ("fast_forward", "is not an ancestor of"),
    # A partition term of version 1 that was replaced, and its column dropped since.
    ("overwrite_partitions", "Cannot build accessor for field: null"),
    # A partition of the least decimal, truncated, has a digit too many.
    (WRITES, "Cannot write value as decimal"),
    # A required column in a null struct that a partition term uses.
    (WRITES, "Missing required field"),
    ("tag", "main has no snapshot"),
    # A filter on a branch, of a column that its last snapshot has by another name or not at all.
    ("delete|update", "Cannot find field '.*' in struct"),
    # A column in a null struct that also has a required one.
    ("update", "NOT_NULL_ASSERT_VIOLATION"),
    # Spark's optimizer, on some columns in structs.
    ("update", "AssertionError: assertion failed"),
    # What Iceberg's expressions cannot spell: NaN, and NULL in a list.
    ("delete|update", "Cannot create expression literal from NaN|Invalid object: null"),
]


class Player:
    """Plays histories in one session, each in a table of its own, which goes when it is done."""

    def __init__(self, spark, folder):
        self.spark = spark
        self.lake_folder = Path(folder, "lake", "db")
        config = Path(folder, "fastdata.toml")
        config.write_text('memory = "256MiB"\n')
        self.lake = fastdata.connect(config)
        self.played = 0

    def play(self, history):
        self.played += 1
        run = (_GenericRun if history.get("writer") == "iceberg-data" else _Run)(self, f"t{self.played}")
        try:
            for number, step in enumerate(history["steps"]):
                try:
                    failure = run.step(step)
                except Unreadable as error:
                    run.outcome.unreadable = f"step {number}, {step['op']}: {error}"
                    break
                except Exception as error:
                    raise Broken(number, error) from error
                if failure:
                    run.outcome.failure = {"step": number, **failure}
                    break
        finally:
            shutil.rmtree(run.folder, ignore_errors=True)
        return run.outcome

    def answers(self):
        """Whether Spark is there."""
        try:
            return self.spark.sql("SELECT 1").collect() is not None
        except Exception:  # whatever a broken connection raises
            return False


class _Run(SparkSteps, Checks):
    def __init__(self, player, name):
        self.spark, self.lake = player.spark, player.lake
        self.name, self.folder = f"lake.db.{name}", player.lake_folder / name
        self.short = f"db.{name}"
        self.model, self.outcome = Model(), Outcome()
        self.kept, self.models, self.keys_in_structs = {}, {}, set()

    def step(self, step):
        """Plays a step and its checks; returns what failed, or None."""
        after = self.model.copy()
        try:
            after.apply(step)
        except Inapplicable:
            return None
        try:
            getattr(self, "_" + step["op"])(step)
        except Exception as error:
            if not any(re.fullmatch(op, step["op"]) and re.search(said, str(error)) for op, said in REFUSED):
                raise RuntimeError(
                    f"Spark cannot do {json.dumps({k: v for k, v in step.items() if k != 'checks'})[:2000]}\n{first_lines(str(error))}"
                ) from error
            self.outcome.refused.append(step["op"])
        else:
            self.model = after
            self.outcome.played.append(step)
        self.state = tables.metadata(self.folder)
        for one in tables.snapshots(self.state):
            self.models.setdefault(one["snapshot-id"], after.copy())
        return self.check(step["checks"])


class _GenericRun(GenericTable, _Run):
    pass
