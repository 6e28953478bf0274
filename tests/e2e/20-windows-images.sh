#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: disk images made by Windows, backed up as a host that is a folder of images, come back with the content that is known of
# them, as raw and as VHDX. Needs VARVE_SAMPLES (skips with 77 without).
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"

[ -d "${VARVE_SAMPLES:-}/vhdx/windows" ] || { echo "skipped: VARVE_SAMPLES does not name the sample images"; exit 77; }
# Of 10 GiB images: openssl uses the processor's instructions, sha256sum does not.
sha256() { openssl dgst -sha256 -r "$1" | cut -d' ' -f1; }
lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-windows.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT

# name, SHA-256 of the whole virtual disk (the samples' README)
images='dissect-dynamic.vhdx 8e2b5e9265d694b42b81819e3bff29770eff4ed0f4f9f311693ff3dbdc93efac
dissect-fixed.vhdx bc0be4623b15aa84216fb31ba24e3b621ec7f1c72d198c990ac0eced222d9f62
discutils-btrfs.vhdx 0b959f9cb4e18348ad8b646f152178282542c8304f02fddf765e3fd1a1de6864
discutils-swap.vhdx 60dd30b4c74361427d1089510cabb36e2eeda0cc4747f467ea43173acd358c49
discutils-xfs5.vhdx edc5d630b2da0ddb08992afb58ded06ffb56b884e184b4974fda16e31b7e6817
discutils-vhdx-log-replay.vhdx 3ba3b309425b7ff5e8e0199edceed95226250f880c53b24e8eae93865f3fad5e
qemu-iotest-dynamic-1G.vhdx d3d112d8dab7fd360609f7d5a7b769904b7a2a7d7b6b8c535f65a23293c05478
qemu-test-disk2vhd.vhdx 96d964042be9b58dda1725567abfb0cf9fd8380e2118754afa979c2ad445938a
dissect-dynamic.vhd ecff2ef6615a3cddc6a6885f1c6d9cf13a232697e1dc6575f2c2f01f57247784'

mkdir "$LAB/images"
while read -r name _; do
    for packed in "$VARVE_SAMPLES/vhdx/windows/$name".*; do
        case $packed in
        *.gz) gzip -dc "$packed" ;;
        *.bz2) bzip2 -dc "$packed" ;;
        *.xz) xz -dc "$packed" ;;
        esac >"$LAB/images/$name"
    done
done <<<"$images"
(cd "$LAB/images" && sha256sum -- * >"$LAB/before")

lab_collector_start
lab_folder_agent images "$LAB/images"
lab_wait_vms "$(wc -l <<<"$images")"
"$BIN/varve" backup run --all --quiet
# A second run reads again (no change tracking) and stores nothing new.
"$BIN/varve" backup run --all --quiet
(cd "$LAB/images" && sha256sum --quiet -c "$LAB/before") || lab_die "a source image was changed"

while read -r name want; do
    "$BIN/varve" restore "$name@latest~1" --format raw "$LAB/out" --quiet
    got=$(sha256 "$LAB/out/${name%.*}.raw")
    [ "$got" = "$want" ] || lab_die "$name as raw: content is $got, must be $want"
    rm -rf "$LAB/out"
    "$BIN/varve" restore "$name@latest" "$LAB/out" --quiet
    qemu-img check -q "$LAB/out/${name%.*}.vhdx"
    got=$(qemu-img convert -f vhdx -O raw "$LAB/out/${name%.*}.vhdx" "$LAB/raw" && sha256 "$LAB/raw")
    [ "$got" = "$want" ] || lab_die "$name as VHDX: content is $got, must be $want"
    rm -rf "$LAB/out" "$LAB/raw"
    echo "$name: right"
done <<<"$images"
