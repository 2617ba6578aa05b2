#!/usr/bin/env bash
# Measures `fastdata scan -o none` against the decode floor on the three reference tables, interleaved, medians of one run.
# usage: bench.sh [ROUNDS]; FASTDATA_BENCH_TABLES names the warehouse of the reference tables (docs/performance.md).
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
tables=${FASTDATA_BENCH_TABLES:-$cache/bench/warehouse}
[ -e "$tables/catalog.db" ] || { echo "no reference tables at $tables (docs/performance.md): name their warehouse with FASTDATA_BENCH_TABLES" >&2; exit 1; }
cargo build --locked --bin fastdata --example decode_floor
exec python3 scripts/bench.py "$tables" "${CARGO_TARGET_DIR:-$cache/target}/debug" "${1:-5}"
