"""A table as a Ray dataset, a read task for each shard: ray_read.py LAKE, a warehouse of `fastdata demo` or grpc://HOST:PORT of a server for one."""
import sys

import fastdata as fd
import fastdata.ray
import numpy as np
import ray


def by_flag(batch):
    """The rows of a batch for each flag."""
    flags, rows = np.unique(batch["l_returnflag"].astype(str), return_counts=True)
    return {"flag": flags, "rows": rows}


ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20)
# Each read task is a process, with a budget of its own.
lake = fd.connect(sys.argv[1], memory="256MiB")
table = lake["tpch.lineitem"]

dataset = fastdata.ray.read(table, shards=4, columns=["l_returnflag", "l_quantity"], where="l_quantity > 10")
totals: dict[str, int] = {}
for part in dataset.map_batches(by_flag).iter_rows():
    totals[part["flag"]] = totals.get(part["flag"], 0) + part["rows"]
print(totals)
assert sum(totals.values()) == table.count(where="l_quantity > 10")
print(f"{sum(totals.values())} rows")
