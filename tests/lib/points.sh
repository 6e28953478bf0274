# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Comparing points with the simulator's truth. Sourced after lab.sh.
#
#   points_json VM            the points of a vm, one JSON object a line, newest first
#   points_truth HOST POINT DISKID   path of the raw image of what the disk held when that point was frozen
#   points_check_raw HOST POINT      restores a point as raw images and compares every disk with cmp
#   points_config HOST VM SUFFIX     compares the configuration files of the latest point with the vm's
#   points_guest_state HOST VM       gives the vm a guest state (.vmgs) of 4 MiB
#   points_clean HOST VM      fails unless the host is left clean: no recovery checkpoint, one reference point, chain merged

points_json() { "$BIN/varve" point list "$1" --json; }

# points_truths HOST SHOWN: of a point as `varve point show --json` has it, each disk's id and image, one a line.  A checkpoint's tag
# carries the run id; so does the point.
points_truths() {
    local vm run
    IFS=$'\t' read -r vm run < <(jq -r '[(.vm_id | ascii_upcase), .run_id] | @tsv' <<<"$2")
    lab_ctl "$1" truth.list "{\"vm\":\"$vm\"}" |
        jq -r --arg run "$run" '.truths[] | select(.tag | ascii_downcase | contains($run)) | .disks[] | [.id, .path] | @tsv'
}
points_truth() {
    points_truths "$1" "$("$BIN/varve" point show "$2" --json)" | awk -F'\t' -v disk="${3^^}" '$1 == disk { print $2 }'
}
points_vm() { "$BIN/varve" point show "$1" --json | jq -r '.vm_id | ascii_upcase'; }

points_check_raw() {
    local host=$1 point=$2 out disk name truth shown compared=0
    local -A image=()
    out=$(mktemp -d "$LAB/restore.XXXXXX")
    rmdir "$out"
    "$BIN/varve" restore "$point" --format raw "$out" --quiet || lab_die "restoring $point failed"
    shown=$("$BIN/varve" point show "$point" --json)
    while IFS=$'\t' read -r disk truth; do
        image[${disk^^}]=$truth
    done < <(points_truths "$host" "$shown")
    while IFS=$'\t' read -r disk name; do
        truth=${image[${disk^^}]:-}
        [ -f "$truth" ] || lab_die "no truth for point $point disk $disk"
        cmp "$out/$name" "$truth" || lab_die "point $point, disk $name: not what the disk held"
        compared=$((compared + 1))
    done < <(jq -r '.disks[] | [.id, (.name | sub("\\.[^.]*$"; ".raw"))] | @tsv' <<<"$shown")
    [ "$compared" -gt 0 ] && [ "$compared" = "$(jq '.disks | length' <<<"$shown")" ] || lab_die "point $point: $compared disks were compared"
    rm -rf "$out"
}

points_guest_state() {
    local id
    id=$(lab_vm_id "$1" "$2")
    { head -c 100000 /dev/urandom && head -c $((4 * 1024 * 1024 + 512 - 100000)) /dev/zero; } >"$LAB/hosts/$1/vms/$id/Virtual Machines/$id.vmgs"
}
# points_config HOST VM SUFFIX: the latest point's configuration is the vm's, byte for byte, and so is its guest state where it has one
points_config() {
    local id out want got state
    id=$(lab_vm_id "$1" "$2") out=$LAB/restore-config
    "$BIN/varve" restore "$2@latest" --format raw "$out" --quiet || lab_die "restoring $2 failed"
    want=$(lab_ctl "$1" vm.config "{\"vm\":\"$id\"}" | jq -r '.files[0].data' | base64 -d | tr -d '\0')
    got=$(cat "$out"/config/????????-????-*."$3")
    [ "$want" = "$got" ] || lab_die "$2: the configuration is '$got', not '$want'"
    state=$LAB/hosts/$1/vms/$id/Virtual\ Machines/$id.vmgs
    [ ! -e "$state" ] || cmp "$state" "$out"/config/*.vmgs || lab_die "$2: the guest state is another one"
    rm -rf "$out"
}

points_clean() {
    local id left refs
    id=$(lab_vm_id "$1" "$2")
    lab_ctl "$1" wait.idle "{\"vm\":\"$id\",\"timeout_ms\":20000}" >/dev/null
    left=$(lab_ctl "$1" checkpoint.list "{\"vm\":\"$id\"}" | jq '[.checkpoints[] | select(.type == "recovery")] | length')
    refs=$(lab_ctl "$1" refpoint.list "{\"vm\":\"$id\"}" | jq '.refpoints | length')
    [ "$left" -eq 0 ] || lab_die "vm $2 is left with $left recovery checkpoint(s)"
    [ "$refs" -eq 1 ] || lab_die "vm $2 has $refs reference points, not one"
    lab_ctl "$1" vm.list | jq -e --arg id "$id" '.vms[] | select(.id == $id) | all(.disks[]; .type != "differencing")' >/dev/null ||
        lab_die "vm $2: a chain is not merged"
}
