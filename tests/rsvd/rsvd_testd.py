#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""rsvd-testd: remote shared virtual disks on loopback, for tests.  Written from MS-RSVD; shares nothing with the client.

    rsvd_testd.py --dir DIR [--image RAW] [--pcap FILE] [--dialect 302|311] [--cipher 1|2] [--encrypt]
                  [--encrypt-share] [--v1] [--no-rsvd] [--size BYTES] [--page RANGES] [--fault WHAT] [--control SOCKET]

The share "share" holds test.vhdx and rsvd.vhds, one GiB each unless told otherwise, whose content is that of the raw image (zeros without).
In DIR: "port" (written when the server listens), "log", "violations" and "keys" (of the sessions; at the end, on SIGTERM).  Users are those
of the file that NTLM_USER_FILE names.  A client that connects to "share-FAULT" has
disks of its own and that fault: see open_shared(), read(), reply_fault() and query_changes().  --fault is for the logon.

--control: the sets are those of a simulated Hyper-V host (tests/hvsim/group.h), which says on this unix socket, one JSON object a line,
what its nodes write and what it freezes: {"op": "set" | "write" | "snapshot" | "delete" | "list" | "fault" | "forget", "path":
"\\\\server\\share\\...", ...}; see control().
"""
import argparse
import base64
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import uuid

import testd_smb
from testd_smb import INVALID_DEVICE_REQUEST, INVALID_PARAMETER, NAME_NOT_FOUND, NOT_SUPPORTED, Gone, Refused

CONTEXT = uuid.UUID("9ecfcb9c-c104-43e6-980e-158da1f6ec83").bytes_le
BUFFER_TOO_SMALL, BUFFER_OVERFLOW = 0xC0000023, 0x80000005
PARAMETER = [INVALID_PARAMETER] + [0xC00000EF + i for i in range(6)]  # [n]: INVALID_PARAMETER_n
VHD_SHARED, VERSION_MISMATCH, NOT_AVAILABLE = 0xC05CFF0A, 0xC05CFF09, 0xC05CFF00
NAME_INVALID = 0xC0000033
ZERO = bytes(16)
GRAIN = 32768  # of change tracking and of copies
VIRTUAL_SIZE = 1 << 30


class Snapshot:
    def __init__(self, ident, blocks, changed):
        self.id = ident
        self.blocks = blocks  # None: a reference point, without data
        self.changed = changed  # since the snapshot before it
        self.time = int(time.time() * 1000)
        self.tracked = True


class Disk:
    """A shared disk: blocks that are never changed in place, so that a snapshot is a copy of the table."""

    def __init__(self, name, size, image=None, is_set=False):
        self.name = name
        self.is_set = is_set
        self.size = size
        self.image = image
        self.blocks = {}
        self.changed = set()
        self.snapshots = []
        self.making = {}
        self.id = uuid.uuid4().bytes_le
        self.keys = {}
        self.holder = None
        self.tracking = False

    def read(self, blocks, offset, length):
        out = b""
        while len(out) < length:
            at = offset + len(out)
            block = blocks.get(at // GRAIN)
            if block is None:
                block = b""
                if self.image:
                    self.image.seek(at // GRAIN * GRAIN)
                    block = self.image.read(GRAIN)
                block = block.ljust(GRAIN, b"\0")
            skip = at % GRAIN
            out += block[skip : skip + length - len(out)]
        return out

    def write(self, offset, data):
        while data:
            skip = offset % GRAIN
            part = data[: GRAIN - skip]
            old = self.read(self.blocks, offset - skip, GRAIN)
            self.blocks[offset // GRAIN] = old[:skip] + part + old[skip + len(part) :]
            self.changed.add(offset // GRAIN)
            offset += len(part)
            data = data[len(part) :]

    def find(self, ident):
        return next((s for s in self.snapshots if s.id == ident), None)

    def snapshot(self, ident):
        self.snapshots.append(Snapshot(ident, dict(self.blocks), self.changed))
        self.changed = set()

    def delete(self, snap, keep):
        if keep:
            snap.blocks = None
            return
        at = self.snapshots.index(snap)
        after = self.snapshots[at + 1].changed if at + 1 < len(self.snapshots) else self.changed
        after |= snap.changed
        self.snapshots.remove(snap)

    def changes(self, target, limit):
        at, end = self.snapshots.index(limit), self.snapshots.index(target)
        if at >= end:
            return None
        out = set()
        for s in self.snapshots[at + 1 : end + 1]:
            out |= s.changed
        return sorted(out)


class Node:
    """An open: a disk by RSVD (shared), a snapshot of it, or a plain file."""

    def __init__(self, disk, shared=False, version=0, initiator=ZERO, snap=None, options=0, fault=""):
        self.disk = disk
        self.shared = shared
        self.version = version
        self.initiator = initiator
        self.snap = snap
        self.options = options
        self.fault = fault
        self.size = disk.size
        self.requests = set()  # ids; several at a time may come in any order
        self.key = 0
        self.sense = {}
        self.durable = None
        self.told = False  # of a unit attention


class Rsvd(testd_smb.Server):
    version = 2
    has_rsvd = True
    page = 0

    def __init__(self, size, image=None):
        super().__init__()
        self.shares = {}
        self.image, self.size = image, size
        self.durables = {}
        self.sets = {}  # of a host, by share and path
        self.forced = ""  # a fault for all shares
        self.reads = 0

    def disks(self, conn):
        """Each share has its own."""
        if conn.fault not in self.shares:
            names = ("test.vhdx", "rsvd.vhds")
            self.shares[conn.fault] = {n: Disk(n, self.size, self.image, n.endswith(".vhds")) for n in names}
        return self.shares[conn.fault]

    # ---- opening ----

    def open(self, conn, name, contexts, access, share, disposition, options):
        if b"DH2C" in contexts:
            _fid, _key, guid, _flags = struct.unpack("<QQ16sI", contexts[b"DH2C"])
            if CONTEXT in contexts or guid not in self.durables:
                raise Refused(0xC0000128 if CONTEXT not in contexts else INVALID_PARAMETER)
            return self.durables[guid], []
        plain, colon, suffix = name.partition(":")
        if colon and (suffix != "SharedVirtualDisk" or not self.has_rsvd):
            # With named streams it is one that is not there.
            raise Refused(NAME_NOT_FOUND if conn.fault == "streams" else NAME_INVALID)
        disk = self.disks(conn).get(plain.lower()) or self.sets.get(conn.fault, {}).get(plain.lower())
        if disk is None:
            raise Refused(NAME_NOT_FOUND)
        if disposition != 1:
            raise Refused(NOT_SUPPORTED)
        answers = []
        node = Node(disk, options=options, fault=self.forced or conn.fault)
        node.disks = self.disks(conn)
        if colon:
            self.open_shared(node, contexts, answers)
        if b"DH2Q" in contexts:
            _timeout, flags, _reserved, guid = struct.unpack("<IIQ16s", contexts[b"DH2Q"])
            self.durables[guid] = node
            node.durable = guid
            answers.append((b"DH2Q", struct.pack("<II", 60000, flags & 2)))
        return node, answers

    def open_shared(self, node, contexts, answers):
        if b"ExtA" in contexts:
            self.open_target(node, contexts[b"ExtA"])
        if CONTEXT not in contexts:
            if b"ExtA" not in contexts:
                return
            node.shared, node.version = True, 2
            if node.fault == "target-needs-disk":
                node.initiator = None
            return
        data = contexts[CONTEXT]
        if len(data) < 168:
            raise Refused(BUFFER_TOO_SMALL)
        version, has_id = struct.unpack_from("<IB", data)
        originator = struct.unpack_from("<I", data, 28)[0]
        if version > self.version or version == 0 or has_id > 1:
            raise Refused(INVALID_PARAMETER)
        if version == 2 and len(data) < 192:
            raise Refused(BUFFER_TOO_SMALL)
        if len(data) != (192 if version == 2 else 168) or struct.unpack_from("<H", data, 40)[0] > 126:
            self.violation(f"an open context of {len(data)} bytes")
        if originator == 4:
            raise Refused(VHD_SHARED)
        if not node.options & 8:
            self.violation("a shared disk was opened with buffering")
        node.shared, node.version = True, version
        node.initiator = data[8:24] if has_id else ZERO
        if version == 2:
            data = data[:168] + struct.pack("<IIIIQ", 1, self.version, 512, 4096, node.disk.size)
        answers.append((CONTEXT, data))

    def open_target(self, node, data):
        if self.version < 2 or not node.disk.is_set:
            raise Refused(INVALID_PARAMETER)
        _next, flags, name_len, value_len = struct.unpack_from("<IBBH", data)
        if data[8 : 8 + name_len] != b"RSVD_TARGET_SPECIFIER_EA" or value_len < 24 or flags != 0x80:
            raise Refused(INVALID_PARAMETER)
        space, kind, ident = struct.unpack_from("<II16s", data, 9 + name_len)
        if space != 0 or kind not in (1, 4):
            raise Refused(INVALID_PARAMETER)
        node.snap = node.disk.find(ident)
        if node.snap is None or node.snap.blocks is None:
            raise Refused(NAME_NOT_FOUND)
        node.initiator = b"\1" * 16

    def close(self, node):
        """The client closes it, so that nothing is under way; a connection that breaks may have lost requests."""
        if node.requests and max(node.requests) - min(node.requests) + 1 != len(node.requests):
            self.violation(f"request ids not counted up: {sorted(node.requests)}")

    # ---- data ----

    def stored(self, node, sense):
        node.key = node.key % 255 + 1
        node.sense[node.key] = sense
        raise Refused(0xC05C0000 | node.key)

    def read(self, conn, msg, node, offset, length):
        if node.shared:
            if not node.options & 8:
                raise Refused(NOT_SUPPORTED)
            if offset % 512 or length % 512:
                self.violation(f"a read of {length} bytes at {offset}")
                raise Refused(INVALID_PARAMETER)
            if node.initiator in (None, ZERO):
                self.stored(node, (4, 2, b"\x70\0\5" + bytes(9) + b"\x20\0" + bytes(6)))
        if offset + length > node.disk.size:
            raise Refused(0xC0000011)
        if node.fault == "sense" and offset >= 1 << 20:
            self.stored(node, (4, 2, b"\x70\0\3" + bytes(9) + b"\x11\0" + bytes(6)))
        if node.fault == "attention" and offset >= 1 << 20 and not node.told:
            node.told = True
            raise Refused(0xC05CFF06)
        if node.fault == "reserved" and offset >= 1 << 20:
            raise Refused(0xC05CFF07)
        if node.fault == "drop" and offset >= 1 << 20:
            raise Gone("as told")
        if node.fault == "pending":
            conn.send(msg, testd_smb.PENDING, asynchronous=True)
        self.reads += length
        blocks = node.snap.blocks if node.snap else node.disk.blocks
        data = node.disk.read(blocks, offset, length)
        return data[:-512] if node.fault == "short" and offset >= 1 << 20 else data

    def reply_fault(self, conn, what):
        fault = self.forced or conn.fault
        if what == "read" and fault == "unsigned":
            return {"sign": False}
        if what == "read" and fault == "unencrypted":
            return {"seal": False}
        if what == "read" and fault == "spoilt":
            return {"spoil": True}
        return {}

    def write(self, node, offset, data):
        if node.shared and node.initiator in (None, ZERO):
            self.stored(node, (4, 2, b"\x70\0\5" + bytes(17)))
        if offset + len(data) > node.disk.size or node.snap:
            raise Refused(INVALID_PARAMETER)
        node.disk.write(offset, data)

    # ---- FSCTLs ----

    def ioctl(self, conn, msg, node, code, data, room):
        if not self.has_rsvd or code not in (0x90300, 0x90304, 0x90364):
            raise Refused(INVALID_DEVICE_REQUEST)
        if code == 0x90300:
            if room < 8:
                raise Refused(BUFFER_TOO_SMALL)
            return False, struct.pack("<II", 7 if self.version == 2 else 1, 3 if node.shared else 0)
        if not node.shared:
            raise Refused(INVALID_PARAMETER)
        if len(data) < 16:
            raise Refused(BUFFER_TOO_SMALL)
        operation, status, request = struct.unpack_from("<IIQ", data)
        if status != 0:
            self.violation("a request with a status")
        if request in node.requests:
            self.violation(f"request id {request} twice")
        node.requests.add(request)
        if operation >> 24 != 2:
            raise Refused(INVALID_DEVICE_REQUEST)
        pending = code == 0x90364
        if pending:
            conn.send(msg, testd_smb.PENDING, asynchronous=True)
        try:
            status, body = self.operate(node, operation, data[16:], room - 16, code == 0x90364)
        except Refused as why:
            if pending:
                conn.send(msg, why.status, asynchronous=True)
                raise Gone("refused while pending") from None
            raise
        return pending, struct.pack("<IIQ", operation, status, request) + body

    def operate(self, node, operation, body, room, asynchronous):
        group = operation & 0xF000
        if group not in (0x1000, 0x2000) or group == 0x2000 and self.version < 2:
            return VERSION_MISMATCH, b""
        table = {0x2001001: (self.initial_info, 24), 0x2001002: (self.scsi, 36), 0x2001003: (self.connection, 0),
                 0x2001004: (self.srb_status, 24), 0x2001005: (self.disk_info, 56), 0x2001006: (self.validate, 1),
                 0x2002101: (self.meta, 0), 0x2002002: (self.progress, 16), 0x2002005: (self.query_set, 0),
                 0x2002006: (self.delete_snapshot, 0), 0x2002008: (self.tracking_get, 16),
                 0x2002009: (self.tracking_start, 0), 0x200200A: (self.tracking_stop, 4),
                 0x200200C: (self.query_changes, 16), 0x200200D: (self.safe_size, 8)}
        if operation not in table:
            return INVALID_PARAMETER, b""
        if asynchronous != (operation == 0x2002101):
            self.violation(f"0x{operation:08x} by the wrong FSCTL")
            return INVALID_PARAMETER, b""
        call, least = table[operation]
        if room < least:
            raise Refused(INVALID_PARAMETER if operation in (0x2001002, 0x2001004) else BUFFER_TOO_SMALL)
        return call(node, body, room)

    def initial_info(self, node, _body, _room):
        return 0, struct.pack("<IIIIQ", self.version, 512, 4096, 0, node.disk.size)

    def connection(self, _node, _body, _room):
        return 0, b""

    def validate(self, _node, body, _room):
        return (0, b"\1") if len(body) >= 56 else (BUFFER_TOO_SMALL, b"")

    def disk_info(self, node, body, _room):
        if len(body) < 56:
            raise Refused(BUFFER_TOO_SMALL)
        out = struct.pack("<III", 3, 4 if node.disk.is_set else 3, 1 << 21) + ZERO + b"\1\1\0\0"
        return 0, out + struct.pack("<Q", 4 << 20) + node.disk.id

    def srb_status(self, node, body, _room):
        if len(body) < 28 or body[0] not in node.sense:
            return NOT_AVAILABLE, b""
        srb, scsi, sense = node.sense[body[0]]
        return 0, bytes([body[0], 0x80 | srb, scsi, len(sense)]) + sense

    def safe_size(self, node, _body, _room):
        return 0, struct.pack("<Q", node.disk.size)

    # ---- SCSI: READ CAPACITY(10) and PERSISTENT RESERVE OUT ----

    def scsi(self, node, body, _room):
        if len(body) < 36:
            return INVALID_PARAMETER, body
        length, _r, cdb_len, sense_len, disposition, _r2, flags, transfer = struct.unpack_from("<HHBBBBII", body)
        cdb, data = body[16:32], body[36:]
        if length != 36 or sense_len > 20 or cdb_len > 16 or len(data) < transfer:
            return INVALID_PARAMETER, body
        if node.initiator in (None, ZERO):
            return 0xC0000008, body
        scsi_status, out = 0, b""
        if cdb[0] == 0x25 and disposition == 1 and flags & 0x40:
            out = struct.pack(">II", node.disk.size // 512 - 1, 512)[:transfer]
        elif cdb[0] == 0x5F and disposition == 0 and flags & 0x80:
            scsi_status = self.reserve(node, cdb[1] & 31, cdb[2] & 15, data)
        else:
            scsi_status = 2
        return 0, struct.pack("<HBBBBBBII", 36, 1, scsi_status, cdb_len, 20, disposition, 0, flags, len(out)) + bytes(20) + out

    def reserve(self, node, action, kind, data):
        key, service = struct.unpack_from(">QQ", data)
        disk, who = node.disk, node.initiator
        if action == 6:  # register and ignore existing key
            disk.keys[who] = service
            return 0
        if disk.keys.get(who) != key:
            return 0x18
        if action == 1:
            if disk.holder not in (None, who):
                return 0x18
            disk.holder = who
        elif action == 2 and disk.holder == who:
            disk.holder = None
        elif action == 4:
            disk.keys = {w: k for w, k in disk.keys.items() if k != service or w == who}
            if disk.holder not in disk.keys or disk.holder is None:
                disk.holder = who
        self.note(f"reservation {action} type {kind}")
        return 0

    # ---- VHD sets ----

    def query_set(self, node, body, room):
        if len(body) != 24:
            raise Refused(BUFFER_TOO_SMALL)
        what, kind, ident = struct.unpack("<II16s", body)
        if not node.disk.is_set:
            return INVALID_DEVICE_REQUEST, b""
        if what == 2:
            if kind != 1:
                return PARAMETER[1], b""
            ids = [s.id for s in node.disk.snapshots]
            if room < 16 + 16 * len(ids):
                return 0, struct.pack("<IIIII", 2, 0x5A5A5A5A, 0, len(ids), 0)[:16]
            return 0, struct.pack("<IIII", 2, 0x5A5A5A5A, 1, len(ids)) + b"".join(ids)
        if what == 5:
            snap = node.disk.find(ident)
            if kind not in (1, 3, 4):
                return PARAMETER[1], b""
            if snap is None:
                return INVALID_PARAMETER, b""
            return 0, struct.pack("<IIQII", 5, 0, snap.time, 1, 1) + snap.id + ZERO + ZERO
        if what == 8 and kind == 0:
            return 0, struct.pack("<III", 8, 0, 0)
        return PARAMETER[1 if what not in (8, 9, 10, 12) else 0], b""

    def delete_snapshot(self, node, body, _room):
        if len(body) != 24:
            raise Refused(BUFFER_TOO_SMALL)
        ident, keep, kind = struct.unpack("<16sII", body)
        snap = node.disk.find(ident)
        if snap is None or kind not in (1, 3, 4) or keep and kind != 1:
            return INVALID_PARAMETER, b""
        node.disk.delete(snap, keep)
        return 0, b""

    def query_changes(self, node, body, room):
        if len(body) < 56:
            raise Refused(BUFFER_TOO_SMALL)
        target, limit, kind, _r, offset, length = struct.unpack_from("<16s16sIIQQ", body)
        target, limit = node.disk.find(target), node.disk.find(limit)
        if kind != 1 or target is None or limit is None or offset + length > node.disk.size:
            return INVALID_PARAMETER, b""
        blocks = node.disk.changes(target, limit)
        if blocks is None or node.fault == "changes-refused":
            return 0xC0000001, b""
        if node.fault == "no-progress":
            return 0, struct.pack("<QII", 0, 0, 0)
        most = (room - 16) // 24
        most = min(most, self.page) if self.page else most
        ranges, done = [], length
        for b in blocks:
            at, end = b * GRAIN, (b + 1) * GRAIN
            if end <= offset or at >= offset + length:
                continue
            if ranges and ranges[-1][1] == at:
                ranges[-1][1] = end
            elif len(ranges) == most:
                done = at - offset
                break
            else:
                ranges.append([at, end])
        body = b"".join(struct.pack("<QQQ", a, e - a, 0) for a, e in ranges)
        return 0, struct.pack("<QII", done, len(ranges), 0) + body

    def tracking_get(self, node, _body, _room):
        return 0, struct.pack("<IIQ", 0 if node.disk.tracking else 0xC03A0020, 0, 0)

    def tracking_start(self, node, body, _room):
        if len(body) < 56:
            raise Refused(BUFFER_TOO_SMALL)
        node.disk.tracking = True
        return 0, b""

    def tracking_stop(self, node, _body, _room):
        node.disk.tracking = False
        return 0, struct.pack("<I", 0)

    # ---- meta-operations ----

    def progress(self, _node, body, _room):
        if len(body) < 16:
            raise Refused(BUFFER_TOO_SMALL)
        return 0, struct.pack("<QQ", 100, 100)

    def meta(self, node, body, _room):
        if len(body) < 24:
            raise Refused(BUFFER_TOO_SMALL)
        transaction, kind = struct.unpack_from("<16sI", body)
        calls = [(self.resize, 12), (self.make_snapshot, 52), (self.optimize, 0), (self.extract, 48),
                 (self.convert, 4), (self.apply, 20)]
        if kind >= len(calls):
            return INVALID_PARAMETER, b""
        call, least = calls[kind]
        if len(body) - 24 < least:
            raise Refused(BUFFER_TOO_SMALL)
        return call(node, body[24:], transaction)

    def optimize(self, _node, _body, _transaction):
        return 0, b""

    def make_snapshot(self, node, body, transaction):
        if len(body) < 76:
            raise Refused(BUFFER_TOO_SMALL)
        kind, flags, *stages = struct.unpack_from("<8I", body)
        ident = body[32:48]
        if not node.disk.is_set:
            return INVALID_DEVICE_REQUEST, b""
        if kind not in (1, 3, 4):
            return PARAMETER[1], b""
        if stages[0] == 0:
            return PARAMETER[2], b""
        used = [s for s in stages if s]
        if stages[: len(used)] != used:
            return PARAMETER[3], b""
        if any(b <= a for a, b in zip(used, used[1:])):
            return PARAMETER[4], b""
        if flags and (kind != 1 or flags != 1 or used[0] != 1):
            return PARAMETER[5], b""
        if used[0] == 1:
            node.disk.making[transaction] = ident
        if 3 in used:
            if node.disk.making.get(transaction) != ident:
                return INVALID_PARAMETER, b""
            node.disk.snapshot(ident)
        if 5 in used:
            node.disk.making.pop(transaction, None)
        return 0, struct.pack("<I", 0)

    def name_of(self, data, length):
        name = data[:length].decode("utf-16-le")
        if not name.endswith("\0") or len(data) < length:
            return None
        return name[:-1].lower()

    def extract(self, node, body, _transaction):
        kind, _r, _flags, source, limit, length = struct.unpack_from("<III16s16sI", body)
        name = self.name_of(body[48:], length)
        snap = node.disk.find(source)
        if kind != 1 or name is None or snap is None or limit != ZERO and node.disk.find(limit) is None:
            return INVALID_PARAMETER, b""
        disk = Disk(name, node.disk.size, node.disk.image)
        disk.blocks = dict(snap.blocks)
        node.disks[name] = disk
        return 0, b""

    def convert(self, node, body, _transaction):
        name = self.name_of(body[4:], struct.unpack_from("<I", body)[0])
        if name is None or not name.endswith(".vhds"):
            return INVALID_PARAMETER, b""
        disk = Disk(name, node.disk.size, node.disk.image, True)
        disk.blocks = dict(node.disk.blocks)
        node.disks[name] = disk
        return 0, b""

    def resize(self, node, body, _transaction):
        size, expand, unsafe, smallest, _r = struct.unpack_from("<QBBBB", body)
        if smallest and (size or expand or unsafe):
            return PARAMETER[1], b""
        if expand and size < node.disk.size or size % 512:
            return INVALID_PARAMETER, b""
        node.disk.size = size or node.disk.size
        return 0, b""

    def apply(self, node, body, _transaction):
        kind, ident = struct.unpack_from("<I16s", body)
        snap = node.disk.find(ident)
        if kind not in (1, 4):
            return PARAMETER[1], b""
        if snap is None or snap.blocks is None:
            return INVALID_PARAMETER, b""
        node.disk.changed |= set(node.disk.blocks) | set(snap.blocks)
        node.disk.blocks = dict(snap.blocks)
        return 0, b""


    # ---- the host whose sets these are ----

    def control(self, request):
        """One request; what is not there is an error."""
        op = request["op"]
        if op == "fault":
            self.forced = request["fault"]
            return {}
        if op == "reads":
            count, self.reads = self.reads, 0
            return {"bytes": count}
        share, _, path = request["path"].lstrip("\\").partition("\\")[2].partition("\\")
        disks = self.sets.setdefault(share.partition("-")[2], {})
        if op == "set":
            disk = disks[path.lower()] = Disk(path, request["size"], None, True)
            disk.id = uuid.UUID(request["disk"]).bytes_le
            return {}
        disk = disks[path.lower()]
        if op == "write":
            disk.write(request["offset"], base64.b64decode(request["data"]))
        elif op == "snapshot":
            disk.snapshot(uuid.UUID(request["snapshot"]).bytes_le)
        elif op == "delete":
            snap = disk.find(uuid.UUID(request["snapshot"]).bytes_le)
            if snap is not None:  # else it was forgotten
                disk.delete(snap, request["keep"])
        elif op == "forget":  # as if somebody had deleted all reference points
            disk.snapshots = [s for s in disk.snapshots if s.blocks is not None]
        elif op == "list":
            return {"snapshots": [{"id": str(uuid.UUID(bytes_le=s.id)), "data": s.blocks is not None}
                                  for s in disk.snapshots]}
        else:
            raise KeyError(op)
        return {}

    def serve_control(self, sock):
        while True:
            client, _ = sock.accept()
            with client, client.makefile("rw", encoding="utf-8") as stream:
                for line in stream:
                    try:
                        answer = {"ok": True, **self.control(json.loads(line))}
                    except (KeyError, ValueError, AttributeError) as why:
                        answer = {"ok": False, "error": repr(why)}
                    stream.write(json.dumps(answer) + "\n")
                    stream.flush()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--dir", required=True)
    args.add_argument("--image")
    args.add_argument("--pcap")
    args.add_argument("--dialect")
    args.add_argument("--cipher", type=int)
    args.add_argument("--encrypt", action="store_true")
    args.add_argument("--encrypt-share", action="store_true")
    args.add_argument("--downgrade", action="store_true")
    args.add_argument("--v1", action="store_true")
    args.add_argument("--no-rsvd", action="store_true")
    args.add_argument("--size", type=int, default=VIRTUAL_SIZE)
    args.add_argument("--page", type=int, default=0)
    args.add_argument("--fault", default="")
    args.add_argument("--control")
    args = args.parse_args()
    server = Rsvd(args.size, open(args.image, "rb") if args.image else None)
    if args.dialect:
        server.dialects = (int(args.dialect, 16),)
    if args.cipher:
        server.ciphers = (args.cipher,)
    server.encrypt, server.encrypt_share, server.downgrade = args.encrypt, args.encrypt_share, args.downgrade
    server.version = 1 if args.v1 else 2
    server.has_rsvd, server.page, server.fault = not args.no_rsvd, args.page, args.fault
    if args.pcap:
        server.capture = testd_smb.Capture(args.pcap)
    if args.control:
        control = socket.socket(socket.AF_UNIX)
        control.bind(args.control)
        control.listen(16)
        threading.Thread(target=server.serve_control, args=(control,), daemon=True).start()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)

    def end(_signal, _frame):
        for name, lines in (("log", server.log), ("violations", server.violations), ("keys", server.keys)):
            with open(os.path.join(args.dir, name), "w", encoding="utf-8") as f:
                f.writelines(line + "\n" for line in lines)
        sys.stdout.flush()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    with open(os.path.join(args.dir, "port.new"), "w", encoding="ascii") as f:
        f.write(str(sock.getsockname()[1]))
    os.rename(os.path.join(args.dir, "port.new"), os.path.join(args.dir, "port"))
    server.serve(sock)


if __name__ == "__main__":
    main()
