"""What each step of a history is in Spark's SQL, or in a call of Java where SQL has no words.

Contract: a method `_OP` for each operation of generate.py does the step or raises what Spark raised. Whoever mixes this in has `spark`, the
table's names (`name`, `short`), its `folder`, the `model` and `state` (metadata) from before the step, and `keys_in_structs`: the ids of the columns in
structs that equality deletes went by.
"""

import datetime
import json

import predicates
import session as tables
from columns import arrow_table, find, literal, spark_name, spark_null, spark_type


class SparkSteps:
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
        properties = pairs({**step["properties"], "format-version": step["version"]})
        self.sql(f"CREATE TABLE {self.name} ({columns}) USING iceberg{partitioned} TBLPROPERTIES ({properties})")

    def _append(self, step):
        self.frame(step).writeTo(self.target(step)).append()

    def _overwrite_partitions(self, step):
        self.frame(step).writeTo(self.name).overwritePartitions()

    def _delete(self, step):
        self.sql(f"DELETE FROM {self.target(step)}{where_text(step)}")

    def _update(self, step):
        kind = find(self.model.fields, step["path"])["type"]
        value = f"CAST({literal(step['type'], step['value'], True)} AS {spark_type(kind)})"
        self.sql(f"UPDATE {self.target(step)} SET {spark_name(step['path'])} = {value}{where_text(step)}")

    def _merge(self, step):
        self.frame(step).createOrReplaceTempView("source")
        key = spark_name(step["on"])
        matched = {"update": " WHEN MATCHED THEN UPDATE SET *", "delete": " WHEN MATCHED THEN DELETE", None: ""}[step["matched"]]
        insert = " WHEN NOT MATCHED THEN INSERT *" if step["insert"] or not matched else ""
        self.sql(f"MERGE INTO {self.name} t USING source s ON t.{key} = s.{key}{matched}{insert}")

    def java(self):
        """The class of changes that SQL has no words for, and the table for it."""
        return self.spark._jvm.TableChanges, self.spark._jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(
            self.spark._jsparkSession, self.name
        )

    def _equality_delete(self, step):
        changes, table = self.java()
        changes.deleteEqual(
            table, json.dumps({"columns": [".".join(path) for path in step["columns"]], "rows": step["rows"], "scope": step["scope"]})
        )
        ids = tables.field_ids(self.state)
        self.keys_in_structs |= {ids[tuple(path)] for path in step["columns"] if len(path) > 1}

    def _add_column(self, step):
        if "default" in step:
            changes, table = self.java()
            above = ".".join(step["path"][:-1]) or None
            changes.addColumn(
                table,
                json.dumps(
                    {"parent": above, "name": step["path"][-1], "type": step["type"], "default": step["default"], "place": step["place"]}
                ),
            )
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
        self.call(
            "expire_snapshots", table=f"'{self.short}'", older_than=f"TIMESTAMP '{later:%Y-%m-%d %H:%M:%S}'", retain_last=step["keep"]
        )
        left = {one["snapshot-id"] for one in tables.snapshots(tables.metadata(self.folder))}
        self.kept = {id: rows for id, rows in self.kept.items() if id in left}

    def _properties(self, step):
        self.sql(f"ALTER TABLE {self.name} SET TBLPROPERTIES ({pairs(step['properties'])})")

    def _upgrade(self, step):
        self.sql(f"ALTER TABLE {self.name} SET TBLPROPERTIES ('format-version' = '{step['version']}')")


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
