"""A table in Polars, pandas, DuckDB and batch by batch: quickstart.py LAKE, a warehouse of `fastdata demo` or grpc://HOST:PORT of a server for one."""
import sys

import duckdb
import fastdata as fd

lake = fd.connect(sys.argv[1])
print(lake.tables())
table = lake["tpch.lineitem"]

scan = table.scan(columns=["l_orderkey", "l_quantity", "l_returnflag"], where="l_shipdate >= DATE '1998-06-01'")
print(scan.explain())

frame = scan.to_polars()
print(frame.group_by("l_returnflag").len().sort("l_returnflag"))
print(scan.to_pandas().describe())

connection = duckdb.connect()
scan.to_duckdb(connection, "recent")
print(connection.sql("select l_returnflag, sum(l_quantity) from recent group by all order by all"))

rows = 0
for batch in scan.batches(rows=8192):  # in bounded memory
    rows += len(batch)
assert rows == len(frame) == scan.count()
print(f"{rows} rows")
