#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# offline.sh: what is done to a store's directory with no collector: wrong secrets, scrub, rebuild, repair from
# a copy, and restores in between.
set -euo pipefail
varve=$VARVE_BUILD_DIR/bin/varve
work=$(mktemp -d "${TMPDIR:-/tmp}/store-offline.XXXXXX")
trap 'rm -rf "$work"' EXIT
umask 077

fail() {
    echo "offline.sh: $*"
    exit 1
}
expect() { # CODE COMMAND...
    local want=$1 got=0
    shift
    "$@" >"$work/stdout" 2>"$work/stderr" || got=$?
    [ "$got" -eq "$want" ] || {
        cat "$work/stdout" "$work/stderr"
        fail "'$*' ended with $got instead of $want"
    }
}
flip() { # FILE OFFSET
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf '%b' "\\x$(printf %02x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
restore() { # POINT TRUTH
    rm -rf "$work/out"
    expect 0 "$varve" disk restore --store "$work/s/store" --key "$key" --format raw "$1" "$work/out"
    cmp "$work/out/disk.raw" "$work/s/truth/$2.raw" || fail "point $1 is not what was backed up"
}

"$VARVE_BUILD_DIR/tools/store_make" "$work/s" 3 6 150 42
cp -a "$work/s/store" "$work/copy"
key=$work/s/store.key
store=$work/s/store

# ---- secrets: a wrong one touches nothing ----
(umask 077 && printf 'varve-store-key-1\n%064d\n' 7 >"$work/wrong.key")
# All but the empty files that are locked.
state() { find "$work/s" "$work/copy" ! -name '.lock*' -type f -printf '%p %i %s %T@ %C@\n' | sort | sha256sum; }
before=$(state)
expect 5 "$varve" disk restore --store "$store" --key "$work/wrong.key" --list
expect 5 "$varve" disk restore --store "$store" --key "$work/wrong.key" made@latest "$work/out"
[ ! -e "$work/out" ] || fail "a wrong key left a folder"
expect 5 "$varve" store rebuild --store "$store" --key "$work/wrong.key" --index "$work/s/index"
expect 5 "$varve" store repair --store "$store" --key "$work/wrong.key" --from "$work/copy" --from-key "$key"
expect 5 "$varve" store repair --store "$store" --key "$key" --from "$work/copy" --from-key "$work/wrong.key"
expect 5 "$varve" key check --store "$store" --key "$work/wrong.key"
expect 5 "$varve" key add --store "$store" --key "$work/wrong.key" --new-key "$work/made.key"
[ ! -e "$work/made.key" ] || fail "a wrong key made a key file"
expect 5 "$varve" key recovery --store "$store" --key "$work/wrong.key"
expect 5 "$varve" key remove --store "$store" --key "$work/wrong.key" 1
expect 5 timeout 20 "$VARVE_BUILD_DIR/bin/varve-collector" run --state-dir "$work/state" --store "$store" \
    --store-key "$work/wrong.key" --listen tcp://127.0.0.1:0
grep -q 'does not open this store' "$work/stderr" || fail "the collector does not say that the key is wrong: $(cat "$work/stderr")"
[ "$before" = "$(state)" ] || fail "a wrong secret touched something"
expect 2 "$varve" key remove --store "$store" --key "$key" 1
expect 3 "$varve" disk restore --store "$work/none" --key "$key" --list

# ---- nothing wrong ----
expect 0 "$varve" store scrub --store "$store"
expect 0 "$varve" store rebuild --store "$store" --key "$key" --index "$work/s/index"
restore made@latest 003

# ---- a bit of each kind of object ----
chunks=$(find "$store/pack" -type f -size +100k -print -quit)
flip "$chunks" 70000
expect 8 "$varve" store scrub --store "$store"
grep -q "${chunks#"$store"/}" "$work/stdout" || fail "scrub does not name the pack"
nodes=$(find "$store/pack" -type f -size -100k -print -quit)
flip "$nodes" 200
points=("$store"/point/*/*)
for offset in 40 4140; do # both copies
    flip "${points[1]}" "$offset"
done
flip "${points[2]}" 40 # the first one
flip "$store/cfg/store" 70
flip "$store"/cfg/keys/0000000000000001 300
expect 8 "$varve" store scrub --store "$store"
[ "$(sed 's/:.*//' "$work/stdout" | sort -u | grep -c /)" -eq 6 ] || {
    cat "$work/stdout"
    fail "scrub names other objects than the six that are damaged"
}
expect 8 "$varve" disk restore --store "$store" --key "$key" --list
[ "$(wc -l <"$work/stdout")" -eq 3 ] || fail "two of three points are readable"

# ---- healed from the copy ----
rm "$(find "$store/pack" -type f -size +100k | tail -n 1)"
expect 0 "$varve" store repair --store "$store" --key "$key" --from "$work/copy"
expect 0 "$varve" store repair --store "$store" --key "$key" --from "$work/copy" --index "$work/s/index" --json
grep -q '"missing":0.*"nodes_unread":0' "$work/stdout" || fail "a second repair finds something to do"
restore made@latest 003
restore made@latest~1 002
restore made@latest~2 001
[ ! -e "$store/lost" ] || [ -z "$(find "$store/lost" -type f)" ] || fail "something is left aside"

# ---- what a store may have besides: a domain, marks, policies ----
"$VARVE_BUILD_DIR/tools/store_make" "$work/e" 3 1 150 42
"$VARVE_BUILD_DIR/tools/store_extra" "$work/e"
expect 0 "$varve" store scrub --store "$work/e/store"
mkdir -p "$work/e/store/lost/point"
cp -a "$work"/e/store/point/* "$work/e/store/lost/point"
expect 0 "$varve" store scrub --store "$work/e/store"
for kind in policy hold cfg/domain lost/point; do
    object=$(find "$work/e/store/$kind" -type f -print -quit)
    flip "$object" 40
    expect 8 "$varve" store scrub --store "$work/e/store"
    grep -q "^${object#"$work"/e/store/}" "$work/stdout" || fail "scrub does not name $object"
    flip "$object" 40
done

# ---- a recovery key that cannot be shown is none ----
expect 0 "$varve" key list --store "$work/e/store" --json
cp "$work/stdout" "$work/recipients"
for json in "" --json; do
    got=0
    "$varve" key recovery --store "$work/e/store" --key "$work/e/store.key" $json >/dev/full 2>"$work/stderr" || got=$?
    [ "$got" -eq 1 ] || fail "a recovery key that was not shown ends with $got: $(cat "$work/stderr")"
    grep -q 'the recovery key was not added' "$work/stderr" || fail "it is not said: $(cat "$work/stderr")"
    expect 0 "$varve" key list --store "$work/e/store" --json
    cmp "$work/stdout" "$work/recipients" || fail "a recovery key that nobody knows opens the store"
done

# ---- a store that is open belongs to whoever has it open ----
mkdir "$work/empty"
expect 3 "$varve" store scrub --store "$work/empty"
