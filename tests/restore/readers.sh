#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Goal: what the assembler gives back is read right by programs that are not ours.
#
# Each seed gives a vm with two disks and four points (restore_gen).  Raw images are compared as they
# are; every level of the chains is read by 7-Zip and libvhdi; VHDX files of 512-byte sectors without a
# parent also by qemu-img.  VARVE_RESTORE_SEEDS sets how many (default 4), VARVE_RESTORE_FIRST the first
# (default 1).
set -eu

tools=$VARVE_BUILD_DIR/tools
read_chain=$VARVE_SOURCE_DIR/tests/vhdx/read_chain.py
first=${VARVE_RESTORE_FIRST:-1}
seeds=${VARVE_RESTORE_SEEDS:-4}

# shellcheck source=tests/lib/work.sh
. "$VARVE_SOURCE_DIR/tests/lib/work.sh"
need qemu-img 7z libvhdi

check_7z() { # FOLDER FILE
    rm -f "$work/7z.bad"
    (cd "$1" && 7z e -so -tvhdx "$2" 2>"$work/7z.err" || echo "exit $?" >"$work/7z.bad") |
        cmp - "$1/$2.truth" || fail "7z, seed $seed, $2: $(cat "$work/7z.err")"
    [ ! -e "$work/7z.bad" ] && [ ! -s "$work/7z.err" ] || fail "7z, seed $seed, $2: $(cat "$work/7z.err")"
}

check_qemu() { # FILE
    if ! qemu-img info -f vhdx "$1" >/dev/null 2>"$work/qemu.err"; then
        grep -q "not supported" "$work/qemu.err" || fail "qemu-img info, seed $seed, $1"
        return 0 # 4096-byte sectors or a parent
    fi
    qemu-img check -q -f vhdx "$1" || fail "qemu-img check, seed $seed, $1"
    qemu-img compare -q -f vhdx -F raw "$1" "$1.truth" || fail "qemu-img compare, seed $seed, $1"
    compared=$((compared + 1))
}

compared=0
seed=$first
while [ "$seed" -lt $((first + seeds)) ]; do
    rm -rf "$work/r"
    mkdir "$work/r"
    "$tools/restore_gen" "$seed" "$work/r" >"$work/chains" || fail "restore_gen $seed"
    for file in "$work"/r/raw/*.raw; do
        cmp "$file" "$file.truth" || fail "raw, seed $seed, $file"
    done
    for file in "$work"/r/vhdx/*.vhdx; do
        check_qemu "$file"
        check_7z "$work/r/vhdx" "$(basename "$file")"
    done
    while read -r line; do
        leaf=${line%%	*}
        check_7z "$work/r/chain" "$leaf"
        # shellcheck disable=SC2086 # one word per file; our names have no blanks
        (cd "$work/r/chain" && /usr/bin/python3 "$read_chain" $line) | cmp - "$work/r/chain/$leaf.truth" ||
            fail "libvhdi, seed $seed, $line"
        case $leaf in *.vhdx) check_qemu "$work/r/chain/$leaf" ;; esac
    done <"$work/chains"
    seed=$((seed + 1))
done
[ "$compared" -gt 0 ] || fail "qemu-img compared nothing"
echo "passed: $seeds seeds, $compared images compared by qemu-img"
