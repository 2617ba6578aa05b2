#!/usr/bin/env bash
# Every Rust test, or those that arguments of cargo test choose. The shared tables of other engines are found through FASTDATA_CORPUS.
set -euo pipefail
cd "$(dirname "$0")/.."
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
if environment=$(scripts/python-env.sh); then
    export FASTDATA_PYTHON="$environment/bin/python"
elif [ "${FASTDATA_REQUIRE:-}" = all ]; then
    echo "tests: the Python environment is required and could not be made" >&2
    exit 1
fi
cargo test --locked --workspace "$@"
