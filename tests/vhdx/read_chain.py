# SPDX-License-Identifier: Apache-2.0
"""read_chain.py LEAF PARENT ... BASE: the virtual disk of LEAF to standard output, by libvhdi."""
import sys

import pyvhdi

files = []
for path in sys.argv[1:]:
    files.append(pyvhdi.file())
    files[-1].open(path)
for i in range(len(files) - 2, -1, -1):
    files[i].set_parent(files[i + 1])
size = files[0].get_media_size()
off = 0
while off < size:
    n = min(1 << 20, size - off)
    data = files[0].read_buffer_at_offset(n, off)
    if len(data) != n:
        sys.exit("short read at %d" % off)
    sys.stdout.buffer.write(data)
    off += n
