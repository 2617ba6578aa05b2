#!/usr/bin/env python3
"""Measures the Python package beside other readers of Iceberg on the reference tables, and checks that all return the same rows.

usage: python_peers.py WAREHOUSE BINARIES ROUNDS REPORT [TABLE...]. Writes REPORT, a JSON file, anew after each table; `make bench-python` runs it.

Problem: who streams a table and who materialises it pays for different things, and a reader that loses rows is quick. Contract: two kinds of pull, kept
apart: `stream` takes every batch and drops it, `materialise` holds the whole table at the end. Each run is a process of its own, the contenders take turns,
and figures are medians of the rounds (peaks: the highest): seconds and CPU seconds from opening the catalog to the last row, imports excluded; `peak_mib` is VmHWM of the
process and `imported_mib` what it was after the imports. A served pull has a fresh server, whose peak and CPU seconds are told beside it.
How: before anything is timed, each contender writes what it read to an Arrow file, which must have the checksum of the table's files (`decode_floor --checksum`:
order-independent, blind to how a type is spelled). Peers are used as their own documentation shows it.
"""
import importlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

TABLES = ["tpch.lineitem", "ml.embeddings", "ml.features"]


def fastdata(location, table, kind, frame="arrow"):
    import fastdata as fd

    if kind == "materialise":
        importlib.import_module("polars" if frame == "polars" else "pyarrow")  # before the clock starts

    def pull():
        scan = fd.connect(location)[table].scan()
        if kind == "stream":
            return scan.batches()
        return scan.to_polars(progress=False) if frame == "polars" else scan.to_arrow(progress=False)

    return pull


def loaded(warehouse, table):
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog("local", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}").load_table(table)


def pyiceberg(warehouse, table, kind):
    import pyiceberg.catalog.sql  # noqa: F401: imported before the clock starts
    import pyiceberg.io.pyarrow  # noqa: F401

    def pull():
        scan = loaded(warehouse, table).scan()
        return scan.to_arrow_batch_reader() if kind == "stream" else scan.to_arrow()

    return pull


def polars(warehouse, table, kind):
    import polars as pl
    import pyiceberg.catalog.sql  # noqa: F401
    import pyiceberg.io.pyarrow  # noqa: F401

    def pull():
        frame = pl.scan_iceberg(loaded(warehouse, table))
        return frame.collect_batches() if kind == "stream" else frame.collect(engine="streaming")

    return pull


def daft(warehouse, table, kind):
    import daft
    import pyiceberg.catalog.sql  # noqa: F401
    import pyiceberg.io.pyarrow  # noqa: F401

    def pull():
        frame = daft.read_iceberg(loaded(warehouse, table))
        return frame.to_arrow_iter() if kind == "stream" else frame.to_arrow()

    return pull


CONTENDERS = {
    "stream": {"fastdata, embedded": fastdata, "fastdata, served": fastdata, "pyiceberg": pyiceberg, "polars": polars, "daft": daft},
    "materialise": {
        "fastdata, embedded": fastdata,
        "fastdata, served": fastdata,
        "fastdata to Polars, embedded": lambda *at: fastdata(*at, frame="polars"),
        "fastdata to Polars, served": lambda *at: fastdata(*at, frame="polars"),
        "pyiceberg": pyiceberg,
        "polars": polars,
        "daft": daft,
    },
}


def high_water(process="self"):
    """The most memory that a process had, in MiB."""
    with open(f"/proc/{process}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) / 1024


def plain(kind):
    """An Arrow type in its plainest spelling."""
    import pyarrow as pa

    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_type))
    return kind


def write(pieces, path):
    """What was read as an Arrow file."""
    import pyarrow as pa

    writer = None
    for piece in pieces:
        if hasattr(piece, "to_arrow"):
            piece = piece.to_arrow()
        table = pa.Table.from_batches([piece]) if isinstance(piece, pa.RecordBatch) else piece
        table = table.cast(pa.schema([(field.name, plain(field.type)) for field in table.schema]))
        writer = writer or pa.ipc.new_file(path, table.schema)
        writer.write_table(table, max_chunksize=65536)
    writer.close()


def one(contender, kind, location, table, path):
    """One run, in a process of its own: prints its figures, or writes what it read where a path is given."""
    pull = CONTENDERS[kind][contender](location, table, kind)
    if path:
        got = pull()
        write(got if kind == "stream" else [got], path)
        return
    imported, started, before = high_water(), time.perf_counter(), os.times()
    got = pull()
    rows = sum(len(batch) for batch in got) if kind == "stream" else len(got)
    after = os.times()
    print(json.dumps({
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": after.user + after.system - before.user - before.system,
        "peak_mib": high_water(),
        "imported_mib": imported,
    }))
    sys.stdout.flush()
    os._exit(0)  # what a contender frees at its exit is not measured


class Server:
    """A `fastdata serve` of the warehouse on a free port."""

    def __init__(self, binary, warehouse):
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen([binary, "serve", "--warehouse", warehouse, "--listen", "127.0.0.1:0"], stdout=self.log, stderr=self.log)
        for _ in range(300):
            address = re.search(r"^listening on (\S+)", open(self.log.name).read(), re.M)
            if address:
                self.uri = address[1]
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"the server did not start:\n{open(self.log.name).read()}")

    def stop(self):
        """Ends it; its peak and CPU seconds."""
        peak = high_water(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.log.close()
        return {"server_peak_mib": peak, "server_cpu_seconds": usage.ru_utime + usage.ru_stime}


def run(contender, kind, table, warehouse, binary, path=""):
    server = Server(binary, warehouse) if contender.endswith("served") else None
    location = server.uri if server else warehouse
    command = [sys.executable, os.path.abspath(__file__), "--one", contender, kind, location, table, path]
    done = subprocess.run(command, capture_output=True, text=True)
    figures = server.stop() if server else {}
    if done.returncode != 0:
        sys.exit(f"{contender}, {kind} of {table} failed:\n{done.stderr}")
    return {} if path else {**json.loads(done.stdout), **figures}


def checksum(floor, path):
    return json.loads(subprocess.run([floor, "--checksum", path], capture_output=True, text=True, check=True).stdout)


def summary(results):
    """Medians of times, the highest of peaks."""
    figures = {}
    for name in results[0]:
        values = [result[name] for result in results]
        if name != "rows":
            figures[name] = round(max(values)) if name.endswith("mib") else round(statistics.median(values), 3)
    return figures


def main(warehouse, binaries, rounds, path, tables):
    warehouse, binary, floor = os.path.abspath(warehouse), f"{binaries}/fastdata", f"{binaries}/examples/decode_floor"
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    report = {
        "command": "make bench-python",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": [f"{said}, profile {os.environ.get('PROFILE', 'dev')}", f"python {platform.python_version()}"]
        + [f"{name} {version(name)}" for name in ("pyiceberg", "pyarrow", "polars", "daft")],
        "rounds": rounds,
        "tables": {},
    }
    for table in tables or TABLES:
        truth = checksum(floor, f"{warehouse}/{table.replace('.', '/')}/data")
        entry = report["tables"][table] = {"rows": truth["rows"], "checksum": truth["checksum"]}
        for kind, contenders in CONTENDERS.items():
            for contender in contenders:
                with tempfile.TemporaryDirectory(dir=warehouse) as directory:
                    run(contender, kind, table, warehouse, binary, f"{directory}/all.arrow")
                    got = checksum(floor, f"{directory}/all.arrow")
                if got != truth:
                    sys.exit(f"{contender}, {kind} of {table} returned {got}, the files hold {truth}")
            results = {contender: [] for contender in contenders}
            for round_number in range(rounds + 1):
                for contender in contenders:
                    result = run(contender, kind, table, warehouse, binary)
                    if result["rows"] != truth["rows"]:
                        sys.exit(f"{contender}, {kind} of {table} returned {result['rows']} rows of {truth['rows']}")
                    if round_number > 0:  # the first round warms the page cache
                        results[contender].append(result)
            entry[kind] = {contender: summary(runs) for contender, runs in results.items()}
            print(f"{table}, {kind}: {json.dumps(entry[kind])}", flush=True)
            with open(path, "w") as file:
                print(json.dumps(report, indent=1), file=file)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(*sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
