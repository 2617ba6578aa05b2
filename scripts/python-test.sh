#!/usr/bin/env bash
# Builds the wheel, installs it into the tests' environment, checks the types and runs the Python tests. Arguments go to pytest.
# Tests of torch, Ray and Metaflow need FASTDATA_REQUIRE=all, which takes gigabytes once; without it they skip and are named.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
environment=$(scripts/python-env.sh)
wheel=$(scripts/python-wheel.sh)
"$(scripts/python-env.sh --uv)" pip install --quiet --python "$environment/bin/python" --no-deps --reinstall "$wheel"
export FASTDATA_BINARY=${FASTDATA_BINARY:-${CARGO_TARGET_DIR:-$cache/target}/debug/fastdata}
[ -x "$FASTDATA_BINARY" ] || { echo "python: no fastdata binary at $FASTDATA_BINARY: run \`make build\`, or name one with FASTDATA_BINARY" >&2; exit 1; }
[ "${FASTDATA_REQUIRE:-}" = all ] || echo "python: without torch, torchdata, Ray and Metaflow: their tests will skip; FASTDATA_REQUIRE=all brings them"
"$environment/bin/mypy" --config-file python/pyproject.toml -p fastdata
exec "$environment/bin/pytest" -c python/pyproject.toml --rootdir python python/tests "$@"
