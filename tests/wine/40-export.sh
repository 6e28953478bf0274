#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: varve-agent.exe with capture = export, under Wine at the real boundary (COM), on a simulated Hyper-V host that writes VHDX files, with a
# native collector: a full and three differential runs, into a folder of a drive and into a share; every point is what the simulator says
# the disks held; of a differential export its own blocks are read and no more; the calls are those of the documented table. Calls fail,
# merging was switched off, and the agent is killed while the host exports and while it reads: the VM is clean and nothing is left in
# the folder.
#
# 40-export.sh AGENT.EXE STANDINS
set -euo pipefail
exe=$1 standins=$2
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"
wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"
. "$(dirname "$0")/hyperv.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-export.XXXXXX")"
trap 'lab_stop_all; hyperv_unshare; rm -rf "$LAB"' EXIT
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"

hyperv_agent_install "$exe" "$standins"
hyperv_host_new winhost
vms=('web 東京' db)
hyperv_vm 'web 東京' 2 48 32 && hyperv_vm db 1 64 && hyperv_vm fresh 2 32 && hyperv_vm large 2 384
for vm in "${vms[@]}" fresh; do hyperv_write winhost "$vm" 40; done
points_guest_state winhost 'web 東京'
mkdir "$LAB/exports"

lab_collector_start
lab_enrol winhost
export_conf=('capture = export' "export-folder = Z:$LAB/exports")
printf '%s\n' "state-dir = $LAB/agents/winhost" "${export_conf[@]}" >"$LAB/agents/winhost.conf"
"${AGENT[@]}" doctor --config "$LAB/agents/winhost.conf" >"$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor is not content"; }
grep -q '^export .*exports go to .* MiB are free' "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor does not say where exports go"; }
hyperv_agent_start winhost "${export_conf[@]}"
lab_wait_vms 4

folder=$LAB/exports
export_clean() { # VM...
    local vm
    for vm; do hyperv_clean winhost "$vm" 1 ''; done
    [ -z "$(ls "$folder")" ] || lab_die "the folder of exports is left with $(ls "$folder")"
    hyperv_no_breach winhost
}
export_clean_web() { export_clean 'web 東京'; }

# ---- points, bytes, cleanliness, in a folder and in a share ----

export_round() { # NAME: a run of all, and writes to 20 chunks a disk for the next one
    local vm
    "$BIN/varve" backup run "${vms[@]}" --quiet
    for vm in "${vms[@]}"; do
        points_clean winhost "$vm"
        "$BIN/varve" point show "$vm@latest" --json >"$LAB/point"
        jq -e '.capture == "export" and (.reason | contains("WMI export")) and any(.files[]; endswith(".vmcx"))' "$LAB/point" >/dev/null ||
            lab_die "$vm: $(jq -c '[.capture, .reason, .files]' "$LAB/point")"
        [ "$1" = full ] || jq -e 'all(.disks[]; .incremental and .read_bytes == 20 * 65536)' "$LAB/point" >/dev/null ||
            lab_die "$vm: $1: $(jq -c '[.disks[] | [.incremental, .tracked_bytes, .read_bytes]]' "$LAB/point")"
        points_config winhost "$vm" vmcx
        hyperv_write_chunks winhost "$vm" 20
    done
    export_clean "${vms[@]}"
    echo "$1: read $(jq -c '[.disks[].read_bytes]' "$LAB/point")"
}

export_round full
export_round 'differential 1'
export_round 'differential 2'
lab_stop agent-winhost
hyperv_share files "$LAB/share"
mkdir "$LAB/share/exports"
export_conf=('capture = export' "export-folder = //$share_server/files/exports")
folder=$LAB/share/exports
hyperv_agent_start winhost "${export_conf[@]}"
lab_wait_vms 4
export_round 'differential 3, into a share'

# ---- the calls are a contract: table (c) of the documented flow ----

freeze=('wmi query Msvm_DiskMergeSettingData' 'wmi exec CreateSnapshot' 'wmi exec ModifySystemSettings' 'wmi exec ExportSystemDefinition' 'wmi get job')
hyperv_ports winhost port.report '{"clear":true}' >/dev/null
"$BIN/varve" backup run fresh --quiet
hyperv_calls winhost "${freeze[@]}" 'wmi exec ConvertToReferencePoint' 'wmi query Msvm_DiskMergeSettingData'
hyperv_write winhost fresh 10
"$BIN/varve" backup run fresh --quiet
hyperv_calls winhost "${freeze[@]}" 'wmi exec ConvertToReferencePoint' 'wmi exec DestroyReferencePoint' 'wmi query Msvm_DiskMergeSettingData'

# ---- one call fails ----

# As in 21-hyperv-faults.sh. 32775: VMMS refuses the export by name.
hyperv_faults 'web 東京' export_clean_web \
    '2147944122 after wmi exec CreateSnapshot' \
    '2147749889 before wmi exec ExportSystemDefinition' \
    '2147944122 after wmi exec ExportSystemDefinition' \
    '2147942405 before wmi exec ExportSystemDefinition' \
    '2147749890 before wmi get job' \
    '2147944122 after wmi exec ConvertToReferencePoint' \
    '2147749889 before wmi exec DestroyReferencePoint'
[ "$good" -ge 3 ] && [ "$failed" -ge 3 ] || lab_die "$good runs were good and $failed failed: that is not what the faults were chosen for"
hyperv_write winhost 'web 東京' 4
"$BIN/varve" backup run 'web 東京' --quiet
export_clean_web

# ---- somebody's export without storage has stopped merging ----

lab_ctl winhost vm.set "{\"vm\":\"$(lab_vm_id winhost db)\",\"merge_enabled\":false}" >/dev/null
"$BIN/varve" backup run db --quiet
export_clean db
lab_ctl winhost vm.list | jq -e '.vms[] | select(.name == "db") | .merge_enabled' >/dev/null || lab_die "merging is still switched off"

# ---- the agent is killed: while the host exports, and while it reads ----

folder_is_empty() { [ -z "$(ls "$folder")" ]; }
folder_has() { [ -n "$(find "$folder" -name "$1" -size "+$2" -print -quit)" ]; }
kill_and_start() { # VM
    lab_kill agent-winhost
    hyperv_ports winhost port.killed >/dev/null
    ! folder_is_empty || lab_die "the kill left no folder behind: it came at a wrong time"
    lab_ctl winhost host.set '{"job_ms":20}' >/dev/null
    hyperv_agent_start winhost "${export_conf[@]}"
    wait "$run" || true # resumed, or undone
    lab_wait_vms 4
    lab_wait 30 "an empty folder" folder_is_empty
    export_clean "$1"
}
lab_ctl winhost host.set '{"job_ms":3000}' >/dev/null
"$BIN/varve" backup run large --quiet 2>"$LAB/said" &
run=$!
lab_wait 60 "a folder" folder_has 'varve-*' 0
! folder_has '*.vhdx' 0 || lab_die "the export was over before the kill"
kill_and_start large

extents=
for ((i = 0; i < 24; i++)); do extents+="${extents:+,}[$((i << 24)),4194304]"; done
lab_ctl winhost guest.write "{\"vm\":\"$(lab_vm_id winhost large)\",\"disk\":\"$(lab_disk_id winhost large 0)\",\"seed\":$seed,\"extents\":[$extents]}" >/dev/null
"$BIN/varve" backup run large --full --quiet 2>"$LAB/said" &
run=$!
sent() { [ "$(hyperv_received)" -gt $((before + (4 << 20))) ]; }
before=$(hyperv_received)
lab_wait 60 "the middle of reading" sent
kill_and_start large

for vm in "${vms[@]}" fresh large; do
    for point in $(points_json "$vm" | jq -r .id); do points_check_raw winhost "$point"; done
done
hyperv_agent_end winhost
echo "full and differential exports, restored and equal; $good of 7 runs with a fault were good, $failed failed with a name; nothing is left"
