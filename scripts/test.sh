#!/usr/bin/env bash
# Every Rust test, or those that arguments of cargo test choose. The tables of other engines are found through FASTDATA_CORPUS, or beside the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/corpus.sh
if [ -n "${FASTDATA_CORPUS:-}" ]; then
    echo "tests: tables of other engines from $FASTDATA_CORPUS"
elif [ "${FASTDATA_REQUIRE:-}" = all ]; then
    echo "tests: FASTDATA_CORPUS is required and not set" >&2
    exit 1
else
    echo "tests: without FASTDATA_CORPUS: tests on other engines' tables are skipped" >&2
fi
if environment=$(scripts/python-env.sh); then
    export FASTDATA_PYTHON="$environment/bin/python"
elif [ "${FASTDATA_REQUIRE:-}" = all ]; then
    echo "tests: the Python environment is required and could not be made" >&2
    exit 1
else
    echo "tests: without the Python environment: tests that need it are skipped" >&2
fi
# What is missing is installed by scripts/setup.sh, and here too where everything is required.
[ "${FASTDATA_REQUIRE:-}" = all ] && how= || how=--installed
# shellcheck disable=SC2086 # one word or none
components=$(scripts/components.sh $how)
while IFS= read -r line; do
    [ -z "$line" ] || export "${line?}"
done <<<"$components"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
    echo "tests: without PostgreSQL: tests that need it are skipped; scripts/setup.sh installs it" >&2
cargo test --locked --workspace "$@"
