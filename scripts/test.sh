#!/usr/bin/env bash
# Every Rust test, or those that arguments of cargo test choose. The shared tables of other engines are found through FASTDATA_CORPUS.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
if [ -z "${FASTDATA_CORPUS:-}" ] && [ -d ../shared/corpus ]; then
    FASTDATA_CORPUS=$(cd ../shared/corpus && pwd)
    export FASTDATA_CORPUS
fi
if [ -n "${FASTDATA_CORPUS:-}" ]; then
    echo "tests: tables of other engines from $FASTDATA_CORPUS"
elif [ "${FASTDATA_REQUIRE:-}" = all ]; then
    echo "tests: FASTDATA_CORPUS is required and not set" >&2
    exit 1
else
    echo "tests: FASTDATA_CORPUS is not set: the tests on other engines' tables will skip"
fi
[ -x "$cache/python/bin/python" ] && export FASTDATA_PYTHON="$cache/python/bin/python"
cargo test --locked --workspace "$@"
