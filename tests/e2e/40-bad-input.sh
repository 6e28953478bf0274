#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: whatever an operator gets wrong is answered by one line that names the thing and the way out, with the documented exit
# code, and nothing is lost by it.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-bad.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
failures=0

# expect CODE PATTERN COMMAND...: exit code, one line on standard error that matches
expect() {
    local want=$1 pattern=$2 code=0 lines
    shift 2
    "$@" >"$LAB/stdout" 2>"$LAB/stderr" </dev/null || code=$?
    lines=$(wc -l <"$LAB/stderr")
    if [ $code -ne "$want" ] || [ "$lines" -ne 1 ] || ! grep -Eq -- "$pattern" "$LAB/stderr"; then
        echo "FAILED: $* -> exit $code (want $want), $lines line(s) on stderr (want 1 with /$pattern/):"
        sed 's/^/    /' "$LAB/stderr"
        failures=$((failures + 1))
    fi
}

mkdir -p "$LAB/images"
head -c 300000 /dev/urandom >"$LAB/images/random.vhdx"
truncate -s 20M "$LAB/good.raw"
mkfs.ext4 -q -F "$LAB/good.raw"
qemu-img convert -q -f raw -O vhdx "$LAB/good.raw" "$LAB/images/good.vhdx"
head -c 3500000 "$LAB/images/good.vhdx" >"$LAB/images/cut.vhdx"

expect 5 "access file.*--access" "$BIN/varve" status
lab_collector_start
lab_folder_agent images "$LAB/images"
lab_wait_vms 3
"$BIN/varve" backup run good.vhdx --quiet

# the operator's command
expect 2 "frobnicate" "$BIN/varve" frobnicate
expect 2 "'?lst'?.*list" "$BIN/varve" vm lst
expect 2 "--frob" "$BIN/varve" vm list --frob
expect 2 "VM|vm" "$BIN/varve" backup run
expect 2 "bogus" "$BIN/varve" restore good.vhdx@latest --format bogus "$LAB/out"
expect 3 "nosuch" "$BIN/varve" backup run nosuch
expect 3 "nosuch" "$BIN/varve" restore nosuch@latest "$LAB/out"
expect 3 "latest~7" "$BIN/varve" restore good.vhdx@latest~7 "$LAB/out"
expect 3 "deadbeef" "$BIN/varve" point show deadbeef
expect 3 "nosuch" "$BIN/varve" host revoke nosuch
mkdir "$LAB/there"
expect 4 "$LAB/there" "$BIN/varve" restore good.vhdx@latest "$LAB/there"
expect 4 "images" "$BIN/varve" host invite images
expect 5 "access" "$BIN/varve" --access "$LAB/nothing-here" status
[ ! -e "$LAB/out" ] || { echo "FAILED: a refused restore left '$LAB/out'"; failures=$((failures + 1)); }

# images that are none
expect 8 "random.vhdx" "$BIN/varve" backup run random.vhdx --quiet
expect 8 "cut.vhdx" "$BIN/varve" backup run cut.vhdx --quiet

# the services
printf 'state-dir = %s\nfrobnicate = 1\n' "$LAB/x" >"$LAB/bad.conf"
expect 2 "bad.conf:2.*frobnicate" "$BIN/varve-collector" run --config "$LAB/bad.conf"
expect 2 "bad.conf:2.*frobnicate" "$BIN/varve-agent" run --config "$LAB/bad.conf"
expect 2 "missing.conf" "$BIN/varve-collector" run --config "$LAB/missing.conf"
expect 2 "missing.conf" "$BIN/varve-agent" run --config "$LAB/missing.conf"
expect 2 "frobnicate" "$BIN/varve-agent" frobnicate
expect 2 "invitation.*varve host invite" "$BIN/varve-agent" enroll nonsense --state-dir "$LAB/y"
expect 1 "in use|another|running" "$BIN/varve-collector" run --config "$LAB/collector.conf"

# a token twice, and one that is cut
token=$("$BIN/varve" host invite second --json | jq -r .token)
expect 2 "incomplete.*paste" "$BIN/varve-agent" enroll "${token%????????}" --state-dir "$LAB/y"
"$BIN/varve-agent" enroll "$token" --state-dir "$LAB/y" >/dev/null 2>&1
expect 5 "refused|invitation" "$BIN/varve-agent" enroll "$token" --state-dir "$LAB/z"
expect 4 "$LAB/y" "$BIN/varve-agent" enroll "$token" --state-dir "$LAB/y"

# a full target
if [ "$(id -u)" -eq 0 ] && mkdir "$LAB/small" && mount -t tmpfs -o size=256k tmpfs "$LAB/small" 2>/dev/null; then
    expect 7 "$LAB/small" "$BIN/varve" restore good.vhdx@latest --format vhdx "$LAB/small/out"
    umount "$LAB/small"
else
    echo "not tried: a full target (needs root and tmpfs)"
fi

# a collector that is not there
lab_stop collector
expect 6 "collector" "$BIN/varve" status
lab_collector_start

# and nothing was lost
"$BIN/varve" restore good.vhdx@latest --format raw "$LAB/out" --quiet
cmp "$LAB/out/good.raw" "$LAB/good.raw"
"$BIN/varve" verify --quiet
[ $failures -eq 0 ] || { echo "$failures wrong answers"; exit 1; }
echo "every wrong input was answered as documented"
