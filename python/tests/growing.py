"""A table that grows while it is read: `growing` is (lake, name of the table, function that appends 100 rows to it)."""
import itertools

import fastdata as fd
import pyarrow as pa
import pytest
from support import Server
from tables import catalog as catalog_of


@pytest.fixture
def growing(lake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("growing")
    catalog = catalog_of(folder)
    catalog.create_namespace("ml")
    table = catalog.create_table("ml.numbers", pa.schema([("id", pa.int64())]))
    starts = itertools.count(0, 100)

    def append():
        start = next(starts)
        table.append(pa.table({"id": range(start, start + 100)}))

    for _ in range(5):
        append()
    if lake.mode == "embedded":
        yield fd.connect(folder), "ml.numbers", append
    else:
        server = Server(folder, folder / "server")
        yield fd.connect(server.url), "ml.numbers", append
        server.stop()
