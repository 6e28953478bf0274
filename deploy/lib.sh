# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For deploy/try-it and tests/run, which source it: set-up of a machine.  The caller has set -euo
# pipefail and its working directory is the top of the checkout.

say() {
    printf '%s\n' "$*"
}

# Prints why and how to go on; ends the script with code 1.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# package_names FILE...: the names in these lists, one per line.
package_names() {
    sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$@"
}

# missing_packages FILE...: those that are not installed.
missing_packages() {
    local name
    package_names "$@" | sort -u | while read -r name; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
    done
}

# install_packages NAME...: no service of theirs is started, now or at the next boot: only their programs are wanted.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made='' code=0 unit
    if [ ! -e "$policy" ]; then
        made=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    { apt-get -o DPkg::Lock::Timeout=300 update &&
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y \
            --no-install-recommends "$@"; } || code=$?
    [ -z "$made" ] || rm -f "$policy"
    [ "$code" -eq 0 ] || return "$code"
    command -v systemctl >/dev/null || return 0
    dpkg-query -L "$@" | sed -n 's|^.*/lib/systemd/system/\([^/]*\.service\)$|\1|p' | sort -u | while read -r unit; do
        systemctl disable "$unit" || true # one that is only another name of a service cannot be
    done
}

# ensure_packages FILE...: installs what is missing of these lists; does nothing when nothing is.
ensure_packages() {
    local missing
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
        die "this needs Debian 12 or a system with its packages; the names are in $*"
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        die "these packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing ${#missing[@]} packages: ${missing[*]}"
    local log
    log=$(mktemp)
    if ! install_packages "${missing[@]}" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "installing the packages failed; the lines above are the end of what apt-get said"
    fi
    rm -f "$log"
}

# build_preset PRESET [TARGET...]: configures and builds build/PRESET.  Quiet unless it fails.
build_preset() {
    local preset=$1 log
    shift
    mkdir -p build
    log=build/$preset.log
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target} "$@"; } >"$log" 2>&1; then
        grep -nE 'FAILED|error|Error' "$log" | head -n 20 >&2 || true
        tail -n 30 "$log" >&2
        say "building preset '$preset' failed; everything it said is in $log" >&2
        return 1
    fi
}

# build_release: the programs, in build/release/bin.
build_release() {
    build_preset release
}
