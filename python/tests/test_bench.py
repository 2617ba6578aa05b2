"""`fastdata bench` measures this package too, by the interpreter that it is given: against a real object store, which MinIO is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import REPOSITORY, binary, environment, free_port

_USER, _PASSWORD = "bench-user", "bench-password"


def minio() -> str:
    """The program, where it is installed; without it the tests that ask skip and say so, and fail where FASTDATA_REQUIRE=all."""
    found = subprocess.run([REPOSITORY / "scripts/components.sh", "--installed", "minio"], capture_output=True, text=True, check=True).stdout
    if not found.startswith("FASTDATA_MINIO="):
        if os.environ.get("FASTDATA_REQUIRE") == "all":
            raise RuntimeError("MinIO is required (FASTDATA_REQUIRE=all) and missing: scripts/setup.sh installs it")
        pytest.skip("without MinIO: scripts/setup.sh installs it")
    return found.strip().removeprefix("FASTDATA_MINIO=")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The address of an object store with a bucket `bench`."""
    program, address = minio(), f"127.0.0.1:{free_port()}"
    (tmp_path / "store" / "bench").mkdir(parents=True)
    given = environment(MINIO_ROOT_USER=_USER, MINIO_ROOT_PASSWORD=_PASSWORD, MINIO_BROWSER="off")
    with (tmp_path / "store.log").open("wb") as log:
        line = [program, "server", "--quiet", "--address", address, str(tmp_path / "store")]
        process = subprocess.Popen(line, stdout=log, stderr=log, env=given)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://{address}/minio/health/ready", timeout=5)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, (tmp_path / "store.log").read_text()
                time.sleep(0.2)
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait(10)


def test_the_package_is_measured_beside_the_command(store: str, tmp_path: Path) -> None:
    line = [binary(), "bench", "--endpoint", store, "--bucket", "bench", "--scale", "0.001", "--tables", "tpch.lineitem", "--rounds", "1"]
    line += ["--latency", "5ms", "--through", "cli,python", "--python", sys.executable, "-o", "json"]
    given = environment(AWS_ACCESS_KEY_ID=_USER, AWS_SECRET_ACCESS_KEY=_PASSWORD, AWS_REGION="us-east-1")
    done = subprocess.run(line, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=given)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)["tables"]["tpch.lineitem"]
    scans = measured["scans"]
    assert list(scans) == ["cli", "python"] and measured["rows"] > 5000
    for name, scan in scans.items():
        assert 0.005 < scan["first_batch_ms"] / 1000 <= scan["seconds"] + 0.001, (name, scan)
        assert scan["requests"] > measured["ceiling"]["requests"] and scan["peak_mib"] > 5, (name, scan)
    assert scans["python"]["requests"] == scans["cli"]["requests"], scans


def test_a_python_without_the_package_is_an_error_with_its_words(store: str, tmp_path: Path) -> None:
    line = [binary(), "bench", "--endpoint", store, "--bucket", "bench", "--scale", "0.001", "--tables", "tpch.lineitem", "--through", "python"]
    empty = tmp_path / "python"
    empty.write_text('#!/bin/sh\nhead -c 200000 /dev/zero | tr "\\0" x >&2\necho "No module named fastdata" >&2\nexit 1\n')
    empty.chmod(0o755)
    given = environment(AWS_ACCESS_KEY_ID=_USER, AWS_SECRET_ACCESS_KEY=_PASSWORD, AWS_REGION="us-east-1")
    done = subprocess.run([*line, "--python", str(empty)], capture_output=True, text=True, timeout=240, cwd=tmp_path, env=given)
    assert done.returncode == 9 and "No module named fastdata" in done.stderr, done.stderr[-2000:]
