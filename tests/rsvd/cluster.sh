#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cluster.sh HVSIM_AGENT: a guest cluster of two nodes that share a VHD set, from the agent to the collector. The agent is the one that is
# shipped, on the fakes of a simulated Hyper-V host (hvsim_agent); the set is on rsvd-testd, which hears from the host what is written and
# frozen and keeps blocks and changes of its own. What it shows: both nodes are backed up, the set once, in full and then what changed, with
# both nodes writing before, between and meanwhile; every disk of every point is what the simulator says it held; the group is left
# with one reference point for each node, and clean after each fault of the file server, which is named; and the same with the group in
# the namespace of the host's cluster.
#
# cluster.sh VARVE-AGENT.EXE STANDINS: the same under Wine, with stand-ins for WMI and virtdisk.dll (tests/wine/51-cluster.sh).
set -euo pipefail
AGENT=("$1")
windows=${2:-} # stand-ins
here=$(cd "$(dirname "$0")" && pwd)
. "$here/testd.sh"
. "$here/../lib/lab.sh"
. "$here/../lib/points.sh"
testd_need
testd_new
trap 'lab_stop_all; testd_cleanup' EXIT

control() { # JSON: to rsvd-testd
    /usr/bin/python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\n")
print(s.makefile().readline(), end="")' "$DIR/control" "$1"
}

testd_start --control "$DIR/control" --page 2
lab_new "$DIR/lab"
if [ -n "$windows" ]; then
    . "$here/../wine/lib.sh"
    . "$here/../wine/hyperv.sh"
    hyperv_agent_install "$1" "$windows"
    cp "$CLUSTER_SECUR32" "$LAB/win/secur32.dll"
    hyperv_host_new hv
else
    lab_host_new hv
fi
export HVSIM_SOCKET=$LAB/hosts/hv.sock
mib=$((1024 * 1024))
size=$((24 * mib + 4096))
path='\\\\fs1\\share\\sql\\data.vhds'
vm_new() { # NAME
    lab_ctl hv vm.create "{\"name\":\"$1\",\"disks\":[{\"size\":$((8 * mib)),\"block_size\":$((2 * mib))}]}" | jq -r .vm
}
node1=$(vm_new node1)
node2=$(vm_new node2)
lonely=$(vm_new lonely)
vm_new plain >/dev/null
set_new() { # PATH VM...
    local vms
    vms=$(printf '"%s",' "${@:2}")
    lab_ctl hv set.create "{\"path\":\"$1\",\"size\":$size,\"control\":\"$DIR/control\",\"vms\":[${vms%,}]}" | jq -r .set
}
set=$(set_new "$path" "$node1" "$node2")
set_new '\\\\fs1\\share\\lonely.vhds' "$lonely" >/dev/null
group=$(lab_ctl hv group.create "{\"name\":\"sql\",\"vms\":[\"$node1\",\"$node2\"]}" | jq -r .group)

seed=0
write() { # NODE OFFSET LENGTH: to the set
    seed=$((seed + 1))
    lab_ctl hv set.write "{\"set\":\"$set\",\"vm\":\"$1\",\"seed\":$seed,\"offset\":$2,\"length\":$3}" >/dev/null
}
write_all() { # all vms to their own disks
    local name
    for name in node1 node2 plain; do
        seed=$((seed + 1))
        lab_ctl hv guest.write "{\"vm\":\"$(lab_vm_id hv $name)\",\"disk\":\"$(lab_disk_id hv $name 0)\",\"seed\":$seed,\"offset\":$((seed % 30 * 131072)),\"length\":8192}" >/dev/null
    done
}
newest() { points_json "$1" | jq -rs '.[0].id'; }
holds_set() { "$BIN/varve" point show "$1" --json | jq -e --arg id "${set,,}" 'any(.disks[]; .id == $id)' >/dev/null; }

# The set's snapshot that was frozen with the vm of this point, while its reference point is there.
set_snapshot() { # POINT
    local run refpoint
    run=$("$BIN/varve" point show "$1" --json | jq -r .run_id)
    refpoint=$(lab_ctl hv truth.list "{\"vm\":\"$(points_vm "$1")\"}" | jq -r --arg run "$run" '.truths[] | select(.tag | ascii_downcase | contains($run)) | .refpoint')
    lab_ctl hv group.moments '{}' | jq -r --arg id "$refpoint" '.moments[] | select(any(.parts[]; .id == $id)) | .sets[0].snapshot'
}

check_point() { # NAME
    local point out disk name truth shown compared=0
    point=$(newest "$1")
    shown=$("$BIN/varve" point show "$point" --json)
    out=$DIR/restored
    rm -rf "$out"
    "$BIN/varve" restore "$point" --format raw "$out" --quiet
    while IFS=$'\t' read -r disk name; do
        if [ "$disk" = "${set,,}" ]; then
            truth=$(lab_ctl hv set.truth "{\"set\":\"$set\",\"snapshot\":\"$(set_snapshot "$point")\"}" | jq -r .path)
        else
            truth=$(points_truth hv "$point" "$disk")
        fi
        cmp "$out/$name" "$truth" || die "point of $1, disk $name: not what the disk held"
        compared=$((compared + 1))
    done < <(jq -r '.disks[] | [.id, (.name | sub("\\.[^.]*$"; ".raw"))] | @tsv' <<<"$shown")
    [ "$compared" -gt 0 ] && [ "$compared" = "$(jq '.disks | length' <<<"$shown")" ] || die "point of $1: $compared disks were compared"
}

# The group has so many reference points of ours, nothing frozen; the set has as many references and no snapshot with data.
check_clean() { # POINTS
    local moments left vm
    lab_ctl hv wait.idle '{"timeout_ms":20000}' >/dev/null
    moments=$(lab_ctl hv group.moments '{}')
    jq -e --argjson n "$1" '[.moments[] | select(.point)] | length == $n' <<<"$moments" >/dev/null || die "not $1 reference points of the group: $moments"
    jq -e 'all(.moments[]; .point)' <<<"$moments" >/dev/null || die "the group is left frozen: $moments"
    left=$(control "{\"op\":\"list\",\"path\":\"$path\"}")
    jq -e --argjson n "$1" '(.snapshots | length) == $n and all(.snapshots[]; .data | not)' <<<"$left" >/dev/null || die "the set has $left"
    for vm in "$node1" "$node2"; do
        lab_ctl hv checkpoint.list "{\"vm\":\"$vm\"}" | jq -e '.checkpoints == []' >/dev/null || die "a node is left with a checkpoint"
        lab_ctl hv vm.get "{\"vm\":\"$vm\"}" | jq -e 'all(.vm.disks[]; .type != "differencing")' >/dev/null || die "a node's chain is not merged"
    done
}

lab_collector_start
lab_enrol hv
cp "$DIR/right" "$DIR/logon"
cat >"$LAB/agents/hv.conf" <<CONF
state-dir = $LAB/agents/hv
capture = auto
file-server-credentials = $DIR/logon
file-server-address = 127.0.0.1:$PORT
CONF
agent_start() {
    lab_start agent-hv "${AGENT[@]}" run --config "$LAB/agents/hv.conf"
    lab_wait_vms 4
}
agent_stop() {
    if [ -n "$windows" ]; then
        hyperv_no_breach hv
        hyperv_agent_end hv
    else
        lab_stop agent-hv
    fi
    lab_wait_vms 0
}
# doctor CODE WORDS: what it says of file servers, and how it ends; 1: of the vm without a group
doctor() {
    local code=0
    "${AGENT[@]}" doctor --config "$LAB/agents/hv.conf" >"$DIR/doctor" 2>&1 || code=$?
    [[ $code =~ ^$1$ ]] && grep -q -- "^sets  *$2" "$DIR/doctor" || die "doctor ended with $code, not $1, or does not say '$2': $(grep '^sets' "$DIR/doctor" || cat "$DIR/doctor")"
}
doctor 1 '\\\\fs1\\share: SMB 3\.1\.1 as VARVE\\backup by NTLM, signed (AES-128-GCM); shared virtual disks by RSVD version 2'
agent_start

# ---- a full run, with both nodes writing meanwhile ----

write "$node1" 65536 $((3 * mib))
write "$node2" $((12 * mib)) 70144
write "$node1" $((size - 4096)) 4096
write_all
control '{"op":"reads"}' >/dev/null
(for i in 1 2 3 4 5 6; do
    write "$node1" $((i * mib)) 4096
    write "$node2" $((i * 2 * mib + 512)) 1024
done) &
writer=$!
"$BIN/varve" backup run node1 node2 plain --quiet
wait $writer
reads=$(control '{"op":"reads"}' | jq .bytes)
carrier=
for name in node1 node2; do
    check_point $name
    if holds_set "$(newest $name)"; then
        [ -z "$carrier" ] || die "the set is in the points of both nodes"
        carrier=$name
    fi
done
[ -n "$carrier" ] || die "the set is in the points of neither node"
[ "$reads" -ge "$size" ] && [ "$reads" -lt $((size + 65536)) ] || die "the set was read more than once: $reads bytes"
check_point plain
check_clean 2
"$BIN/varve" point show "$(newest $carrier)" --json | jq -e '.capture == "collection"' >/dev/null || die "another way was taken"
"$BIN/varve" point show "$(newest plain)" --json | jq -e '.capture == "refpoint"' >/dev/null || die "a vm without a set was frozen as one with"

# ---- what changed ----

incremental() { # WHAT-IS-READ-AT-MOST
    seed=$((seed + 1))
    write "$node1" $((5 * mib + seed * 512)) 512
    write "$node2" $((20 * mib)) 4096
    write_all
    control '{"op":"reads"}' >/dev/null
    "$BIN/varve" backup run node1 node2 --quiet
    reads=$(control '{"op":"reads"}' | jq .bytes)
    [ "$reads" -gt 0 ] && [ "$reads" -le "$1" ] || die "an incremental run read $reads bytes of the set, not up to $1"
    for name in node1 node2; do
        check_point $name
    done
    holds_set "$(newest $carrier)" || die "the set has moved to the points of the other node"
    check_clean 2
}
incremental $((24 * 65536)) # the full run's writer too
incremental $((3 * 65536 + 4096))
"$BIN/varve" point show "$(newest $carrier)" --json | jq -e 'all(.disks[]; .incremental)' >/dev/null || die "a disk was read as a whole"

# ---- a vm whose group nobody made ----

if "$BIN/varve" backup run lonely --quiet >"$DIR/out" 2>&1; then
    die "a vm with a set and without a group was backed up"
fi
grep -q 'New-VMGroup' "$DIR/out" || die "a vm without a group: $(cat "$DIR/out")"

# ---- what a file server does wrong ----

fails() { # WORDS WHAT
    write "$node2" $((7 * mib)) $((2 * mib))
    if "$BIN/varve" backup run $carrier --full --quiet >"$DIR/out" 2>&1; then
        die "$2: the run succeeded"
    fi
    grep -q -- "$1" "$DIR/out" || die "$2: '$(cat "$DIR/out")', not '$1'"
    check_clean 2
}
faults=0
while IFS='|' read -r fault words; do
    control "{\"op\":\"fault\",\"fault\":\"$fault\"}" >/dev/null
    fails "$words" "$fault"
    faults=$((faults + 1))
done <<'FAULTS'
unsigned|not signed
spoilt|signature of the server's reply is wrong
drop|\(closed the connection\|Connection reset\|receiving: \|Object closed\)
short|a read of [0-9]* bytes at [0-9]* gave
sense|SCSI status 0x02, sense 3/11/00
reserved|STATUS_SVHDX_RESERVATION_CONFLICT
FAULTS
[ "$faults" = 6 ] || die "$faults faults"
control '{"op":"fault","fault":""}' >/dev/null
cat "$DIR/wrong" >"$DIR/logon"
fails '\(STATUS_LOGON_FAILURE\|logon\)' "a wrong password"
doctor 5 '\\\\fs1\\share: PROBLEM: .*\(STATUS_LOGON_FAILURE\|logon\)'
cat "$DIR/right" >"$DIR/logon"

# ---- encryption is demanded, and not given ----

agent_stop
echo 'file-server-encrypt = yes' >>"$LAB/agents/hv.conf"
agent_start
control '{"op":"fault","fault":"unencrypted"}' >/dev/null
fails 'not encrypted' "a server that does not encrypt"
control '{"op":"fault","fault":""}' >/dev/null
doctor 1 '\\\\fs1\\share: SMB 3\.1\.1 as VARVE\\backup by NTLM, encrypted (AES-128-GCM); shared virtual disks by RSVD version 2'

# ---- the set has lost its reference points: that disk is read as a whole, and the point says why ----

control "{\"op\":\"forget\",\"path\":\"$path\"}" >/dev/null
"$BIN/varve" backup run $carrier --quiet
"$BIN/varve" point show "$(newest $carrier)" --json | jq -e --arg id "${set,,}" \
    'all(.disks[]; .incremental == (.id != $id)) and any(.disks[]; (.reason // "") | contains("does not know the last reference point"))' >/dev/null ||
    die "a lost baseline: $("$BIN/varve" point show "$(newest $carrier)" --json | jq -c .disks)"
check_point $carrier
"$BIN/varve" backup run $carrier --quiet
"$BIN/varve" point show "$(newest $carrier)" --json | jq -e 'all(.disks[]; .incremental)' >/dev/null || die "the run after a lost baseline is not incremental"
check_point $carrier

# ---- the group stands in the cluster's namespace now, and only there ----

[ ! -e "$LAB/agents/hv/group" ] || die "a group of the host is taken for the cluster's"
lab_ctl hv group.place "{\"group\":\"$group\",\"space\":\"cluster\"}" >/dev/null
incremental $((3 * 65536 + 4096))
for vm in "$node1" "$node2"; do
    grep -qi "^group $group$" "$LAB/agents/hv/group/${vm,,}" || die "the agent does not remember where the group is"
done
"$BIN/varve" verify --quiet

agent_stop
left=$(find "$LAB/agents/hv/journal" "$LAB/agents/hv/refpoint" -type f ! -name owner 2>/dev/null || true)
[ -z "$left" ] || die "the agent has not forgotten its runs: $left"
testd_stop
doctor '[16]' '\\\\fs1\\share: PROBLEM: '
echo "guest cluster: the set once, full and incremental, every disk right; $((faults + 2)) faults named, clean after each"
