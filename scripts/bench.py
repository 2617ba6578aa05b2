#!/usr/bin/env python3
"""Times `fastdata scan -o none` beside the decode floor, in turn, and checks that both saw the same rows.

usage: bench.py WAREHOUSE BINARIES ROUNDS. Prints a JSON report: seconds (whole process), CPU seconds, peak MiB, ratio to the floor.
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

warehouse, binaries, rounds = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
fastdata, floor = f"{binaries}/fastdata", f"{binaries}/examples/decode_floor"
tables = ["tpch.lineitem", "ml.embeddings", "ml.features"]


def timed(command):
    """One run: wall seconds, CPU seconds, peak MiB of the whole process, and its output."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read().decode()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def checksum(paths):
    return json.loads(timed([floor, "--checksum", *paths])[3])


def version(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


report = {
    "command": "make bench",
    "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    "versions": [version([fastdata, "--version"]), version(["rustc", "--version"]), "profile dev: dependencies and the reader at opt-level 3"],
    "rounds": rounds,
    "tables": {},
}
for table in tables:
    namespace, name = table.split(".")
    data = f"{warehouse}/{namespace}/{name}/data"
    contenders = {
        "floor": [floor, data],
        "floor, string views": [floor, "--views", data],
        "fastdata scan -o none": [fastdata, "scan", table, "--warehouse", warehouse, "-o", "none", "--stats=json"],
        "fastdata scan -o none, views": [fastdata, "scan", table, "--warehouse", warehouse, "-o", "none", "--strings", "view", "--stats=json"],
    }
    with tempfile.TemporaryDirectory(dir=warehouse) as directory:
        arrow = f"{directory}/all.arrow"
        timed([fastdata, "scan", table, "--warehouse", warehouse, "-o", "arrow", "--output", arrow])
        ours, theirs = checksum([arrow]), checksum([data])
    if ours != theirs:
        sys.exit(f"{table}: fastdata returned {ours}, the files hold {theirs}")
    runs = {contender: [] for contender in contenders}
    for round_number in range(rounds + 1):
        for contender, command in contenders.items():
            result = timed(command)
            if round_number > 0:  # the first round warms the page cache
                runs[contender].append(result)
    rows = {}
    for contender, results in runs.items():
        rows[contender] = {
            "seconds": round(statistics.median(r[0] for r in results), 3),
            "cpu_seconds": round(statistics.median(r[1] for r in results), 3),
            "peak_mib": round(max(r[2] for r in results)),
            "ratio_to_floor": round(statistics.median(r[0] / f[0] for r, f in zip(results, runs["floor"])), 3),
        }
    report["tables"][table] = {"rows": ours["rows"], "checksum": ours["checksum"], "contenders": rows}
    print(f"{table}: {json.dumps(rows)}", file=sys.stderr, flush=True)
print(json.dumps(report, indent=1))
