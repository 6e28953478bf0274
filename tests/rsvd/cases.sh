#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cases.sh RSVD_CASES: the 29 cases of Microsoft's test suite for shared disks, against rsvd-testd: signed, with
# tshark looking at the traffic, and encrypted; those of version 1 against a server of version 1.
set -euo pipefail
cases=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/testd.sh"
testd_need
testd_new

run() { # EXPECTED OPTION...
    local expected=$1
    shift
    "$cases" --server 127.0.0.1 --port "$PORT" --share share --credentials "$DIR/right" "$@" >"$DIR/out" ||
        die "$(grep -v '^ok ' "$DIR/out")"
    [ "$(tail -n 1 "$DIR/out")" = "$expected ok, 0 failed" ] || die "$(tail -n 1 "$DIR/out"), not $expected"
}

testd_start --pcap "$DIR/cases.pcap"
run 29 --302
testd_stop
testd_decode cases.pcap 80
testd_start --encrypt
run 29 --311
run 1 Refusals
testd_stop
testd_start --v1
run 17
testd_stop

echo "29 cases, signed and encrypted; refusals; 17 with version 1"
