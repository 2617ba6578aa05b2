#!/usr/bin/env bash
# The integration tests at the loudest log: no secret that they hand out stands in anything that a command, a server or the engine says.
# Tests of terminals, of signals and of time are left out, whose outcome a loud log changes, and those that look for secrets in their own logs. Arguments choose tests, as cargo test has them.
set -euo pipefail
cd "$(dirname "$0")/.."
FASTDATA_LOUD=$(mktemp -d)
export FASTDATA_LOUD
# What is said is the same in the long forms, only more often.
unset FASTDATA_SOAK
trap 'rm -rf "$FASTDATA_LOUD"' EXIT
[ $# -gt 0 ] || set -- --skip terminal:: --skip memory:: --skip bench::scans_of_a_store --skip faults::shaky --skip faults::outage --skip faults::canaries --skip secrets::no_secret_leaves
failed=0
scripts/test.sh --test integration -- --test-threads 2 "$@" || failed=1
cd "$FASTDATA_LOUD"
[ -f secrets ] || { echo "canaries: no test handed out a secret" >&2; exit 1; }
sort -u secrets >sorted
find . -type f \( -name '*.log' -o -name '*.out' \) -print0 >said
loud=$(xargs -0 grep -lE ' TRACE ' -- <said | wc -l)
echo "canaries: $(wc -l <sorted) secrets, $(tr -cd '\0' <said | wc -c) outputs, $loud of them with a log as loud as it gets, $(xargs -0 cat <said | wc -c) bytes"
[ "$loud" -gt 0 ] || { echo "canaries: nothing was loud" >&2; exit 1; }
if hits=$(xargs -0 grep -aFof sorted -- <said | sort | uniq -c); then
    echo "canaries: secrets came out:" >&2
    head -40 <<<"$hits" >&2
    failed=1
fi
# The line that scripts/soak.sh counts.
if [ "$failed" -eq 0 ]; then echo "1 passed, 0 failed"; else echo "0 passed, 1 failed"; exit 1; fi
