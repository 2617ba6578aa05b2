#!/usr/bin/env python3
"""Compares fastdata with Spark on random histories of tables. README.md beside this file tells how to read what it prints.

usage: run.py --jars JAR,JAR... [--first SEED] [--histories N] [--regressions FOLDER]
       run.py --jars JAR,JAR... --replay FILE...
       run.py --print SEED

Each history is a line; a failure is shrunk and written to the folder of failures, and stands in the output as the step, the query and both
results. The last line is `N passed, M failed`.
"""

import argparse
import collections
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import generate
from shrink import shrink

REGRESSIONS = Path(__file__).parent.parent / "regressions" / "spark"


def main():
    asked = arguments()
    if asked.print is not None:
        print(spelled(history_of(asked.print)))
        return 0
    folder = tempfile.mkdtemp(prefix="fastdata-spark-")
    try:
        return play_all(asked, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jars", default="")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--histories", type=int, default=10)
    parser.add_argument("--regressions", type=Path, default=REGRESSIONS)
    parser.add_argument("--failures", type=Path, default=Path("spark-failures"))
    parser.add_argument("--shrink-seconds", type=float, default=90)
    parser.add_argument("--replay", nargs="+", type=Path)
    parser.add_argument("--print", type=int)
    return parser.parse_args()


def play_all(asked, folder):
    # They need Spark and fastdata, which --print does not.
    import pyspark

    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
    import play
    import session

    started = time.monotonic()
    spark = session.start(folder, asked.jars.split(","))
    print(f"spark {spark.version} with Iceberg started in {time.monotonic() - started:.0f} s", flush=True)
    player = play.Player(spark, folder)
    played = Played(player, asked)
    try:
        for path in asked.replay or sorted(asked.regressions.glob("*.json")):
            played.one(path.stem, json.loads(path.read_text()), known=True)
        if not asked.replay:
            for seed in range(asked.first, asked.first + asked.histories):
                played.one(f"seed {seed}", history_of(seed), known=False)
        played.summary()
    finally:
        spark.stop()
    return 1 if played.failed else 0


class Played:
    """Plays histories, and counts."""

    def __init__(self, player, asked):
        self.player, self.asked = player, asked
        self.passed, self.failed, self.checks = 0, 0, 0
        self.steps, self.refused = collections.Counter(), collections.Counter()
        self.started = time.monotonic()

    def one(self, name, history, known):
        started = time.monotonic()
        try:
            outcome = self.player.play(history)
        except Exception as error:
            self.failed += 1
            print(f"{name}: BROKEN: {type(error).__name__}: {error}", flush=True)
            return
        self.checks += outcome.checks
        self.steps.update(outcome.played)
        self.refused.update(outcome.refused)
        told = f"{len(outcome.played)} steps, {outcome.checks} queries, {time.monotonic() - started:.1f} s"
        if outcome.failure is None:
            self.passed += 1
            if outcome.unreadable:
                told += f"; ended as Spark cannot read its table: {outcome.unreadable}"
            print(f"{name}: {told}", flush=True)
            return
        self.failed += 1
        print(f"{name}: DIFFERENT: {told}", flush=True)
        failure = outcome.failure
        if not known and self.asked.shrink_seconds:
            history, failure = shrink(history, failure, self.fails, self.asked.shrink_seconds)
            self.asked.failures.mkdir(parents=True, exist_ok=True)
            path = self.asked.failures / f"{name.replace(' ', '-')}.json"
            path.write_text(spelled(history) + "\n")
            print(f"{name}: shrunk to {len(history['steps'])} steps: {path}")
        self.report(history, failure)

    def fails(self, history):
        try:
            return self.player.play(history).failure
        except Exception:  # a shrunk history may ask Spark for the impossible
            return None

    def report(self, history, failure):
        for number, step in enumerate(history["steps"][: failure["step"] + 1]):
            print(f"    step {number}: {json.dumps({k: v for k, v in step.items() if k != 'checks'}, ensure_ascii=False)[:1500]}")
        print(f"    after step {failure['step']} asked: {json.dumps(failure['query'], ensure_ascii=False)}")
        for name, value in failure["difference"].items():
            print(f"    {name}: {json.dumps(value, ensure_ascii=False)[:3000]}", flush=True)

    def summary(self):
        print(f"steps played: {', '.join(f'{op} {n}' for op, n in sorted(self.steps.items()))}")
        if self.refused:
            print(f"refused by Spark: {', '.join(f'{op} {n}' for op, n in sorted(self.refused.items()))}")
        print(f"{self.checks} queries compared in {time.monotonic() - self.started:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)


def history_of(seed):
    """Every fifth history is one of iceberg-data, the others are Spark's."""
    return generate.generic_history(seed) if seed % 5 == 0 else generate.history(seed)


def spelled(history):
    """A history as JSON, a step a line."""
    steps = ",\n".join("  " + json.dumps(step, ensure_ascii=False) for step in history["steps"])
    rest = {name: value for name, value in history.items() if name != "steps"}
    return json.dumps(rest, ensure_ascii=False)[:-1] + (", " if rest else "") + f'"steps": [\n{steps}\n]}}'


if __name__ == "__main__":
    sys.exit(main())
