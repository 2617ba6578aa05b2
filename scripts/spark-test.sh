#!/usr/bin/env bash
# Compares fastdata with Spark on random histories of tables: tests/spark/README.md.
# usage: spark-test.sh [HISTORIES [FIRST_SEED]]; without it the histories of tests/spark/coverage.py.
#        spark-test.sh --replay FILE... plays saved histories; other arguments of tests/spark/run.py go too.
# FASTDATA_WHEEL names a wheel that is built already. It needs Java 17 with its compiler and, once, downloads of some 600 MB.
# What cannot be had is a failure where FASTDATA_REQUIRE=all, and else named and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
    if [ "${FASTDATA_REQUIRE:-}" = all ]; then
        echo "spark: $1 is required" >&2
        exit 1
    fi
    echo "spark: without $1: the comparison with Spark is skipped"
    exit 0
}

command -v javac >/dev/null || missing "a Java development kit (17)"
environment=$(scripts/python-env.sh spark) || missing "the Python environment of python/requirements/spark.txt"
jars=$(scripts/components.sh spark-jars | sed -n 's/^FASTDATA_SPARK_JARS=//p') && [ -n "$jars" ] || missing "Iceberg's runtime for Spark"
wheel=${FASTDATA_WHEEL:-$(scripts/python-wheel.sh)}
"$(scripts/python-env.sh --uv)" pip install --quiet --python "$environment/bin/python" --no-deps --reinstall "$wheel"
"$environment/bin/python" tests/spark/test_parts.py --quiet --buffer
if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
    histories=$1
    shift
    first=()
    if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
        first=(--first "$1")
        shift
    fi
    set -- --histories "$histories" "${first[@]}" "$@"
fi
exec "$environment/bin/python" tests/spark/run.py --jars "$jars" "$@"
