"""The queries after a step: what Spark says, and where fastdata differs.

Contract: one query of Spark for each state of the table gives all rows with metadata columns, and for each predicate whether it is true,
false or null of each row. So Spark's own pruning, pushdown and projection play no part in what is expected; which columns and rows are left
is decided here, by `compare.Rows`. The rows of a snapshot are kept and must be the same for as long as it can be read. Whoever mixes this
in has `spark`, `lake` (fastdata's), `name`, `folder`, `model`, `models` and `kept` (by snapshot), `state` (metadata), `keys_in_structs` and `outcome`.
"""

import dataclasses
import json
import traceback

import fastdata
import pyarrow as pa

import predicates
import session as tables
from columns import find, paths, sql_name
from compare import Rows, difference
from model import Model

METADATA = ["_file", "_pos", "_spec_id"]
LINEAGE = ["_row_id", "_last_updated_sequence_number"]

# Where Spark fails to read what it wrote: defects of its reader. The history ends there.
UNREADABLE = [
    # An identity partition of a column that was promoted since, at a snapshot from before too; or of nanoseconds.
    "class java.lang.Double cannot be cast to class java.lang.Float",
    "class java.lang.Integer cannot be cast to class java.lang.Long",
    "class java.lang.Long cannot be cast to class java.lang.Integer",
    "class java.lang.Long cannot be cast to class java.time",
    # A key of equality deletes that was dropped since.
    "Cannot find required field for ID",
]


class Unreadable(Exception):
    """Spark cannot read its own table, for a reason that is known."""


@dataclasses.dataclass
class Place:
    """A state of the table: in Spark's SQL (or the ends of a range), in fastdata's request, its model, and its snapshot where there is one."""

    spark: object
    request: dict
    model: Model
    snapshot: int | None


class Checks:
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
        if (
            place.snapshot is not None
            and not {"snapshot", "ref"} & place.request.keys()
            and self.models[place.snapshot].fields == self.model.fields
        ):
            self.kept.setdefault(place.snapshot, rows)
        return rows

    def place(self, ref):
        """How both sides name a state of the table; None where there is none such."""
        current = self.state.get("current-snapshot-id")
        refs = self.state.get("refs", {})
        if ref[0] == "current":
            return Place("", {}, self.model, current if current != -1 else None)
        if ref[0] == "branch":
            return Place(f" VERSION AS OF '{ref[1]}'", {"ref": ref[1]}, self.model, refs[ref[1]]["snapshot-id"]) if ref[1] in refs else None
        if not tables.snapshots(self.state):
            return None
        if ref[0] == "tag":
            if ref[1] not in refs:
                return None
            id = refs[ref[1]]["snapshot-id"]
            return Place(f" VERSION AS OF '{ref[1]}'", {"ref": ref[1]}, self.models[id], id)
        if ref[0] == "snapshot":
            id = self.snapshot(ref[1])
            return Place(f" VERSION AS OF {id}", {"snapshot": id}, self.models[id], id)
        if ref[0] == "time":
            live = {one["snapshot-id"] for one in self.state["snapshots"]}
            log = [one for one in self.state["snapshot-log"] if one["snapshot-id"] in live]
            if not log:
                return None
            at = log[ref[1] % len(log)]["timestamp-ms"]
            id = [one for one in log if one["timestamp-ms"] <= at][-1]["snapshot-id"]
            return Place(f" TIMESTAMP AS OF timestamp_millis({at})", {"as_of": at}, self.models[id], id)
        line = tables.ancestors(self.state)
        if not line:
            return None
        first, last = sorted((ref[1] % len(line), ref[2] % len(line)))
        if first == last:
            return None
        return Place((line[first], line[last]), {"after": line[first], "up_to": line[last]}, self.model, None)

    def fits(self, one, model):
        known = {path[0] for path, _ in paths(model.fields)} | set(METADATA) | set(self.lineage() if model.version >= 3 else [])
        there = all(path[0] in known if len(path) == 1 else find(model.fields, path) for path in one["columns"] or [])
        return there and model.fits(one["where"])

    def lineage(self):
        """The columns of row lineage to compare. In rows from before version 3 that were compacted since, Spark takes the sequence number of
        the file for that of the last update; the specification (Row Lineage) says the data sequence number, which fastdata gives."""
        return [] if self.model.version < 3 else LINEAGE[:1] if self.model.upgraded else LINEAGE

    def expected(self, place, wheres):
        """Spark's rows with their metadata columns, and for each predicate its truth for each row."""
        if wheres.count(None) == len(wheres) and place.snapshot in self.kept and "snapshot" in place.request:
            return self.kept[place.snapshot], [None] * len(wheres)
        metadata = METADATA + self.lineage()
        if place.model is self.model and self.keys_in_structs - set(tables.field_ids(self.state).values()):
            # Spark takes it for null then, in the deletes too, and finds rows deleted that were not.
            raise Unreadable("a key of equality deletes was dropped from its struct, or with it")
        truths = [f"{predicates.text(where, True)} AS `truth {i}`" for i, where in enumerate(wheres) if where]
        names = [f"`{one['name']}`" for one in place.model.fields]
        if isinstance(place.spark, tuple):
            reader = self.spark.read.option("start-snapshot-id", place.spark[0]).option("end-snapshot-id", place.spark[1])
            frame = reader.format("iceberg").load(self.name).selectExpr("*", *metadata, *truths)
        else:
            frame = self.spark.sql(f"SELECT {', '.join(['*', *metadata, *truths])} FROM {self.name}{place.spark}")
        table = self.collected(frame, place)
        width = table.num_columns - len(truths)
        assert len(names) == width - len(metadata) and table.schema.names[: len(names)] == [one["name"] for one in place.model.fields], (
            names,
            table.schema.names,
        )
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
        query = {"columns": asked, "where": where, **place.request, **{key: one[key] for key in ("limit", "pieces") if one.get(key)}}
        try:
            options = {name: one[key] for name, key in (("batch_rows", "rows"), ("order", "order"), ("limit", "limit")) if one.get(key)}
            scan = self.lake[str(self.folder)].scan(asked, where, **options, **place.request)
            pieces = scan.shards(one["pieces"]) if one.get("pieces") else [scan]
            found = Rows.of(pa.concat_tables([piece.to_arrow(progress=False) for piece in pieces]))
            wrong = difference(wanted, found, one.get("limit"))
            if not wrong and not one.get("limit") and len(wanted.rows) != scan.count():
                wrong = {"count": scan.count(), "expected count": len(wanted.rows)}
        except fastdata.Error as error:
            wrong = {"error": str(error), "advice": error.advice, "expected rows": len(wanted.rows)}
        except Exception as error:  # whatever it raises is its answer
            wrong = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-1500:]}
        return wrong and {"query": query, "difference": wrong}


def first_lines(said):
    """What the error says, without the stack of calls."""
    return "\n".join(line for line in said.splitlines() if not line.lstrip().startswith(("at ", "...")))[:2000]
