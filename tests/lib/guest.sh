# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Guests: raw disk images with real file systems holding real trees of this machine, and changes to them as users make them.
# No mount and no root is needed: mkfs.ext4 -d and debugfs for ext4, mkntfs and ntfscp for NTFS. One MBR partition from 1 MiB on.
#
#   guest_tree DIR MIB                      copies about that much of /usr/share, /usr/include and /usr/lib into DIR
#   guest_make ext4|ntfs RAW MIB TREE LABEL a disk of MIB with one volume that holds TREE
#   guest_change ext4|ntfs RAW SEED         adds, rewrites and removes files in it (some MiB)
#   guest_check ext4|ntfs RAW               e2fsck -fn or ntfsfix -n; fails when the volume is not clean

guest_start=$((1024 * 1024)) # of the partition, bytes

guest_tree() {
    local dir=$1 bytes=$(($2 * 1024 * 1024))
    mkdir -p "$dir"
    find /usr/share /usr/include /usr/lib/x86_64-linux-gnu -xdev -type f -size -4096k -readable -printf '%s %p\n' 2>/dev/null |
        LC_ALL=C sort -k2 | awk -v max="$bytes" '
            # Every third file, so that the content is mixed: texts, headers, libraries.
            NR % 3 == 0 { sum += $1; if (sum <= max) { sub(/^[0-9]+ /, ""); print } }' |
        tar --no-recursion -cf - -T - 2>/dev/null | tar -xf - -C "$dir"
}

guest_partition() { # RAW MIB TYPE
    rm -f "$1"
    truncate -s "$2M" "$1"
    printf 'label: dos\nlabel-id: 0x%08x\nstart=2048, type=%s\n' "$2" "$3" | sfdisk -q "$1" >/dev/null
}
guest_part_out() { dd if="$1" of="$2" bs=1M skip=1 conv=sparse status=none; }
guest_part_in() {
    dd if="$2" of="$1" bs=1M seek=1 conv=notrunc,nocreat status=none
    fallocate --dig-holes "$1"
}

guest_make() {
    local kind=$1 raw=$2 mib=$3 tree=$4 label=$5 part name said n=0
    case $kind in
    ext4)
        guest_partition "$raw" "$mib" 83
        mkfs.ext4 -q -F -b 4096 -L "$label" -d "$tree" -E "offset=$guest_start" "$raw" "$(((mib - 1) * 1024))k"
        ;;
    ntfs)
        guest_partition "$raw" "$mib" 7
        part=$raw.part
        rm -f "$part"
        truncate -s "$((mib - 1))M" "$part"
        # It says on standard error that this is a file and not a device; that matters only when it fails.
        said=$(mkntfs -q -F -Q -L "$label" -p 2048 -H 255 -S 63 -s 512 "$part" 2>&1) || { echo "$said" >&2; return 1; }
        # ntfscp knows no folders: one archive for each folder of the tree, and some single files.
        for name in "$tree"/usr/share/* "$tree"/usr/include/*; do
            [ -d "$name" ] || continue
            n=$((n + 1))
            [ $n -le 250 ] || break
            tar -C "$tree" -cf "$raw.tar" --sort=name "${name#"$tree"/}"
            ntfscp -q -f "$part" "$raw.tar" "folder$n.tar" >/dev/null
        done
        guest_part_in "$raw" "$part"
        rm -f "$part" "$raw.tar"
        ;;
    esac
}

# guest_file SEED KIB: half text, half noise
guest_file() {
    head -c "$(($2 * 512))" /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "$1")" -iv "$(printf %032x "$2")" 2>/dev/null
    seq -f "line %.0f of file $1: what a user might have written on a working day" 1 $(($2 * 7))
}

guest_change() {
    local kind=$1 raw=$2 seed=$3 part=$2.part file=$2.file n victim
    case $kind in
    ext4)
        debugfs -w -R "mkdir /home" "$raw?offset=$guest_start" >/dev/null 2>&1
        for n in 1 2 3 4 5 6; do
            guest_file "$((seed * 100 + n))" $((64 * n * n)) >"$file"
            debugfs -w -R "rm /home/document$n" "$raw?offset=$guest_start" >/dev/null 2>&1
            debugfs -w -R "write $file /home/document$n" "$raw?offset=$guest_start" >/dev/null 2>&1
        done
        # Removing frees blocks without writing them: as in life.
        victim=$(debugfs -R "ls -p /usr/include" "$raw?offset=$guest_start" 2>/dev/null | awk -F/ '$3 ~ /^100/ { print $6; exit }')
        [ -z "$victim" ] || debugfs -w -R "rm /usr/include/$victim" "$raw?offset=$guest_start" >/dev/null 2>&1
        ;;
    ntfs)
        guest_part_out "$raw" "$part"
        truncate -s "$(($(stat -c %s "$raw") - guest_start))" "$part"
        for n in 1 2 3 4; do
            guest_file "$((seed * 100 + n))" $((100 * n * n)) >"$file"
            ntfscp -q -f "$part" "$file" "document$n" >/dev/null
        done
        guest_part_in "$raw" "$part"
        rm -f "$part"
        ;;
    esac
    rm -f "$file"
}

guest_check() {
    local kind=$1 raw=$2 part=$2.part rc=0
    guest_part_out "$raw" "$part"
    truncate -s "$(($(stat -c %s "$raw") - guest_start))" "$part"
    case $kind in
    ext4) e2fsck -fn "$part" >"$part.log" 2>&1 || rc=$? ;;
    ntfs) ntfsfix -n "$part" >"$part.log" 2>&1 || rc=$? ;;
    esac
    [ $rc -eq 0 ] || cat "$part.log" >&2
    rm -f "$part" "$part.log"
    return $rc
}
