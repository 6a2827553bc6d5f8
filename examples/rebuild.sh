#!/usr/bin/env bash
# Builds the task modules from guests/*.rs with the guest compiler, Debian's Rust 1.63, into modules/*.wasm.
#
#   examples/rebuild.sh            rebuild and replace the modules and the list of their BLAKE3 sums
#   examples/rebuild.sh --check    rebuild elsewhere and compare; fails if any byte differs
#
# The modules are committed, so nobody needs this compiler to build or test. To install it on Debian 12:
#   apt-get install -y --no-install-recommends rustc libstd-rust-dev-wasm32 lld-14
# Without it `--check` says so, loudly, and checks nothing.
set -euo pipefail
cd "$(dirname "$0")"

guest_rustc=${GUEST_RUSTC:-/usr/bin/rustc}
wanted=1.63.0
modules="occupancy digit digit_small congestion anomaly forecast alarms health rul wordcount spin noop standardise compact classify"

mode=${1:-build}
case $mode in
build | --check) ;;
*) echo "usage: examples/rebuild.sh [--check]" >&2; exit 2 ;;
esac

missing=
if [ ! -x "$guest_rustc" ]; then
    missing="$guest_rustc is not installed"
elif [ "$("$guest_rustc" --version | cut -d' ' -f2)" != "$wanted" ]; then
    missing="$guest_rustc is $("$guest_rustc" --version), not $wanted"
elif [ ! -d "$("$guest_rustc" --print sysroot)/lib/rustlib/wasm32-wasi" ]; then
    missing="$guest_rustc has no wasm32-wasi standard library"
fi
if [ -n "$missing" ]; then
    {
        echo "************************************************************************"
        echo "* SKIPPED: the committed modules were NOT rebuilt and NOT compared."
        echo "* $missing."
        echo "* apt-get install -y --no-install-recommends rustc libstd-rust-dev-wasm32 lld-14"
        echo "************************************************************************"
    } >&2
    [ "$mode" = --check ] && exit 0
    exit 1
fi

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
# Relative paths and fixed names only: the same source gives the same bytes in any directory.
flags="--edition 2021 --target wasm32-wasi -C opt-level=s -C lto=fat -C panic=abort -C strip=symbols -C codegen-units=1"
lib_flags="--edition 2021 --target wasm32-wasi -C opt-level=s -C panic=abort -C codegen-units=1"
# shellcheck disable=SC2086 # the flags are words
"$guest_rustc" $lib_flags --remap-path-prefix "$built=" --crate-type rlib --crate-name shoal_examples src/lib.rs -o "$built/libshoal_examples.rlib"
for module in $modules; do
    extra=
    # Without the C start-up files: the module brings its own `_start` and nothing else.
    [ "$module" = noop ] && extra="-C link-self-contained=no"
    # shellcheck disable=SC2086
    "$guest_rustc" $flags $extra --remap-path-prefix "$built=" --extern "shoal_examples=$built/libshoal_examples.rlib" \
        "guests/$module.rs" -o "$built/$module.wasm"
    chmod 644 "$built/$module.wasm"
done

if [ "$mode" = --check ]; then
    differ=0
    for module in $modules; do
        if cmp -s "$built/$module.wasm" "modules/$module.wasm"; then
            echo "same      $module.wasm"
        else
            echo "DIFFERENT $module.wasm: modules/$module.wasm is not what guests/$module.rs builds to" >&2
            differ=1
        fi
    done
    [ "$differ" = 0 ] || echo "run examples/rebuild.sh and commit the modules" >&2
    exit "$differ"
fi

for module in $modules; do
    mv "$built/$module.wasm" "modules/$module.wasm"
done
cargo run --quiet --release -p shoal-examples --example module_sums > modules/BLAKE3SUMS.new
mv modules/BLAKE3SUMS.new modules/BLAKE3SUMS
ls -l modules/*.wasm
