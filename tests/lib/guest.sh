# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Guests: raw disk images with real file systems holding real files of this machine, and changes to
# them as users make them.  One partition from 1 MiB on: ext4 in a GPT disk, NTFS in an MBR disk.
# ext4 is made and changed by mkfs.ext4 -d and debugfs, without a mount.  NTFS is mounted by ntfs-3g
# where FUSE is to be had; else ntfscp puts the files in as archives, and nothing is ever deleted.
#
#   guest_tree DIR MIB [SEED]                 copies about that much of this machine's files into DIR
#   guest_make ext4|ntfs RAW MIB TREE LABEL   a disk of MIB with one volume that holds TREE
#   guest_change ext4|ntfs RAW SEED [MIB]     adds, rewrites and removes files: about MIB (4) of writes
#   guest_check ext4|ntfs RAW                 e2fsck -fn or ntfsfix -n; fails when it is not clean
#
# The same TREE and arguments give the same ext4 image, byte by byte.  HVSIM is the simulator
# (its "bytes" command makes the bytes nobody else has).

guest_offset=$((1024 * 1024)) # of the partition
guest_path="$PATH:/usr/sbin:/sbin"

# guest_shuffle SEED: the lines of standard input in an order that follows from the seed.
guest_shuffle() {
    awk -v seed="$1" 'BEGIN { srand(seed); rand() } { printf "%.9f\t%s\n", rand(), $0 }' |
        LC_ALL=C sort -n | cut -f 2-
}

# Files of this machine whose names need no quoting anywhere: "size path".
guest_candidates() {
    # find fails when a folder may not be read: the rest will do.
    { find /usr/share /usr/lib /usr/include /etc -xdev -type f -links 1 -size +1k -size -12000k \
        -regex '[A-Za-z0-9._/+-]*' -readable -printf '%s %p\n' 2>/dev/null || true; } |
        LC_ALL=C sort -k 2
}

guest_tree() {
    local dir=$1 mib=$2 seed=${3:-1} list
    list=$(mktemp)
    mkdir -p "$dir"
    # Mostly middle-sized files: tens of thousands of tiny ones would only test mkfs.
    guest_candidates | awk '$1 > 8192 || NR % 16 == 0' | guest_shuffle "$seed" |
        awk -v left="$((mib * 1048576))" '{ left -= $1 } left >= 0 { print substr($2, 2) }' >"$list"
    tar -C / -cf - --no-recursion -T "$list" | tar -C "$dir" -xf - --no-same-owner
    mv "$list" "$dir/manifest.txt" # what guest_change chooses from
    # mkfs.ext4 copies access times; once read, files keep theirs for a day (relatime).
    find "$dir" -type f -exec cat {} + >/dev/null
}

# ---- disks ----

# guest_uuid TEXT NUMBER
guest_uuid() {
    "$HVSIM" bytes "$(printf %s "$1$2" | cksum | cut -d ' ' -f 1)" 16 | od -An -tx1 | tr -d ' \n' |
        sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/\1-\2-4\3-8\4-\5/'
}

guest_partition() { # RAW MIB LABEL-TYPE LABEL-ID PARTITION
    rm -f "$1"
    truncate -s "$2M" "$1"
    printf 'label: %s\nlabel-id: %s\nstart=2048, size=%d, %s\n' "$3" "$4" \
        "$((($2 - 2) * 2048))" "$5" | PATH=$guest_path sfdisk -q "$1"
}

guest_part_out() { # RAW PART
    local size
    size=$(stat -c %s "$1")
    dd if="$1" of="$2" bs=1M skip=1 count=$((size / 1048576 - 2)) conv=sparse status=none
    truncate -s $((size - 2 * guest_offset)) "$2"
}

# What stood at the partition's place before is gone; holes stay holes.
guest_part_in() { # RAW PART
    local size
    size=$(stat -c %s "$1")
    dd if="$1" of="$1.new" bs=1M count=1 status=none
    dd if="$2" of="$1.new" bs=1M seek=1 conv=notrunc,sparse status=none
    truncate -s "$size" "$1.new"
    mv "$1.new" "$1"
}

# Tried once: in a container there may be a /dev/fuse that cannot be used.
guest_have_fuse() {
    local probe
    if [ "${GUEST_NO_FUSE:-}" != "" ]; then
        return 1
    fi
    if [ "${guest_fuse:-}" = "" ]; then
        probe=$(mktemp)
        truncate -s 8M "$probe"
        guest_fuse=no
        if [ -w /dev/fuse ] && command -v ntfs-3g >/dev/null &&
            PATH=$guest_path mkntfs -q -F -Q -s 512 -p 0 -H 255 -S 63 "$probe" >/dev/null 2>&1 &&
            guest_with_ntfs "$probe" true 2>/dev/null; then
            guest_fuse=yes
        fi
        rm -rf "$probe" "$probe.log" "$probe.mnt"
    fi
    [ "$guest_fuse" = yes ]
}

# guest_with_ntfs PART COMMAND...: runs the command with the mounted folder as its last argument.
# ntfs-3g stays in the foreground: umount returns before everything is written, its end does not.
guest_with_ntfs() {
    local part=$1 mount=$1.mnt pid tries=0 rc=0
    shift
    mkdir -p "$mount"
    ntfs-3g -o no_detach,big_writes "$part" "$mount" 2>"$part.log" &
    pid=$!
    until mountpoint -q "$mount"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$part.log" >&2
            return 1
        fi
        sleep 0.05
    done
    "$@" "$mount" || rc=$?
    umount "$mount"
    wait "$pid" || rc=$?
    rmdir "$mount"
    rm -f "$part.log"
    return "$rc"
}

guest_copy_tree() { cp -r "$1/." "$2/"; }

guest_fill_without_fuse() { # PART TREE
    local piece
    tar -C "$2" -cf - . | split -b 8M - "$1.piece-"
    for piece in "$1".piece-*; do
        ntfscp -q -f "$1" "$piece" "archive-${piece##*-}" >/dev/null || return 1
        rm "$piece"
    done
}

guest_make() {
    local kind=$1 raw=$2 mib=$3 tree=$4 label=$5 part=$2.part said
    case $kind in
    ext4)
        guest_partition "$raw" "$mib" gpt "$(guest_uuid "$label" 1)" \
            "type=linux, uuid=$(guest_uuid "$label" 2)" || return 1
        E2FSPROGS_FAKE_TIME=1700000000 PATH=$guest_path mkfs.ext4 -q -F -b 4096 -L "$label" \
            -d "$tree" -U "$(guest_uuid "$label" 3)" \
            -E "offset=$guest_offset,hash_seed=$(guest_uuid "$label" 4)" "$raw" "$((mib - 2))M"
        ;;
    ntfs)
        guest_partition "$raw" "$mib" dos "0x$(guest_uuid "$label" 1 | cut -c 1-8)" type=7 || return 1
        rm -f "$part"
        truncate -s "$((mib - 2))M" "$part"
        # It says on standard error that this is a file and no device; that matters only when it fails.
        said=$(PATH=$guest_path mkntfs -q -F -Q -s 512 -p 2048 -H 255 -S 63 -L "$label" "$part" 2>&1) ||
            { echo "$said" >&2; return 1; }
        if guest_have_fuse; then
            guest_with_ntfs "$part" guest_copy_tree "$tree" || return 1
        else
            guest_fill_without_fuse "$part" "$tree" || return 1
        fi
        guest_part_in "$raw" "$part" && rm "$part"
        ;;
    esac
}

# ---- changes ----

# guest_new_files DIR SEED MIB: half of it bytes nobody has, half copies of other files.
guest_new_files() {
    local dir=$1 seed=$2 mib=$3 i file
    mkdir -p "$dir"
    for i in 1 2 3 4; do
        "$HVSIM" bytes "$seed$i" $((mib * 131072)) >"$dir/data-$seed-$i.bin"
    done
    guest_candidates | awk '$1 > 65536' | guest_shuffle "$seed" |
        awk -v left="$((mib * 524288))" '{ left -= $1 } left >= 0 { print $2 }' |
        while read -r file; do
            cp "$file" "$dir/copy-$seed-${file##*/}"
        done
}

guest_chosen() { guest_shuffle "$1" | sed -n '1,8p'; } # of a manifest; no head: it breaks the pipe

guest_change_ext4() { # RAW SEED MIB WORK
    local image="$1?offset=$guest_offset" seed=$2 mib=$3 work=$4 file
    debugfs -R "cat manifest.txt" "$image" 2>/dev/null | guest_chosen "$seed" >"$work/chosen"
    guest_new_files "$work/new" "$seed" "$mib"
    {
        echo "mkdir round-$seed"
        for file in "$work"/new/*; do
            echo "write $file round-$seed/${file##*/}"
        done
        sed -n '1,4s/^/rm /p' "$work/chosen" # frees blocks without writing them, as in life
    } >"$work/commands"
    sed -n '5,8p' "$work/chosen" | while read -r file; do
        rm -f "$work/old"
        debugfs -R "dump $file $work/old" "$image" 2>/dev/null
        [ -s "$work/old" ] || continue
        { cat "$work/old"; echo "changed in round $seed"; } >"$work/changed-${file##*/}"
        printf 'rm %s\nwrite %s %s\n' "$file" "$work/changed-${file##*/}" "$file"
    done >>"$work/commands"
    E2FSPROGS_FAKE_TIME=$((1700000000 + seed)) debugfs -w -f "$work/commands" "$image" \
        >"$work/out" 2>&1
}

guest_change_mounted() { # SEED WORK MOUNT
    local seed=$1 work=$2 mount=$3 file
    mkdir -p "$mount/round-$seed"
    cp "$work"/new/* "$mount/round-$seed/"
    guest_chosen "$seed" <"$mount/manifest.txt" >"$work/chosen"
    sed -n '1,4p' "$work/chosen" | while read -r file; do
        rm -f "$mount/$file"
    done
    sed -n '5,8p' "$work/chosen" | while read -r file; do
        [ ! -f "$mount/$file" ] || echo "changed in round $seed" >>"$mount/$file"
    done
}

guest_change_ntfs() { # RAW SEED MIB WORK
    local raw=$1 seed=$2 mib=$3 work=$4 file
    guest_part_out "$raw" "$work/part"
    guest_new_files "$work/new" "$seed" "$mib"
    if guest_have_fuse; then
        guest_with_ntfs "$work/part" guest_change_mounted "$seed" "$work" || return 1
    else
        for file in "$work"/new/*; do
            ntfscp -q -f "$work/part" "$file" "${file##*/}" >/dev/null || return 1
        done
    fi
    guest_part_in "$raw" "$work/part"
}

guest_change() {
    local work rc=0
    work=$(mktemp -d "$2.change.XXXXXX")
    PATH=$guest_path "guest_change_$1" "$2" "$3" "${4:-4}" "$work" || rc=$?
    [ $rc -eq 0 ] || cat "$work"/out >&2 2>/dev/null || true
    rm -rf "$work"
    return $rc
}

guest_check() {
    local kind=$1 raw=$2 log=$2.check rc=0
    case $kind in
    ext4) PATH=$guest_path e2fsck -fn "$raw?offset=$guest_offset" >"$log" 2>&1 || rc=$? ;;
    ntfs)
        guest_part_out "$raw" "$raw.part"
        ntfsfix -n "$raw.part" >"$log" 2>&1 || rc=$?
        rm -f "$raw.part"
        ;;
    esac
    [ $rc -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return $rc
}
