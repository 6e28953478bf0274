#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: varve-agent.exe under Wine, a native collector on loopback: enrolled by a token, it lists a folder of disk images, backs
# them up, is killed in the middle of a run and does it again after its next start; an incremental run sends what changed; every point
# restores to what the images held, as qemu-img reads it. Names outside ASCII and a key file others may read are part of it.
#
# 10-folder.sh AGENT.EXE
set -euo pipefail
exe=$1
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"

wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
AGENT=("$WINE" "$exe")

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-folder.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
images=$LAB/images
mkdir -p "$images/pair"

# bytes SEED MIB: the same bytes for the same seed
bytes() { openssl enc -aes-128-ctr -K "$(printf '%032d' "$1")" -iv 0 -in /dev/zero 2>/dev/null | head -c $(($2 << 20)) || true; }
image() { # FILE FORMAT OPTIONS SEED MIB: a disk of 1 GiB with MIB of data at 64 MiB
    rm -f "$LAB/raw"
    truncate -s 1G "$LAB/raw"
    bytes "$4" "$5" | dd of="$LAB/raw" bs=1M seek=64 conv=notrunc status=none
    qemu-img convert -f raw -O "$2" ${3:+-o "$3"} "$LAB/raw" "$images/$1"
}
image 'Büro 東京.vhdx' vhdx subformat=dynamic 1 200
image pair/system.vhdx vhdx subformat=dynamic,block_size=1M 2 40
image pair/data.vhd vpc subformat=dynamic,force_size=on 3 20
rm -f "$LAB/raw"

lab_collector_start
lab_folder_agent winhost "$images"
lab_wait_vms 2
"$BIN/varve" host list --json | grep -q Windows || lab_die "the collector was not told that the host is Windows"
"$BIN/varve" vm list --json | jq -re '.name' | grep -qx 'Büro 東京.vhdx' || lab_die "a name outside ASCII was lost"
code=0
"${AGENT[@]}" doctor --config "$LAB/agents/winhost.conf" >"$LAB/doctor" || code=$?
[ "$code" -eq 0 ] && grep -q 'all is well' "$LAB/doctor" || { cat "$LAB/doctor"; lab_die "doctor is not content: $code"; }
code=0
"${AGENT[@]}" run --config "$LAB/agents/winhost.conf" >"$LAB/second" 2>&1 || code=$?
[ "$code" -ne 0 ] && grep -q 'another agent is running' "$LAB/second" || lab_die "a second agent was let in"

# Killed as soon as data travel; nothing is in the way of the next start.
"$BIN/varve" backup run 'Büro 東京.vhdx' --quiet &
run=$!
lab_wait 60 "data at the collector" sh -c "find '$LAB/store/pack' -type f | grep -q ."
lab_kill agent-winhost
lab_start agent-winhost "${AGENT[@]}" run --config "$LAB/agents/winhost.conf"
wait "$run" || "$BIN/varve" backup run 'Büro 東京.vhdx' --quiet
"$BIN/varve" backup run pair --quiet

check() { # VM IMAGE...
    local vm=$1 name
    shift
    rm -rf "$LAB/out"
    "$BIN/varve" restore "$vm@latest" --format raw "$LAB/out" --quiet
    for name in "$@"; do
        local format=vhdx
        [[ $name != *.vhd ]] || format=vpc
        qemu-img compare -q -f raw -F "$format" "$LAB/out/$(basename "${name%.*}").raw" "$images/$name" ||
            lab_die "$name: the point is not what the image holds"
    done
    rm -rf "$LAB/out"
}
check 'Büro 東京.vhdx' 'Büro 東京.vhdx'
check pair pair/system.vhdx pair/data.vhd

# What the second run sends is what changed.
qemu-io -f vhdx -c 'write -P 0x5a 100M 3M' "$images/Büro 東京.vhdx" >/dev/null
"$BIN/varve" backup run 'Büro 東京.vhdx' --quiet
sent=$("$BIN/varve" point show 'Büro 東京.vhdx@latest' --json | jq '.disks[0].sent_bytes')
[ "$sent" -le $((4 << 20)) ] || lab_die "the second run sent $sent bytes for 3 MiB that changed"
check 'Büro 東京.vhdx' 'Büro 東京.vhdx'

# Ctrl-C: it says that it stops, and ends with 0.
pid=$(lab_pid agent-winhost)
rm "$LAB/pids/agent-winhost"
kill -INT "$pid"
code=0
wait "$pid" || code=$?
tail -n 1 "$LAB/logs/agent-winhost.log" | grep -q stopped || lab_die "the agent did not say that it stopped (exit code $code)"
[ "$code" -eq 0 ] || lab_die "the agent ended with $code"

# A key that others may read is not used.
chmod 644 "$LAB/agents/winhost/agent.key"
code=0
"${AGENT[@]}" run --config "$LAB/agents/winhost.conf" >"$LAB/second" 2>&1 || code=$?
grep -q icacls "$LAB/second" || lab_die "a key that everybody may read was used: $(cat "$LAB/second")"
[ "$code" -eq 5 ] || lab_die "exit code $code for a key that others may read"
echo "enrolled, backed up, killed, started again and restored"
