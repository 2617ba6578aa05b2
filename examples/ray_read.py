"""A table as a Ray dataset, a read task for each shard: ray_read.py LAKE, a warehouse of `fastdata demo` or grpc://HOST:PORT of a server for one."""
import sys

import fastdata as fd
import fastdata.ray
import ray

ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20)
# A read task is a process: each gets a budget and a thread of its own.
lake = fd.connect(sys.argv[1], memory="256MiB")
table = lake["tpch.lineitem"]

dataset = fastdata.ray.read(table, shards=4, columns=["l_returnflag", "l_quantity"], where="l_quantity > 10")
flags = dataset.map_batches(lambda batch: {"flag": batch["l_returnflag"]}).groupby("flag").count().take_all()
print(flags)
rows = sum(group["count()"] for group in flags)
assert rows == table.count(where="l_quantity > 10")
print(f"{rows} rows")
