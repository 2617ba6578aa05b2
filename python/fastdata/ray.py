"""Tables as Ray datasets: one read task for each shard of a scan.

Problem: a Ray task may be run again, wholly or after half of its blocks were taken; each row must come once all the same.
Contract: `read` plans once, on the driver, and pins the snapshot. A task that runs again reads its shard anew: the same rows in the same order, cut at
the same places, whatever was committed meanwhile, so that the blocks which Ray already has are those it gets again. Nothing that travels to workers holds
a secret: they take a server's token from `FASTDATA_TOKEN`.
How: a shard is a lane, which is deterministic, and picklable; its batches have a fixed number of rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from fastdata._errors import InvalidRequest, needs
from fastdata._scan import Scan, Shard
from fastdata._table import Table

try:
    import ray.data
    from ray.data.block import BlockMetadata
    from ray.data.datasource import ReadTask
except ImportError:
    raise needs("ray", "ray") from None

__all__ = ["FastdataDatasource", "read"]

# Rows of a block as it is read, where the scan names none; Ray joins small ones up to its own target.
_BLOCK_ROWS = 8192
# As many lanes as a scan can have.
_MOST_SHARDS = 4096


def read(
    source: Table | Scan,
    *,
    shards: int | None = None,
    concurrency: int | None = None,
    ray_remote_args: dict[str, Any] | None = None,
    **scan: Any,
) -> ray.data.Dataset:
    """A dataset of the rows of a table (the keywords are those of `Table.scan`) or of a scan.

    shards: read tasks, 1 to 4096; without it as many as Ray finds fitting. concurrency: tasks at a time, at most. ray_remote_args: resources and
    environment of the tasks.
    Blocks are pyarrow tables of `batch_rows` rows (8192 where that is not given), which Ray joins. Nothing is read before the dataset is consumed.
    """
    if isinstance(source, Table):
        source = source.scan(**scan)
    elif not isinstance(source, Scan):
        raise InvalidRequest(f"source is a {type(source).__name__}", advice="give a table, lake['ns.name'], or a scan of one")
    elif scan:
        raise InvalidRequest(f"a scan takes no {', '.join(sorted(scan))}", advice="give them to Table.scan, or give the table itself")
    if shards is not None and not 1 <= shards <= _MOST_SHARDS:
        raise InvalidRequest(f"shards is {shards}", advice=f"give 1 to {_MOST_SHARDS}")
    return ray.data.read_datasource(
        FastdataDatasource(source, shards),
        override_num_blocks=shards,
        concurrency=concurrency,
        ray_remote_args=ray_remote_args,
    )


class FastdataDatasource(ray.data.Datasource):
    """What `read` hands to Ray."""

    def __init__(self, scan: Scan, shards: int | None = None) -> None:
        super().__init__()
        self._scan = scan.pin()
        self._number = shards
        self._shards: list[Shard] = []

    def estimate_inmemory_data_size(self) -> int | None:
        """Bytes of the files' parts that are read: less than the rows take in memory, and known without reading."""
        return int(self._scan.plan()["bytes"])

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None) -> list[ReadTask]:
        """One task a shard. Ray asks several times: the shards stay the same for the same number."""
        number = self._number or min(max(parallelism, 1), _MOST_SHARDS)
        if len(self._shards) != number:
            self._shards = self._scan.shards(number)
        rows = int(self._scan.request.get("batchRows") or _BLOCK_ROWS)
        # Rows of a shard are an estimate, which Ray would take for its count.
        unknown = functools.partial(BlockMetadata, num_rows=None, input_files=None, exec_stats=None)
        return [ReadTask(functools.partial(_blocks, shard, rows, per_task_row_limit), unknown(size_bytes=shard.bytes)) for shard in self._shards]


def _blocks(shard: Shard, rows: int, limit: int | None) -> Iterator[Any]:
    """The blocks of a shard, at most `limit` rows of it; one without rows where there are none, for its schema."""
    import pyarrow

    taken = 0
    with shard.batches(rows=rows) as batches:
        for batch in batches:
            block = pyarrow.Table.from_batches([pyarrow.record_batch(batch)])
            if limit is not None:
                block = block.slice(0, limit - taken)
            taken += block.num_rows
            yield block
            if taken == limit:
                return
    if taken == 0:
        yield pyarrow.schema(shard.schema).empty_table()
