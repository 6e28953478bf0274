# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For scripts of tests/wine, sourced before tests/lib/lab.sh: the native collector and simulated host.

# native_build: sets VARVE_BUILD_DIR to a native build that has the programs; ends with 77 when there
# is none (tests/run builds one first).
native_build() {
    local top name
    top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    for name in ${VARVE_NATIVE_BUILD:-release dev}; do
        if [ -x "$top/build/$name/bin/varve-collector" ] && [ -x "$top/build/$name/tools/hvsim" ]; then
            export VARVE_BUILD_DIR=$top/build/$name
            return 0
        fi
    done
    echo "skipped: there is no native build beside this one (presets release or dev)"
    exit 77
}
