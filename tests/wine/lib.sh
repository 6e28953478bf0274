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

# wine_ready: the prefix is there; 1 and a reason where there is no Wine.
wine_ready() {
    if [ ! -x "$WINE" ]; then
        echo "Wine is not installed (package wine64)"
        return 1
    fi
    [ ! -e "$WINEPREFIX/ready" ] || return 0
    mkdir -p "$WINEPREFIX"
    (
        flock 9
        [ ! -e "$WINEPREFIX/ready" ] || exit 0
        "$WINE" wineboot.exe -i >/dev/null 2>&1 </dev/null && "$WINESERVER" -w && : >"$WINEPREFIX/ready"
    ) 9>"$WINEPREFIX/lock" || {
        echo "making the prefix '$WINEPREFIX' failed" >&2
        return 1
    }
}
