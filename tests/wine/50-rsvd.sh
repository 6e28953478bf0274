#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 50-rsvd.sh SMB_TOOL.EXE RSVD_CASES.EXE SECUR32.DLL: what tests/rsvd shows of VHD sets, with the client as Windows has it: its
# sockets, CNG and SSPI.  rsvd-testd is the server; the session keys come from GSSAPI, by a stand-in for secur32.dll.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/sspi.sh"
wine_ready || exit 77
sspi_start
dir=$SSPI
trap sspi_end EXIT
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

for script in backup cases kerberos; do
    "$here/../rsvd/$script.sh" "$dir/$([ $script = cases ] && echo rsvd_cases || echo smb_tool)"
done
sspi_check
