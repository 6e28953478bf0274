#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: an incremental run reads and sends what changed, not the disk: bytes read from the source are within 1.1x of what
# change tracking reports, and an idle disk costs next to nothing.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-reads.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"

lab_collector_start
lab_host_new alpha
mib=$((1024 * 1024))
lab_ctl alpha vm.create "{\"name\":\"web\",\"disks\":[{\"size\":$((1024 * mib))}]}" >/dev/null
vm=$(lab_vm_id alpha web) disk=$(lab_disk_id alpha web 0)
lab_ctl alpha guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":1,\"offset\":0,\"length\":$((300 * mib))}" >/dev/null
lab_agent_start alpha
lab_wait_vms 1
"$BIN/varve" backup run web --quiet

for round in 1 2 3; do
    extents=
    for ((i = 0; i < 100; i++)); do
        extents+="${extents:+,}[$(((RANDOM * 32768 + RANDOM) % (1000 * mib) / 512 * 512)),$((512 * (1 + RANDOM % 64)))]"
    done
    lab_ctl alpha guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":$((round + 10)),\"extents\":[$extents]}" >/dev/null
    "$BIN/varve" backup run web --quiet
    read -r incremental tracked read_ sent < <("$BIN/varve" point show web@latest --json |
        jq -r '.disks[0] | "\(.incremental) \(.tracked_bytes) \(.read_bytes) \(.sent_bytes)"')
    echo "round $round: tracked $tracked, read $read_, sent $sent bytes"
    [ "$incremental" = true ] || lab_die "round $round was not incremental"
    [ "$tracked" -gt 0 ] || lab_die "tracking reported nothing"
    [ $((read_ * 10)) -le $((tracked * 11)) ] || lab_die "read $read_ bytes for $tracked tracked"
    [ "$sent" -le "$read_" ] || lab_die "sent $sent bytes of $read_ read"
    points_check_raw alpha web@latest
done

"$BIN/varve" backup run web --quiet
idle=$("$BIN/varve" point show web@latest --json | jq -r '.disks[0].read_bytes')
[ "$idle" -eq 0 ] || lab_die "an idle disk was read: $idle bytes"
points_check_raw alpha web@latest
points_clean alpha web
echo "incremental runs read what changed"
