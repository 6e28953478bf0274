# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A laboratory on one machine: a collector, simulated hosts and their agents, all in one fresh directory, on loopback and
# unix sockets. For deploy/try-it, tests/e2e and tests/perf. Callers use `set -euo pipefail` and a trap that calls lab_stop_all.
#
#   lab_new DIR               makes DIR and the collector's configuration; sets LAB, exports VARVE_ACCESS
#   lab_collector_start       starts the collector and waits until it answers
#   lab_host_new NAME         starts a simulated host
#   lab_agent_start NAME      enrols the host's agent if that is still to be done, and starts it
#   lab_folder_agent NAME DIR the same for a host that is a folder of disk images
#   lab_ctl NAME OP [JSON]    one call to the simulated host (waits for its job)
#   lab_wait_vms N            waits until the collector lists N vms
#   lab_vm_id, lab_disk_id    ids, from the simulated host
#   lab_pid NAME              pid of "collector", "host-NAME", "agent-NAME"
#   lab_kill NAME             SIGKILL;  lab_stop NAME  SIGTERM;  lab_stop_all
#
# AGENT (an array) is what runs the agent, when that is not the one in BIN.
# BIN is where the programs are, HVSIM the simulator: of the build that VARVE_BUILD_DIR names, else of build/release.

lab_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lab_build=${VARVE_BUILD_DIR:-$lab_top/build/release}
BIN=$lab_build/bin
HVSIM=$lab_build/tools/hvsim
[ -n "${AGENT:-}" ] || AGENT=("$BIN/varve-agent")
LAB=${LAB:-}

lab_die() {
    echo "lab: $*" >&2
    exit 1
}

lab_new() {
    LAB=$1
    mkdir -p "$LAB"/{pids,logs,state,hosts,agents}
    LAB=$(cd "$LAB" && pwd)
    cat >"$LAB/collector.conf" <<CONF
state-dir = $LAB/state
store = $LAB/store
listen = ${LAB_LISTEN:-tcp://127.0.0.1:0}
CONF
    export VARVE_ACCESS=$LAB/state/operator.access
}

# lab_start NAME COMMAND...: in the background, output to logs/NAME.log
lab_start() {
    local name=$1
    shift
    "$@" >>"$LAB/logs/$name.log" 2>&1 &
    echo $! >"$LAB/pids/$name"
}

lab_pid() { cat "$LAB/pids/$1" 2>/dev/null; }
lab_alive() { local pid; pid=$(lab_pid "$1") && kill -0 "$pid" 2>/dev/null; }

# lab_wait SECONDS WHAT COMMAND...: until the command succeeds
lab_wait() {
    local tries=$(($1 * 20)) what=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries -le 0 ]; then
            tail -n 5 "$LAB"/logs/*.log >&2
            lab_die "timed out waiting for $what"
        fi
        sleep 0.05
    done
}

# A program that is told to end and crashes instead fails the test.
lab_end() { # NAME SIGNAL
    local pid tries=400 code=0
    pid=$(lab_pid "$1") || return 0
    rm -f "$LAB/pids/$1"
    kill "-$2" "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null && [ $tries -gt 0 ]; do
        sleep 0.05
        tries=$((tries - 1))
    done
    if [ $tries -eq 0 ]; then
        echo "lab: $1 did not end within 20 s of SIG$2; killed" >&2
        kill -KILL "$pid" 2>/dev/null
    fi
    wait "$pid" 2>/dev/null || code=$?
    case $2:$code in
    TERM:134 | TERM:139 | TERM:135 | TERM:136)
        tail -n 3 "$LAB/logs/$1.log" >&2
        lab_die "$1 crashed when it was told to end (exit code $code)"
        ;;
    esac
}
lab_stop() { lab_end "$1" TERM; }
lab_kill() { lab_end "$1" KILL; }

lab_stop_all() {
    local file
    [ -n "$LAB" ] && [ -d "$LAB/pids" ] || return 0
    for file in "$LAB"/pids/agent-* "$LAB"/pids/host-* "$LAB"/pids/collector; do
        [ -f "$file" ] && lab_stop "$(basename "$file")"
    done
    return 0
}

lab_collector_start() {
    lab_start collector "$BIN/varve-collector" run --config "$LAB/collector.conf"
    lab_wait 20 "the collector" "$BIN/varve" status
    # The port chosen at first start is kept, so that agents find a restarted collector.
    if grep -q '^listen = .*:0$' "$LAB/collector.conf"; then
        local url
        url=$("$BIN/varve" status --json | sed -n 's/.*"listen": *"\([^"]*\)".*/\1/p')
        [ -n "$url" ] || lab_die "the collector did not say where it listens"
        sed -i "s|^listen = .*|listen = $url|" "$LAB/collector.conf"
    fi
}

lab_ctl() {
    local host=$1
    shift
    "$HVSIM" ctl --wait "$LAB/hosts/$host.sock" "$@"
}

lab_host_start() {
    lab_start "host-$1" "$HVSIM" serve --dir "$LAB/hosts/$1" --socket "$LAB/hosts/$1.sock" --seed "${LAB_SEED:-1}" --name "$1"
    lab_wait 20 "the simulated host $1" lab_ctl "$1" host.info
}
lab_host_new() {
    mkdir -p "$LAB/hosts/$1"
    lab_host_start "$1"
}

lab_enrol() { # NAME
    local token
    [ -d "$LAB/agents/$1" ] && return 0
    token=$("$BIN/varve" host invite "$1" --json | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
    [ -n "$token" ] || lab_die "no invitation for $1"
    "${AGENT[@]}" enroll "$token" --state-dir "$LAB/agents/$1" >>"$LAB/logs/agent-$1.log" 2>&1 ||
        lab_die "enrolling $1 failed: $(tail -n 1 "$LAB/logs/agent-$1.log")"
}

lab_agent_start() {
    lab_enrol "$1"
    cat >"$LAB/agents/$1.conf" <<CONF
state-dir = $LAB/agents/$1
capture = sim
sim-socket = $LAB/hosts/$1.sock
CONF
    lab_start "agent-$1" "${AGENT[@]}" run --config "$LAB/agents/$1.conf"
}

lab_folder_agent() {
    lab_enrol "$1"
    cat >"$LAB/agents/$1.conf" <<CONF
state-dir = $LAB/agents/$1
capture = folder
folder = $2
CONF
    lab_start "agent-$1" "${AGENT[@]}" run --config "$LAB/agents/$1.conf"
}

lab_vm_count_is() { [ "$("$BIN/varve" vm list --json | grep -c '"host_connected": *true')" -eq "$1" ]; }
lab_wait_vms() { lab_wait 30 "$1 vms" lab_vm_count_is "$1"; }

lab_vm_id() { # HOST VMNAME
    lab_ctl "$1" vm.list | jq -r --arg n "$2" '.vms[] | select(.name == $n) | .id'
}
lab_disk_id() { # HOST VMNAME INDEX
    lab_ctl "$1" vm.list | jq -r --arg n "$2" --argjson i "$3" '.vms[] | select(.name == $n) | .disks[$i].id'
}
