#!/usr/bin/env bash
# Licences, sources and duplicate versions. Advisories are configured in deny.toml and checked where their database can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v cargo-deny >/dev/null; then
    if [ "${FASTDATA_REQUIRE:-}" = all ]; then
        echo "deny: cargo-deny is required; run scripts/setup.sh" >&2
        exit 1
    fi
    echo "deny: cargo-deny is not installed, skipped"
    exit 0
fi
cargo deny --all-features check bans licenses sources
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --all-features check advisories
else
    echo "deny: the advisory database cannot be fetched here, advisories skipped"
fi
