#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: varve-agent.exe backs up the VMs of another host, which has no agent (hyperv-host), under Wine at the real boundary (COM, sealed
# proxies, UNC paths), with a native collector. The machine it runs on has no Hyper-V, no virtdisk.dll and no drive D, where the host's
# disks are. Full and differential runs into a share, restored and equal; the rest of a chunk that changed in part comes from the host's
# own share, and without that all is exported. A second agent, on the host itself, lists the same VMs: each VM has one of the two. A host
# that is not there, one that refuses the account, and one that goes away in the middle of an export are named; nothing is left.
#
# 41-export-remote.sh AGENT.EXE STANDINS
set -euo pipefail
exe=$1 standins=$2
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"
wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"
. "$(dirname "$0")/hyperv.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-remote.XXXXXX")"
trap 'lab_stop_all; hyperv_unshare; rm -rf "$LAB"' EXIT
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"

hyperv_agent_install_wmi "$exe" "$standins"
hyperv_host_new winhost
remote=hv$$
hyperv_share files "$LAB/share"
hyperv_remote "$remote"
folder=$LAB/share/exports
mkdir "$folder"
lab_ctl winhost host.set '{"rct_granularity":4096}' >/dev/null # of a disk it is what it was at first
hyperv_vm fine 2 16
lab_ctl winhost host.set '{"rct_granularity":65536}' >/dev/null
hyperv_vm 'web 東京' 2 24 16 && hyperv_vm large 2 256
vms=('web 東京' fine large)
for vm in "${vms[@]}"; do hyperv_write winhost "$vm" 20; done

remote_conf() { printf '%s\n' "state-dir = $LAB/agents/hv07" 'capture = export' "hyperv-host = $1" "export-folder = \\\\$share_server\\files\\exports"; }
doctor() { # CODE WORDS
    local code=0
    "${AGENT[@]}" doctor --config "$LAB/doctor.conf" >"$LAB/doctor" 2>&1 || code=$?
    [ "$code" -eq "$1" ] && grep -q -- "$2" "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor ends with $code, not $1, or does not say '$2'"; }
}
lab_collector_start
lab_enrol hv07

# ---- hosts that cannot be asked ----

# The one that is not there is asked for half a minute: beside all that follows.
remote_conf nobody >"$LAB/nobody.conf"
"${AGENT[@]}" doctor --config "$LAB/nobody.conf" >"$LAB/nobody" 2>&1 &
nobody=$!
remote_conf "$remote" >"$LAB/doctor.conf"
hyperv_ports winhost port.fault '{"nth":1,"number":2147942405,"call":"wmi connect"}' >/dev/null # E_ACCESSDENIED
doctor 5 "connecting to '.*$remote.*virtualization.v2'.*0x80070005"
doctor 0 "^host .*Hyper-V of $remote, by WMI export, 3 virtual machines"
grep -q '^export .*exports go to .* MiB are free' "$LAB/doctor" || lab_die "doctor does not say where exports go"
sed -i 's/^export-folder.*/export-folder = D:\\exports/' "$LAB/doctor.conf"
doctor 2 'with hyperv-host it is a UNC path'

# ---- a full run and differential ones ----

mapfile -t conf < <(remote_conf "$remote" | tail -n +2)
hyperv_agent_start hv07 "${conf[@]}"
lab_wait_vms 3
"$BIN/varve" host list --json | jq -e -s --arg n "$remote" 'any(.[]; .name == "hv07" and (.provider | contains($n)))' >/dev/null || lab_die "the collector was not told whose vms these are"
"$BIN/varve" vm list --json | jq -e -s --arg host hv07 'all(.[]; .host_name == $host)' >/dev/null || lab_die "the vms are not the host's: $("$BIN/varve" vm list --json)"
clean() {
    local vm
    for vm in "${vms[@]}"; do hyperv_clean winhost "$vm" 1 ''; done
    [ -z "$(ls "$folder")" ] || lab_die "the folder of exports is left with $(ls "$folder")"
    hyperv_no_breach winhost
}
point_is() { # VM JQ-CONDITION
    "$BIN/varve" point show "$1@latest" --json >"$LAB/point"
    jq -e "$2" "$LAB/point" >/dev/null || lab_die "$1: not '$2': $(jq -c . "$LAB/point")"
}
by_export="(.capture == \"export\") and (.reason | contains(\"WMI export of host $remote\")) and any(.files[]; endswith(\".vmcx\"))"
"$BIN/varve" backup run "${vms[@]}" --quiet
for vm in "${vms[@]}"; do point_is "$vm" "$by_export"; done
clean
for vm in "${vms[@]}"; do hyperv_write_chunks winhost "$vm" 10; done
"$BIN/varve" backup run "${vms[@]}" --quiet
for vm in "${vms[@]}"; do point_is "$vm" "$by_export and all(.disks[]; .incremental and .read_bytes == 10 * 65536)"; done
clean

# What is not in the export of 4 KiB pieces was read by the host's own share; now it has none.
rm "$WINEPREFIX/dosdevices/unc/$remote/D\$"
hyperv_write_chunks winhost fine 10
"$BIN/varve" backup run fine --quiet
point_is fine "$by_export and all(.disks[]; (.incremental | not) and (.reason | contains(\"out of reach\")))"
clean
ln -s / "$WINEPREFIX/dosdevices/unc/$remote/D\$"
echo "full and differential, with and without the host's own share"

# ---- the host gets an agent of its own: who has a vm is one of the two ----

lab_enrol_native() { (AGENT=("$BIN/varve-agent") && lab_enrol "$1"); }
lab_enrol_native local
printf '%s\n' "state-dir = $LAB/agents/local" 'capture = hyperv' >"$LAB/agents/local.conf"
export HVSIM_SOCKET=$LAB/hosts/winhost.sock
lab_start agent-local "$VARVE_BUILD_DIR/tools/hvsim_agent" run --config "$LAB/agents/local.conf"
listed() { "$BIN/varve" host list --json | jq -e -s --arg n "$1" 'any(.[]; .name == $n and .connected and (.provider | contains("Hyper-V")))' >/dev/null; }
lab_wait 30 "the other agent's list" listed local
points() { points_json "$1" | wc -l; }
before=$(points 'web 東京')
for vm in "${vms[@]}"; do hyperv_write_chunks winhost "$vm" 4; done
"$BIN/varve" backup run --all --quiet
[ "$(points 'web 東京')" -eq $((before + 1)) ] || lab_die "two agents made $(($(points 'web 東京') - before)) points"
for vm in "${vms[@]}"; do point_is "$vm" "$by_export"; done
clean
have() { "$BIN/varve" vm list --json | jq -e -s --arg host "$1" 'length == 3 and all(.[]; .host_name == $host and .host_connected)' >/dev/null; }
runs_by() { # HOST METHOD: incrementally, and with the other one's reference point gone
    local vm
    lab_wait 30 "the vms of $1" have "$1"
    for vm in "${vms[@]}"; do hyperv_write_chunks winhost "$vm" 4; done
    "$BIN/varve" backup run --all --quiet
    for vm in "${vms[@]}"; do point_is "$vm" "(.capture == \"$2\") and all(.disks[]; .incremental)"; done
    clean
}
hyperv_agent_end hv07
runs_by local refpoint
hyperv_agent_start hv07 "${conf[@]}"
runs_by hv07 export # which had them first
lab_stop agent-local
echo "two agents, one at a time for each vm"

# ---- the host goes away while it exports ----

folder_has() { [ -n "$(find "$folder" -name "$1" -print -quit)" ]; }
lab_ctl winhost host.set '{"job_ms":3000}' >/dev/null
count=$(points large)
"$BIN/varve" backup run large --full --quiet 2>"$LAB/said" &
run=$!
lab_wait 60 "a folder" folder_has 'varve-*'
! folder_has '*.vhdx' || lab_die "the export was over before the host was"
lab_kill host-winhost
sleep 1
lab_host_start winhost
lab_ctl winhost host.set '{"job_ms":20}' >/dev/null
code=0
wait "$run" || code=$?
[ "$code" -ne 0 ] && [ -s "$LAB/said" ] && [ "$(points large)" -eq "$count" ] || lab_die "a run whose host went away ended with $code: $(cat "$LAB/said")"
echo "the host went away: $(tail -n 1 "$LAB/said")"
"$BIN/varve" backup run large --quiet
clean

for vm in "${vms[@]}"; do
    for point in $(points_json "$vm" | jq -r .id); do points_check_raw winhost "$point"; done
done
hyperv_agent_end hv07

code=0
wait "$nobody" || code=$?
[ "$code" -ne 0 ] && grep -q "nobody" "$LAB/nobody" && ! grep -q 'all is well' "$LAB/nobody" || { cat "$LAB/nobody"; lab_die "a host that is not there: $code"; }
echo "all points of another host's vms are right; $(grep nobody "$LAB/nobody" | tail -n 1)"
