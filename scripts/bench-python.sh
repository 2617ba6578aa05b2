#!/usr/bin/env bash
# Measures the Python package, embedded and served, beside pyiceberg, Polars and Daft on the reference tables: benches/results/python-peers.json.
# usage: bench-python.sh [ROUNDS [TABLE...]]; FASTDATA_BENCH_TABLES names the warehouse of the reference tables (docs/performance.md).
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
tables=${FASTDATA_BENCH_TABLES:-$cache/bench/warehouse}
[ -e "$tables/catalog.db" ] || { echo "no reference tables at $tables (docs/performance.md): name their warehouse with FASTDATA_BENCH_TABLES" >&2; exit 1; }
profile=${PROFILE:-dev}
cargo build --locked --profile "$profile" --bin fastdata --example decode_floor >&2
wheel=$(scripts/python-wheel.sh)
environment=$(scripts/python-env.sh bench)
"$(scripts/python-env.sh --uv)" pip install --quiet --python "$environment/bin/python" --no-deps --reinstall "$wheel"
folder=$profile
[ "$profile" = dev ] && folder=debug
rounds=${1:-5}
[ $# -gt 0 ] && shift
exec "$environment/bin/python" benches/python_peers.py "$tables" "${CARGO_TARGET_DIR:-$cache/target}/$folder" "$rounds" benches/results/python-peers.json "$@"
