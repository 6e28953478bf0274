#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 51-cluster.sh AGENT.EXE STANDINS SECUR32.DLL: what tests/rsvd/cluster.sh shows of guest clusters, with varve-agent.exe: collections by COM,
# disks of the nodes by virtdisk.dll, VHD sets by Windows' sockets, CNG and SSPI; a native collector and file server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/native.sh"
. "$here/sspi.sh"
wine_ready || exit 77
native_build
sspi_start
trap sspi_end EXIT
export CLUSTER_SECUR32=$3
export VARVE_WINE_OVERRIDES="${VARVE_WINE_OVERRIDES:+$VARVE_WINE_OVERRIDES;}secur32=n"
"$here/../rsvd/cluster.sh" "$1" "$2"
sspi_check
