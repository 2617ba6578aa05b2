#!/usr/bin/env bash
# Measures scans from an object store, MinIO, through a proxy with a latency and a bandwidth: benches/results/s3.json and a table. Arguments go to
# `fastdata bench`; FASTDATA_BENCH_TABLES names the warehouse of the reference tables (docs/performance.md).
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
tables=${FASTDATA_BENCH_TABLES:-$cache/bench/warehouse}
[ -e "$tables/catalog.db" ] || { echo "no reference tables at $tables (docs/performance.md): name their warehouse with FASTDATA_BENCH_TABLES" >&2; exit 1; }
profile=${PROFILE:-dev}
folder=$profile
[ "$profile" = dev ] && folder=debug
cargo build --locked --profile "$profile" --bin fastdata >&2
wheel=$(scripts/python-wheel.sh)
environment=$(scripts/python-env.sh bench)
"$(scripts/python-env.sh --uv)" pip install --quiet --python "$environment/bin/python" --no-deps --reinstall "$wheel"
component=$(scripts/components.sh minio)
[ -n "$component" ] || { echo "bench: MinIO is required: scripts/components.sh minio says why it cannot be installed" >&2; exit 1; }
minio_program=${component#FASTDATA_MINIO=}

store=$cache/bench/minio
mkdir -p "$store/bench"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export AWS_ACCESS_KEY_ID=bench-user AWS_SECRET_ACCESS_KEY=bench-password AWS_REGION=us-east-1
MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY MINIO_BROWSER=off \
    "$minio_program" server --quiet --address "127.0.0.1:$port" "$store" >"$store.log" 2>&1 &
minio=$!
trap 'kill "$minio" 2>/dev/null; wait "$minio" 2>/dev/null || true' EXIT
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
for _ in $(seq 150); do
    answers && break
    kill -0 "$minio" 2>/dev/null || { cat "$store.log" >&2; echo "bench: MinIO has ended; above is its log, $store.log" >&2; exit 1; }
    sleep 0.2
done
answers || { tail -20 "$store.log" >&2; echo "bench: MinIO does not answer on port $port after 30 s; above is the end of $store.log" >&2; exit 1; }
"${CARGO_TARGET_DIR:-$cache/target}/$folder/fastdata" bench --endpoint "http://127.0.0.1:$port" --bucket bench --warehouse "$tables" \
    --through cli,flight,python --python "$environment/bin/python" --report benches/results/s3.json "$@"
