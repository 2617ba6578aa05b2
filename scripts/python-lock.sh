#!/usr/bin/env bash
# Pins what python/requirements/*.in names, for CPython 3.11 and later. Run it to change or renew versions, and commit what it writes.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(scripts/python-env.sh --uv)
# PyPI's torch for Linux is linked with CUDA and loads nothing without those libraries, on a CPU too. These of its dependencies it does not load on a
# CPU (the compiler of kernels, a solver, headers): without them the environment has 4.8 GB instead of 6.1.
left_out=(triton nvidia-cusolver nvidia-nvtx nvidia-cuda-cccl cuda-bindings cuda-pathfinder cuda-toolkit)
cd python/requirements
for lock in light heavy bench oldest spark; do
    "$uv" pip compile --quiet --universal --python-version 3.11 --upgrade --no-header "${left_out[@]/#/--no-emit-package=}" --output-file $lock.txt $lock.in
done
