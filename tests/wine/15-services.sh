#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: two agents on one machine under Wine, with names of their own (--instance): enrolled into state folders and configured by files that follow
# from the names, registered as services, run and asked at the same time, ended one without the other; a name that is none is refused. What
# the service manager would start is read in the registry and run here: Wine's loses its list of services now and then.
#
# 15-services.sh AGENT.EXE
set -euo pipefail
exe=$1
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/native.sh"
wine_ready || exit 77
native_build
. "$(dirname "$0")/../lib/lab.sh"
AGENT=("$WINE" "$exe")
lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-wine-services.XXXXXX")"
data=$WINEPREFIX/drive_c/ProgramData/Varve
names=("one-$$" "two.$$")
cleanup() {
    for name in "${names[@]}"; do
        "${AGENT[@]}" uninstall --instance "$name" >/dev/null 2>&1 || true
        rm -rf "$data/agent-$name" "$data/agent-$name.conf"
    done
    lab_stop_all
    rm -rf "$LAB"
}
trap cleanup EXIT

refused() { # CODE WORDS ARGUMENT...
    local code=0 want=$1 words=$2
    shift 2
    "${AGENT[@]}" "$@" >"$LAB/said" 2>&1 || code=$?
    [ "$code" -eq "$want" ] && grep -q -- "$words" "$LAB/said" || lab_die "'$*' ended with $code, not $want: $(cat "$LAB/said")"
}
for name in '' '..' 'a/b' 'a\b' '-a' 'a b' 'ü'; do refused 2 'is no name' install --instance="$name"; done

lab_collector_start
for name in "${names[@]}"; do
    mkdir -p "$LAB/images-$name/vm-$name" "$data"
    truncate -s 1M "$LAB/images-$name/vm-$name/disk.raw"
    token=$("$BIN/varve" host invite "host-$name" --json | jq -r .token)
    "${AGENT[@]}" enroll "$token" --instance "$name" >"$LAB/said" || lab_die "enrolling $name: $(cat "$LAB/said")"
    [ -f "$data/agent-$name/agent.key" ] || lab_die "the state of $name is not in its folder: $(cat "$LAB/said")"
    printf '%s\n' 'capture = folder' "folder = Z:$LAB/images-$name" >"$data/agent-$name.conf"
    "${AGENT[@]}" doctor --instance "$name" >"$LAB/said" || lab_die "doctor of $name: $(cat "$LAB/said")"
    grep -q "enrolled as 'host-$name'" "$LAB/said" || lab_die "doctor is of another agent: $(cat "$LAB/said")"
    "${AGENT[@]}" install --instance "$name" --log-level debug >"$LAB/said" || lab_die "installing $name: $(cat "$LAB/said")"
    grep -q "sc start varve-agent-$name" "$LAB/said" || lab_die "install does not say how it is started: $(cat "$LAB/said")"
done

image_path() { "$WINE" reg.exe query "HKLM\\System\\CurrentControlSet\\Services\\varve-agent-$1" /v ImagePath 2>/dev/null </dev/null; }
connected() { "$BIN/varve" host list --json | jq -e -s --arg n "host-$1" 'any(.[]; .name == $n and .connected)' >/dev/null; }
gone() { ! connected "$1"; }
for name in "${names[@]}"; do
    image_path "$name" | grep -q "service \"--instance\" \"$name\" \"--log-level\" \"debug\"" || lab_die "the service of $name would be started as $(image_path "$name")"
    lab_start "agent-$name" "${AGENT[@]}" run --instance "$name"
done
for name in "${names[@]}"; do lab_wait 30 "agent $name" connected "$name"; done
lab_wait_vms 2
"$BIN/varve" backup run --all --quiet
for name in "${names[@]}"; do "$BIN/varve" point list "vm-$name" --json | jq -e --arg n "host-$name" '.host_name == $n' >/dev/null || lab_die "the point of $name is not its host's"; done
refused 1 'another agent is running' run --instance "${names[0]}"

# One ends, the other does not.
lab_stop "agent-${names[0]}"
lab_wait 30 "the first agent's end" gone "${names[0]}"
connected "${names[1]}" || lab_die "the other agent ended"
lab_stop "agent-${names[1]}"
echo "two agents, enrolled, registered, backed up and ended, each by its name"
