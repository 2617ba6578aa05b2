"""Memory: a stream of any length stays within its budget, whatever takes the rows."""

from __future__ import annotations

import pytest
import tables
from support import need, python

import fastdata as fd

MIB = 1 << 20
BUDGET = 64 * MIB
SLACK = 128 * MIB

SCRIPT = """
import sys, fastdata as fd
import polars as pl
import pyarrow as pa

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

lake = fd.connect(sys.argv[1], memory=int(sys.argv[3]))
scan = lake["py.big"].scan()
warm = lake["tpch.region"].scan()
warm.to_polars(), next(warm.batches()).to_polars(), pa.table(warm)
before, rows, held = peak(), 0, 0
if sys.argv[2] == "polars":
    for batch in scan.batches():
        frame = pl.DataFrame(batch)
        held, rows = max(held, 2 * frame.estimated_size()), rows + frame.height
elif sys.argv[2] == "reader":
    for batch in pa.RecordBatchReader.from_stream(scan):
        held, rows = max(held, 2 * batch.nbytes), rows + batch.num_rows
elif sys.argv[2] == "exact":
    for batch in scan.batches(rows=10_000):
        held, rows = max(held, 2 * batch.num_bytes), rows + len(batch)
elif sys.argv[2] == "slow":
    import time
    for batch in scan.batches():
        time.sleep(0.01)
        held, rows = max(held, 2 * batch.num_bytes), rows + len(batch)
elif sys.argv[2] == "feed":
    for batch in scan.shuffle(1, window=50_000).lanes(16).epoch(0).batches(4096, "uneven"):
        held, rows = max(held, 2 * batch.num_bytes), rows + len(batch)
print(rows, peak() - before, held)
"""


@pytest.mark.parametrize("consumer", ["polars", "reader", "exact", "slow", "feed"])
def test_a_long_stream_stays_within_its_budget(lake: fd.Lake, consumer: str) -> None:
    need("polars")
    rows, grown, held = map(int, python(SCRIPT, lake.location, consumer, str(BUDGET), timeout=240).stdout.split())
    assert rows == tables.BIG_FILES * tables.BIG_ROWS
    # The table decodes to several times what is allowed: 152 bytes a row.
    assert 152 * rows > 2 * (BUDGET + SLACK)
    assert grown <= BUDGET + SLACK + held, f"{grown / MIB:.0f} MiB grown, of which the consumer may hold {held / MIB:.0f}"


def test_what_is_not_taken_is_not_read(lake: fd.Lake) -> None:
    scan = fd.connect(lake.location, memory=BUDGET)["py.big"].scan()
    with scan.batches() as batches:
        next(batches)
        import time

        time.sleep(0.5)
        assert batches.stats.bytes_returned <= 2 * BUDGET < 152 * tables.BIG_FILES * tables.BIG_ROWS


def test_a_closed_iterator_gives_its_memory_back(lake: fd.Lake) -> None:
    small = fd.connect(lake.location, memory=BUDGET)
    for _ in range(40):
        batches = small["py.big"].scan().batches()
        next(batches)
        batches.close()
    assert sum(len(batch) for batch in small["py.many"].scan().batches()) == 60_000
