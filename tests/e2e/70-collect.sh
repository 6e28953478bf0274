#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: on a small file system that holds store, index and state: it fills up during a backup and while packs are rewritten, points are
# deleted, a collection gives the space back and the service goes on; the collector is killed again and again while packs are removed and
# while they are rewritten, as its log says, and nothing that is listed is lost. Retention, holds and locks do what they say on the way.
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
printf 'collect-every = 0s\nlog-level = debug\n' >>"$LAB/collector.conf"
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
log=$LAB/logs/collector.log
# Where a collection is, by what the log says from byte $1 on.
phase() { tail -c +"$1" "$log" | sed -nE 's/.* gc: (removing|rewriting|rewrote|a collection) .*/\1/p' | tail -n 1; }
wait_for_phase() { # FROM PHASE
    local tries=4000
    while [ "$(phase "$1")" != "$2" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { tail -n 5 "$log" >&2; lab_die "no collection was $2 packs"; }
        sleep 0.002
    done
}
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

# The disk fills up while packs are rewritten: they stay what they were, and are rewritten when there is room.

# round SEED OFFSET-MiB: a point in whose place the next one comes; the one before it is deleted
round() {
    local victim
    backup "$1" "$2" 6
    victim=$(points_json web | sed -n 2p | jq -r .id)
    [ "$victim" = "$second" ] || varve point delete "$victim" --undelete-for 0 --quiet
}

round 10 40
round 11 43
round 12 46
from=$(($(wc -c <"$log") + 1))
varve store collect --move-below 101 --rate 1MiB --json >"$LAB/collected" 2>"$LAB/stderr" &
asked=$!
wait_for_phase "$from" rewriting
fallocate -l "$(df --output=avail -B1 "$LAB/small" | tail -n 1)" "$LAB/small/filler" || true
dd if=/dev/zero of="$LAB/small/filler2" bs=4k 2>/dev/null || true
[ "$(phase "$from")" = rewriting ] || lab_die "the disk was full only when the packs were rewritten"
code=0
wait $asked || code=$?
cat "$LAB/collected" "$LAB/stderr"
[ $code -eq 0 ] || [ $code -eq 7 ] || lab_die "a disk that fills up under a collection gave exit code $code"
tail -c +"$from" "$log" | grep -E 'gc: the disk is full: [0-9]+ packs are not rewritten' ||
    lab_die "the disk was not full while packs were rewritten"
lab_alive collector || lab_die "the collector ended"
check_all
rm -f "$LAB/small/filler" "$LAB/small/filler2"
before=$(used)
varve store collect --move-below 101 --json | tee "$LAB/collected"
jq -e '.packs_moved > 0 and .packs_removed > 0 and (.no_space | not)' "$LAB/collected" >/dev/null || lab_die "the packs are not rewritten with room again"
[ "$(used)" -lt "$before" ] || lab_die "rewriting gave nothing back: $before, now $(used)"
[ "$(varve store check-counts --json | jq '.missing + .extra')" -eq 0 ] || lab_die "counts are wrong after a full disk"
check_all

# Killed while packs are removed and while they are rewritten, many times.

declare -A kills=([removing]=0 [rewriting]=0)
kill_while() { # PHASE RATE
    local from asked was
    from=$(($(wc -c <"$log") + 1))
    varve store collect --move-below 101 --rate "$2" --quiet >/dev/null 2>&1 &
    asked=$!
    wait_for_phase "$from" "$1"
    sleep "0.$(printf %03d $((RANDOM % 200)))"
    lab_kill collector
    wait $asked 2>/dev/null || true
    was=$(phase "$from")
    echo "killed while $was packs"
    kills[$was]=$((${kills[$was]:-0} + 1))
    lab_collector_start
    lab_wait_vms 1
    varve store collect --move-below 101 --quiet # goes on with what is left
}
for n in 1 2 3 4 5; do
    round $((20 + n)) $((n * 3)) # half of it is over what the last one wrote
    kill_while rewriting 8MiB
    round $((30 + n)) 60 # over all of it
    round $((40 + n)) 60
    kill_while removing 4KiB
done
check_all
[ "${kills[removing]}" -ge 3 ] || lab_die "only ${kills[removing]} kills fell into removing"
[ "${kills[rewriting]}" -ge 3 ] || lab_die "only ${kills[rewriting]} kills fell into rewriting"
varve store collect --move-below 101 --quiet
[ "$(varve store check-counts --json | jq '.missing + .extra')" -eq 0 ] || lab_die "counts are wrong after the kills"
check_all
varve verify --quiet
points_clean alpha web
backup 50 80 6
check_all
echo "a disk full while writing and while rewriting, ${kills[removing]} kills while removing, ${kills[rewriting]} while rewriting:" \
    "nothing listed was lost, space came back, service went on"
