#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# no_role.sh HVSIM_AGENT: the agent as it is shipped, on the fakes of a simulated host that loses its Hyper-V role and gets it
# back (tests/lib/role.sh); the chain of its vm goes on.
set -euo pipefail
AGENT=("$1")
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"
. "$(dirname "$0")/../lib/role.sh"
lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-no-role.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT

lab_host_new hv
export HVSIM_SOCKET=$LAB/hosts/hv.sock
lab_ctl hv vm.create '{"name":"web","disks":[{"size":16777216,"block_size":2097152}]}' >/dev/null
vm=$(lab_vm_id hv web)
write() { lab_ctl hv guest.write "{\"vm\":\"$vm\",\"disk\":\"$(lab_disk_id hv web 0)\",\"seed\":$1,\"offset\":$(($1 * 65536)),\"length\":8192}" >/dev/null; }
role_off() { : >"$HVSIM_SOCKET.no-role"; }
role_on() { rm -f "$HVSIM_SOCKET.no-role"; }
role_agent_start() { lab_start "agent-$1" "${AGENT[@]}" run --config "$LAB/agents/$1.conf"; }
role_agent_stop() { lab_stop "agent-$1"; }

lab_collector_start
lab_enrol hv
printf '%s\n' "state-dir = $LAB/agents/hv" 'capture = auto' >"$LAB/agents/hv.conf"
role_agent_start hv
lab_wait_vms 1
write 1
"$BIN/varve" backup run web --quiet
role_agent_stop hv
write 2
role_case hv web 1
points_check_raw hv web@latest
points_clean hv web
"$BIN/varve" point show web@latest --json | jq -e 'all(.disks[]; .incremental)' >/dev/null || lab_die "the chain did not go on"
