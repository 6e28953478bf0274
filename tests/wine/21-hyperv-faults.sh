#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: what goes wrong at the real boundary, under Wine. A dozen calls of incremental runs fail, one at a time, before or after they were
# carried out: each ends with a good point or a named error, the VM is clean, no wrong point is listed, and the next run is good. The
# agent ends at four steps of a run, at a call and not at a time, and is killed in the middle of another one: its next start leaves the host
# clean, with exactly one reference point, no wrong point is listed, and the next run is good. A full run of a sparse disk of 16 GiB
# stays within 64 MiB of memory.
#
# 21-hyperv-faults.sh AGENT.EXE STANDINS
set -euo pipefail
exe=$1 standins=$2
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"
wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"
. "$(dirname "$0")/hyperv.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-faults.XXXXXX")"
hold=
trap '[ -z "$hold" ] || kill -KILL "$hold"; lab_stop_all; rm -rf "$LAB"' EXIT
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"

hyperv_agent_install "$exe" "$standins"
hyperv_host_new winhost
hyperv_vm web 2 32 16 && hyperv_write winhost web 20
lab_collector_start
hyperv_agent_start winhost
lab_wait_vms 1
# Somebody else's backup of the same vm, which is never touched.
lab_ctl winhost checkpoint.create "{\"vm\":\"$(lab_vm_id winhost web)\",\"consistency\":\"crash\",\"tag\":\"Other backup\"}" >/dev/null
other=$(lab_ctl winhost checkpoint.list "{\"vm\":\"$(lab_vm_id winhost web)\"}" | jq -r '.checkpoints[0].id')
lab_ctl winhost refpoint.convert "{\"checkpoint\":\"$other\"}" >/dev/null
lab_ctl winhost wait.idle '{"timeout_ms":20000}' >/dev/null
other=$(lab_ctl winhost refpoint.list "{\"vm\":\"$(lab_vm_id winhost web)\"}" | jq -r '.refpoints[0].id')
hyperv_clean_beside() { hyperv_clean winhost web 1 "$other"; }

# ---- one call fails ----

# NUMBER of the failure, when, and the call as the log names it. 2147944122 is 0x800706BA: VMMS is gone; 2147749889 is 0x80041001: failed.
faults=(
    '2147944122 before wmi query Msvm_ComputerSystem'
    '2147749889 before wmi exec CreateSnapshot'
    '2147944122 after wmi exec CreateSnapshot'
    '2147944126 after wmi exec ModifySystemSettings'
    '2147749890 before wmi get job'
    '32 before vdisk open'
    '1300 before vdisk attach'
    '3225026601 before vdisk query_changes'
    '1117 before vdisk read'
    '5 before vdisk detach'
    '2147944122 after wmi exec ConvertToReferencePoint'
    '2147749889 before wmi exec DestroyReferencePoint'
    '2147749889 before wmi exec ConvertToReferencePoint'
)
"$BIN/varve" backup run web --quiet
hyperv_faults web hyperv_clean_beside "${faults[@]}"
hyperv_write winhost web 4
"$BIN/varve" backup run web --quiet
hyperv_clean_beside
[ $((good + failed)) -eq ${#faults[@]} ] && [ "$good" -ge 6 ] && [ "$failed" -ge 3 ] ||
    lab_die "$good runs were good and $failed failed: that is not what the faults were chosen for"
for point in $(points_json web | jq -r .id); do points_check_raw winhost "$point"; done
hyperv_no_breach winhost

# ---- the agent ends at a step of the journal ----

one_point() {
    lab_ctl winhost refpoint.list "{\"vm\":\"$(lab_vm_id winhost web)\"}" |
        jq -e --arg other "$other" '[.refpoints[].id] | length == 2 and index($other) != null' >/dev/null
}
deaths=0
while read -r nth mode new call; do
    hyperv_dies web "$call" "$mode" "$nth"
    hyperv_clean_beside
    one_point || lab_die "$mode $call: not exactly one reference point of ours"
    [ "$new" = any ] || [ "$points" -eq "$new" ] || lab_die "$mode $call: $points new points, not $new"
    [ "$points" -eq 0 ] || hyperv_newest web
    "$BIN/varve" backup run web --quiet
    "$BIN/varve" point show web@latest --json | jq -e 'all(.disks[]; .incremental)' >/dev/null || lab_die "$mode $call: the run after it is not incremental"
    hyperv_clean_beside
    one_point || lab_die "$mode $call: not exactly one reference point of ours after the next run"
    points_check_raw winhost web@latest
    hyperv_no_breach winhost
    deaths=$((deaths + 1))
done <<'DEATHS'
1 after any wmi exec CreateSnapshot
1 before any wmi exec ConvertToReferencePoint
2 after any wmi assoc Msvm_AffectedJobElement
1 before 1 wmi exec DestroyReferencePoint
DEATHS

# ---- memory, and a kill ----

# 16 GiB, of which 320 MiB are in blocks that hold something.
lab_ctl winhost vm.create '{"name":"huge","disks":[{"size":17179869184}]}' >/dev/null
extents=
for ((i = 0; i < 10; i++)); do extents+="${extents:+,}[$(((i << 30) + (i << 29))),4194304]"; done
lab_ctl winhost guest.write "{\"vm\":\"$(lab_vm_id winhost huge)\",\"disk\":\"$(lab_disk_id winhost huge 0)\",\"seed\":$seed,\"extents\":[$extents]}" >/dev/null
lab_wait_vms 2

reads_are() { [ "$(hyperv_ports winhost port.report | jq .reads)" -ge "$1" ]; }
hyperv_ports winhost port.report '{"clear":true}' >/dev/null
"$BIN/varve" backup run huge --quiet 2>"$LAB/said" &
run=$!
lab_wait 60 "the middle of a run" reads_are 5
lab_kill agent-winhost
hyperv_ports winhost port.killed >/dev/null
lab_ctl winhost checkpoint.list "{\"vm\":\"$(lab_vm_id winhost huge)\"}" | jq -e '[.checkpoints[] | select(.type == "recovery")] | length == 1' >/dev/null ||
    lab_die "the kill did not leave a checkpoint behind: it came too late"
hyperv_agent_start winhost
wait $run || true # resumed, or undone
lab_wait_vms 2
hyperv_clean winhost huge 1 ''

# The peak of the process (VmHWM), less what a Windows program that does nothing has under this Wine: 'cmd.exe' waiting for input.
mkfifo "$LAB/fifo"
"$WINE" cmd.exe <"$LAB/fifo" >/dev/null 2>&1 &
hold=$!
exec 8>"$LAB/fifo"
hyperv_ports winhost port.report '{"clear":true}' >/dev/null
"$BIN/varve" backup run huge --full --quiet
peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$(lab_pid agent-winhost)/status")
base=$(awk '/^VmHWM/ { print $2 }' "/proc/$hold/status")
kill -KILL "$hold"
wait "$hold" 2>/dev/null || true
hold=
read_bytes=$(hyperv_ports winhost port.report | jq .read_bytes)
echo "memory: $peak KiB at most, $base KiB of them Wine's; $((read_bytes >> 20)) MiB were read"
[ "$base" -gt 4096 ] && [ "$base" -lt "$peak" ] || lab_die "Wine's own memory was not measured: $base KiB"
[ $((peak - base)) -le 65536 ] || lab_die "the agent needs more than 64 MiB"
[ "$read_bytes" -ge $((320 << 20)) ] || lab_die "the full run read too little to say anything"
"$BIN/varve" restore huge@latest "$LAB/out" --quiet
truth=$(points_truth winhost huge@latest "$(lab_disk_id winhost huge 0)")
qemu-img compare -q -f raw -F vhdx "$truth" "$LAB/out/huge-1.vhdx" || lab_die "the point of 16 GiB is not what the disk holds"
hyperv_clean winhost huge 1 ''
hyperv_ports winhost port.report | jq -e '.violation == ""' >/dev/null || lab_die "a rule of an API was broken"
hyperv_agent_end winhost
echo "${#faults[@]} faults ($good good runs, $failed named errors), $deaths ends at a call and a kill; the host is clean"
