#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: the collector's file system fills up during ingest. The run fails with "no space" and exit code 7, what was listed stays
# right, the collector goes on serving, and with space again the next run succeeds without any manual step. Then the collector is killed
# in the middle of ingest, with packs of the run on the disk and its point not published, again and again: nothing listed is lost, a
# collection gives back what the dead runs left, the next run succeeds.
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

# Killed during ingest.

packs() { find "$LAB/store/pack" -name '[0-9a-f]*' -type f | wc -l; }
used() { df --output=used -B1 "$LAB/store" | tail -n 1; }
echo 'collect-every = 0s' >>"$LAB/collector.conf"
in_ingest=0
for ((n = 1; n <= 6; n++)); do
    lab_ctl alpha guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":$((10 + n)),\"offset\":$((400 * mib)),\"length\":$((64 * mib))}" >/dev/null
    before=$(packs)
    points=$(points_json web | wc -l)
    "$BIN/varve" backup run web --quiet >/dev/null 2>&1 &
    run=$!
    tries=4000
    while [ "$(packs)" -eq "$before" ] && [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.002
    done
    lab_kill collector
    lab_kill agent-alpha # it would go on with the run where it was
    wait $run 2>/dev/null || true
    more=$(($(packs) - before))
    lab_collector_start
    if [ $more -gt 0 ] && [ "$(points_json web | wc -l)" -eq "$points" ]; then
        in_ingest=$((in_ingest + 1))
        echo "killed in ingest, with $more packs of the run on the disk"
    else
        echo "killed with $more new packs and $(($(points_json web | wc -l) - points)) new points"
    fi
    lab_agent_start alpha
    lab_wait_vms 1
    points_check_raw alpha "$first"
done
[ $in_ingest -ge 3 ] || lab_die "only $in_ingest kills fell into ingest"
before=$(used)
result=
collected() {
    result=$("$BIN/varve" store collect --json) && jq -e '.packs_young == 0 and .packs_waiting == 0' <<<"$result"
}
lab_wait 60 "the dead runs to be over" collected
[ "$(used)" -lt "$before" ] || lab_die "what the dead runs left was not given back: $before, now $(used)"
"$BIN/varve" backup run web --quiet
for point in $(points_json web | jq -r .id); do points_check_raw alpha "$point"; done
"$BIN/varve" verify --quiet
[ "$("$BIN/varve" store check-counts --json | jq '.missing + .extra')" -eq 0 ] || lab_die "counts are wrong after the kills"
echo "a full disk cost one run and nothing else; $in_ingest kills in ingest cost nothing listed"
