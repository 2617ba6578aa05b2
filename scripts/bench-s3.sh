#!/usr/bin/env bash
# Measures scans from an object store, MinIO, through a proxy with a latency and a bandwidth: benches/results/s3.json and a table. Arguments go to
# `fastdata bench`; FASTDATA_BENCH_TABLES names a warehouse made by bench/make_tables.py of the shared folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
tables=${FASTDATA_BENCH_TABLES:-$cache/bench/warehouse}
profile=${PROFILE:-dev}
folder=$profile
[ "$profile" = dev ] && folder=debug
cargo build --locked --profile "$profile" --bin fastdata >&2
wheel=$(scripts/python-wheel.sh)
environment=$(scripts/python-env.sh bench)
"$(scripts/python-env.sh --uv)" pip install --quiet --python "$environment/bin/python" --no-deps --reinstall "$wheel"
eval "$(scripts/components.sh minio)"

store=$cache/bench/minio
mkdir -p "$store/bench"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export AWS_ACCESS_KEY_ID=bench-user AWS_SECRET_ACCESS_KEY=bench-password AWS_REGION=us-east-1
MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY MINIO_BROWSER=off \
    "$FASTDATA_MINIO" server --quiet --address "127.0.0.1:$port" "$store" >"$store.log" 2>&1 &
minio=$!
trap 'kill "$minio" 2>/dev/null; wait "$minio" 2>/dev/null || true' EXIT
for _ in $(seq 150); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$minio" 2>/dev/null || { cat "$store.log" >&2; exit 1; }
    sleep 0.2
done
"${CARGO_TARGET_DIR:-$cache/target}/$folder/fastdata" bench --endpoint "http://127.0.0.1:$port" --bucket bench --warehouse "$tables" \
    --through cli,flight,python --python "$environment/bin/python" --report benches/results/s3.json "$@"
