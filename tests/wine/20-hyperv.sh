#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: varve-agent.exe as it is by default (reference points), under Wine at the real boundary (COM and virtdisk.dll), on a simulated Hyper-V host, with a
# native collector: enrolled, listed, a full and three incremental runs of VMs of both generations with one and several disks; every
# point is what the simulator says the disks held; the host is left clean; what is read is what tracking reports; the calls are those of
# the documented tables, in their order.
#
# 20-hyperv.sh AGENT.EXE STANDINS
set -euo pipefail
exe=$1 standins=$2
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"
wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"
. "$(dirname "$0")/hyperv.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-hyperv.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"

hyperv_agent_install "$exe" "$standins"
hyperv_host_new winhost
vms=('web 東京' db dc 'old app')
hyperv_vm 'web 東京' 2 96 32 && hyperv_vm db 2 64 && hyperv_vm dc 1 48 && hyperv_vm 'old app' 1 32 32 16
for vm in "${vms[@]}"; do hyperv_write winhost "$vm" 40; done
points_guest_state winhost db

lab_collector_start
lab_enrol winhost
printf 'state-dir = %s\n' "$LAB/agents/winhost" >"$LAB/agents/winhost.conf"
"${AGENT[@]}" doctor --config "$LAB/agents/winhost.conf" >"$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor is not content"; }
[ "$(grep -c '^hyper-v' "$LAB/doctor")" -eq 4 ] || { cat "$LAB/doctor"; lab_die "doctor does not say what the host offers"; }
hyperv_agent_start winhost
lab_wait_vms 4

# The inventory is what the host has.
want=$(lab_ctl winhost vm.list | jq -c '[.vms[] | {id: (.id | ascii_downcase), name, generation, disks: [.disks[] | [(.id | ascii_downcase), .size, .name]]}] | sort_by(.id)')
got=$("$BIN/varve" vm list --json | jq -sc '[.[] | {id, name, generation, disks: [.disks[] | [.id, .size, .name]]}] | sort_by(.id)')
[ "$want" = "$got" ] || lab_die "the inventory is $got, not $want"

# ---- points, bytes, cleanliness ----

hyperv_ports winhost port.report '{"clear":true}' >/dev/null
for round in full 1 2 3; do
    "$BIN/varve" backup run "${vms[@]}" --quiet
    tracked=0
    for vm in "${vms[@]}"; do
        points_clean winhost "$vm"
        "$BIN/varve" point show "$vm@latest" --json >"$LAB/point"
        if [ "$round" != full ]; then
            jq -e 'all(.disks[]; .incremental and .read_bytes * 10 <= .tracked_bytes * 11)' "$LAB/point" >/dev/null ||
                lab_die "$vm: round $round: $(jq -c '[.disks[] | [.incremental, .tracked_bytes, .read_bytes]]' "$LAB/point")"
            tracked=$((tracked + $(jq '[.disks[].tracked_bytes] | add' "$LAB/point")))
        fi
        hyperv_write winhost "$vm" 20
    done
    hyperv_no_breach winhost
    # As virtdisk.dll saw it, all disks together:
    read_bytes=$(hyperv_ports winhost port.report '{"clear":true}' | jq .read_bytes)
    [ "$round" = full ] || [ $((read_bytes * 10)) -le $((tracked * 11)) ] ||
        lab_die "round $round: virtdisk.dll read $read_bytes bytes, tracking reported $tracked"
    echo "round $round: $read_bytes bytes read, $tracked tracked"
done

# ---- the calls are a contract ----

hyperv_vm fresh 2 32 16
lab_wait_vms 5
hyperv_write winhost fresh 10
hyperv_ports winhost port.report '{"clear":true}' >/dev/null
"$BIN/varve" backup run fresh --quiet
hyperv_contract winhost full 2 || hyperv_run_as winhost fresh full-again 2 --full
hyperv_run_as winhost fresh incremental 2
hyperv_run_as winhost fresh full-again 2 --full
points_clean winhost fresh

for vm in "${vms[@]}"; do points_config winhost "$vm" vmcx; done

# Every point, now that everything has happened.
for vm in "${vms[@]}" fresh; do
    for point in $(points_json "$vm" | jq -r .id); do points_check_raw winhost "$point"; done
done
hyperv_no_breach winhost
hyperv_agent_end winhost

# ---- a host without the Hyper-V role, which then gets it ----

. "$(dirname "$0")/../lib/role.sh"
role_off() { hyperv_ports winhost port.host '{"elsewhere":true}' >/dev/null; }
role_on() { hyperv_ports winhost port.host '{"elsewhere":false}' >/dev/null; }
role_agent_start() { hyperv_agent_start "$1"; }
role_agent_stop() { hyperv_agent_end "$1"; }
role_case winhost db 5
points_clean winhost db
hyperv_no_breach winhost
echo "$(points_json db | wc -l) points of each vm, all right; the calls are in order"
