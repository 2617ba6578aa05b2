#!/usr/bin/env bash
# Fuzzes the decoders of bytes from anywhere. usage: fuzz.sh [SECONDS] [TARGET...]; 60 seconds for each without them.
# Seeds are made of the tables that FASTDATA_CORPUS names. What was learnt (corpus) and what broke a promise (found) stays in
# ${FASTDATA_CACHE:-$HOME/.cache/fastdata}/fuzz; fails where anything was found.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FASTDATA_CACHE:-$HOME/.cache/fastdata}
export PATH="$cache/tools/bin:$PATH"
seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(manifest manifest_list metadata deletion_vector filter)

cargo_fuzz_version=0.13.2
if ! cargo fuzz --version 2>/dev/null | grep -q "$cargo_fuzz_version"; then
    echo "fuzz: installing cargo-fuzz $cargo_fuzz_version (once)"
    env -u CARGO_TARGET_DIR cargo install --locked --quiet --root "$cache/tools" cargo-fuzz --version "$cargo_fuzz_version"
fi
. scripts/corpus.sh
[ -n "${FASTDATA_CORPUS:-}" ] || echo "fuzz: FASTDATA_CORPUS is not set: the fuzzer starts without seeds"

# The sanitizer is an unstable option of the compiler, which the stable one takes when it is told to.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="$cache/fuzz-target"
cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null

failed=()
for target in "${targets[@]}"; do
    corpus=$cache/fuzz/corpus/$target seeds=$cache/fuzz/seeds/$target found=$cache/fuzz/found/$target
    mkdir -p "$corpus" "$seeds" "$found" "tests/regressions/$target"
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=32768 -print_final_stats=1)
    options+=(-artifact_prefix="$found/")
    [ -e "fuzz/dictionaries/$target.dict" ] && options+=(-dict="fuzz/dictionaries/$target.dict")
    echo "fuzz: $target, $seconds seconds"
    FASTDATA_FUZZ_SEEDS=$seeds cargo fuzz run "$target" "$corpus" "$seeds" "tests/regressions/$target" -- "${options[@]}" || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: promises were broken: ${failed[*]}; the inputs are in $cache/fuzz/found" >&2; exit 1; }
echo "fuzz: nothing was found; what was learnt is in $cache/fuzz/corpus"
