#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# backup.sh SMB_TOOL: a VHD set is read as a backup does it, from rsvd-testd.  What it shows: a full and an
# incremental read of snapshots, with two nodes writing between, give the disk's bytes, signed and
# encrypted, by 3.0.2 and 3.1.1; only what changed is read; a lost baseline is STALE; an old server, one without
# shared disks and each fault of a server are named errors; tshark reads the traffic, also what is encrypted, as RSVD.
set -euo pipefail
tool=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/testd.sh"
testd_need
testd_new

size=$((24 * 1024 * 1024 + 4096))
first=11111111-0000-4000-8000-000000000001
second=22222222-0000-4000-8000-000000000002
third=33333333-0000-4000-8000-000000000003

head -c $((9 * 1024 * 1024)) /dev/urandom >"$DIR/image"
truncate -s "$size" "$DIR/image"

smb() { # ARGUMENT... as the user with the right password
    "$tool" --server 127.0.0.1 --port "$PORT" --share "${share:-share}" --credentials "$DIR/${who:-right}" "$@"
}

fails() { # WORDS ARGUMENT...
    local words=$1
    shift
    if smb "$@" >"$DIR/out" 2>"$DIR/err"; then
        die "'$*' succeeded"
    fi
    grep -q -- "$words" "$DIR/err" || die "'$*' said '$(cat "$DIR/err")', not '$words'"
}

# What a node writes, to the disk and to our truth.
put() { # OFFSET LENGTH CHARACTER
    smb write rsvd.vhds "$1" "$2" "$3"
    head -c "$2" /dev/zero | tr '\0' "$3" |
        dd of="$DIR/truth" bs=1M seek="$1" oflag=seek_bytes conv=notrunc status=none
}

flow() { # CLIENT-OPTION...
    local read
    cp --sparse=always "$DIR/image" "$DIR/truth"
    [ "$(smb "$@" disk rsvd.vhds)" = "version=2 size=$size sector=512 physical=4096 format=4" ] ||
        die "the set is something else: $(smb "$@" disk rsvd.vhds)"
    put 65536 512 a
    smb snapshot rsvd.vhds $first
    cp --sparse=always "$DIR/truth" "$DIR/truth1"
    # Two nodes write while it is read.
    put 1048576 70144 b
    put $((size - 4096)) 4096 c
    read=$(smb "$@" full rsvd.vhds $first "$DIR/copy")
    [ "$read" = "read=$size" ] || die "a full read: $read"
    cmp "$DIR/copy" "$DIR/truth1" || die "the full copy differs"
    smb keep rsvd.vhds $first
    smb snapshot rsvd.vhds $second
    cp --sparse=always "$DIR/truth" "$DIR/truth2"
    put 2097152 512 d
    read=$(smb "$@" changes rsvd.vhds $second $first "$DIR/copy")
    # 70144 bytes from 1 MiB are three blocks of 32 KiB: two chunks; and the last one, of 4 KiB.
    [ "$read" = "read=$((2 * 65536 + 4096))" ] || die "an incremental read: $read"
    cmp "$DIR/copy" "$DIR/truth2" || die "the incremental copy differs"
    [ "$(smb "$@" snapshots rsvd.vhds | tr '\n' ' ')" = "$first $second " ] || die "other snapshots"
    smb delete rsvd.vhds $first
    fails '^ERROR stale: .*does not know the last reference point' changes rsvd.vhds $second $first "$DIR/copy"
    fails '^ERROR not found: ' full rsvd.vhds $first "$DIR/copy"
    smb snapshot rsvd.vhds $third
    # The change list stands in the newer one: the older is no answer to what came after it.
    fails '^ERROR stale: .*cannot be told' changes rsvd.vhds $second $third "$DIR/copy"
    smb delete rsvd.vhds $third
    smb delete rsvd.vhds $second
}

# agreed DIALECT CIPHER ENCRYPTED CLIENT-OPTION...
agreed() {
    local want="dialect=0x0$1 cipher=$2 encrypted=$3"
    shift 3
    [ "$(smb "$@" state)" = "$want" ] || die "agreed on '$(smb "$@" state)', not '$want'"
}

testd_start --image "$DIR/image" --size "$size" --page 1 --pcap "$DIR/signed.pcap"
agreed 311 2 no --311
flow --311
who=wrong fails '^ERROR auth: .*STATUS_LOGON_FAILURE' disk rsvd.vhds
fails '^ERROR not found: .*STATUS_OBJECT_NAME_NOT_FOUND' disk absent.vhds
fails '^ERROR unsupported: .*no VHD set' full test.vhdx $first "$DIR/copy"
agreed 302 1 no --302
smb --302 snapshot rsvd.vhds $first
smb --302 full rsvd.vhds $first "$DIR/copy" >/dev/null
cmp "$DIR/copy" "$DIR/truth" || die "the copy by 3.0.2 differs"
testd_stop
testd_decode signed.pcap 20
tshark -r "$DIR/signed.pcap" -Y 'rsvd || smb2.cmd == 5' -V >"$DIR/decoded" 2>/dev/null
for words in 'SVHDX_OPEN_DEVICE_CONTEXT' 'RSVD_TARGET_SPECIFIER_EA' 'FSCTL_SVHDX_SYNC_TUNNEL_REQUEST' \
    'RSVD_TUNNEL_GET_DISK_INFO_OPERATION\|GET_DISK_INFO'; do
    grep -q "$words" "$DIR/decoded" || die "tshark finds no $words"
done

# Encrypted: 3.0.2 by AES-CCM, 3.1.1 by either.
testd_start --image "$DIR/image" --size "$size" --dialect 302 --encrypt-share --pcap "$DIR/302-ccm.pcap"
agreed 302 1 yes --302
flow --302
testd_stop
testd_decode 302-ccm.pcap 20
testd_start --image "$DIR/image" --size "$size" --cipher 1 --encrypt --pcap "$DIR/311-ccm.pcap"
agreed 311 1 yes
smb snapshot rsvd.vhds $first
smb full rsvd.vhds $first "$DIR/copy" >/dev/null
cmp "$DIR/copy" "$DIR/image" || die "the copy by AES-CCM differs"
testd_stop
testd_decode 311-ccm.pcap 5
testd_start --image "$DIR/image" --size "$size" --encrypt --pcap "$DIR/311-gcm.pcap"
agreed 311 2 yes
share=share-pending flow
share=share-unencrypted smb snapshot rsvd.vhds $first
share=share-unencrypted fails '^ERROR auth: .*not encrypted' full rsvd.vhds $first "$DIR/copy"
testd_stop
testd_decode 311-gcm.pcap 20

# A server of 2012 R2; one that has no shared disks.
testd_start --size "$size" --v1
[ "$(smb disk test.vhdx)" = "version=1 size=$size sector=512 physical=4096 format=3" ] || die "version 1"
fails '^ERROR unsupported: .*no VHD set' full rsvd.vhds $first "$DIR/copy"
testd_stop
testd_start --size "$size" --no-rsvd
for share in share share-streams; do
    fails '^ERROR unsupported: .*offers no remote shared virtual disks' disk rsvd.vhds
done
share=
testd_stop

testd_start --image "$DIR/image" --size "$size"
faults=0
while IFS='|' read -r share words; do
    smb snapshot rsvd.vhds $first
    fails "$words" full rsvd.vhds $first "$DIR/copy"
    faults=$((faults + 1))
done <<'FAULTS'
share-unsigned|^ERROR auth: .*not signed
share-spoilt|^ERROR auth: .*signature of the server's reply is wrong
share-drop|^ERROR io: .*\(closed the connection\|Connection reset\)
share-short|^ERROR io: .*a read of [0-9]* bytes at [0-9]* gave
share-sense|^ERROR io: .*STATUS_SVHDX_ERROR_STORED.*SCSI status 0x02, sense 3/11/00
share-reserved|^ERROR busy: .*STATUS_SVHDX_RESERVATION_CONFLICT
FAULTS
[ "$faults" = 6 ] || die "$faults faults"
for share in share-changes-refused share-no-progress; do
    smb snapshot rsvd.vhds $first
    smb snapshot rsvd.vhds $second
    fails '^ERROR stale: ' changes rsvd.vhds $second $first "$DIR/copy"
done
# Got over: a handle that wants the disk's context too, a unit attention.
for share in share-target-needs-disk share-attention; do
    smb snapshot rsvd.vhds $first
    smb full rsvd.vhds $first "$DIR/copy" >/dev/null || die "$share"
    cmp "$DIR/copy" "$DIR/image" || die "$share: the copy differs"
done
share=
testd_stop

# Servers that cannot be trusted.
while IFS='|' read -r options words; do
    # shellcheck disable=SC2086
    testd_start --size "$size" $options
    fails "$words" state
    testd_stop
done <<'LOGONS'
--fault guest|^ERROR auth: .*guest
--fault unsigned-logon|^ERROR auth: .*logon's last reply is refused
--dialect 302 --downgrade|^ERROR auth: .*changed on its way
LOGONS

echo "VHD set: full and incremental; $faults faults named"
