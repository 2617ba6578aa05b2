#!/usr/bin/env python3
"""Compares fastdata with Spark on random histories of tables. README.md beside this file tells how to read what it prints.

usage: run.py --jars JAR,JAR... [--histories N [--first SEED]] [--regressions FOLDER]
       run.py --jars JAR,JAR... --replay FILE...
       run.py --print SEED

Without a number, the histories of coverage.py. Each history is a line; a failure is shrunk and written to the folder of failures, and
stands in the output as the step, the query and both results. The last line is `N passed, M failed`. A run fails too where more histories
end early, or more steps are refused, than `EARLY` and `REFUSED` allow: such histories compare less than they seem to.
"""

import argparse
import collections
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import coverage
import generate
from outcome import Broken
from shrink import shrink

# Of all histories, those that may end because Spark cannot read its own table; of all steps, those that Spark may refuse. A table with what
# Spark cannot write refuses many: some 4 % of all steps.
EARLY, REFUSED = 0.05, 0.1
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
    parser.add_argument("--histories", type=int)
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
        play_each(played, asked)
        problems = played.summary(coverage.WANTED if is_chosen(asked) else frozenset())
    finally:
        if player.answers():
            spark.stop()
    return 1 if played.failed or problems else 0


def play_each(played, asked):
    try:
        for path in asked.replay or sorted(asked.regressions.glob("*.json")):
            played.one(path.stem, json.loads(path.read_text()), known=True)
        if not asked.replay:
            for seed in coverage.SEEDS if is_chosen(asked) else range(asked.first, asked.first + asked.histories):
                played.one(f"seed {seed}", history_of(seed), known=False)
    except SparkEnded as error:
        print(f"spark: {error}", flush=True)


def is_chosen(asked):
    """Whether the histories are those of coverage.py."""
    return not asked.replay and asked.histories is None


class SparkEnded(Exception):
    """No history can be played any more."""


class Played:
    """Plays histories, and counts."""

    def __init__(self, player, asked):
        self.player, self.asked = player, asked
        self.passed, self.failed, self.checks, self.early = 0, 0, 0, 0
        self.steps, self.refused = collections.Counter(), collections.Counter()
        self.tried = set()
        self.started = time.monotonic()

    def one(self, name, history, known):
        started = time.monotonic()
        try:
            outcome = self.player.play(history)
        except Broken as error:
            self.failed += 1
            print(f"{name}: BROKEN: {error}", flush=True)
            if not self.player.answers():
                raise SparkEnded("it has ended, or answers no more: no further history is played") from error
            if not known:
                self.save(name, history, {"step": error.step}, lambda history: self.breaks(history, error))
            return
        self.checks += outcome.checks
        self.steps.update(step["op"] for step in outcome.played)
        self.refused.update(outcome.refused)
        self.tried |= set() if known else coverage.tried(outcome.played)
        told = f"{len(outcome.played)} steps, {outcome.checks} queries, {time.monotonic() - started:.1f} s"
        if outcome.failure is None:
            self.passed += 1
            if outcome.unreadable:
                self.early += 1
                told += f"; ended as Spark cannot read its table: {outcome.unreadable}"
            print(f"{name}: {told}", flush=True)
            return
        self.failed += 1
        print(f"{name}: DIFFERENT: {told}", flush=True)
        failure = outcome.failure
        if not known:
            history, failure = self.save(name, history, failure, self.fails)
        self.report(history, failure)

    def save(self, name, history, failure, fails):
        """Shrinks a history while it fails, and writes it to the folder of failures."""
        if self.asked.shrink_seconds:
            history, failure = shrink(history, failure, fails, self.asked.shrink_seconds)
        self.asked.failures.mkdir(parents=True, exist_ok=True)
        path = self.asked.failures / f"{name.replace(' ', '-')}.json"
        path.write_text(spelled(history) + "\n")
        print(f"{name}: shrunk to {len(history['steps'])} steps: {path}", flush=True)
        return history, failure

    def fails(self, history):
        try:
            return self.player.play(history).failure
        except Broken:  # a shrunk history may ask Spark for the impossible
            return None

    def breaks(self, history, error):
        """Whether it breaks as this one did, by the last words of the error: numbers aside, as each history has a table of its own."""
        try:
            self.player.play(history)
        except Broken as again:
            return {"step": again.step} if last_words(again) == last_words(error) else None
        return None

    def report(self, history, failure):
        for number, step in enumerate(history["steps"][: failure["step"] + 1]):
            print(f"    step {number}: {json.dumps({k: v for k, v in step.items() if k != 'checks'}, ensure_ascii=False)[:1500]}")
        print(f"    after step {failure['step']} asked: {json.dumps(failure['query'], ensure_ascii=False)}")
        for name, value in failure["difference"].items():
            print(f"    {name}: {json.dumps(value, ensure_ascii=False)[:3000]}", flush=True)

    def summary(self, wanted):
        """Prints what was played, and gives what is wrong with it beside the failures: too little was compared, or tried."""
        histories, steps, refused = self.passed + self.failed, self.steps.total(), self.refused.total()
        print(f"steps played: {', '.join(f'{op} {n}' for op, n in sorted(self.steps.items()))}")
        print(f"refused by Spark: {', '.join(f'{op} {n}' for op, n in sorted(self.refused.items())) or 'none'}")
        print(f"ended early: {self.early} of {histories} histories")
        problems = []
        # One is allowed in few.
        if self.early > max(1, EARLY * histories):
            problems.append(f"{self.early} of {histories} histories ended early: more than {EARLY:.0%}")
        if refused > max(1, REFUSED * (steps + refused)):
            problems.append(f"{refused} of {steps + refused} steps were refused: more than {REFUSED:.0%}")
        if lacking := wanted - self.tried:
            problems.append(f"not tried: {', '.join(sorted(lacking))}")
        for problem in problems:
            print(f"FAILED: {problem}")
        print(f"{self.checks} queries compared in {time.monotonic() - self.started:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return problems


def last_words(error):
    return re.sub(r"\d+", "", str(error).strip().splitlines()[-1])


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
