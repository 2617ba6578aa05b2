"""`fastdata.ray` with the real Ray: two CPUs, a small object store."""
import os
import pickle
from collections import Counter

import pytest
from growing import growing  # noqa: F401: a fixture
from support import need

need("ray")

import fastdata as fd  # noqa: E402
import fastdata.ray  # noqa: E402
import pyarrow as pa  # noqa: E402
import ray  # noqa: E402

COLUMNS = ["l_orderkey", "l_linenumber", "l_comment"]
WHERE = "l_shipdate >= DATE '1998-01-01'"
KEY = ["l_orderkey", "l_linenumber"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    ray.init(num_cpus=2, object_store_memory=200 << 20, include_dashboard=False, log_to_driver=False, _temp_dir=short_folder())
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    yield context
    ray.shutdown()


def short_folder():
    """Ray's sockets lie in it: a longer path is refused by the system."""
    import tempfile

    return tempfile.mkdtemp(prefix="ray-", dir="/tmp")


@pytest.fixture
def table(lake):
    return lake["tpch.lineitem"]


def keys(rows):
    return Counter((row["l_orderkey"], row["l_linenumber"]) for row in rows)


def truth(table):
    return keys(table.scan(columns=KEY, where=WHERE).to_polars().to_dicts())


def blocks_of(task):
    return [pa.table(block) for block in task()]


def test_a_dataset_has_each_row_once(cluster, table):
    dataset = fastdata.ray.read(table, shards=3, columns=COLUMNS, where=WHERE)
    rows = dataset.take_all()
    assert keys(rows) == truth(table)
    expected = {(row["l_orderkey"], row["l_linenumber"]): row["l_comment"] for row in table.scan(columns=COLUMNS, where=WHERE).to_polars().to_dicts()}
    assert {(row["l_orderkey"], row["l_linenumber"]): row["l_comment"] for row in rows} == expected


def test_there_is_one_read_task_for_each_shard(cluster, table):
    scan = table.scan(columns=KEY, where=WHERE).pin()
    tasks = fastdata.ray.FastdataDatasource(scan, 5).get_read_tasks(2)
    read = [keys(row for block in blocks_of(task) for row in block.to_pylist()) for task in tasks]
    assert read == [keys(shard.to_polars().to_dicts()) for shard in scan.shards(5)]
    assert len(fastdata.ray.FastdataDatasource(scan).get_read_tasks(7)) == 7


def test_a_task_that_runs_again_gives_the_same_blocks(cluster, table):
    scan = table.scan(columns=COLUMNS, where=WHERE, batch_rows=1000)
    task = pickle.dumps(fastdata.ray.FastdataDatasource(scan, 2).get_read_tasks(2)[1].read_fn)
    first, again = ([pa.table(block) for block in pickle.loads(task)()] for _ in range(2))
    assert len(first) > 3 and {block.num_rows for block in first[:-1]} == {1000}
    assert first == again


def test_a_killed_task_reads_its_shard_anew_and_each_row_comes_once(cluster, table, tmp_path, monkeypatch):
    # Small blocks, so that Ray has taken some of the shard's before its worker dies.
    monkeypatch.setattr(cluster, "target_max_block_size", 64 << 10)
    scan = table.scan(columns=COLUMNS, where=WHERE, batch_rows=500).pin()
    late = [shard.to_polars().row(-1)[:2] for shard in scan.shards(2)][0]
    killed = str(tmp_path / "killed")

    def kill_once(block):
        if late in zip(block["l_orderkey"].to_pylist(), block["l_linenumber"].to_pylist()):
            try:
                os.close(os.open(killed, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return block
            os._exit(1)
        return block

    dataset = fastdata.ray.read(scan, shards=2).map_batches(kill_once, batch_format="pyarrow", batch_size=None)
    rows = dataset.take_all()
    assert os.path.exists(killed), "no worker was killed"
    assert keys(rows) == truth(table)


def test_a_dataset_keeps_the_snapshot_it_was_made_on(cluster, growing):
    lake, name, append = growing
    before = lake[name].count()
    dataset = fastdata.ray.read(lake[name], shards=2)
    append()
    assert lake[name].count() > before
    assert len(dataset.take_all()) == before


def test_a_limit_of_ray_ends_the_reading(cluster, table):
    assert len(fastdata.ray.read(table, shards=2, columns=KEY).limit(10).take_all()) == 10
    task = fastdata.ray.FastdataDatasource(table.scan(columns=KEY), 1).get_read_tasks(1, per_task_row_limit=9000)[0]
    assert [block.num_rows for block in task.read_fn()] == [8192, 808]


def test_a_scan_without_rows_has_its_columns(cluster, table):
    dataset = fastdata.ray.read(table, shards=2, columns=KEY, where="l_quantity < 0")
    assert dataset.take_all() == []
    assert dataset.schema().names == KEY


def test_what_ray_cannot_know_it_is_not_told(cluster, table):
    # An estimate of rows would be Ray's count.
    dataset = fastdata.ray.read(table, shards=2, where=WHERE)
    assert dataset.count() == sum(truth(table).values())


def test_tasks_carry_no_token(cluster, server):
    seen = fd.connect(server.url, token="canary-5d1f")
    source = fastdata.ray.FastdataDatasource(seen["tpch.lineitem"].scan(), 2)
    carried = ray.cloudpickle.dumps([source, source.get_read_tasks(2)])
    assert b"canary-5d1f" not in carried


@pytest.mark.parametrize("shards", [0, 5000])
def test_a_number_of_shards_that_cannot_be_is_refused_with_the_bounds(cluster, table, shards):
    with pytest.raises(fd.InvalidRequest, match=rf"(?s)shards is {shards}\n.*1 to 4096"):
        fastdata.ray.read(table, shards=shards)


def test_what_is_no_table_or_scan_is_refused_by_name(cluster, table):
    with pytest.raises(fd.InvalidRequest, match=r"(?s)source is a str.*lake\["):
        fastdata.ray.read("tpch.lineitem")
    with pytest.raises(fd.InvalidRequest, match=r"(?s)takes no columns.*Table\.scan"):
        fastdata.ray.read(table.scan(), columns=KEY)
    with pytest.raises(fd.NotFound, match="l_nothing"):
        fastdata.ray.read(table, columns=["l_nothing"])
