# SPDX-License-Identifier: Apache-2.0
"""Reads a chain with libvhdi.

read_chain.py LEAF PARENT ... BASE
    the virtual disk of LEAF to standard output
read_chain.py --compare RAW LEAF PARENT ... BASE
    compares places of it with RAW: every 16 MiB and around every multiple of 4 GiB, where the part
    of the next bitmap block begins
"""
import sys

import pyvhdi

PIECE = 1 << 20


def read(disk, length, off):
    data = disk.read_buffer_at_offset(length, off)
    if len(data) != length:
        sys.exit("short read at %d" % off)
    return data


def compare(disk, size, path):
    places = list(range(0, size, 16 << 20)) + [size - PIECE]
    for border in range(4 << 30, size, 4 << 30):
        places += range(border - 4 * PIECE, border + 4 * PIECE, PIECE)
    with open(path, "rb") as raw:
        for off in places:
            length = min(PIECE, size - off)
            raw.seek(off)
            if read(disk, length, off) != raw.read(length):
                sys.exit("differs in the %d bytes at %d" % (length, off))


def main(args):
    raw = None
    if args[0] == "--compare":
        raw = args[1]
        args = args[2:]
    files = []
    for path in args:
        files.append(pyvhdi.file())
        files[-1].open(path)
    for i in range(len(files) - 2, -1, -1):
        files[i].set_parent(files[i + 1])
    size = files[0].get_media_size()
    if raw is not None:
        compare(files[0], size, raw)
        return
    for off in range(0, size, PIECE):
        sys.stdout.buffer.write(read(files[0], min(PIECE, size - off), off))


main(sys.argv[1:])
