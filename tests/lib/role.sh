# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A Hyper-V host without its role, for an agent on a simulated host. Sourced after lab.sh. The script that sources it has
#
#   role_off, role_on          take the role away, bring it
#   role_agent_start, _stop    the agent of host $1; doctor runs with its configuration $LAB/agents/$1.conf
#
# and the collector knows the vm, which it has a point of. The agent does not run.
#
#   role_case HOST VM N    the agent starts without the role, says so to doctor and to the collector, runs are refused by name; when the role is
#                     there it ends with an error, and the one that is started after it lists N vms and backs the vm up

role_said() { "$BIN/varve" host list --json | jq -e --arg h "$1" --arg p "$2" 'select(.name == $h) | .connected and .provider == $p'; }

role_is_gone() { ! kill -0 "$1" 2>/dev/null; }

role_case() {
    local host=$1 vm=$2 pid code=0
    role_off
    if "${AGENT[@]}" doctor --config "$LAB/agents/$host.conf" >"$LAB/doctor" 2>&1; then lab_die "doctor is content without the role"; fi
    grep -q 'the Hyper-V role is not installed' "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor does not name the role"; }
    role_agent_start "$host"
    pid=$(lab_pid "agent-$host")
    lab_wait 30 "the host without the role to say so" role_said "$host" "no Hyper-V role"
    if "$BIN/varve" backup run "$vm" --quiet 2>"$LAB/why"; then lab_die "a vm of no host was backed up"; fi
    grep -q "was last seen on host '$host', which does not have it any more" "$LAB/why" || { cat "$LAB/why"; lab_die "the refusal is not named"; }
    grep -q "the Hyper-V role is not installed" "$LAB/logs/agent-$host.log" || lab_die "the agent's log does not name the role"
    grep -q "no virtual machines: .*the Hyper-V role is not installed" "$LAB/logs/collector.log" || lab_die "the collector's log does not name the role"
    role_on
    lab_wait 30 "the agent's end" role_is_gone "$pid"
    rm -f "$LAB/pids/agent-$host"
    wait "$pid" || code=$?
    [ "$code" -eq 1 ] || lab_die "the agent ended with $code"
    grep -q "the host has Hyper-V now" "$LAB/logs/agent-$host.log" || lab_die "the agent does not say why it ended"
    role_agent_start "$host"
    lab_wait 30 "the host with the role" role_said "$host" Hyper-V
    lab_wait_vms "$3"
    "$BIN/varve" backup run "$vm" --quiet
    role_agent_stop "$host"
    echo "without the Hyper-V role: said, refused by name; with it: backed up"
}
