"""`fastdata.metaflow` with the real Metaflow; examples/metaflow_flow.py is run by test_examples.py."""
import os
import pickle
import subprocess
import sys

import fastdata as fd
import pytest
from fastdata.metaflow import Table
from growing import growing  # noqa: F401: a fixture
from support import need

FLOW = '''
import os, sys
from fastdata.metaflow import Table
from metaflow import FlowSpec, Parameter, step

class CountFlow(FlowSpec):
    lake = Parameter("lake")
    which = Parameter("table")

    @step
    def start(self):
        self.table = Table("ml", self.which, lake=self.lake)
        self.shards = self.table.shards(3)
        self.next(self.pull, foreach="shards")

    @step
    def pull(self):
        if self.input.number == 1 and os.environ["BREAK"] == "yes":
            sys.exit(1)
        self.ids = self.input.to_polars()["id"].to_list()
        self.next(self.join)

    @step
    def join(self, inputs):
        self.merge_artifacts(inputs, include=["table"])
        self.ids = sorted(i for task in inputs for i in task.ids)
        self.next(self.end)

    @step
    def end(self):
        print("pulled", len(self.ids), "distinct", len(set(self.ids)), "now", self.table.table.count())

if __name__ == "__main__":
    CountFlow()
'''


def flow(folder, *arguments, broken=False):
    settings = {"METAFLOW_USER": "tester", "METAFLOW_HOME": str(folder), "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder)}
    settings["BREAK"] = "yes" if broken else "no"
    (folder / "flow.py").write_text(FLOW)
    return subprocess.run(
        [sys.executable, "flow.py", *arguments], cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=240
    )


def test_a_resumed_flow_reads_the_snapshot_that_it_planned(growing, tmp_path):
    need("metaflow")
    lake, name, append = growing
    before = lake[name].count()
    failed = flow(tmp_path, "run", "--lake", lake.location, "--table", name.split(".")[1], broken=True)
    assert failed.returncode != 0 and "Step failure" in failed.stderr, failed.stdout + failed.stderr
    append()
    resumed = flow(tmp_path, "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"pulled {before} distinct {before} now {lake[name].count()}" in resumed.stdout + resumed.stderr
    assert lake[name].count() > before


def test_shards_are_artifacts_that_open_their_lake_elsewhere(lake):
    table = pickle.loads(pickle.dumps(Table("tpch", "orders", lake=lake.location)))
    shards = [pickle.loads(pickle.dumps(shard)) for shard in table.shards(3, columns=["o_orderkey"], where="o_orderkey > 1000")]
    keys = sorted(key for shard in shards for key in shard.to_polars()["o_orderkey"].to_list())
    assert keys == sorted(lake["tpch.orders"].scan(columns=["o_orderkey"], where="o_orderkey > 1000").to_polars()["o_orderkey"].to_list())


def test_artifacts_carry_no_token(server):
    table = Table("tpch", "orders", lake=fd.connect(server.url, token="canary-93ab"))
    assert b"canary-93ab" not in pickle.dumps([table, table.shards(2)])
    assert "canary-93ab" not in repr([table, table.shards(2)])


@pytest.mark.parametrize(
    ("namespace", "name", "written"),
    [("ml", "features", "ml.features"), ("prod.ml", "f_1", "prod.ml.f_1"), (["a.b", "c"], 'd"e', '"a.b".c."d""e"'), ("ml", "1st", 'ml."1st"')],
)
def test_names_are_quoted_where_a_scan_needs_it(lake, namespace, name, written):
    assert Table(namespace, name, lake=lake).name == written


def test_a_table_that_is_not_there_is_named_with_its_neighbours(lake):
    with pytest.raises(fd.NotFound, match=r"(?s)lineitems.*did you mean: tpch\.lineitem"):
        Table("tpch", "lineitems", lake=lake).shards(2)
