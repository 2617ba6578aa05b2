"""The console script `fastdata`: the same command that the Rust binary is."""

from __future__ import annotations

import sys

from ._native import run_command


def main() -> None:
    """Runs the command with the arguments of this process, and exits with its status."""
    sys.exit(run_command(sys.argv[1:]))
