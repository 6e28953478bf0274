#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Goal: VHD and VHDX files made by qemu-img, and raw disks, read as qemu-img itself reads them.
set -eu

tools=$VARVE_BUILD_DIR/tools
# shellcheck source=tests/lib/work.sh
. "$VARVE_SOURCE_DIR/tests/lib/work.sh"
need qemu-img

# compare FORMAT OPTIONS SOURCE
compare() {
    rm -f "$work/disk.$1" "$work/again.raw"
    qemu-img convert -f raw -O "$1" -o "$2" "$3" "$work/disk.$1"
    qemu-img convert -f "$1" -O raw "$work/disk.$1" "$work/again.raw"
    "$tools/image_tool" cat "$work/disk.$1" | cmp - "$work/again.raw" || fail "$1 $2 of $3"
    echo "read    $1 $2"
}

for seed in 2 5 9; do
    mkdir "$work/$seed"
    "$tools/vhdx_gen" "$seed" "$work/$seed" >/dev/null
    raw=$work/$seed/0.raw
    "$tools/image_tool" cat "$raw" | cmp - "$raw" || fail "raw, seed $seed"
    compare vpc subformat=dynamic "$raw"
    compare vpc subformat=dynamic,force_size=on "$raw"
    compare vpc subformat=fixed "$raw"
    compare vpc subformat=fixed,force_size=on "$raw"
    compare vhdx subformat=dynamic "$raw"
    compare vhdx subformat=dynamic,block_size=1M,block_state_zero=off "$raw"
    compare vhdx subformat=dynamic,block_size=8M,log_size=2M "$raw"
    compare vhdx subformat=fixed "$raw"
done
echo "passed"
