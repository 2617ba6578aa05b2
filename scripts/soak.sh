#!/usr/bin/env bash
# The long forms of the tests, and what they measured. usage: soak.sh [--resume] [PART...]; every part without one. soak.sh --list names them.
# Every real component is required. Each part takes less than 45 minutes on two cores, is ended and FAILED where it takes longer, and is built as the
# tests are. --resume leaves out what has passed at this commit. Standard output holds the figures; fails where a promise was broken.
set -euo pipefail
cd "$(dirname "$0")/.."
export FASTDATA_SOAK=1 FASTDATA_REQUIRE=all
limit=${FASTDATA_SOAK_LIMIT:-2700}

# name, what it is, the kind of test and the tests' names; or `script` and a command that prints `N passed, M failed`
parts=(
    "tickets|a million altered tickets|--lib|serve::ticket"
    "lanes|thousands of random lanes, killed and resumed|--lib|lane::"
    "scans|200 scans at once, at 256 MiB and at 64 MiB|--test integration|served::bounds::two_hundred_scans"
    "stalled|1000 streams that nobody reads|--test integration|served::bounds::stalled_streams"
    "store|1000 scans of a failing store|--test integration|served::failing"
    "catalogs-sql|one suite for every kind of catalog, 2 000 tables in each: SQL|--test integration|compatibility::every_promise_holds_with_a_"
    "catalogs-rest|the same for the reference REST catalog|--test integration|compatibility::every_promise_holds_with_the_reference"
    "catalogs-door|the same behind OAuth2, with vended credentials|--test integration|compatibility::every_promise_holds_behind"
    "catalogs-nessie|the same for Nessie|--test integration|compatibility::every_promise_holds_with_nessie"
    "vended|scans that outlive several lots of vended credentials|--test integration|catalogs::vended"
    "shaky|1000 scans through a shaky network to MinIO, and as many without faults|--test integration|faults::shaky"
    "outages|50 outages of MinIO, of 5 to 30 s, during scans|--test integration|faults::outage"
    "loud|the integration tests at the loudest log: no secret that they hand out is said|script|scripts/canaries.sh"
    "features|Glue and Hive compile|script|scripts/check-features.sh"
    "tables|random tables through the engine|--test integration|properties::"
    "spark-1|100 random histories against Spark|script|scripts/spark-test.sh 100 1"
    "spark-2|100 further histories|script|scripts/spark-test.sh 100 101"
    "spark-3|100 further histories|script|scripts/spark-test.sh 100 201"
)
names=()
for part in "${parts[@]}"; do names+=("${part%%|*}"); done
if [ "${1:-}" = --list ]; then
    for part in "${parts[@]}"; do
        IFS='|' read -r name what _ <<<"$part"
        printf '%-16s %s\n' "$name" "$what"
    done
    exit
fi
resume=
[ "${1:-}" = --resume ] && resume=yes && shift
for asked in "$@"; do
    [[ " ${names[*]} " == *" $asked "* ]] || { echo "soak: there is no part $asked; parts: ${names[*]}" >&2; exit 2; }
done
[ $# -gt 0 ] || set -- "${names[@]}"

variables() {
    case $1 in
    tickets) echo FASTDATA_MUTATIONS=1000000 ;;
    lanes) echo FASTDATA_PROPTEST_CASES=5000 ;;
    tables) echo FASTDATA_PROPTEST_CASES=500 ;;
    esac
}

# What passed at a commit, a part a line. Nothing counts as passed for files that differ from their commit.
state=${FASTDATA_CACHE:-$HOME/.cache/fastdata}/soak
commit=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || commit=
if [ -n "$resume" ] && [ -z "$commit" ]; then
    echo "soak: --resume needs files as they were committed: commit or stash what git status shows" >&2
    exit 2
fi
mkdir -p "$state"
has_passed() { [ -n "$commit" ] && grep -qsx "$1" "$state/$commit"; }

log=$(mktemp)
running=
trap 'rm -f "$log"' EXIT
trap '[ -z "$running" ] || kill "$running"; exit 130' INT TERM
# Runs a command for its time at most, with all it starts. In the background, so that whoever interrupts this script ends that too.
within_limit() {
    timeout --kill-after=30 "$limit" env --default-signal=INT "$@" >"$log" 2>&1 &
    running=$!
    local status=0
    wait "$running" || status=$?
    running=
    return "$status"
}

failed=()
scripts/test.sh --no-run >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
echo "soak: commit $(git describe --always --dirty), $(nproc) cores, $(awk '/MemTotal/ {print int($2 / 1048576)}' /proc/meminfo) GiB, debug build"
for part in "${parts[@]}"; do
    IFS='|' read -r name what kind tests <<<"$part"
    [[ " $* " == *" $name "* ]] || continue
    if [ -n "$resume" ] && has_passed "$name"; then
        echo "$name: $what: passed before, at this commit"
        continue
    fi
    started=$SECONDS
    status=0
    set=$(variables "$name")
    if [ "$kind" = script ]; then
        # shellcheck disable=SC2086 # words
        within_limit $tests || status=$?
        count=$(awk '/^[0-9]+ passed, [0-9]+ failed$/ {print $1}' "$log")
    else
        # shellcheck disable=SC2086 # each is words
        within_limit $set scripts/test.sh $kind -- --show-output --test-threads 1 "$tests" || status=$?
        count=$(awk '/^test result:/ {n += $4} END {print n + 0}' "$log")
    fi
    count=${count:-0}
    case $status in
    0) [ "$count" -gt 0 ] && verdict=passed || verdict="FAILED: no test is named $tests" ;;
    # 137 where it did not end when it was told to.
    124 | 137) verdict="FAILED: not done after $limit s" ;;
    *) verdict=FAILED ;;
    esac
    echo "$name: $what${set:+ ($set)}: $verdict, $count tests in $((SECONDS - started)) s"
    # What tests say stands below their names, up to an empty line.
    [ "$kind" = script ] && tail -4 "$log" | sed 's/^/  /'
    awk '/^---- .* stdout ----$/ {said = 1; next} /^$/ {said = 0} said {print "  " $0}' "$log"
    if [ "$verdict" = passed ]; then
        [ -z "$commit" ] || has_passed "$name" || echo "$name" >>"$state/$commit"
        continue
    fi
    failed+=("$name")
    [ "$kind" = script ] && tail -200 "$log"
    awk '/^failures:|^error/ {said = 1} said' "$log" | head -100
done
[ ${#failed[@]} -eq 0 ] || { echo "soak: promises were broken: ${failed[*]}" >&2; exit 1; }
