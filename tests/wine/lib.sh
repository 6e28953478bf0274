# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For scripts that run Windows programs under Wine, which source it.

WINE=/usr/lib/wine/wine64
WINESERVER=/usr/lib/wine/wineserver64
WINEPREFIX=${VARVE_WINEPREFIX:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/wine}
export WINEPREFIX WINEARCH=win64 WINEDEBUG=${WINEDEBUG:--all}
# No questions about Mono and Gecko, no menus.
export WINEDLLOVERRIDES="mscoree,mshtml=d;winemenubuilder.exe=d${VARVE_WINE_OVERRIDES:+;$VARVE_WINE_OVERRIDES}"
unset DISPLAY WAYLAND_DISPLAY

# wine_ready: the prefix is there and its server runs; 1 and a reason where there is no Wine.
wine_ready() {
    if [ ! -x "$WINE" ]; then
        echo "Wine is not installed (package wine64)"
        return 1
    fi
    mkdir -p "$WINEPREFIX"
    (
        flock 9
        # A server that ends with its last program is a race for the next one: Wine 8 then gives up with "a
        # wine server seems to be running, but I cannot connect to it".  So it stays for a minute; this does
        # nothing while one runs.
        started=false
        "$WINESERVER" -p60 9>&- >/dev/null 2>&1 </dev/null && started=true
        if [ -e "$WINEPREFIX/ready" ]; then
            # The first program brings the services of Wine itself, which stay as long as the server and hold the
            # output of that program open: its test would end a minute later.
            ! $started || "$WINE" cmd.exe /c exit 9>&- >/dev/null 2>&1 </dev/null || true
            exit 0
        fi
        "$WINE" wineboot.exe -i 9>&- >/dev/null 2>&1 </dev/null && : >"$WINEPREFIX/ready"
    ) 9>"$WINEPREFIX/lock" || {
        echo "making the prefix '$WINEPREFIX' failed" >&2
        return 1
    }
}

# wine_system_dll DLL: puts it into the place of the system's one of that name (programs load those from the system folder only)
# and keeps Wine's own out, which also makes a missing file a loud failure. One at a time for a name: see RESOURCE_LOCK.
wine_system_dll() {
    local name at
    name=$(basename "$1")
    at=$WINEPREFIX/drive_c/windows/system32/$name
    if ! cmp -s "$1" "$at"; then
        cp "$1" "$at.$$"
        mv "$at.$$" "$at"
    fi
    export WINEDLLOVERRIDES="$WINEDLLOVERRIDES;${name%.dll}=n"
}
