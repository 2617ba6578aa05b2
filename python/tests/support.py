"""What several test files share: packages that may be missing, the binary, servers, and Python in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TESTS = Path(__file__).parent
PYTHON = TESTS.parent
REPOSITORY = PYTHON.parent


def need(name: str) -> ModuleType:
    """The module; without it the tests that ask skip and say so, and fail where FASTDATA_REQUIRE=all."""
    if os.environ.get("FASTDATA_REQUIRE") == "all":
        return importlib.import_module(name)
    module: ModuleType = pytest.importorskip(name, reason=f"without {name}: pip install {name}", exc_type=ImportError)
    return module


def binary() -> str:
    """The `fastdata` command of this checkout."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/fastdata/target"))
    path = os.environ.get("FASTDATA_BINARY", os.path.join(target, "debug", "fastdata"))
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no binary at {path}: run make build, or name it with FASTDATA_BINARY")
    return path


def command(*arguments: str, timeout: float = 120) -> str:
    """Runs the command and returns what it prints."""
    return subprocess.run([binary(), *arguments], check=True, capture_output=True, text=True, timeout=timeout).stdout


def environment(**more: str) -> dict[str, str]:
    """This process's variables without those of fastdata, but for the import path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTDATA_")}
    path = os.pathsep.join([p for p in [str(TESTS), *sys.path] if p])
    return {**kept, "PYTHONPATH": path, **more}


def python(script: str, *arguments: str, timeout: float = 120, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in a fresh interpreter that has this one's packages."""
    line = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, env=environment(**more))
    assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@contextlib.contextmanager
def running(script: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The same while it runs; it is killed at the end if it is still there."""
    line = [sys.executable, "-u", "-c", script, *arguments]
    process = subprocess.Popen(line, text=True, env=environment(), **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str], timeout: float = 60) -> str:
    """The next line that the process prints; bounded in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout)
    line = process.stdout.readline() if ready else ""
    if not line:
        process.kill()
        raise AssertionError(f"the process printed no line within {timeout} s\n{process.stderr.read() if process.stderr else ''}")
    return line.rstrip("\n")


class Server:
    """`fastdata serve` on a loopback port that stays the same over restarts, with a ticket key of its own."""

    def __init__(self, warehouse: Path, folder: Path, settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        (folder / "ticket.keys").write_text(f"key-1 {key}\n")
        self.config = folder / "fastdata.toml"
        self.config.write_text(f'[server.tickets]\nkeys = "{folder / "ticket.keys"}"\n{settings}')
        self.warehouse = warehouse
        self.log = folder / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, on the port it had before, and waits until it listens."""
        line = [binary(), "serve", "--warehouse", str(self.warehouse), "--config", str(self.config), "--listen", f"127.0.0.1:{self.port}"]
        with self.log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(line, stdout=log, stderr=log, env=environment())
        for _ in range(600):
            printed = self.log.read_bytes()[began:].decode()
            listening = re.search(r"listening on grpc://127\.0\.0\.1:(\d+)", printed)
            if listening:
                self.port = int(listening[1])
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Ends it, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as sorted texts, for comparison whatever their order."""
    return sorted(json.dumps(row, default=_plain, sort_keys=True) for row in rows)


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else value.hex() if isinstance(value, bytes) else str(value)
