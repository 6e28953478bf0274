#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# reader.sh: a store read by the second implementation (read_store.py), made from docs/format/store.md, with
# each kind of secret, and compared byte for byte; then the same points by 'varve disk restore'.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
varve=$VARVE_BUILD_DIR/bin/varve
if ! /usr/bin/python3 -c 'import cryptography, argon2.low_level' 2>/dev/null; then
    echo "skipped: no python3-cryptography or python3-argon2"
    exit 77
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/store-reader.XXXXXX")
trap 'rm -rf "$work"' EXIT
umask 077

"$VARVE_BUILD_DIR/tools/store_make" "$work/s" 3 5 150 41
store=$work/s/store

read_all() { # SECRET
    for seq in 1 3; do
        /usr/bin/python3 "$here/read_store.py" "$store" "$1" cat $seq 0 | cmp - "$work/s/truth/00$seq.raw"
    done
}

read_all "key:$work/s/store.key"
echo 'six words of a long passphrase' >"$work/phrase"
"$varve" key add --store "$store" --key "$work/s/store.key" --new-passphrase-file "$work/phrase"
read_all "passphrase:$work/phrase"
"$varve" key recovery --store "$store" --passphrase-file "$work/phrase" >"$work/printed"
head -n 1 "$work/printed" >"$work/recovery"
read_all "recovery:$work/recovery"
"$varve" key add --store "$store" --recovery-file "$work/recovery" --new-key "$work/second.key"
"$varve" key remove --store "$store" --key "$work/second.key" 1
read_all "key:$work/second.key"
if /usr/bin/python3 "$here/read_store.py" "$store" "key:$work/s/store.key" list 2>/dev/null; then
    echo "the removed key file still opens the store"
    exit 1
fi

# What a store may have besides: a domain, marks, policies.
"$VARVE_BUILD_DIR/tools/store_make" "$work/e" 3 1 150 42
"$VARVE_BUILD_DIR/tools/store_extra" "$work/e"
read_extra() {
    /usr/bin/python3 "$here/read_store.py" "$work/e/store" "key:$work/e/store.key" "$@"
}
read_extra marks >"$work/marks"
diff - "$work/marks" <<'END'
gone 2 10800000000 36000000000 retention -  
hold 1 3600000000 0 somebody - audit until May 
lock 1 7200000000 4000000000000000 law - seven years 
END
read_extra policies >"$work/policies"
diff - "$work/policies" <<'END'
policy office 3 0 14 0 0 0 168
policy law 0 0 0 0 120 10 0
all others office
vm 55000000000000000000000000000000 law
END
[ "$(read_extra domains)" = '77010000-0000-0000-0000-000000000000 Größe' ]
[ "$(read_extra list | wc -l)" -eq 3 ] # two of the vm, one of the domain
chunk=65536
read_extra cat 1 0 55000000-0000-0000-0000-000000000000 |
    cmp - <(printf a && head -c $((chunk - 1)) /dev/zero | tr '\0' d && printf a && head -c $((chunk / 2 - 1)) /dev/zero | tr '\0' x)
read -r names walked < <(read_extra scan)
[ "$names" -gt 4 ] && [ "$walked" -ge "$names" ]

# The same by the command; nothing in the store is touched.
before=$(find "$store" -printf '%p %s %T@\n' | sort | sha256sum)
"$varve" disk restore --store "$store" --recovery-file "$work/recovery" --list --json >"$work/list"
[ "$(wc -l <"$work/list")" -eq 3 ]
"$varve" disk restore --store "$store" --key "$work/second.key" --format raw made@latest "$work/out"
cmp "$work/out/disk.raw" "$work/s/truth/003.raw"
"$varve" disk restore --store "$store" --key "$work/second.key" --format raw made@latest~2 "$work/out1"
cmp "$work/out1/disk.raw" "$work/s/truth/001.raw"
[ "$before" = "$(find "$store" -printf '%p %s %T@\n' | sort | sha256sum)" ] || {
    echo "a restore changed the store"
    exit 1
}
