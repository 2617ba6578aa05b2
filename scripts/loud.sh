#!/usr/bin/env bash
# Runs a program at the loudest log, for scripts/canaries.sh: what it says goes on without the log, and with it to files below $FASTDATA_LOUD.
# usage: FASTDATA_LOUD=FOLDER loud.sh PROGRAM [ARGUMENT...]
set -euo pipefail
said="$FASTDATA_LOUD/$(basename "$1")-$$-$RANDOM"
export FASTDATA_LOG=trace NO_COLOR=1
# A new token is what this command is for.
[ "${2:-}" != token ] || exec "$@"
echo "$*" >"$said.command"
exec "$@" 2> >(tee "$said.log" | grep --line-buffered -vE '^[0-9]{4}-[0-9-]+T[0-9:.]+Z +(TRACE|DEBUG|INFO|WARN|ERROR) ' >&2) > >(tee "$said.out")
