# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For the scripts of this folder: a directory of their own and rsvd-testd in it.
#
#   testd_need             skips the test (77) when something is missing
#   testd_new              makes DIR with users and credentials; removed at the end, the server too
#   testd_start OPTION...  starts rsvd-testd; sets PORT
#   testd_stop             ends it; fails when a client did what it may not
#   testd_decode PCAP N    after it: tshark reads more than N messages of RSVD in DIR/PCAP, encrypted ones too, none malformed
#   die WORDS...
#
# DIR/right and DIR/wrong are files of credentials.

testd_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
testd_pid=
DIR=
# gss-ntlmssp never frees its libcrypto context.  What we leak ourselves, smb_test shows.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

testd_need() {
    local module
    for module in gssapi cryptography; do
        if ! /usr/bin/python3 -c "import $module" 2>/dev/null; then
            echo "skipped: python3-$module is not installed"
            exit 77
        fi
    done
    if [ ! -e /etc/gss/mech.d/mech.ntlmssp.conf ]; then
        echo "skipped: gss-ntlmssp is not installed"
        exit 77
    fi
    if ! command -v tshark >/dev/null; then
        echo "skipped: tshark, which looks at the traffic, is not installed"
        exit 77
    fi
}

testd_cleanup() {
    if [ -n "$testd_pid" ]; then
        kill "$testd_pid" 2>/dev/null || true
        wait "$testd_pid" 2>/dev/null || true
    fi
    rm -rf "$DIR"
}

testd_new() {
    local user
    DIR=$(mktemp -d /tmp/varve-rsvd-XXXXXX)
    trap testd_cleanup EXIT
    printf 'VARVE:backup:right\n' >"$DIR/users"
    export NTLM_USER_FILE=$DIR/users # of the server; the client has its credentials
    for user in right wrong; do
        (umask 077 && printf 'user = backup\ndomain = VARVE\npassword = %s\n' $user >"$DIR/$user")
    done
}

testd_start() {
    rm -f "$DIR"/{port,log,violations,keys}
    PYTHONDONTWRITEBYTECODE=1 "$testd_here/rsvd_testd.py" --dir "$DIR" "$@" >"$DIR/testd.out" 2>&1 &
    testd_pid=$!
    for _ in $(seq 600); do
        [ -e "$DIR/port" ] && break
        kill -0 "$testd_pid" 2>/dev/null || die "rsvd-testd ended: $(cat "$DIR/testd.out")"
        sleep 0.05
    done
    [ -e "$DIR/port" ] || die "rsvd-testd does not listen"
    # shellcheck disable=SC2034
    PORT=$(cat "$DIR/port")
}

testd_stop() {
    kill "$testd_pid"
    wait "$testd_pid" 2>/dev/null || true
    testd_pid=
    [ ! -s "$DIR/testd.out" ] || die "rsvd-testd: $(cat "$DIR/testd.out")"
    [ ! -s "$DIR/violations" ] || die "the client broke the protocol: $(cat "$DIR/violations")"
}

testd_decode() {
    local keys=() line rsvd bad
    while read -r line; do
        keys+=(-o "uat:smb2_seskey_list:$line")
    done <"$DIR/keys"
    rsvd=$(tshark -r "$DIR/$1" "${keys[@]}" -Y rsvd 2>/dev/null | wc -l)
    [ "$rsvd" -gt "$2" ] || die "$1: tshark finds $rsvd messages of RSVD"
    # Of an operation that failed only the header comes (MS-RSVD 3.2.5.5); tshark wants a body there too.
    bad=$(tshark -r "$DIR/$1" "${keys[@]}" -Y '_ws.malformed && !(rsvd.svhdx_status != 0)' 2>/dev/null)
    [ -z "$bad" ] || die "$1: malformed, says tshark: $bad"
    echo "tshark, $1: $rsvd messages of RSVD, none malformed"
}
