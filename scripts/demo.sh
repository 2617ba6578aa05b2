#!/usr/bin/env bash
# Shows what fastdata does, on tables it makes itself. usage: demo.sh BINARY WAREHOUSE
set -euo pipefail
fastdata=$1
warehouse=$2

say() { printf '\n\033[1m$ fastdata %s\033[0m\n' "$*"; }
# As it can be pasted into a shell.
show() {
    local shown='' word
    for word in "$@"; do
        if [[ "$word" == *[[:space:]]* ]]; then shown+=" \"$word\""; else shown+=" $word"; fi
    done
    say "${shown# }"
    "$fastdata" "$@"
}

show demo "$warehouse"
show tables --warehouse "$warehouse"
show plan tpch.lineitem --where "l_shipdate >= DATE '1998-06-01'" --warehouse "$warehouse"
show scan tpch.lineitem --select l_orderkey,l_shipdate,l_quantity,l_extendedprice \
    --where "l_shipdate >= DATE '1998-06-01' AND l_quantity > 49" --limit 5 -o table --warehouse "$warehouse"
show scan demo.events --limit 5 -o table --warehouse "$warehouse"

say "serve --warehouse $warehouse --listen 127.0.0.1:0 &"
log=$(mktemp)
"$fastdata" serve --warehouse "$warehouse" --listen 127.0.0.1:0 >"$log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    grep -q '^listening on' "$log" && break
    kill -0 $server 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.1
done
cat "$log"
address=$(sed -n 's/^listening on //p' "$log")
[ -n "$address" ] || { echo "the server did not start"; exit 1; }
show scan tpch.lineitem --server "$address" -o none --stats
