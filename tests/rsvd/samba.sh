#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# samba.sh SMB_TOOL: our SMB client against Debian's smbd, started here on a free port of loopback with
# a state folder and a user of its own.  What it shows: signed and encrypted sessions of 3.0.2 and
# 3.1.1 read what is there; a wrong password, a guest session, a share that is not there, a credentials file that
# others may read, a server without shared disks and a connection that is dropped are named errors.
set -euo pipefail
tool=$1
# gss-ntlmssp never frees its libcrypto context.  What we leak ourselves, smb_test shows.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0

skip() {
    echo "skipped: $*"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "smbd wants to be started by root"
smbd=$(PATH=$PATH:/usr/sbin command -v smbd) || skip "smbd (package samba) is not installed"
[ -e /etc/gss/mech.d/mech.ntlmssp.conf ] || skip "package gss-ntlmssp is not installed"
user=nobody # every system has it; its password is in our own database only

dir=$(mktemp -d /tmp/varve-samba-XXXXXX)
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap cleanup EXIT
die() {
    echo "samba.sh: $*" >&2
    tail -n 20 "$dir/log.smbd" >&2 || true
    exit 1
}

chmod 755 "$dir"
mkdir "$dir"/{share,private,lock,state,cache,pid,ncalrpc}
head -c 9000001 /dev/urandom >"$dir/share/disk.img"
chmod 644 "$dir/share/disk.img"

start_smbd() {
    for _ in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        cat >"$dir/smb.conf" <<CONF
[global]
    server role = standalone server
    netbios name = VARVETEST
    smb ports = $port
    bind interfaces only = yes
    interfaces = 127.0.0.1
    private dir = $dir/private
    lock directory = $dir/lock
    state directory = $dir/state
    cache directory = $dir/cache
    pid directory = $dir/pid
    ncalrpc dir = $dir/ncalrpc
    log file = $dir/log.smbd
    passdb backend = tdbsam:$dir/passdb.tdb
    server min protocol = SMB3_02
    map to guest = Bad User
    guest account = $user
    disable spoolss = yes
    load printers = no
[plain]
    path = $dir/share
    guest ok = yes
[sealed]
    path = $dir/share
    smb encrypt = required
CONF
        printf 'right\nright\n' | pdbedit -s "$dir/smb.conf" -t -a -u "$user" >/dev/null 2>&1 || true
        # Without --no-process-group: at its end it signals its whole process group.
        "$smbd" -s "$dir/smb.conf" -F -l "$dir" >"$dir/smbd.out" 2>&1 &
        server=$!
        for _ in $(seq 200); do
            if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                return
            fi
            kill -0 "$server" 2>/dev/null || break
            sleep 0.05
        done
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    done
    die "smbd did not start"
}

credentials() { # FILE USER PASSWORD
    (umask 077 && printf 'user = %s\npassword = %s\n' "$2" "$3" >"$1")
}
credentials "$dir/right" "$user" right
credentials "$dir/wrong" "$user" wrong
credentials "$dir/unknown" varve-unknown right
credentials "$dir/open" "$user" right
chmod 644 "$dir/open"

smb() { # CREDENTIALS SHARE ARGUMENT...
    local who=$1 share=$2
    shift 2
    "$tool" --server 127.0.0.1 --port "$port" --share "$share" --credentials "$dir/$who" "$@"
}

fails() { # WORDS CREDENTIALS SHARE ARGUMENT...
    local words=$1
    shift
    if smb "$@" >"$dir/out" 2>"$dir/err"; then
        die "'$*' succeeded"
    fi
    grep -q -- "$words" "$dir/err" || die "'$*' said '$(cat "$dir/err")', not '$words'"
}

start_smbd

while read -r share dialect encrypt expected; do
    options=(--"$dialect")
    [ "$encrypt" = no ] || options+=(--encrypt)
    got=$(smb right "$share" "${options[@]}" state) || die "no session with $dialect on $share"
    [ "$got" = "$expected" ] || die "$share $dialect: '$got', not '$expected'"
    smb right "$share" "${options[@]}" read disk.img 0 9000001 | cmp - "$dir/share/disk.img" ||
        die "$share $dialect: other bytes"
    smb right "$share" "${options[@]}" read disk.img 4097 70001 |
        cmp - <(tail -c +4098 "$dir/share/disk.img" | head -c 70001) || die "$share $dialect: other bytes"
done <<'CASES'
plain 302 no dialect=0x0302 cipher=1 encrypted=no
plain 311 no dialect=0x0311 cipher=2 encrypted=no
plain 302 yes dialect=0x0302 cipher=1 encrypted=yes
plain 311 yes dialect=0x0311 cipher=2 encrypted=yes
sealed 302 no dialect=0x0302 cipher=1 encrypted=yes
sealed 311 no dialect=0x0311 cipher=2 encrypted=yes
CASES

fails '^ERROR auth: .*STATUS_LOGON_FAILURE (0xC000006D)' wrong plain state
fails '^ERROR auth: .*took us for a guest' unknown plain state
fails '^ERROR not found: .*STATUS_BAD_NETWORK_NAME' right absent state
fails '^ERROR denied: .*others than its owner' open plain state
fails '^ERROR invalid: .*no share of files' right 'IPC$' state
fails '^ERROR not found: .*STATUS_OBJECT_NAME_NOT_FOUND' right plain read absent.img 0 1
fails '^ERROR io: .*STATUS_END_OF_FILE\|^ERROR io: .*a read of' right plain read disk.img 9000000 512

# A server without shared disks.
fails '^ERROR unsupported: .*offers no remote shared virtual disks' right plain disk disk.img
fails '^ERROR not found: ' right plain disk absent.vhds

# The server's process for us dies between two requests.
mkfifo "$dir/go"
smb right plain hold disk.img <"$dir/go" >"$dir/out" 2>"$dir/err" &
client=$!
exec 9>"$dir/go"
for _ in $(seq 200); do
    grep -q open "$dir/out" && break
    sleep 0.05
done
mapfile -t children < <(pgrep -P "$server")
kill -9 "${children[@]}"
echo >&9
exec 9>&-
if wait "$client"; then
    die "the client did not notice that the connection is gone"
fi
grep -q '^ERROR io: ' "$dir/err" || die "the dropped connection was '$(cat "$dir/err")'"

echo "smbd: signed, encrypted, 3.0.2 and 3.1.1; refusals are named"
