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
# What is missing is installed by scripts/setup.sh, and here too where everything is required.
[ "${FASTDATA_REQUIRE:-}" = all ] && how= || how=--installed
# shellcheck disable=SC2086 # one word or none
components=$(scripts/components.sh $how)
while IFS= read -r line; do
    [ -z "$line" ] || export "${line?}"
done <<<"$components"
cargo test --locked --workspace "$@"
