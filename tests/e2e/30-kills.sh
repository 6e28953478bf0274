#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: agent, collector or both are killed with SIGKILL, each fifth time told to end with SIGTERM, at random moments of a run, fifty times
# (KILLS=n). No listed point is ever wrong, nothing needs a manual step, the next run succeeds, the host is left clean; who is told to end
# does not crash.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"

kills=${KILLS:-50}
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed, $kills kills"
lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-kills.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT

lab_collector_start
lab_host_new alpha
mib=$((1024 * 1024))
for vm in web db; do
    lab_ctl alpha vm.create "{\"name\":\"$vm\",\"disks\":[{\"size\":$((64 * mib)),\"block_size\":$((2 * mib))},{\"size\":$((32 * mib)),\"block_size\":$((2 * mib))}]}" >/dev/null
done

writes=1
scribble() { # MIB: scattered writes to every disk
    local vm disk extents i
    for vm in web db; do
        for disk in 0 1; do
            extents=
            for ((i = 0; i < $1 * 8; i++)); do
                extents+="${extents:+,}[$((RANDOM % (160 + 160 * (1 - disk)) * 65536 + RANDOM % 16 * 4096)),$((4096 * (1 + RANDOM % 60)))]"
            done
            writes=$((writes + 1))
            lab_ctl alpha guest.write "{\"vm\":\"$(lab_vm_id alpha $vm)\",\"disk\":\"$(lab_disk_id alpha $vm $disk)\",\"seed\":$writes,\"extents\":[$extents]}" >/dev/null
        done
    done
}

declare -A checked=()
check_new_points() {
    local vm id seq
    for vm in web db; do
        while IFS=$'\t' read -r id seq; do
            [ -z "${checked[$id]:-}" ] || continue
            points_check_raw alpha "$id"
            checked[$id]=$seq
        done < <(points_json "$vm" | jq -r '[.id, .seq] | @tsv')
    done
}

scribble 24
lab_agent_start alpha
lab_wait_vms 2
"$BIN/varve" backup run web db --quiet
check_new_points

for ((n = 1; n <= kills; n++)); do
    scribble $((1 + RANDOM % 6))
    "$BIN/varve" backup run web db --quiet >>"$LAB/logs/killed-runs.log" 2>&1 &
    run=$!
    sleep "0.$(printf %03d $((RANDOM % 500)))" # a run takes about half a second
    case $((RANDOM % 3)) in
    0) victims=agent-alpha ;;
    1) victims=collector ;;
    *) victims='agent-alpha collector' ;;
    esac
    end=lab_kill
    [ $((n % 5)) -ne 0 ] || end=lab_stop
    for victim in $victims; do $end "$victim"; done
    [ "$victims" = agent-alpha ] || lab_collector_start
    [ "$victims" = collector ] || lab_agent_start alpha
    wait $run || true
    lab_wait_vms 2
    "$BIN/varve" backup run web db --quiet || lab_die "the run after kill $n ($victims) failed"
    check_new_points
    for vm in web db; do points_clean alpha $vm; done
    echo "kill $n ($victims): ${#checked[@]} points right"
done

# And all of them once more, now that everything has happened.
for id in "${!checked[@]}"; do points_check_raw alpha "$id"; done
"$BIN/varve" verify --quiet
echo "$kills kills, ${#checked[@]} points, all right"
