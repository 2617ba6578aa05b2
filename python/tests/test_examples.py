"""The examples run as they stand, on a warehouse and on a server."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import need

EXAMPLES = Path(__file__).parents[2] / "examples"

# The partners that weigh gigabytes, and the arguments before the lake.
RUN = {
    "quickstart.py": ([], []),
    "training_loop.py": (["torch"], []),
    "ray_read.py": (["ray"], []),
    "metaflow_flow.py": (["metaflow"], ["run", "--lake"]),
}


def run(folder, example, *arguments):
    settings = {"METAFLOW_USER": "tester", "METAFLOW_HOME": str(folder), "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder), "RAY_DEDUP_LOGS": "0"}
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{example}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_every_example_of_the_package_is_run():
    ours = {path.name for path in EXAMPLES.glob("*.py") if "fastdata as fd" in path.read_text() or "from fastdata" in path.read_text()}
    assert ours == set(RUN)


@pytest.mark.parametrize("example", RUN)
def test_an_example_runs_and_sees_every_row(example, lake, tmp_path):
    partners, arguments = RUN[example]
    for partner in partners:
        need(partner)
    said = run(tmp_path, example, *arguments, lake.location)
    where = "l_shipdate >= DATE '1998-06-01'"
    if example == "training_loop.py":
        where = "l_shipdate >= DATE '1998-01-01'"
    elif example != "quickstart.py":
        where = "l_quantity > 10"
    assert f"{lake['tpch.lineitem'].count(where=where)} rows" in said, said
