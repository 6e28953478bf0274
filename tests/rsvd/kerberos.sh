#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# kerberos.sh SMB_TOOL: logs on to rsvd-testd by Kerberos, with a key distribution centre of our own on loopback: by
# password, by keytab, and by the tickets of the environment (no credentials file).  A wrong password is a
# named error.
set -euo pipefail
tool=$1
here=$(cd "$(dirname "$0")" && pwd)
. "$here/testd.sh"
testd_need
PATH=$PATH:/usr/sbin
for program in krb5kdc kdb5_util kadmin.local kinit; do
    command -v $program >/dev/null || {
        echo "skipped: $program (packages krb5-kdc, krb5-admin-server, krb5-user) is not installed"
        exit 77
    }
done
testd_new
realm=VARVE.TEST
kdc=
stop_kdc() {
    [ -z "$kdc" ] || kill "$kdc" 2>/dev/null || true
    testd_cleanup
}
trap stop_kdc EXIT

start_kdc() {
    local port
    for _ in 1 2 3 4 5; do
        port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        cat >"$DIR/krb5.conf" <<CONF
[libdefaults]
    default_realm = $realm
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
    default_ccache_name = FILE:$DIR/cache
[realms]
    $realm = {
        kdc = 127.0.0.1:$port
    }
[domain_realm]
    localhost = $realm
CONF
        cat >"$DIR/kdc.conf" <<CONF
[kdcdefaults]
    kdc_listen = ""
    kdc_tcp_listen = 127.0.0.1:$port
[realms]
    $realm = {
        database_name = $DIR/principal
        key_stash_file = $DIR/stash
    }
[logging]
    kdc = FILE:$DIR/kdc.log
CONF
        if [ ! -e "$DIR/principal" ]; then
            kdb5_util -r $realm create -s -P master >/dev/null 2>&1
            kadmin.local -r $realm addprinc -pw right backup >/dev/null 2>&1
            kadmin.local -r $realm addprinc -randkey cifs/localhost >/dev/null 2>&1
            kadmin.local -r $realm ktadd -k "$DIR/server.keytab" cifs/localhost >/dev/null 2>&1
            kadmin.local -r $realm ktadd -norandkey -k "$DIR/backup.keytab" backup >/dev/null 2>&1
        fi
        krb5kdc -n -r $realm >"$DIR/kdc.out" 2>&1 &
        kdc=$!
        for _ in $(seq 200); do
            if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                return
            fi
            kill -0 "$kdc" 2>/dev/null || break
            sleep 0.05
        done
        kill "$kdc" 2>/dev/null || true
    done
    die "the key distribution centre does not start: $(cat "$DIR/kdc.out")"
}

export KRB5_CONFIG=$DIR/krb5.conf KRB5_KDC_PROFILE=$DIR/kdc.conf
export KRB5_KTNAME=$DIR/server.keytab KRB5_CLIENT_KTNAME=$DIR/none KRB5RCACHETYPE=none
start_kdc
testd_start --size 1073741824

(
    umask 077
    printf 'method = kerberos\nuser = backup\ndomain = %s\npassword = right\n' $realm >"$DIR/password"
    printf 'method = kerberos\nuser = backup\ndomain = %s\npassword = wrong\n' $realm >"$DIR/other"
    printf 'user = backup\ndomain = %s\nkeytab = %s\n' $realm "$DIR/backup.keytab" >"$DIR/keytab"
)
smb() {
    "$tool" --server localhost --port "$PORT" --share share "$@"
}
whos='password keytab'
why_wrong='^ERROR auth: .*getting a Kerberos ticket'
why_nobody='^ERROR auth: .*Kerberos ticket'
if [ -n "${RSVD_WINDOWS:-}" ]; then # SSPI: no keytabs, other words
    whos=password
    why_wrong='^ERROR auth: .*logging on: .*user name or the password is wrong.*0x8009030c'
    why_nobody='^ERROR auth: .*logging on: .*no credentials.*0x8009030e'
    if smb --credentials "$DIR/keytab" state 2>"$DIR/err"; then
        die "a keytab was taken"
    fi
    grep -q '^ERROR unsupported: .*keytab' "$DIR/err" || die "a keytab was '$(cat "$DIR/err")'"
fi
for who in $whos; do
    [ "$(smb --credentials "$DIR/$who" disk rsvd.vhds)" = \
        "version=2 size=1073741824 sector=512 physical=4096 format=4" ] || die "no session by $who"
done
if smb --credentials "$DIR/other" state 2>"$DIR/err"; then
    die "a wrong password got in"
fi
grep -q "$why_wrong" "$DIR/err" || die "a wrong password was '$(cat "$DIR/err")'"
if smb state 2>"$DIR/err"; then
    die "nobody got in"
fi
grep -q "$why_nobody" "$DIR/err" || die "without a ticket it was '$(cat "$DIR/err")'"
echo right | kinit backup >/dev/null 2>&1 || die "kinit"
[ "$(smb --302 state)" = "dialect=0x0302 cipher=1 encrypted=no" ] || die "no session by ticket"
testd_stop
echo "Kerberos: by ${whos/ /, by }, by ticket"
