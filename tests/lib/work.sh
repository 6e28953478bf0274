# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# For scripts that are tests of their own: $work is a folder that goes when the script ends, and
#
#   need PROGRAM...  ends it as skipped where one is missing; libvhdi is python's module
#   fail WORDS...

need() {
    for program in "$@"; do
        case $program in
        libvhdi) /usr/bin/python3 -c 'import pyvhdi' 2>/dev/null ;;
        *) command -v "$program" >/dev/null ;;
        esac || {
            echo "skipped: no $program"
            exit 77
        }
    done
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
