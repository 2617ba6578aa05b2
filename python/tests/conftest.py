"""One suite for both ways to read: `lake` is every test's lake, once embedded and once served, over one warehouse."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tables
from support import Server, command, need

import fastdata as fd

_LONGEST = 300.0


@pytest.fixture(autouse=True)
def bounded_in_time() -> Iterator[None]:
    """A test that hangs ends the run, and every thread's stack says where."""
    faulthandler.dump_traceback_later(_LONGEST, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def nothing_from_outside() -> None:
    """Settings of whoever runs the tests do not reach them."""
    for name in [name for name in os.environ if name.startswith("FASTDATA_") and name not in ("FASTDATA_REQUIRE", "FASTDATA_BINARY", "FASTDATA_CACHE")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of `fastdata demo` and those of tables.py."""
    need("pyiceberg")
    need("pyarrow")
    folder = tmp_path_factory.mktemp("lake") / "warehouse"
    command("demo", str(folder))
    tables.write(folder)
    return folder


@pytest.fixture(scope="session")
def iceberg(warehouse: Path) -> Any:
    """pyiceberg's catalog over the same warehouse: the oracle."""
    return tables.catalog(warehouse)


@pytest.fixture(scope="session")
def server(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the warehouse that stays up for the whole session."""
    serving = Server(warehouse, tmp_path_factory.mktemp("server"))
    yield serving
    serving.stop()


@pytest.fixture
def own_server(warehouse: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that the test may freeze, kill and start again."""
    serving = Server(warehouse, tmp_path / "server")
    yield serving
    serving.stop()


@pytest.fixture(scope="session", params=["embedded", "served"])
def lake(request: pytest.FixtureRequest, warehouse: Path) -> Iterator[fd.Lake]:
    """The warehouse, read by this process and by a server."""
    location = str(warehouse) if request.param == "embedded" else request.getfixturevalue("server").url
    with fd.connect(location) as opened:
        yield opened


@pytest.fixture(scope="session")
def embedded(warehouse: Path) -> Iterator[fd.Lake]:
    """The warehouse read by this process, for comparison."""
    with fd.connect(warehouse) as opened:
        yield opened
