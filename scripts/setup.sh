#!/usr/bin/env bash
# Installs what the tests need: cargo-deny, the Python environment with the real readers, an object store and catalogs (which take Go, Maven and
# Java 17); and where apt and root are at hand PostgreSQL, openssl, Java and Maven.
# With FASTDATA_REQUIRE=all a missing part is a failure; otherwise the tests that need it skip and say so.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
mkdir -p "$cache/tools"

missing() {
    if [ "${FASTDATA_REQUIRE:-}" = all ]; then
        echo "setup: $1 is required and could not be installed" >&2
        exit 1
    fi
    echo "setup: without $1; the tests that need it will skip" >&2
}

deny_version=0.18.9
if ! "$cache/tools/bin/cargo-deny" --version 2>/dev/null | grep -q "$deny_version"; then
    echo "setup: installing cargo-deny $deny_version (some minutes, once)"
    # Its own target directory: the shared one stays free for our own builds.
    env -u CARGO_TARGET_DIR cargo install --locked --quiet --root "$cache/tools" cargo-deny --version "$deny_version" || missing cargo-deny
fi

scripts/python-env.sh >/dev/null || missing "the Python environment (python/requirements)"

# install NAME PACKAGE...: by apt, where we may.
install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        missing "$1"
        return
    fi
    echo "setup: installing $1"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${@:2}" >/dev/null; } || missing "$1"
}

if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
    # The package would start a cluster of its own; the tests start a private one instead.
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    # The version of the containers, where apt has it.
    package=postgresql-15
    { apt-get update -qq && apt-cache show "$package"; } >/dev/null 2>&1 || package=postgresql
    install PostgreSQL "$package"
fi

# The commands of docs/security.md are run as they stand there.
command -v openssl >/dev/null || install openssl openssl

# For the REST catalog and for Spark.
command -v javac >/dev/null && command -v mvn >/dev/null || install "Java and Maven" openjdk-17-jdk-headless maven
# MinIO is built from its module; distributions' packages are mostly too old for it.
command -v go >/dev/null || missing "Go"

# Says itself what could not be installed.
scripts/components.sh >/dev/null
