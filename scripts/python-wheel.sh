#!/usr/bin/env bash
# Builds the wheel and prints its path. PROFILE is a cargo profile: dev without it, dist for what ships (half an hour).
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-dev}
environment=$(scripts/python-env.sh)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${FASTDATA_CACHE:-$HOME/.cache/fastdata}/target}
wheels=$CARGO_TARGET_DIR/wheels/$profile
rm -rf "$wheels"
"$environment/bin/maturin" build --quiet --locked --profile "$profile" --manifest-path python/Cargo.toml \
    --interpreter "$environment/bin/python" --out "$wheels" >&2
echo "$wheels"/*.whl
