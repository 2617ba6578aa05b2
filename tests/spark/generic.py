"""Histories that iceberg-data writes and reads, by GenericTables.java: for the types that Spark has not.

Contract: the steps and checks are those of generate.generic_history; checks have no filters and no metadata columns.
"""

import json

from columns import iceberg_schema, is_primitive, single_value
from compare import Rows, spelled


class GenericTable:
    """Mixed in before the steps and checks of Spark, which it takes the place of."""

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
