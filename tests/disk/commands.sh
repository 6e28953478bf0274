#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Goal: "varve disk" says what went wrong by its exit status and leaves nothing half done; 64 TiB take
# no more than 32 MiB of memory.
set -eu

varve=$VARVE_BUILD_DIR/bin/varve
tools=$VARVE_BUILD_DIR/tools
# shellcheck source=tests/lib/work.sh
. "$VARVE_SOURCE_DIR/tests/lib/work.sh"
cd "$work"

# expect STATUS WORDS...: what varve disk WORDS ends with; its messages are in "said"
expect() {
    want=$1
    shift
    got=0
    "$varve" disk "$@" >out 2>said || got=$?
    [ "$got" = "$want" ] || fail "disk $*: exit $got, not $want: $(cat said)"
}

says() {
    grep -qF -e "$1" said out || fail "'$1' is not said but: $(cat said out)"
}

mkdir c
"$tools/vhdx_gen" 1 c 3 512 6291456 >/dev/null
truncate -s 5M a.raw
printf x | dd of=a.raw bs=1 seek=3000000 conv=notrunc 2>/dev/null

# check: clean, repairable, broken
expect 0 check c/2.avhdx
cp c/0.vhdx bad.vhdx
dd if=/dev/zero of=bad.vhdx bs=4096 seek=16 count=1 conv=notrunc 2>/dev/null # one of two headers
expect 9 check bad.vhdx
expect 0 convert --to raw bad.vhdx mended.raw
cmp mended.raw c/0.raw || fail "one header is enough"
dd if=/dev/zero of=bad.vhdx bs=4096 seek=32 count=1 conv=notrunc 2>/dev/null # and the other
expect 8 check bad.vhdx
expect 8 convert --to raw bad.vhdx no.raw
expect 2 check a.raw
expect 3 check nosuch.vhdx

# a missing parent
mkdir alone
cp c/2.avhdx alone/
expect 3 info alone/2.avhdx
says differencing
expect 3 convert --to raw alone/2.avhdx no.raw
expect 0 check --no-parents alone/2.avhdx

# what is there stays; what cannot be is refused
expect 0 convert --to vhdx a.raw a.vhdx
expect 4 convert --to vhd a.raw a.vhdx
says "exists and is not replaced"
expect 3 convert --to vhd a.raw nosuch/a.vhd
expect 2 convert --to vmdk a.raw a.vmdk
expect 2 convert a.raw b.vhdx
expect 2 convert --to vhdx --block-size 3M a.raw b.vhdx
expect 2 convert --to vhd --block-size 2M a.raw b.vhd
expect 2 convert --to raw --sparse a.vhdx -
truncate -s 2041G large.raw
expect 2 convert --to vhd large.raw b.vhd
says "2040 GiB"
mkdir s
"$tools/vhdx_gen" 1 s 1 4096 6291456 >/dev/null
expect 2 convert --to vhd s/0.vhdx b.vhd
says "sectors of 512 bytes"
for file in no.raw b.vhd b.vhdx; do
    [ ! -e $file ] || fail "a refusal left $file"
done

# identity and block size are carried over, or not if so wished
id() { sed -n 's/.*"disk_id":"\([^"]*\)".*/\1/p' out; }
expect 0 info --json c/0.vhdx
before=$(id)
expect 0 convert --to vhdx-fixed c/0.vhdx same.vhdx
expect 0 info --json same.vhdx
[ "$(id)" = "$before" ] || fail "another identity"
expect 0 convert --to vhdx --new-id c/0.vhdx other.vhdx
expect 0 info --json other.vhdx
[ "$(id)" != "$before" ] || fail "the same identity"

# not sparse, unless asked
expect 0 convert --to raw c/0.vhdx full.raw
[ "$(($(stat -c %b full.raw) * 512))" -ge 6291456 ] || fail "sparse"
expect 0 convert --to raw --sparse a.vhdx thin.raw
[ "$(($(stat -c %b thin.raw) * 512))" -lt 3000000 ] || fail "not sparse"

# an interrupt: nobody reads the pipe; and a file that would take long
mkfifo pipe
"$varve" disk convert --to raw large.raw - >pipe 2>said &
pid=$!
exec 3<pipe
sleep 1
kill -INT "$pid"
got=0
wait "$pid" || got=$?
exec 3<&-
[ "$got" = 1 ] || fail "interrupted, exit $got"
truncate -s 1T long.raw
printf x | dd of=long.raw bs=1 seek=1000000000000 conv=notrunc 2>/dev/null
"$varve" disk convert --to vhdx --sparse --no-sync long.raw long.vhdx >out 2>said &
pid=$!
kill -TERM "$pid"
wait "$pid" || true
[ ! -e long.vhdx.partial ] || fail "something is left of an interrupted conversion"

# 64 TiB
"$tools/empty_disk" vhdx huge.vhdx 70368744177664 11111111-2222-3333-4444-555555555555
rss() { # WORDS...: KiB at most
    /usr/bin/python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"
}
case $VARVE_BUILD_DIR in
*san | *fuzz) limit=4194304 ;; # sanitizers take memory of their own
*) limit=32768 ;;
esac
for block in 1M 32M; do
    kib=$(rss "$varve" disk convert --to vhdx --sparse --no-sync --block-size $block huge.vhdx "huge-$block.vhdx")
    [ "$kib" -le $limit ] || fail "64 TiB, blocks of $block: $kib KiB"
    kib=$(rss "$varve" disk check "huge-$block.vhdx")
    [ "$kib" -le $limit ] || fail "check of 64 TiB, blocks of $block: $kib KiB"
done
echo "passed"
