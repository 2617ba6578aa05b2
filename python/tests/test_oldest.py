"""Next to the oldest partners that the extras allow, in an environment of their own: they take the same rows as the newest do here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastdata as fd
from support import PYTHON, REPOSITORY, need

SCRIPT = """
import json, sys
import fastdata as fd
import duckdb, numpy, pandas, polars, pyarrow

scan = fd.connect(sys.argv[1])["py.types"].scan(columns=["l", "s", "day", "ts"])
said = {module.__name__: module.__version__ for module in (duckdb, numpy, pandas, polars, pyarrow)}
said["to_arrow"] = [str(value) for value in scan.to_arrow()["s"].to_pylist()]
said["table"] = pyarrow.RecordBatchReader.from_stream(scan).read_all().num_rows
said["to_pandas"] = [str(value) for value in scan.to_pandas()["l"].tolist()]
said["to_polars"] = [str(value) for value in scan.to_polars()["day"].to_list()]
connection = duckdb.connect()
scan.to_duckdb(connection, "t")
said["to_duckdb"] = [str(row[0]) for row in connection.sql("select ts from t").fetchall()]
said["to_numpy"] = [str(value) for value in scan.to_numpy()["l"].tolist()]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def oldest() -> str:
    """The interpreter of the environment of python/requirements/oldest.txt."""
    if os.environ.get("FASTDATA_REQUIRE") != "all":
        pytest.skip("without the oldest partners: FASTDATA_REQUIRE=all brings their environment")
    made = subprocess.run([str(REPOSITORY / "scripts/python-env.sh"), "oldest"], check=True, capture_output=True, text=True, timeout=600)
    return made.stdout.strip() + "/bin/python"


def run(interpreter: str, folder: Path, warehouse: Path) -> dict[str, object]:
    """What the script says there, with the package of this environment and nothing else of it."""
    folder.mkdir()
    (folder / "fastdata").symlink_to(Path(fd.__file__).parent)
    variables = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([interpreter, "-c", SCRIPT, str(warehouse)], capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_the_oldest_partners_take_what_the_newest_do(oldest: str, warehouse: Path, tmp_path: Path) -> None:
    partners = ("numpy", "pyarrow", "polars", "pandas", "duckdb")
    for name in partners:
        need(name)
    here, there = run(sys.executable, tmp_path / "here", warehouse), run(oldest, tmp_path / "there", warehouse)
    versions = {name: (here.pop(name), there.pop(name)) for name in partners}
    assert there == here and here["table"] == 3
    extras = (PYTHON / "pyproject.toml").read_text()
    for name, (newest, old) in versions.items():
        bounds = set(re.findall(rf'"{name}>=([\d.]+)"', extras))
        assert len(bounds) == 1, f"{name}: the extras name {bounds}"
        assert str(old).startswith(bounds.pop()) and newest != old, f"{name} {old}"
