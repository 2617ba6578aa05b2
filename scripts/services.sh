#!/usr/bin/env bash
# Starts or ends the services of developers, in ./services. usage: services.sh up|down
set -euo pipefail
cd "$(dirname "$0")/.."
[[ "${1:-}" =~ ^(up|down)$ && $# -eq 1 ]] || { echo "usage: services.sh up|down" >&2; exit 2; }
[ "$1" = up ] && scripts/components.sh minio rest nessie >/dev/null
# As the tests are built, so that nothing is compiled twice.
cargo build --locked --workspace --example services
exec "${CARGO_TARGET_DIR:-target}/debug/examples/services" "$1"
