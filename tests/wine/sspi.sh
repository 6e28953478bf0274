# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Session keys for Windows programs under Wine: sspi_testd.py makes them by GSSAPI, a stand-in for secur32.dll asks it. Sourced after lib.sh.
#
#   sspi_start   starts it in a folder of its own, SSPI; ends the test with 77 where it cannot be
#   sspi_end     ends it and removes the folder
#   sspi_check   ends it; fails when a handle was not given back, or something else was wrong

SSPI=
sspi_pid=
sspi_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

sspi_end() {
    [ -z "$sspi_pid" ] || kill "$sspi_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$SSPI"
}

sspi_start() {
    /usr/bin/python3 -c 'import gssapi' 2>/dev/null || {
        echo "skipped: python3-gssapi is not installed"
        exit 77
    }
    SSPI=$(mktemp -d /tmp/varve-wine-rsvd-XXXXXX)
    PYTHONDONTWRITEBYTECODE=1 "$sspi_here/sspi_testd.py" --dir "$SSPI" 2>"$SSPI/relay.err" &
    sspi_pid=$!
    for _ in $(seq 200); do
        [ -e "$SSPI/sspi-port" ] && break
        kill -0 "$sspi_pid" 2>/dev/null || break
        sleep 0.05
    done
    [ -e "$SSPI/sspi-port" ] || {
        echo "sspi_testd.py does not listen: $(cat "$SSPI/relay.err")" >&2
        exit 1
    }
    VARVE_SSPI_PORT=$(cat "$SSPI/sspi-port")
    export VARVE_SSPI_PORT RSVD_WINDOWS=yes
}

sspi_check() {
    kill "$sspi_pid"
    wait "$sspi_pid" || true
    sspi_pid=
    [ "$(cat "$SSPI/sspi-left")" = 0 ] || {
        echo "$(cat "$SSPI/sspi-left") handles of SSPI were not given back" >&2
        exit 1
    }
    [ ! -s "$SSPI/relay.err" ] || {
        cat "$SSPI/relay.err" >&2
        exit 1
    }
}
