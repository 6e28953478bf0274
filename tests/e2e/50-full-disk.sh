#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: the collector's file system fills up during ingest. The run fails with "no space" and exit code 7, what was listed stays
# right, the collector goes on serving, and with space again the next run succeeds without any manual step.
# Needs root (a small loop-mounted file system); skips with 77 otherwise.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"

[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root for a loop-mounted file system"; exit 77; }
lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-full.XXXXXX")"
trap 'lab_stop_all; umount "$LAB/store" 2>/dev/null || true; rm -rf "$LAB"' EXIT

truncate -s 160M "$LAB/store.img"
mkfs.ext4 -q -F -m 0 "$LAB/store.img"
mkdir "$LAB/store"
mount -o loop "$LAB/store.img" "$LAB/store" || { echo "skipped: no loop device"; exit 77; }
rmdir "$LAB/store/lost+found"

lab_collector_start
lab_host_new alpha
mib=$((1024 * 1024))
lab_ctl alpha vm.create "{\"name\":\"web\",\"disks\":[{\"size\":$((512 * mib))}]}" >/dev/null
vm=$(lab_vm_id alpha web) disk=$(lab_disk_id alpha web 0)
lab_ctl alpha guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":1,\"offset\":0,\"length\":$((40 * mib))}" >/dev/null
lab_agent_start alpha
lab_wait_vms 1
"$BIN/varve" backup run web --quiet
first=$(points_json web | jq -r .id)

lab_ctl alpha guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":2,\"offset\":$((64 * mib)),\"length\":$((300 * mib))}" >/dev/null
code=0
"$BIN/varve" backup run web --quiet 2>"$LAB/stderr" || code=$?
cat "$LAB/stderr"
[ $code -eq 7 ] || lab_die "a full store gave exit code $code, not 7"
lab_alive collector || lab_die "the collector ended"
[ "$(points_json web | wc -l)" -eq 1 ] || lab_die "a point of a failed run is listed"
points_clean alpha web
points_check_raw alpha "$first"

# Space again, by giving the file system more room.

lab_stop collector
umount "$LAB/store"
truncate -s 640M "$LAB/store.img"
e2fsck -fp "$LAB/store.img" >/dev/null || true
resize2fs "$LAB/store.img" >/dev/null 2>&1
mount -o loop "$LAB/store.img" "$LAB/store"
lab_collector_start
lab_wait_vms 1
"$BIN/varve" backup run web --quiet
for point in $(points_json web | jq -r .id); do points_check_raw alpha "$point"; done
"$BIN/varve" verify --quiet
echo "a full disk cost one run and nothing else"
