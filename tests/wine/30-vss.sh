#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: varve-agent.exe with capture = vss, under Wine at the real boundary (vssapi.dll and COM), on a simulated Hyper-V host, with a native
# collector: a VM of Server 2012 R2 and one of today with two disks; a full and two more runs, changes found by hashing; every point is
# what the simulator says the disks held in the shadow copy, the guest's own recovery included; a run of what has not changed sends
# next to nothing, counted on its connection; a call that fails, a writer that fails and an agent that ends while a snapshot stands leave the host clean with a named error. Then
# with capture = auto: each VM by what fits it, as doctor said before, one by vss because the operator orders it while the other goes by reference points, and
# nothing of the method of before is left.
#
# 30-vss.sh AGENT.EXE STANDINS
set -euo pipefail
exe=$1 standins=$2
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"
wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"
. "$(dirname "$0")/hyperv.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-vss.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"

hyperv_agent_install "$exe" "$standins"
wine_system_dll "$standins/standin_vss/vssapi.dll"
hyperv_host_new winhost
lab_ctl winhost vm.create '{"name":"old R2","generation":1,"config_version":"5.0","disks":[{"size":50331648,"block_size":2097152}]}' >/dev/null
hyperv_vm 'web 東京' 2 48 32
vms=('old R2' 'web 東京')
for vm in "${vms[@]}"; do hyperv_write winhost "$vm" 60; done

lab_collector_start
lab_enrol winhost
printf '%s\n' "state-dir = $LAB/agents/winhost" 'capture = vss' >"$LAB/agents/winhost.conf"
"${AGENT[@]}" doctor --config "$LAB/agents/winhost.conf" >"$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor is not content"; }
grep -q "^vss .*Hyper-V VSS Writer.* 3 components" "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor does not name the writer"; }
hyperv_agent_start winhost 'capture = vss'
lab_wait_vms 2

# vss_clean VM...: nothing is frozen, no session is open, the vms run on one file a disk
vss_clean() {
    local vm
    for vm; do
        lab_ctl winhost vm.list | jq -e --arg n "$vm" '.vms[] | select(.name == $n) | .state == "running" and all(.disks[]; .type != "differencing")' >/dev/null ||
            lab_die "$vm is not as it was"
    done
    lab_ctl winhost vss.list | jq -e '.sessions == 0 and .sets == 0' >/dev/null || lab_die "a session or a shadow copy is left"
    [ -z "$(ls "$LAB/hosts/winhost/shadow")" ] || lab_die "files of a shadow copy are left"
    hyperv_no_breach winhost
}

hyperv_ports winhost port.report '{"clear":true}' >/dev/null
for round in full second unchanged; do
    before=$(hyperv_received)
    "$BIN/varve" backup run "${vms[@]}" --quiet
    sent=$(($(hyperv_received) - before))
    echo "round $round: $sent bytes sent"
    for vm in "${vms[@]}"; do
        hyperv_newest "$vm"
        "$BIN/varve" point show "$vm@latest" --json >"$LAB/point"
        jq -e '.capture == "vss" and .consistency == "application" and (.files | index("vss-backup-components.xml"))' "$LAB/point" >/dev/null ||
            lab_die "$vm: $(jq -c '[.capture, .consistency, .files]' "$LAB/point")"
        [ "$round" = full ] || jq -e 'all(.disks[]; .incremental)' "$LAB/point" >/dev/null || lab_die "$vm: round $round is not on the last point"
        [ "$round" != full ] || hyperv_write winhost "$vm" 5
    done
    points_config winhost 'old R2' xml
    points_config winhost 'web 東京' vmcx
    vss_clean "${vms[@]}"
done
# 128 MiB of disks, 2048 chunks; names alone would be 32 bytes for each that is not zero.
[ "$sent" -lt 16384 ] || lab_die "an unchanged run sent $sent bytes"
jq -e '.files | index("vss-writer-metadata.xml")' "$LAB/point" >/dev/null || lab_die "the writer's document is not kept"

# ---- the calls of one backup, in their order ----

hyperv_ports winhost port.report '{"clear":true}' >/dev/null
"$BIN/varve" backup run 'old R2' --quiet
hyperv_calls winhost 'vss open' 'vss begin' 'vss enable_writer' 'vss gather' 'vss add_component' 'vss start_set' 'vss add_volume' 'vss prepare' \
    'vss status' 'vss freeze' 'vss status' 'vss device' 'vss document' 'vss set_succeeded' 'vss complete' 'vss status' 'vss delete_set'

# ---- what goes wrong is named, leaves nothing, and the next run is good ----

fails() { # TEXT: a run of 'old R2' fails and says so
    if "$BIN/varve" backup run 'old R2' --quiet 2>"$LAB/why"; then lab_die "a run did not fail: $1"; fi
    grep -q "$1" "$LAB/why" || { cat "$LAB/why"; lab_die "the failure is not named: $1"; }
    vss_clean "${vms[@]}"
}
for call in gather start_set freeze; do
    hyperv_ports winhost port.fault "{\"nth\":1,\"number\":$((0x8004231F)),\"call\":\"vss $call\"}" >/dev/null
    fails VSS_E_INSUFFICIENT_STORAGE
done
lab_ctl winhost vss.fail "{\"step\":\"freeze\",\"hresult\":$((0x800423F4))}" >/dev/null
fails VSS_E_WRITERERROR_NONRETRYABLE
"$BIN/varve" backup run 'old R2' --quiet
hyperv_newest 'old R2'

# ---- the agent ends between the snapshot and BackupComplete: what it had frozen goes with it ----

agent_lines=('capture = vss')
for call in device set_succeeded; do
    hyperv_dies 'old R2' "vss $call" before 1
    vss_clean "${vms[@]}"
    [ "$code" -ne 0 ] && [ "$points" -eq 0 ] || lab_die "the run that lost its snapshot (vss $call) ended with $code and $points points"
    "$BIN/varve" backup run 'old R2' --quiet
    hyperv_newest 'old R2'
    "$BIN/varve" point show 'old R2@latest' --json | jq -e 'all(.disks[]; .incremental)' >/dev/null || lab_die "the run after it is not on the last point"
    vss_clean "${vms[@]}"
done

# ---- a guest that cannot be asked ----

id=$(lab_vm_id winhost 'web 東京')
lab_ctl winhost vm.set "{\"vm\":\"$id\",\"integration\":false}" >/dev/null
points_guest_state winhost 'web 東京'
"$BIN/varve" backup run 'web 東京' --quiet
hyperv_newest 'web 東京'
points_config winhost 'web 東京' vmcx
"$BIN/varve" point show 'web 東京@latest' --json | jq -e '.consistency == "crash"' >/dev/null || lab_die "a vm that was saved is called consistent"
vss_clean "${vms[@]}"
hyperv_agent_end winhost

# ---- the choice ----

printf '%s\n' "state-dir = $LAB/agents/winhost" 'capture = auto' >"$LAB/agents/winhost.conf"
"${AGENT[@]}" doctor --config "$LAB/agents/winhost.conf" >"$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor is not content"; }
grep -q "frozen by vss, read by file: .*(not refpoint: configuration version 5.0 " "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor does not say how the old vm is frozen"; }
grep -q "frozen by refpoint, read by virtdisk: " "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor does not say how the new vm is frozen"; }
lab_ctl winhost vm.set "{\"vm\":\"$id\",\"integration\":true}" >/dev/null
hyperv_agent_start winhost 'capture = auto'
lab_wait_vms 2

# by VM METHOD POINTS WHY: its latest point was made so, and so many reference points are on the host
by() {
    "$BIN/varve" point show "$1@latest" --json >"$LAB/point"
    jq -e --arg m "$2" --arg why "$4" '.capture == $m and (.reason | contains($why))' "$LAB/point" >/dev/null || lab_die "$1: $(jq -c '[.capture, .reason]' "$LAB/point")"
    lab_ctl winhost refpoint.list "{\"vm\":\"$(lab_vm_id winhost "$1")\"}" | jq -e --argjson n "$3" '.refpoints | length == $n' >/dev/null || lab_die "$1: not $3 reference points"
    vss_clean "$1"
}
"$BIN/varve" backup run "${vms[@]}" --quiet
by 'old R2' vss 0 'not refpoint: configuration version 5.0'
by 'web 東京' refpoint 1 ''
jq -e 'all(.disks[]; .incremental | not)' "$LAB/point" >/dev/null || lab_die "a point of another method was taken for a base"
id=$(lab_vm_id winhost 'web 東京')
if compgen -G "$LAB/agents/winhost/names/${id,,}.*" >/dev/null; then lab_die "the names of the old method are left"; fi
lab_ctl winhost vm.create '{"name":"db","generation":2,"disks":[{"size":33554432,"block_size":2097152}]}' >/dev/null
hyperv_write winhost db 20
lab_wait_vms 3
"$BIN/varve" backup run db --quiet
by db refpoint 1 ''
"$BIN/varve" backup run db --method vss --quiet
by db vss 0 'ordered for this run'
hyperv_newest db
"$BIN/varve" backup run 'web 東京' --quiet
by 'web 東京' refpoint 1 ''
jq -e 'all(.disks[]; .incremental)' "$LAB/point" >/dev/null || lab_die "the other vm is not read by its tracking"
if "$BIN/varve" backup run db --method export --quiet 2>"$LAB/why"; then lab_die "what cannot be was done"; fi
grep -q "method 'export', ordered for this run, cannot be: export-folder is not set" "$LAB/why" || { cat "$LAB/why"; lab_die "the refusal is not named"; }
hyperv_agent_end winhost
echo "full and further runs by the VSS writer, restored and equal; what failed left nothing"
