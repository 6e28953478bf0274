#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Goal: chains that we write are read right by programs that are not ours.
#
# Each seed gives a chain (vhdx_gen); every level is read by 7-Zip and libvhdi, a base of 512-byte
# sectors also by qemu-img, which does not open children.  VARVE_VHDX_SEEDS sets how many (default 10),
# VARVE_VHDX_FIRST the first (default 1).  Then two-chunk disks by libvhdi.
set -eu

tools=$VARVE_BUILD_DIR/tools
here=$VARVE_SOURCE_DIR/tests/vhdx
first=${VARVE_VHDX_FIRST:-1}
seeds=${VARVE_VHDX_SEEDS:-10}

# shellcheck source=tests/lib/work.sh
. "$VARVE_SOURCE_DIR/tests/lib/work.sh"
need qemu-img 7z libvhdi

level_name() {
    if [ "$1" -eq 0 ]; then echo 0.vhdx; else echo "$1.avhdx"; fi
}

# check_chain SEED [LEVELS SECTOR SIZE]
check_chain() {
    rm -rf "$work/c"
    mkdir "$work/c"
    "$tools/vhdx_gen" "$1" "$work/c" ${2:+"$2" "$3" "$4"} >"$work/shape" || fail "vhdx_gen $*"
    cat "$work/shape"
    sector=$(sed 's/.*sector=\([0-9]*\).*/\1/' "$work/shape")
    if [ "$sector" = 512 ]; then
        qemu-img check -q -f vhdx "$work/c/0.vhdx" || fail "qemu-img check, seed $*"
        qemu-img compare -q -f vhdx -F raw "$work/c/0.vhdx" "$work/c/0.raw" ||
            fail "qemu-img compare, seed $*"
    fi
    level=0
    parents=
    while [ -e "$work/c/$level.raw" ]; do
        file=$(level_name "$level")
        (cd "$work/c" && 7z e -so -tvhdx "$file" 2>"$work/7z.err" || echo "exit $?" >"$work/7z.bad") |
            cmp - "$work/c/$level.raw" || fail "7z, seed $*, level $level: $(cat "$work/7z.err")"
        if [ -e "$work/7z.bad" ] || [ -s "$work/7z.err" ]; then
            fail "7z, seed $*, level $level: $(cat "$work/7z.err")"
        fi
        parents="$work/c/$file $parents"
        # shellcheck disable=SC2086 # one word per file; mktemp makes no blanks
        /usr/bin/python3 "$here/read_chain.py" $parents | cmp - "$work/c/$level.raw" ||
            fail "libvhdi, seed $*, level $level"
        level=$((level + 1))
    done
}

seed=$first
while [ "$seed" -lt $((first + seeds)) ]; do
    check_chain "$seed"
    seed=$((seed + 1))
done
# More than one bitmap block: the second chunk begins at 4 GiB.  Reading all of such disks takes
# long, so only libvhdi is asked, and only here and there.
mkdir "$work/big"
"$tools/vhdx_gen" 1003 "$work/big" 2 512 $((4297 * 1024 * 1024))
/usr/bin/python3 "$here/read_chain.py" --compare "$work/big/0.raw" "$work/big/0.vhdx" ||
    fail "libvhdi, base of two chunks"
/usr/bin/python3 "$here/read_chain.py" --compare "$work/big/1.raw" "$work/big/1.avhdx" \
    "$work/big/0.vhdx" || fail "libvhdi, child of two chunks"
echo "passed"
