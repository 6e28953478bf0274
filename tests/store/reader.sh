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
data() { find "$store" -path "$store/cfg" -prune -o -type f ! -name '.lock*' -printf '%p %i %s %T@\n' | sort | sha256sum; }
before=$(data)
echo 'six words of a long passphrase' >"$work/phrase"
"$varve" key add --store "$store" --key "$work/s/store.key" --new-passphrase-file "$work/phrase"
read_all "passphrase:$work/phrase"
"$varve" key recovery --store "$store" --passphrase-file "$work/phrase" >"$work/printed"
head -n 1 "$work/printed" >"$work/recovery"
read_all "recovery:$work/recovery"
"$varve" key add --store "$store" --recovery-file "$work/recovery" --new-key "$work/second.key"
"$varve" key remove --store "$store" --key "$work/second.key" 1
read_all "key:$work/second.key"
[ "$before" = "$(data)" ] || {
    echo "a change of keys has written data anew"
    exit 1
}
if /usr/bin/python3 "$here/read_store.py" "$store" "key:$work/s/store.key" list 2>/dev/null; then
    echo "the removed key file still opens the store"
    exit 1
fi

# What a store may have besides: a domain, marks, policies, copies of a state.
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
read_extra states >"$work/states"
diff - "$work/states" <<END
1 3600000000 200000 $({ printf 'a state file' && head -c 199988 /dev/zero; } | sha256sum | cut -d' ' -f1)
2 7200000000 12 $(printf 'a state file' | sha256sum | cut -d' ' -f1)
END
[ "$(read_extra domains)" = '77010000-0000-0000-0000-000000000000 Größe' ]
[ "$(read_extra list | wc -l)" -eq 3 ] # two of the vm, one of the domain
chunk=65536
read_extra cat 1 0 55000000-0000-0000-0000-000000000000 |
    cmp - <(printf a && head -c $((chunk - 1)) /dev/zero | tr '\0' d && printf a && head -c $((chunk / 2 - 1)) /dev/zero | tr '\0' x)
read -r names walked salvaged < <(read_extra scan)
[ "$names" -gt 4 ] && [ "$walked" -ge "$names" ] && [ "$salvaged" -eq 0 ]
read_extra files 1 55000000-0000-0000-0000-000000000000 >"$work/files"
sum() { sha256sum | cut -d' ' -f1; }
diff - "$work/files" <<END
a.vmcx 13 $(printf configuration | sum)
a.vmgs 200000 $(head -c 200000 /dev/zero | tr '\0' g | sum)
END
"$VARVE_BUILD_DIR/tools/store_extra" "$work/e" vss
read_extra policies >"$work/policies"
diff - "$work/policies" <<'END'
policy office 3 0 14 0 0 0 168 vss
policy law 0 0 0 0 120 10 0 -
all others office
vm 55000000000000000000000000000000 law
END

# What a disk may do to a store, as far as the document says that it can still be read: of each thing that stands twice the
# first copy, headers and footers of packs, a repair of a point that was cut off.
damage() { # FILE OFFSET
    printf '\xff\x00\xff\x00\xff' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
cp -a "$work/e" "$work/d"
for object in "$work"/d/store/point/*/* "$work"/d/store/cfg/keys/* "$work"/d/store/cfg/domain/* "$work"/d/store/hold/*/*/*; do
    damage "$object" 20
done
packs=0
for object in "$work"/d/store/pack/*/*; do
    case $((packs % 3)) in
    0) damage "$object" 30 && damage "$object" $(($(stat -c %s "$object") - 40)) ;;
    1) damage "$object" $(($(stat -c %s "$object") - 70)) ;;
    2) damage "$object" 50 ;;
    esac
    packs=$((packs + 1))
done
[ "$packs" -ge 4 ]
points=("$work"/d/store/point/*/0000000000000003)
name=${points[0]#"$work"/d/store/}
mkdir -p "$work/d/store/lost/${name%/*}"
mv "$work/d/store/$name" "$work/d/store/lost/$name"
read_damaged() {
    /usr/bin/python3 "$here/read_store.py" "$work/d/store" "key:$work/d/store.key" "$@"
}
read_damaged cat 1 0 "$(basename "${name%/*}")" | cmp - "$work/e/truth/001.raw"
read_damaged cat 3 0 | cmp - "$work/e/truth/003.raw"
[ "$(read_damaged list | wc -l)" -eq 3 ]
[ "$(read_damaged cat 1 0 55000000-0000-0000-0000-000000000000 | sum)" = "$(read_extra cat 1 0 55000000-0000-0000-0000-000000000000 | sum)" ]
read -r again walked salvaged < <(read_damaged scan)
[ "$again" -eq "$names" ] && [ "$salvaged" -eq "$packs" ]
"$varve" disk restore --store "$work/d/store" --key "$work/d/store.key" --format raw made@latest "$work/d/out"
cmp "$work/d/out/disk.raw" "$work/e/truth/003.raw"
"$varve" disk restore --store "$work/d/store" --key "$work/d/store.key" --format raw "tenant's@latest" "$work/d/tenant"
[ "$(sum <"$work/d/tenant/disk.raw")" = "$(read_extra cat 1 0 55000000-0000-0000-0000-000000000000 | sum)" ]
[ "$(cat "$work/d/tenant/config/a.vmcx")" = configuration ]
head -c 200000 /dev/zero | tr '\0' g | cmp - "$work/d/tenant/config/a.vmgs"

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
