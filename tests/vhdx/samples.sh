#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Goal: files that Windows, Disk2vhd, QEMU and a writer of ours of another day made are read right, or
# refused for the right reason, and are not changed by that.
#
# samples.sh windows|chains|logs|layout.  VARVE_SAMPLES names the folder with the samples; without it the
# test is skipped.  Hashes are those of the samples' own list: SHA-256 of the whole virtual disk.
set -eu

part=$1
tools=$VARVE_BUILD_DIR/tools
samples=${VARVE_SAMPLES:-}
if [ -z "$samples" ] || [ ! -d "$samples/vhdx/windows" ]; then
    echo "skipped: VARVE_SAMPLES does not name a folder with vhdx/windows"
    exit 77
fi
# shellcheck source=tests/lib/work.sh
. "$VARVE_SOURCE_DIR/tests/lib/work.sh"
need xz gzip bzip2 tar

# unpack FOLDER NAME: $work/NAME, not writable
unpack() {
    for packed in "$samples/vhdx/$1/$2".gz "$samples/vhdx/$1/$2".xz "$samples/vhdx/$1/$2".bz2; do
        case $packed in
        *.gz) program=gzip ;;
        *.xz) program=xz ;;
        *) program=bzip2 ;;
        esac
        if [ -e "$packed" ]; then
            "$program" -dc "$packed" >"$work/$2"
            chmod 0400 "$work/$2"
            return 0
        fi
    done
    fail "no sample $1/$2"
}

# expect FILE SIZE HASH
expect() {
    before=$(cksum <"$1")
    size=$("$tools/image_tool" info "$1" | sed 's/.* size=\([0-9]*\).*/\1/')
    [ "$size" = "$2" ] || fail "$1: $size bytes, expected $2"
    hash=$("$tools/image_tool" hash "$1")
    [ "$hash" = "$3" ] || fail "$1: $hash, expected $3"
    [ "$(cksum <"$1")" = "$before" ] || fail "$1: changed by reading it"
    echo "read    ${1##*/}"
}

# refuse FILE WORDS
refuse() {
    before=$(cksum <"$1")
    if "$tools/image_tool" info "$1" >"$work/out" 2>"$work/err"; then
        fail "$1: not refused"
    fi
    grep -q "$2" "$work/err" || fail "$1: $(cat "$work/err")"
    [ "$(cksum <"$1")" = "$before" ] || fail "$1: changed by reading it"
    echo "refused ${1##*/}"
}

windows() {
    while read -r name size hash; do
        unpack windows "$name"
        expect "$work/$name" "$size" "$hash"
        rm -f "$work/$name"
    done <<LIST
dissect-dynamic.vhdx 10485760 8e2b5e9265d694b42b81819e3bff29770eff4ed0f4f9f311693ff3dbdc93efac
dissect-fixed.vhdx 10485760 bc0be4623b15aa84216fb31ba24e3b621ec7f1c72d198c990ac0eced222d9f62
dissect-dynamic.vhd 10485760 ecff2ef6615a3cddc6a6885f1c6d9cf13a232697e1dc6575f2c2f01f57247784
discutils-btrfs.vhdx 1073741824 0b959f9cb4e18348ad8b646f152178282542c8304f02fddf765e3fd1a1de6864
discutils-swap.vhdx 10737418240 60dd30b4c74361427d1089510cabb36e2eeda0cc4747f467ea43173acd358c49
discutils-xfs5.vhdx 10737418240 edc5d630b2da0ddb08992afb58ded06ffb56b884e184b4974fda16e31b7e6817
discutils-vhdx-log-replay.vhdx 1073741824 3ba3b309425b7ff5e8e0199edceed95226250f880c53b24e8eae93865f3fad5e
qemu-iotest-dynamic-1G.vhdx 1073741824 d3d112d8dab7fd360609f7d5a7b769904b7a2a7d7b6b8c535f65a23293c05478
qemu-test-disk2vhd.vhdx 268435456 96d964042be9b58dda1725567abfb0cf9fd8380e2118754afa979c2ad445938a
LIST

    # 127 GiB without a block: the map says it, hashing would only take long.
    unpack windows qemu-hyperv2012r2-dynamic.vhd
    "$tools/image_tool" info "$work/qemu-hyperv2012r2-dynamic.vhd" | grep -q ' size=136365211648 ' ||
        fail "qemu-hyperv2012r2-dynamic.vhd: size"
    "$tools/image_tool" zero "$work/qemu-hyperv2012r2-dynamic.vhd" ||
        fail "qemu-hyperv2012r2-dynamic.vhd: not zero"
    echo "read    qemu-hyperv2012r2-dynamic.vhd"

    # The parents of these are not public; an empty disk with their id takes their place.
    unpack windows dissect-differencing.avhdx
    refuse "$work/dissect-differencing.avhdx" "parent {ff34003b-11ed-4cf8-a166-b2be05e20b80}"
    "$tools/empty_disk" vhdx "$work/Generation 1_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx" \
        8589934592 ff34003b-11ed-4cf8-a166-b2be05e20b80
    expect "$work/dissect-differencing.avhdx" 8589934592 \
        fc5c91bfd8f7ee388cf482dc7eb6cef64b39a7e1bd043516ee95887b839f2b78
    unpack windows dfvfs-fat-differential.vhd
    refuse "$work/dfvfs-fat-differential.vhd" "parent {5fa21a55-f394-aa4d-9958-1951a67d5540}"
    "$tools/empty_disk" vhd "$work/fat-parent.vhd" 4194304 5fa21a55-f394-aa4d-9958-1951a67d5540
    expect "$work/dfvfs-fat-differential.vhd" 4194304 \
        9e96fac774e2e3606e0e3d5f1152844ca3c6a45ed45e61f36586b2cd60b19d3f
}

chains() {
    for archive in "$samples"/vhdx/constructed/*.tar.xz; do
        name=$(basename "$archive" .tar.xz)
        mkdir "$work/$name"
        xz -dc "$archive" | tar -x -C "$work/$name"
        for file in "$work/$name"/* "$work/$name"/*/*; do
            [ -f "$file" ] || continue
            level=$(basename "$file")
            # "name": { ... "level": "hash"
            want=$(sed -n "/\"$name\"/,/}/s/.*\"$level\": \"\([0-9a-f]*\)\".*/\1/p" \
                "$samples/vhdx/constructed/hashes.json")
            [ -n "$want" ] || fail "no hash for $name/$level"
            size=$("$tools/image_tool" info "$file" | sed 's/.* size=\([0-9]*\).*/\1/')
            expect "$file" "$size" "$want"
        done
    done
}

logs() {
    full=f2a2df3cfd0ad7e5a20ce3fa234950c238985cd6aabb463e7c84b04ba174d7b5
    while read -r name hash; do
        unpack log "log-$name.vhdx"
        expect "$work/log-$name.vhdx" 8388608 "$hash"
    done <<LIST
single $full
multi-tail2 $full
wrap $full
data-zero 12ea371ba48afc9be3987c82529d76aa2ecf3c46cd47a9a3f5a7bde773076b36
foreign-guid $full
torn-last $full
two-sequences $full
empty-first $full
guid-zero-stale-entries $full
lastoffset-beyond-eof $full
descriptors-128 $full
LIST
    while read -r name words; do
        unpack log "log-$name.vhdx"
        refuse "$work/log-$name.vhdx" "$words"
    done <<LIST
flushed-beyond-eof cut short
guid-but-no-entries no whole sequence
tail-outside-sequence no whole sequence
LIST
}

# What we write stands where Windows puts it, byte for byte.
layout() {
    for name in dissect-dynamic.vhdx dissect-fixed.vhdx; do
        unpack windows "$name"
        "$tools/plan_like" "$work/$name" || fail "layout of $name"
    done
    unpack windows dissect-differencing.avhdx
    parent='Generation 1_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx'
    folder='Users\Public\Documents\Hyper-V\Virtual hard disks'
    "$tools/plan_like" "$work/dissect-differencing.avhdx" ff34003b-11ed-4cf8-a166-b2be05e20b80 \
        ".\\$parent" "C:\\$folder\\$parent" \
        "\\\\?\\Volume{0eba351e-5634-46d6-a8cf-4ddc2d6ac0b9}\\$folder\\$parent" ||
        fail "layout of dissect-differencing.avhdx"
}

case $part in
windows | chains | logs | layout) "$part" ;;
*) fail "which part?" ;;
esac
echo "passed"
