#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Guests' file systems are clean after they are made and after each change, changes are small, and
# damage is noticed.
set -euo pipefail
HVSIM=${1:?the hvsim program}
export HVSIM
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"

for tool in jq debugfs mkfs.ext4 mkntfs ntfscp ntfsfix sfdisk; do
    PATH=$guest_path command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

changed_bytes() { # how many bytes two images differ in
    { cmp -l "$1" "$2" || true; } | wc -l
}

guest_tree "$work/tree" 12
for kind in ext4 ntfs ntfs-without-fuse; do
    GUEST_NO_FUSE=${kind#ntfs}
    GUEST_NO_FUSE=${GUEST_NO_FUSE#ext4}
    fs=${kind%%-*}
    guest_make "$fs" "$work/$kind.raw" 64 "$work/tree" "label-$fs"
    guest_check "$fs" "$work/$kind.raw" || fail "$kind: not clean when new"
    rounds="1 2"
    [ "$kind" = ext4 ] || rounds=1
    for round in $rounds; do
        cp "$work/$kind.raw" "$work/before.raw"
        guest_change "$fs" "$work/$kind.raw" "$round" 2 || fail "$kind: round $round failed"
        guest_check "$fs" "$work/$kind.raw" || fail "$kind: not clean after round $round"
        n=$(changed_bytes "$work/$kind.raw" "$work/before.raw")
        if [ "$n" -lt 500000 ] || [ "$n" -gt 8000000 ]; then
            fail "$kind: round $round changed $n bytes"
        fi
    done
done

guest_make ext4 "$work/again.raw" 64 "$work/tree" label-ext4
guest_change ext4 "$work/again.raw" 1 2
guest_change ext4 "$work/again.raw" 2 2
cmp "$work/again.raw" "$work/ext4.raw" || fail "the same seed gave another ext4 image"

for fs in ext4 ntfs; do
    "$HVSIM" bytes 1 60000000 | dd of="$work/$fs.raw" bs=1M seek=1 conv=notrunc iflag=fullblock \
        skip=0 status=none
    ! guest_check "$fs" "$work/$fs.raw" 2>/dev/null || fail "$fs: damage was not noticed"
done
echo "guests are clean, changes are small, damage is noticed"
