# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A simulated Hyper-V host for varve-agent.exe under Wine. Sourced after lib.sh, native.sh and tests/lib/lab.sh.
#
#   hyperv_agent_install EXE STANDINS   a copy of the agent with stand-ins for WMI and virtdisk.dll in its reach
#   hyperv_agent_install_wmi EXE STANDINS   the same for WMI alone, which other tests may use at the same time
#   hyperv_host_new NAME                a simulated host, and its ports (hvsim ports)
#   hyperv_agent_start NAME [LINE...]   enrols and starts the agent; lines are added to its configuration
#   hyperv_share SHARE DIR              DIR is \\$share_server\SHARE under Wine and for host winhost; until hyperv_unshare
#   hyperv_remote NAME                  host winhost is another machine, NAME, whose drive D is \\NAME\D$ here, and this one has no Hyper-V; likewise
#   hyperv_ports NAME OP [JSON]         one call to the ports: port.report, port.fault
#   hyperv_dies VM CALL MODE NTH        the agent of winhost ends at a call of a run, and starts again (agent_lines: its configuration)

hyperv_agent_install_wmi() {
    mkdir -p "$LAB/win"
    cp "$1" "$LAB/win/varve-agent.exe"
    cp "$2/standin_wmi/standin_wmi.dll" "$LAB/win/"
    cp "$(dirname "${BASH_SOURCE[0]}")/varve-agent.exe.manifest" "$LAB/win/"
    AGENT=("$WINE" "$LAB/win/varve-agent.exe")
}
hyperv_agent_install() {
    hyperv_agent_install_wmi "$@"
    wine_system_dll "$2/standin_vdisk/virtdisk.dll"
}

hyperv_host_new() {
    lab_host_new "$1"
    rm -f "$LAB/hosts/$1.ports"
    lab_start "host-$1-ports" "$HVSIM" ports "$LAB/hosts/$1.sock" "$LAB/hosts/$1.ports"
    lab_wait 20 "the ports of $1" hyperv_ports "$1" port.address
    VARVE_STANDIN_PORT=$(hyperv_ports "$1" port.address | jq .port)
    export VARVE_STANDIN_PORT
}

hyperv_ports() {
    local host=$1
    shift
    "$HVSIM" ctl "$LAB/hosts/$host.ports" "$@"
}

# Wine looks for \\SERVER\SHARE in a folder of its prefix: the server's name is of this test alone.
share_server=lab$$
hyperv_share() {
    mkdir -p "$2" "$WINEPREFIX/dosdevices/unc/$share_server"
    ln -sfn "$2" "$WINEPREFIX/dosdevices/unc/$share_server/$1"
    hyperv_ports winhost port.host "{\"shares\":\"$WINEPREFIX/dosdevices/unc\"}" >/dev/null
}
hyperv_remote() {
    remote_host=$1
    mkdir -p "$WINEPREFIX/dosdevices/unc/$1"
    ln -sfn / "$WINEPREFIX/dosdevices/unc/$1/D\$"
    hyperv_ports winhost port.host "{\"name\":\"$1\",\"elsewhere\":true,\"drive\":\"D\",\"shares\":\"$WINEPREFIX/dosdevices/unc\"}" >/dev/null
}
remote_host=
hyperv_unshare() { rm -rf "$WINEPREFIX/dosdevices/unc/$share_server" ${remote_host:+"$WINEPREFIX/dosdevices/unc/$remote_host"}; }

hyperv_agent_start() {
    local name=$1
    shift
    lab_enrol "$name"
    printf '%s\n' "state-dir = $LAB/agents/$name" "$@" >"$LAB/agents/$name.conf"
    lab_start "agent-$name" "${AGENT[@]}" run --config "$LAB/agents/$name.conf"
}

# hyperv_vm NAME GENERATION MIB...: a running vm with a disk for each size (on host winhost)
hyperv_vm() {
    local name=$1 generation=$2 disks='' size
    shift 2
    for size; do disks+="${disks:+,}{\"size\":$((size << 20)),\"block_size\":2097152}"; done
    lab_ctl winhost vm.create "{\"name\":\"$name\",\"generation\":$generation,\"disks\":[$disks]}" >/dev/null
}

# hyperv_write HOST VM N: the guest writes N small extents to each disk, to places by $RANDOM
hyperv_write() {
    local vm disk size extents i
    vm=$(lab_vm_id "$1" "$2")
    while read -r disk size; do
        extents=
        for ((i = 0; i < $3; i++)); do
            extents+="${extents:+,}[$(((RANDOM * 32768 + RANDOM) % (size - 65536) / 512 * 512)),$((512 * (1 + RANDOM % 64)))]"
        done
        lab_ctl "$1" guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":$RANDOM,\"extents\":[$extents]}" >/dev/null
    done < <(lab_ctl "$1" vm.list | jq -r --arg id "$vm" '.vms[] | select(.id == $id) | .disks[] | "\(.id) \(.size)"')
}

# hyperv_write_chunks HOST VM N: N writes of 4 KiB to each disk, each to a chunk of its own
hyperv_write_chunks() {
    local vm disk size extents i
    vm=$(lab_vm_id "$1" "$2")
    while read -r disk size; do
        extents=
        while read -r i; do extents+="${extents:+,}[$((i * 65536 + 512 * (RANDOM % 120))),4096]"; done < <(shuf -i "0-$((size / 65536 - 1))" -n "$3")
        lab_ctl "$1" guest.write "{\"vm\":\"$vm\",\"disk\":\"$disk\",\"seed\":$RANDOM,\"extents\":[$extents]}" >/dev/null
    done < <(lab_ctl "$1" vm.list | jq -r --arg id "$vm" '.vms[] | select(.id == $id) | .disks[] | "\(.id) \(.size)"')
}

# hyperv_received: bytes that came in on the agent's connection
hyperv_received() {
    local port
    port=$(sed -n 's/^listen = .*://p' "$LAB/collector.conf")
    ss -Htin state established "sport = :$port" | grep -o 'bytes_received:[0-9]*' | cut -d: -f2 | sort -n | tail -1
}

# hyperv_no_breach HOST: no rule of an API was broken, no handle is open or was left open by a program that ended
hyperv_no_breach() {
    hyperv_ports "$1" port.report | jq -e '.violation == "" and .open == 0 and .left_open == 0' >/dev/null ||
        lab_die "$(hyperv_ports "$1" port.report | jq -c 'del(.calls)')"
}

# hyperv_calls HOST CALL...: these came in this order, and no other method was called among or behind them; forgets the log
hyperv_calls() {
    local host=$1
    shift
    hyperv_ports "$host" port.report '{"clear":true}' | jq -r '.calls[]' >"$LAB/calls"
    printf '%s\n' "$@" >"$LAB/calls.want"
    awk 'NR == FNR { want[++n] = $0; next }
        k < n && $0 == want[k + 1] { k++; next }
        /^(wmi|cluster) exec / && !/GetVirtualHardDiskSettingData|GetVirtualDiskChanges/ { print "not expected: " $0; bad = 1 }
        END { if (k < n) { print "not called: " want[k + 1]; bad = 1 } exit bad }' "$LAB/calls.want" "$LAB/calls" || {
        cat "$LAB/calls" >&2
        lab_die "the calls of a run are not those of the documentation"
    }
}

# hyperv_contract HOST NAME DISKS: what was done since the log was cleared, methods, jobs and virtdisk.dll, is that of
# tests/hvsim/calls/NAME, all of it; forgets the log. What only looks is not compared here: the agent asks more, to choose a
# method and for the other methods' leftovers. 1: the list of machines was asked for meanwhile, which is no part of a run.
hyperv_contract() {
    local want log
    hyperv_ports "$1" port.report '{"clear":true}' | jq -r '.calls[]' >"$LAB/calls"
    ! grep -q '^wmi list ' "$LAB/calls" || return 1
    sed -i -E '/^(wmi|cluster) (query|assoc|class|connect)( |$)|^wmi exec GetVirtualHardDiskSettingData/d' "$LAB/calls"
    want=$(awk -v disks="$3" '/^(#|$|file |collector |wmi (query|assoc|class) )/ { next }
        $0 == "(" || $0 == ")" { printf "%s", $0; next }
        $0 == ") +" { printf ")+"; next }
        $0 == ") disks" { printf "){%d}", disks; next }
        { sign = ""; if ($NF ~ /^[+?*]$/) { sign = $NF; $NF = ""; sub(/ $/, "") } gsub(/[.]/, "[.]"); printf "(%s;)%s", $0, sign }
        ' "$(dirname "${BASH_SOURCE[0]}")/../hvsim/calls/$2" | sed 's/()+//g')
    log=$(tr '\n' ';' <"$LAB/calls")
    [[ $log =~ ^$want$ ]] || {
        cat "$LAB/calls" >&2
        lab_die "the calls of the run are not those of the contract '$2'"
    }
}

# hyperv_run_as HOST VM NAME DISKS [OPTION...]: writes, a run, and its calls; asked again when somebody asked something else meanwhile
hyperv_run_as() {
    local host=$1 vm=$2 name=$3 disks=$4 try
    shift 4
    for try in 1 2 3; do
        hyperv_write "$host" "$vm" 10
        hyperv_ports "$host" port.report '{"clear":true}' >/dev/null
        "$BIN/varve" backup run "$vm" --quiet "$@"
        ! hyperv_contract "$host" "$name" "$disks" || return 0
    done
    lab_die "no run without another question after $try tries"
}

# hyperv_agent_end HOST: Ctrl-C, and it must end with 0
hyperv_agent_end() {
    local pid code=0
    pid=$(lab_pid "agent-$1")
    rm "$LAB/pids/agent-$1"
    kill -INT "$pid"
    wait "$pid" || code=$?
    [ "$code" -eq 0 ] || { tail -n 20 "$LAB/logs/agent-$1.log"; lab_die "the agent ended with $code"; }
}

agent_lines=()

# hyperv_clean HOST VM N OTHER: no recovery checkpoint, merged disks, at most N reference points of ours, and the one that somebody else made
hyperv_clean() {
    local id refs
    id=$(lab_vm_id "$1" "$2")
    lab_ctl "$1" wait.idle "{\"vm\":\"$id\",\"timeout_ms\":20000}" >/dev/null
    lab_ctl "$1" checkpoint.list "{\"vm\":\"$id\"}" | jq -e 'all(.checkpoints[]; .type != "recovery")' >/dev/null || lab_die "vm $2 is left with a checkpoint"
    refs=$(lab_ctl "$1" refpoint.list "{\"vm\":\"$id\"}" | jq -c '[.refpoints[].id]')
    jq -e --argjson n "$3" --arg other "$4" '([.[] | select(. != $other)] | length) <= $n and ($other == "" or any(.[]; . == $other))' <<<"$refs" >/dev/null ||
        lab_die "vm $2 has the reference points $refs"
    lab_ctl "$1" vm.list | jq -e --arg id "$id" '.vms[] | select(.id == $id) | all(.disks[]; .type != "differencing")' >/dev/null ||
        lab_die "vm $2: a chain is not merged"
}

# hyperv_faults VM CLEAN FAULT...: a run of the vm for each "NUMBER before|after CALL", after some writes: that call fails once. A run that
# goes well gives a point, one that fails says something and gives none; the function CLEAN is called after each. Counts in good and failed.
hyperv_faults() {
    local vm=$1 clean=$2 fault number mode call points code
    shift 2
    good=0 failed=0
    for fault; do
        read -r number mode call <<<"$fault"
        hyperv_write winhost "$vm" 4
        points=$(points_json "$vm" | wc -l)
        hyperv_ports winhost port.fault "{\"nth\":1,\"number\":$number,\"mode\":\"$mode\",\"call\":\"$call\"}" >/dev/null
        code=0
        "$BIN/varve" backup run "$vm" --quiet 2>"$LAB/said" || code=$?
        hyperv_ports winhost port.report | jq -e '.fault_pending == 0' >/dev/null || lab_die "$fault: the run has no such call"
        if [ "$code" -eq 0 ]; then
            good=$((good + 1))
            [ "$(points_json "$vm" | wc -l)" -eq $((points + 1)) ] || lab_die "$fault: a run that went well gave no point"
        else
            failed=$((failed + 1))
            [ -s "$LAB/said" ] || lab_die "$fault: failed without a word"
            [ "$(points_json "$vm" | wc -l)" -eq "$points" ] || lab_die "$fault: a run that failed gave a point"
        fi
        "$clean"
        echo "$fault: exit code $code $(tail -n 1 "$LAB/said")"
    done
}

# hyperv_dies VM CALL before|after NTH: in a run of the vm, after some writes, the NTH such call is the agent's end, before or after the host
# carried it out; the agent is started again, and the run comes to its end. Leaves in `code` how, in `points` how many points the vm has more.
hyperv_dies() {
    local vm=$1 call=$2 mode=$3 nth=$4 run pid before
    hyperv_write winhost "$vm" 4
    before=$(points_json "$vm" | wc -l)
    hyperv_ports winhost port.report '{"clear":true}' >/dev/null
    hyperv_ports winhost port.fault "{\"nth\":$nth,\"number\":2147749889,\"die\":true,\"mode\":\"$mode\",\"call\":\"$call\"}" >/dev/null
    "$BIN/varve" backup run "$vm" --quiet 2>"$LAB/said" &
    run=$!
    pid=$(lab_pid agent-winhost)
    lab_wait 60 "the agent's end $mode $call" hyperv_is_gone "$pid"
    rm -f "$LAB/pids/agent-winhost"
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 137 ] || lab_die "$mode $call: the agent ended with $code"
    hyperv_ports winhost port.killed >/dev/null
    hyperv_ports winhost port.report '{"clear":true}' >/dev/null # what was open is closed
    hyperv_agent_start winhost "${agent_lines[@]}"
    code=0
    wait "$run" || code=$?
    lab_wait 30 "the end of what the agent undoes" hyperv_no_journal
    points=$(($(points_json "$vm" | wc -l) - before))
    echo "$mode $call, the agent's end: exit code $code, $points new point(s) $(tail -n 1 "$LAB/said")"
}
hyperv_is_gone() { ! kill -0 "$1" 2>/dev/null; }
hyperv_no_journal() { ! compgen -G "$LAB/agents/winhost/journal/*" >/dev/null; }

# hyperv_newest VM: its latest point is what the disks held when the host (winhost) froze the vm last
hyperv_newest() {
    local out disk name truth
    out=$LAB/restore
    "$BIN/varve" restore "$1@latest" --format raw "$out" --quiet || lab_die "restoring $1 failed"
    while IFS=$'\t' read -r disk name; do
        truth=$(lab_ctl winhost truth.list "{\"vm\":\"$(lab_vm_id winhost "$1")\"}" |
            jq -r --arg disk "${disk^^}" '.truths[-1].disks[] | select(.id == $disk) | .path')
        cmp "$out/$name" "$truth" || lab_die "$1, disk $name: not what it held"
    done < <("$BIN/varve" point show "$1@latest" --json | jq -r '.disks[] | [.id, (.name | sub("\\.[^.]*$"; ".raw"))] | @tsv')
    rm -rf "$out"
}
