#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: two nodes, real agents and a real collector. A vm migrates between runs, fails over in the middle of one with its agent
# alive and with its agent dead, and is listed by both nodes at once. The chain goes on, every point is right, the vm is clean on
# the node that has it, and the other one has nothing to do when it comes back.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-cluster.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
echo 'run-grace = 4s' >>"$LAB/collector.conf"
lab_collector_start
for node in alpha beta; do lab_host_new $node; done
mib=$((1024 * 1024))
lab_ctl alpha vm.create "{\"name\":\"web\",\"disks\":[{\"size\":$((64 * mib)),\"block_size\":$((2 * mib))},{\"size\":$((16 * mib)),\"block_size\":$((2 * mib))}]}" >/dev/null
vm=$(lab_vm_id alpha web)

writes=0
scribble() { # NODE
    local i disk extents
    for disk in 0 1; do
        extents=
        for ((i = 0; i < 20; i++)); do extents+="${extents:+,}[$(((writes * 37 + i * 11) % 120 * 131072 + i * 4096)),4096]"; done
        writes=$((writes + 1))
        lab_ctl "$1" guest.write "{\"vm\":\"$vm\",\"disk\":\"$(lab_disk_id "$1" web $disk)\",\"seed\":$writes,\"extents\":[$extents]}" >/dev/null
    done
}
move() { # FROM TO [FAILOVER]
    lab_ctl "$1" vm.move_out "{\"vm\":\"$vm\",\"to\":\"$LAB/parcel\",\"failover\":${3:-false}}" >/dev/null
    lab_ctl "$2" vm.move_in "{\"from\":\"$LAB/parcel\"}" >/dev/null
}
last() { points_json web | jq -rs ".[0]$1"; }
expect_point() { # NODE INCREMENTAL: the newest point is that node's, right, and the vm is clean there
    local id how
    id=$(last .id)
    [ "$(last .host_name)" = "$1" ] || lab_die "the newest point is of $(last .host_name), not of $1"
    how=$("$BIN/varve" point show "$id" --json | jq -r '[.disks[].incremental] | all')
    [ "$how" = "$2" ] || lab_die "point $id on $1: incremental $how, not $2"
    points_check_raw "$1" "$id"
    points_clean "$1" web
}
has_checkpoint() { # NODE
    lab_ctl "$1" checkpoint.list "{\"vm\":\"$vm\"}" | jq -e '.checkpoints | length > 0'
}
journal_is_empty() { # NODE
    [ -z "$(ls "$LAB/agents/$1/journal" 2>/dev/null)" ]
}
is_tidy() { # no run that has ended may have left anything on a vm
    "$BIN/varve" status --json | jq -e '[.problems[] | select(contains("cleaned up"))] == []'
}

for node in alpha beta; do lab_agent_start $node; done
lab_wait_vms 1
scribble alpha
"$BIN/varve" backup run web --quiet
expect_point alpha false

echo "between runs"
scribble alpha
move alpha beta
scribble beta
"$BIN/varve" backup run web --quiet
expect_point beta true

echo "in the middle of a run; the agent lives"
for way in "beta alpha" "alpha beta"; do
    read -r from to <<<"$way"
    scribble "$from"
    lab_ctl "$from" host.set '{"job_ms":1500}' >/dev/null
    "$BIN/varve" backup run web >"$LAB/logs/moved.log" 2>&1 &
    run=$!
    lab_wait 20 "the checkpoint" has_checkpoint "$from"
    move "$from" "$to" true
    scribble "$to"
    wait $run || lab_die "the run did not go on on $to: $(cat "$LAB/logs/moved.log")"
    lab_ctl "$from" host.set '{"job_ms":30}' >/dev/null
    lab_wait 20 "$to to clean up" is_tidy
    expect_point "$to" true
    lab_wait 20 "$from to forget the run" journal_is_empty "$from"
done

echo "in the middle of a run; the agent dies with its node"
scribble beta
lab_ctl beta host.set '{"job_ms":1500}' >/dev/null
"$BIN/varve" backup run web >"$LAB/logs/died.log" 2>&1 &
run=$!
lab_wait 20 "the checkpoint" has_checkpoint beta
lab_kill agent-beta
move beta alpha true
scribble alpha
wait $run || lab_die "the run did not go on on alpha: $(cat "$LAB/logs/died.log")"
lab_ctl beta host.set '{"job_ms":30}' >/dev/null
lab_wait 20 "alpha to clean up" is_tidy
expect_point alpha true
! journal_is_empty beta || lab_die "the agent that was killed has no journal: it was killed too late"
lab_agent_start beta
lab_wait 20 "beta to forget the run" journal_is_empty beta
points_clean alpha web

echo "both have it"
cp -r "$LAB/hosts/alpha/vms/$vm" "$LAB/parcel"
lab_ctl beta vm.move_in "{\"from\":\"$LAB/parcel\"}" >/dev/null
lab_stop agent-beta
lab_agent_start beta # lists it at once
before=$(points_json web | wc -l)
scribble alpha
lab_wait 20 "beta's list" grep -q "inventory host='beta' vms=1" "$LAB/logs/collector.log"
"$BIN/varve" backup run web --quiet
[ "$(points_json web | wc -l)" -eq $((before + 1)) ] || lab_die "it was not run once"
expect_point alpha true
[ "$(lab_ctl beta refpoint.list "{\"vm\":\"$vm\"}" | jq '.refpoints | length')" -eq 1 ] || lab_die "the copy on beta was touched"

for id in $(points_json web | jq -r .id); do points_check_raw alpha "$id"; done
"$BIN/varve" verify --quiet
echo "$(points_json web | wc -l) points, all right"
