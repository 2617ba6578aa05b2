"""Plays a history: Spark changes a table step by step, and after each step fastdata must read what Spark reads.

Contract: `Player.play` returns an Outcome: the first failure, or none, and what was left out. A step that the model finds impossible is left out silently (a shrunk history has such); one that Spark refuses for a reason of REFUSED is counted;
any other error of Spark is an error of the test. A query is left out where its columns are not there.

How: one query of Spark for each state gives all rows with metadata columns, and for each predicate whether it is true, false or null of each row. So Spark's own pruning, pushdown and projection play no part in what is expected;
where to cut columns and rows is decided here, by `compare.Rows`. The rows of a snapshot are kept and must be the same for as long as it can be read.
"""
import dataclasses
import datetime
import json
import re
import shutil
import traceback
from pathlib import Path

import fastdata
import pyarrow as pa

import predicates
import session as tables
from columns import arrow_table, find, iceberg_schema, is_primitive, literal, paths, single_value, spark_name, spark_null, spark_type, sql_name
from compare import Rows, difference, spelled
from model import Inapplicable, Model

METADATA = ["_file", "_pos", "_spec_id"]
LINEAGE = ["_row_id", "_last_updated_sequence_number"]

# What Spark refuses though the model allows it: the steps, and what the message says.
REFUSED = [
    ("fast_forward", "is not an ancestor of"),
    # A partition of the least decimal, truncated, has a digit too many.
    (".*", "Cannot write value as decimal"),
    # A required column in a null struct that a partition term uses.
    (".*", "Missing required field"),
    # What Iceberg's expressions cannot spell: NaN, and NULL in a list.
    ("delete|update", "Cannot create expression literal from NaN|Invalid object: null"),
]

# Where Spark fails to read what it wrote: defects of its reader. The history ends there.
UNREADABLE = [
    # An identity partition of a column that was promoted since, or of nanoseconds.
    "class java.lang.Double cannot be cast to class java.lang.Float",
    "class java.lang.Integer cannot be cast to class java.lang.Long",
    "class java.lang.Long cannot be cast to class java.time",
    # A key of equality deletes that was dropped since.
    "Cannot find required field for ID",
]


@dataclasses.dataclass
class Outcome:
    played: list = dataclasses.field(default_factory=list)
    checks: int = 0
    failure: dict | None = None
    unreadable: str | None = None
    refused: list = dataclasses.field(default_factory=list)


class Unreadable(Exception):
    """Spark cannot read its own table, for a reason that is known."""


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
                if failure:
                    run.outcome.failure = {"step": number, **failure}
                    break
        finally:
            shutil.rmtree(run.folder, ignore_errors=True)
        return run.outcome


class _Run:
    def __init__(self, player, name):
        self.spark, self.lake = player.spark, player.lake
        self.name, self.folder = f"lake.db.{name}", player.lake_folder / name
        self.short = f"db.{name}"
        self.model, self.outcome = Model(), Outcome()
        self.kept, self.models = {}, {}

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
                raise RuntimeError(f"Spark cannot do {json.dumps({k: v for k, v in step.items() if k != 'checks'})[:2000]}\n{first_lines(str(error))}") from error
            self.outcome.refused.append(step["op"])
        else:
            self.model = after
            self.outcome.played.append(step["op"])
        self.state = tables.metadata(self.folder)
        for one in tables.snapshots(self.state):
            self.models.setdefault(one["snapshot-id"], after.copy())
        return self.check(step["checks"])

    # Steps

    def sql(self, text):
        return self.spark.sql(text).collect()

    def frame(self, step):
        rows = self.spark.createDataFrame(arrow_table(self.model.fields, step["rows"]))
        return rows.coalesce(1) if step.get("files") == 1 else rows

    def target(self, step):
        return f"{self.name}.branch_{step['branch']}" if step.get("branch") else self.name

    def _create(self, step):
        columns = ", ".join(f"{spark_name([one['name']])} {spark_type(one['type'])}{spark_null(one)}" for one in step["fields"])
        terms = [term_text(term) for term in step["terms"] if find(step["fields"], term["path"])]
        partitioned = f" PARTITIONED BY ({', '.join(terms)})" if terms else ""
        self.sql(f"CREATE TABLE {self.name} ({columns}) USING iceberg{partitioned} TBLPROPERTIES ({pairs({**step['properties'], 'format-version': step['version']})})")

    def _append(self, step):
        self.frame(step).writeTo(self.target(step)).append()

    def _overwrite_partitions(self, step):
        self.frame(step).writeTo(self.name).overwritePartitions()

    def _delete(self, step):
        self.sql(f"DELETE FROM {self.target(step)}{where_text(step)}")

    def _update(self, step):
        kind = find(self.model.fields, step["path"])["type"]
        self.sql(f"UPDATE {self.target(step)} SET {spark_name(step['path'])} = CAST({literal(step['type'], step['value'], True)} AS {spark_type(kind)}){where_text(step)}")

    def _merge(self, step):
        self.frame(step).createOrReplaceTempView("source")
        key = spark_name(step["on"])
        matched = {"update": " WHEN MATCHED THEN UPDATE SET *", "delete": " WHEN MATCHED THEN DELETE", None: ""}[step["matched"]]
        insert = " WHEN NOT MATCHED THEN INSERT *" if step["insert"] or not matched else ""
        self.sql(f"MERGE INTO {self.name} t USING source s ON t.{key} = s.{key}{matched}{insert}")

    def java(self):
        """The class of changes that SQL has no words for, and the table for it."""
        return self.spark._jvm.TableChanges, self.spark._jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(self.spark._jsparkSession, self.name)

    def _equality_delete(self, step):
        changes, table = self.java()
        changes.deleteEqual(table, json.dumps({"columns": [".".join(path) for path in step["columns"]], "rows": step["rows"], "scope": step["scope"]}))

    def _add_column(self, step):
        if "default" in step:
            changes, table = self.java()
            above = ".".join(step["path"][:-1]) or None
            changes.addColumn(table, json.dumps({"parent": above, "name": step["path"][-1], "type": step["type"], "default": step["default"], "place": step["place"]}))
        else:
            self.sql(f"ALTER TABLE {self.name} ADD COLUMN {spark_name(step['path'])} {spark_type(step['type'])}{place_text(step['place'])}")

    def _drop_column(self, step):
        self.sql(f"ALTER TABLE {self.name} DROP COLUMN {spark_name(step['path'])}")

    def _rename_column(self, step):
        self.sql(f"ALTER TABLE {self.name} RENAME COLUMN {spark_name(step['path'])} TO {spark_name([step['name']])}")

    def _move_column(self, step):
        self.sql(f"ALTER TABLE {self.name} ALTER COLUMN {spark_name(step['path'])}{place_text(step['place'])}")

    def _promote(self, step):
        self.sql(f"ALTER TABLE {self.name} ALTER COLUMN {spark_name(step['path'])} TYPE {spark_type(step['type'])}")

    def _relax(self, step):
        self.sql(f"ALTER TABLE {self.name} ALTER COLUMN {spark_name(step['path'])} DROP NOT NULL")

    def _add_term(self, step):
        self.sql(f"ALTER TABLE {self.name} ADD PARTITION FIELD {term_text(step['term'])}")

    def _drop_term(self, step):
        self.sql(f"ALTER TABLE {self.name} DROP PARTITION FIELD {term_text(step['term'])}")

    def _replace_term(self, step):
        self.sql(f"ALTER TABLE {self.name} REPLACE PARTITION FIELD {term_text(step['old'])} WITH {term_text(step['term'])}")

    def _branch(self, step):
        self.make_ref("BRANCH", step)

    def _tag(self, step):
        self.make_ref("TAG", step)

    def make_ref(self, what, step):
        id = None if step["snapshot"] is None else self.snapshot(step["snapshot"])
        at = f" AS OF VERSION {id}" if id is not None else ""
        self.sql(f"ALTER TABLE {self.name} CREATE {what} {step['name']}{at}")

    def _drop_ref(self, step):
        self.sql(f"ALTER TABLE {self.name} DROP {'BRANCH' if step['name'] in self.model.branches else 'TAG'} {step['name']}")

    def call(self, procedure, **arguments):
        told = ", ".join(f"{name} => {value}" for name, value in arguments.items())
        self.sql(f"CALL lake.system.{procedure}({told})")

    def _fast_forward(self, step):
        self.call("fast_forward", table=f"'{self.short}'", branch="'main'", to=f"'{step['branch']}'")

    def _rollback(self, step):
        line = tables.ancestors(self.state)
        if line:
            self.call("rollback_to_snapshot", table=f"'{self.short}'", snapshot_id=line[step["snapshot"] % len(line)])

    def _compact(self, step):
        self.call("rewrite_data_files", table=f"'{self.short}'", options=map_text(step["options"]))

    def _compact_deletes(self, step):
        self.call("rewrite_position_delete_files", table=f"'{self.short}'", options=map_text(step["options"]))

    def _rewrite_manifests(self, step):
        self.call("rewrite_manifests", table=f"'{self.short}'")

    def _expire(self, step):
        later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        self.call("expire_snapshots", table=f"'{self.short}'", older_than=f"TIMESTAMP '{later:%Y-%m-%d %H:%M:%S}'", retain_last=step["keep"])
        left = {one["snapshot-id"] for one in tables.snapshots(tables.metadata(self.folder))}
        self.kept = {id: rows for id, rows in self.kept.items() if id in left}

    def _properties(self, step):
        self.sql(f"ALTER TABLE {self.name} SET TBLPROPERTIES ({pairs(step['properties'])})")

    def _upgrade(self, step):
        self.sql(f"ALTER TABLE {self.name} SET TBLPROPERTIES ('format-version' = '{step['version']}')")

    # Checks

    def snapshot(self, number):
        found = tables.snapshots(self.state)
        return found[number % len(found)]["snapshot-id"] if found else None

    def check(self, checks):
        """Compares all queries, those of one state together; returns the first failure, or None."""
        states = {}
        for one in checks:
            states.setdefault(json.dumps(one["ref"]), []).append(one)
        for ref, queries in states.items():
            place = self.place(json.loads(ref))
            if place is None:
                continue
            queries = [one for one in queries if self.fits(one, place.model)]
            unreadable = None
            try:
                expected, truths = self.expected(place, [one["where"] for one in queries])
            except Unreadable as error:
                unreadable, expected = error, self.remembered(place)
                queries = [one for one in queries if not one["where"] and expected]
                truths = [None] * len(queries)
            for one, truth in zip(queries, truths):
                self.outcome.checks += 1
                wrong = self.compare(place, one, expected, truth)
                if wrong:
                    return {"check": one, **wrong}
            if unreadable:
                raise unreadable
        return None

    def remembered(self, place):
        """What Spark read of this snapshot before columns were dropped, without them; None where it is not that simple."""
        kept, model = self.kept.get(place.snapshot), self.models.get(place.snapshot)
        if kept is None or not all(find(model.fields, [one["name"]]) == one for one in place.model.fields):
            return None
        return kept.select([[one["name"]] for one in place.model.fields])

    def keep(self, place, rows):
        """Remembers the rows of a snapshot that is current, in the schema that it was written in."""
        if place.snapshot is not None and not {"snapshot", "ref"} & place.request.keys() and self.models[place.snapshot].fields == self.model.fields:
            self.kept.setdefault(place.snapshot, rows)
        return rows

    def place(self, ref):
        """How both sides name a state of the table; None where there is none such."""
        current = self.state.get("current-snapshot-id")
        refs = self.state.get("refs", {})
        if ref[0] == "current":
            return _Place("", {}, self.model, current if current != -1 else None)
        if ref[0] == "branch":
            return _Place(f" VERSION AS OF '{ref[1]}'", {"ref": ref[1]}, self.model, refs[ref[1]]["snapshot-id"]) if ref[1] in refs else None
        if not tables.snapshots(self.state):
            return None
        if ref[0] == "tag":
            if ref[1] not in refs:
                return None
            id = refs[ref[1]]["snapshot-id"]
            return _Place(f" VERSION AS OF '{ref[1]}'", {"ref": ref[1]}, self.models[id], id)
        if ref[0] == "snapshot":
            id = self.snapshot(ref[1])
            return _Place(f" VERSION AS OF {id}", {"snapshot": id}, self.models[id], id)
        if ref[0] == "time":
            live = {one["snapshot-id"] for one in self.state["snapshots"]}
            log = [one for one in self.state["snapshot-log"] if one["snapshot-id"] in live]
            if not log:
                return None
            at = log[ref[1] % len(log)]["timestamp-ms"]
            id = [one for one in log if one["timestamp-ms"] <= at][-1]["snapshot-id"]
            return _Place(f" TIMESTAMP AS OF timestamp_millis({at})", {"as_of": at}, self.models[id], id)
        line = tables.ancestors(self.state)
        if not line:
            return None
        first, last = sorted((ref[1] % len(line), ref[2] % len(line)))
        if first == last:
            return None
        return _Place((line[first], line[last]), {"after": line[first], "up_to": line[last]}, self.model, None)

    def fits(self, one, model):
        known = {path[0] for path, _ in paths(model.fields)} | set(METADATA) | set(self.lineage() if model.version >= 3 else [])
        there = all(path[0] in known if len(path) == 1 else find(model.fields, path) for path in one["columns"] or [])
        return there and model.fits(one["where"])

    def lineage(self):
        """The columns of row lineage to compare. In rows from before version 3 that were compacted since, Spark takes the sequence number of the file for that
        of the last update; the specification (Row Lineage) says the data sequence number, which fastdata gives."""
        return [] if self.model.version < 3 else LINEAGE[:1] if self.model.upgraded else LINEAGE

    def expected(self, place, wheres):
        """Spark's rows with their metadata columns, and for each predicate its truth for each row."""
        if wheres.count(None) == len(wheres) and place.snapshot in self.kept and "snapshot" in place.request:
            return self.kept[place.snapshot], [None] * len(wheres)
        metadata = METADATA + self.lineage()
        truths = [f"{predicates.text(where, True)} AS `truth {i}`" for i, where in enumerate(wheres) if where]
        names = [f"`{one['name']}`" for one in place.model.fields]
        if isinstance(place.spark, tuple):
            reader = self.spark.read.option("start-snapshot-id", place.spark[0]).option("end-snapshot-id", place.spark[1])
            frame = reader.format("iceberg").load(self.name).selectExpr("*", *metadata, *truths)
        else:
            frame = self.spark.sql(f"SELECT {', '.join(['*', *metadata, *truths])} FROM {self.name}{place.spark}")
        table = self.collected(frame, place)
        width = table.num_columns - len(truths)
        assert len(names) == width - len(metadata) and table.schema.names[: len(names)] == [one["name"] for one in place.model.fields], (names, table.schema.names)
        rows = Rows.of(table.select(list(range(width))))
        answers = iter(table.column(i).to_pylist() for i in range(width, table.num_columns))
        return self.keep(place, rows), [next(answers) if where else None for where in wheres]

    def collected(self, frame, place):
        """The rows as Spark gives them: its own `toArrow` casts them once more, and fails where null structs hold what is required."""
        try:
            batches = frame._collect_as_arrow(empty_list_if_zero_records=False)
        except Exception as error:
            raise self.unreadable(place, error) from error
        return pa.Table.from_batches(batches)

    def unreadable(self, place, error):
        said = first_lines(str(error))
        if any(known in said for known in UNREADABLE):
            return Unreadable(said.splitlines()[-1])
        return RuntimeError(f"Spark cannot read {self.name}{place.spark} after step {len(self.outcome.played)}: {said}")

    def compare(self, place, one, expected, truth):
        """What differs between fastdata's answer and the expected rows, or None."""
        columns = one["columns"] or [[name] for name in expected.names if name not in METADATA + LINEAGE]
        wanted = expected.select(columns) if truth is None else expected.where(truth).select(columns)
        where = predicates.text(one["where"], False) if one["where"] else None
        asked = [sql_name(path) for path in columns] if one["columns"] else None
        query = {"columns": asked, "where": where, **place.request}
        try:
            scan = self.lake[str(self.folder)].scan(asked, where, batch_rows=one.get("rows"), order=one.get("order", "stable"), **place.request)
            wrong = difference(wanted, Rows.of(scan.to_arrow(progress=False)))
            if not wrong and len(wanted.rows) != scan.count():
                wrong = {"count": scan.count(), "expected count": len(wanted.rows)}
        except fastdata.Error as error:
            wrong = {"error": str(error), "advice": error.advice, "expected rows": len(wanted.rows)}
        except Exception as error:  # whatever it raises is its answer
            wrong = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-1500:]}
        return wrong and {"query": query, "difference": wrong}


class _GenericRun(_Run):
    """A history that iceberg-data writes and reads, without Spark's help."""

    @property
    def tables(self):
        return self.spark._jvm.GenericTables

    def table(self):
        return self.java()[1]

    def java(self):
        jvm = self.spark._jvm
        catalog = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergCatalog(self.spark._jsparkSession, "lake")
        return jvm.TableChanges, catalog.loadTable(jvm.org.apache.iceberg.catalog.TableIdentifier.parse(self.short))

    def _create(self, step):
        catalog = self.spark._jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergCatalog(self.spark._jsparkSession, "lake")
        namespace, name = self.short.split(".")
        self.tables.create(catalog, namespace, name, json.dumps(iceberg_schema(step["fields"])), step["version"])

    def _append(self, step):
        struct = {"struct": self.model.fields}
        self.tables.append(self.table(), json.dumps([single_value(struct, row) for row in step["rows"]]))

    def _add_column(self, step):
        self.tables.addColumn(self.table(), None, step["path"][-1], step["type"])

    def _drop_column(self, step):
        self.tables.dropColumn(self.table(), ".".join(step["path"]))

    def _rename_column(self, step):
        self.tables.renameColumn(self.table(), ".".join(step["path"]), step["name"])

    def _promote(self, step):
        self.tables.promote(self.table(), ".".join(step["path"]), step["type"])

    def change_term(self, add, term):
        self.tables.changeTerm(self.table(), add, term["transform"], ".".join(term["path"]), term.get("n", 0))

    def _add_term(self, step):
        self.change_term(True, step["term"])

    def _drop_term(self, step):
        self.change_term(False, step["term"])

    def expected(self, place, wheres):
        try:
            rows = json.loads(self.tables.rows(self.table(), place.request.get("snapshot", -1)))
        except Exception as error:
            raise self.unreadable(place, error) from error
        kinds = [one["type"] for one in place.model.fields]
        cells = [[plain_cell(kind, cell) for kind, cell in zip(kinds, row)] for row in rows]
        return self.keep(place, Rows([one["name"] for one in place.model.fields], kinds, cells)), [None] * len(wheres)


def plain_cell(kind, cell):
    """A cell of GenericTables.java as compare.py has it."""
    if cell is None:
        return None
    if not is_primitive(kind):
        return [plain_cell(child["type"], value) for child, value in zip(kind["struct"], cell)]
    return spelled(float(cell)) if kind in ("float", "double") else cell


@dataclasses.dataclass
class _Place:
    """A state of the table: as Spark's SQL has it (or the ends of a range), as fastdata's request has it, its model, and its snapshot where there is one."""

    spark: object
    request: dict
    model: Model
    snapshot: int | None


def first_lines(said):
    """What the error says, without the stack of calls."""
    return "\n".join(line for line in said.splitlines() if not line.lstrip().startswith(("at ", "...")))[:2000]


def term_text(term):
    name = spark_name(term["path"])
    if term["transform"] == "identity":
        return name
    if "n" in term:
        return f"{term['transform']}({term['n']}, {name})"
    return f"{term['transform']}s({name})"


def place_text(place):
    return "" if place is None else " FIRST" if place == "first" else f" AFTER {spark_name([place['after']])}"


def where_text(step):
    return f" WHERE {predicates.text(step['where'], True)}" if step["where"] else ""


def pairs(properties):
    return ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())


def map_text(options):
    return "map(" + ", ".join(f"'{name}', '{value}'" for name, value in options.items()) + ")"
