#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: on a small file system that holds store, index and state: it fills up, points are deleted, a collection gives the space back
# and the service goes on; the collector is killed again and again during collection and moving, and nothing that is listed is
# lost. Retention, holds and locks do what they say on the way.
# Needs root (a small loop-mounted file system); skips with 77 otherwise.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"

[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root for a loop-mounted file system"; exit 77; }
lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-collect.XXXXXX")"
trap 'lab_stop_all; umount "$LAB/small" 2>/dev/null || true; rm -rf "$LAB"' EXIT

truncate -s 192M "$LAB/small.img"
mkfs.ext4 -q -F -m 0 "$LAB/small.img"
mkdir "$LAB/small"
mount -o loop "$LAB/small.img" "$LAB/small" || { echo "skipped: no loop device"; exit 77; }
mkdir "$LAB/small/store"
sed -i "s|^state-dir = .*|state-dir = $LAB/small/state|; s|^store = .*|store = $LAB/small/store|" "$LAB/collector.conf"
echo "collect-every = 0s" >>"$LAB/collector.conf"
export VARVE_ACCESS=$LAB/small/state/operator.access

used() { df --output=used -B1 "$LAB/small" | tail -n 1; }
varve() { "$BIN/varve" "$@"; }
write() { # SEED OFFSET-MiB LENGTH-MiB
    lab_ctl alpha guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":$1,\"offset\":$(($2 * mib)),\"length\":$(($3 * mib))}" >/dev/null
}
backup() { # SEED OFFSET-MiB LENGTH-MiB
    write "$@"
    varve backup run web --quiet
}
newest() { points_json web | jq -rs '.[0].id'; }
check_all() {
    for point in $(points_json web | jq -r .id); do points_check_raw alpha "$point"; done
}

lab_collector_start
lab_host_new alpha
mib=$((1024 * 1024))
lab_ctl alpha vm.create "{\"name\":\"web\",\"disks\":[{\"size\":$((512 * mib))}]}" >/dev/null
vm=$(lab_vm_id alpha web) disk=$(lab_disk_id alpha web 0)
lab_agent_start alpha
lab_wait_vms 1

backup 1 0 24
first=$(newest)
backup 2 24 20
second=$(newest)
backup 3 24 20
backup 4 24 20 # over what run 3 wrote
[ "$(varve store check-counts --json | jq '.missing + .extra')" -eq 0 ] || lab_die "counts are wrong"

# What may not be deleted stays.

varve point hold "$first" --reason "audit" --quiet
varve point lock "$second" --for 1h --quiet
for point in "$first" "$second"; do
    code=0
    varve point delete "$point" --quiet 2>/dev/null || code=$?
    [ $code -eq 5 ] || lab_die "a held or locked point was deleted: exit code $code"
done

# Retention says what it would do, then does it, and takes nothing back that is held or locked.

varve policy set short --keep-last 1 --undelete-for 0 --quiet
varve policy assign short --default --quiet
dry=$(varve retention run --dry-run --json | jq -s '[.[] | select(.keep | not)] | length')
[ "$dry" -eq 1 ] || lab_die "a dry run would delete $dry points, not 1"
[ "$(points_json web | wc -l)" -eq 4 ] || lab_die "a dry run deleted something"
varve retention run --quiet >/dev/null
[ "$(points_json web | wc -l)" -eq 3 ] || lab_die "retention did not delete one point"
varve point release "$first" --quiet
before=$(used)
result=$(varve store collect --move-below 101 --json)
echo "$result"
jq -e '.points_removed == 1 and .packs_removed > 0 and .blocked == null and .index_operations > 0' <<<"$result" >/dev/null ||
    lab_die "the collection did not do it"
[ "$(used)" -lt $((before - 8 * mib)) ] || lab_die "the file system got nothing back: $before, now $(used)"
check_all

# Full: the run fails, the deletion and the collection make room, the next run succeeds.

code=0
write 5 100 150
varve backup run web --quiet 2>"$LAB/stderr" || code=$?
cat "$LAB/stderr"
[ $code -eq 7 ] || lab_die "a full store gave exit code $code, not 7"
# To the last byte, as other programs do.
dd if=/dev/zero of="$LAB/small/filler" bs=64k 2>/dev/null || true
dd if=/dev/zero of="$LAB/small/filler2" bs=512 2>/dev/null || true
full=$(used)
lab_wait 30 "the run to be over" sh -c "'$BIN/varve' store collect --json | jq -e '.packs_young == 0 and .packs_waiting == 0'"
[ "$(used)" -lt $((full - 64 * mib)) ] || lab_die "what the failed run left was not given back: $full, now $(used)"
varve point delete "$first" --undelete-for 0 --quiet
varve store collect --quiet
rm -f "$LAB/small/filler" "$LAB/small/filler2"
write 6 100 16
lab_ctl alpha guest.trim "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"offset\":$((116 * mib)),\"length\":$((134 * mib))}" >/dev/null
varve backup run web --quiet
check_all

# Killed in the middle of collecting and moving, many times.

kills=0
for round in 1 2 3 4 5 6 7 8; do
    backup $((20 + round)) $((round * 3)) 6
    victim=$(points_json web | sed -n 2p | jq -r .id)
    [ "$victim" = "$second" ] || varve point delete "$victim" --undelete-for 0 --quiet
    varve store collect --move-below 101 --rate 20MiB --quiet >/dev/null 2>&1 &
    asked=$!
    sleep "0.0$((round * 9))"
    lab_kill collector
    wait $asked 2>/dev/null || true
    kills=$((kills + 1))
    lab_collector_start
    lab_wait_vms 1
done
check_all
varve store collect --move-below 101 --quiet
[ "$(varve store check-counts --json | jq '.missing + .extra')" -eq 0 ] || lab_die "counts are wrong after $kills kills"
check_all
varve verify --quiet
points_clean alpha web
echo "a full disk and $kills kills: nothing listed was lost, space came back, service went on"
