"""Plan in one step, pull shards side by side, join.

    python examples/metaflow_flow.py run --lake ./warehouse          # a warehouse of `fastdata demo`
    python examples/metaflow_flow.py run --lake grpc://HOST:PORT     # the same from a server
"""
import polars as pl
from fastdata.metaflow import Table
from metaflow import FlowSpec, Parameter, step


class QuantityFlow(FlowSpec):
    lake = Parameter("lake", default="./warehouse", help="a warehouse's folder, or grpc://HOST:PORT of a server")
    number = Parameter("shards", default=4, help="tasks that pull side by side")

    @step
    def start(self):
        """Plans once: all tasks read the snapshot of now, also when they are retried or resumed."""
        table = Table("tpch", "lineitem", lake=self.lake)
        self.shards = table.shards(self.number, columns=["l_returnflag", "l_quantity"], where="l_quantity > 10")
        self.next(self.pull, foreach="shards")

    @step
    def pull(self):
        """One shard: a frame of its own, of which the sums are kept."""
        frame = self.input.to_polars()
        self.sums = frame.group_by("l_returnflag").agg(pl.len().alias("rows"), pl.col("l_quantity").sum())
        self.next(self.join)

    @step
    def join(self, inputs):
        parts = pl.concat([task.sums for task in inputs])
        self.sums = parts.group_by("l_returnflag").sum().sort("l_returnflag")
        self.rows = int(self.sums["rows"].sum())
        self.next(self.end)

    @step
    def end(self):
        print(self.sums)
        print(f"{self.rows} rows")


if __name__ == "__main__":
    QuantityFlow()
