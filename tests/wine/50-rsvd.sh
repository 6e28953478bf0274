#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 50-rsvd.sh SMB_TOOL.EXE RSVD_CASES.EXE SECUR32.DLL: what tests/rsvd shows of VHD sets, with the client as Windows has it: its
# sockets, CNG and SSPI.  rsvd-testd is the server; the session keys come from GSSAPI, by a stand-in for secur32.dll.  Wine's
# CNG has no AES-CCM: what 3.0.2 encrypts is left out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
wine_ready || exit 77
python3=/usr/bin/python3
"$python3" -c 'import gssapi' 2>/dev/null || {
    echo "skipped: python3-gssapi is not installed"
    exit 77
}

dir=$(mktemp -d /tmp/varve-wine-rsvd-XXXXXX)
relay=
cleanup() {
    [ -z "$relay" ] || kill "$relay" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
# Programs look for libraries in their own folder first; their lines end as Windows' do.
cp "$1" "$dir/smb_tool.exe"
cp "$2" "$dir/rsvd_cases.exe"
cp "$3" "$dir/secur32.dll"
for name in smb_tool rsvd_cases; do
    cat >"$dir/$name" <<WRAPPER
#!/usr/bin/env bash
set -o pipefail
"$here/run" "$dir/$name.exe" "\$@" | tr -d '\r'
WRAPPER
    chmod +x "$dir/$name"
done
export VARVE_WINE_OVERRIDES="${VARVE_WINE_OVERRIDES:+$VARVE_WINE_OVERRIDES;}secur32=n"

PYTHONDONTWRITEBYTECODE=1 "$here/sspi_testd.py" --dir "$dir" 2>"$dir/relay.err" &
relay=$!
for _ in $(seq 200); do
    [ -e "$dir/sspi-port" ] && break
    kill -0 "$relay" 2>/dev/null || break
    sleep 0.05
done
[ -e "$dir/sspi-port" ] || {
    echo "sspi_testd.py does not listen: $(cat "$dir/relay.err")" >&2
    exit 1
}
VARVE_SSPI_PORT=$(cat "$dir/sspi-port")
export VARVE_SSPI_PORT RSVD_WINDOWS=yes

for script in backup cases kerberos; do
    "$here/../rsvd/$script.sh" "$dir/$([ $script = cases ] && echo rsvd_cases || echo smb_tool)"
done
kill "$relay"
wait "$relay" || true
relay=
[ "$(cat "$dir/sspi-left")" = 0 ] || {
    echo "$(cat "$dir/sspi-left") handles of SSPI were not given back" >&2
    exit 1
}
[ ! -s "$dir/relay.err" ] || {
    cat "$dir/relay.err" >&2
    exit 1
}
