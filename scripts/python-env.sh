#!/usr/bin/env bash
# Prints the folder of the Python environment that the tests use, and makes it first where it is missing: once for each lock file.
# usage: python-env.sh [LOCK], one of python/requirements; without it heavy (torch, Ray, Metaflow beside the rest) where FASTDATA_REQUIRE=all, else light.
#        python-env.sh --uv prints the path of uv instead.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}

uv_version=0.13.9
uv=$cache/tools/uv-$uv_version/bin/uv
if [ ! -x "$uv" ]; then
    echo "python: installing uv $uv_version" >&2
    rm -rf "$cache/tools/uv-$uv_version"
    python3 -m venv "$cache/tools/uv-$uv_version"
    "$cache/tools/uv-$uv_version/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version" >&2
fi
if [ "${1:-}" = --uv ]; then
    echo "$uv"
    exit
fi

lock=${1:-light}
[ $# -eq 0 ] && [ "${FASTDATA_REQUIRE:-}" = all ] && lock=heavy
file=python/requirements/$lock.txt
environment=$cache/python-env-$(sha256sum "$file" | cut -c1-16)
if [ ! -e "$environment/complete" ] || ! "$environment/bin/python" -c ''; then
    echo "python: making the environment of $file in $environment" >&2
    "$uv" venv --quiet --clear --python '>=3.11' "$environment" >&2
    "$uv" pip sync --quiet --python "$environment/bin/python" "$file" >&2
    touch "$environment/complete"
fi
echo "$environment"
