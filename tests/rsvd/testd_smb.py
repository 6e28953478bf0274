# SPDX-License-Identifier: Apache-2.0
"""A server of SMB 3.0.2 and 3.1.1 for tests, written from MS-SMB2 and sharing nothing with the client.

It is strict: what a client may not do is refused and noted in `violations`, so that a test can fail on it.
What a file is, and what FSCTLs do, a subclass says (testd_rsvd.py).
"""
import hashlib
import os
import socket
import struct
import threading

import gssapi.raw as gss
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE = range(7)
READ, WRITE, IOCTL, CANCEL, ECHO = 8, 9, 11, 12, 13

SUCCESS = 0
PENDING = 0x103
MORE_PROCESSING = 0xC0000016
ACCESS_DENIED = 0xC0000022
INVALID_PARAMETER = 0xC000000D
INVALID_HANDLE = 0xC0000008
INVALID_DEVICE_REQUEST = 0xC0000010
NOT_SUPPORTED = 0xC00000BB
LOGON_FAILURE = 0xC000006D
BAD_NETWORK_NAME = 0xC00000CC
NAME_NOT_FOUND = 0xC0000034

SESSION_KEY_OID = bytes.fromhex("2a864886f71201020205" + "05")


class Refused(Exception):
    """A request gets this status."""

    def __init__(self, status):
        super().__init__(f"0x{status:08X}")
        self.status = status


class Gone(Exception):
    """The connection ends."""


def kdf(key, label, context):
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", 128))
    return mac.finalize()[:16]


def cmac(key, data):
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()


class Capture:
    """Both directions of all connections as a pcap file, with headers made up: port 445 on loopback."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101))
        self.time = 0

    def add(self, state, from_client, data):
        for i in range(0, len(data), 32768):
            self.packet(state, from_client, data[i : i + 32768])

    def packet(self, state, from_client, data):
        with self.lock:
            src, dst = (state["port"], 445) if from_client else (445, state["port"])
            seq, ack = (state["c"], state["s"]) if from_client else (state["s"], state["c"])
            state["c" if from_client else "s"] += len(data)
            tcp = struct.pack(">HHIIBBHHH", src, dst, seq, ack, 5 << 4, 0x18, 65535, 0, 0) + data
            head = bytes([127, 0, 0, 1])
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + head + head
            self.time += 1
            self.file.write(struct.pack("<IIII", self.time // 1000, self.time % 1000, len(ip + tcp),
                                        len(ip + tcp)) + ip + tcp)
            self.file.flush()


class Message:
    """A request as it came."""

    def __init__(self, raw, sealed):
        self.raw = raw
        self.sealed = sealed
        (magic, size, self.charge, _status, self.command, self.credits, self.flags, self.next, self.id,
         _reserved, self.tree, self.session) = struct.unpack("<4sHHIHHIIQIIQ", raw[:48])
        if magic != b"\xfeSMB" or size != 64 or self.next != 0 or self.flags & 1:
            raise Gone("not a request of SMB 2")
        self.body = raw[64:]

    def field(self, fmt, at):
        size = struct.calcsize(fmt)
        if at + size > len(self.body):
            raise Refused(INVALID_PARAMETER)
        return struct.unpack_from(fmt, self.body, at)[0]

    def part(self, at, size):
        """Bytes at an offset from the header."""
        if size and (at < 64 or at + size > len(self.raw)):
            raise Refused(INVALID_PARAMETER)
        return self.raw[at : at + size]


class Open:
    """What a handle stands for."""

    def __init__(self, fid, node):
        self.fid = fid
        self.node = node


class Connection:
    def __init__(self, server, sock, port):
        self.server = server
        self.sock = sock
        self.flow = {"port": port, "c": 1, "s": 1}
        self.dialect = 0
        self.cipher = 0
        self.preauth = bytes(64)
        self.session = 0
        self.auth = None
        self.keys = None
        self.encrypt = False
        self.tree = 0
        self.fault = ""
        self.opens = {}
        self.next_fid = 1
        self.window = {0}
        self.highest = 0
        self.sent_nonce = 0
        self.seen_nonces = set()

    # ---- bytes ----

    def recv(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise Gone("closed")
            data += part
        return data

    def receive(self):
        prefix = self.recv(4)
        size = struct.unpack(">I", prefix)[0]
        if size > 0x120000:
            raise Gone("too long")
        data = self.recv(size)
        if self.server.capture:
            self.server.capture.add(self.flow, True, prefix + data)
        sealed = data[:4] == b"\xfdSMB"
        return Message(self.unseal(data) if sealed else data, sealed)

    def unseal(self, data):
        tag, nonce = data[4:20], data[20:36]
        size, _reserved, flags, session = struct.unpack("<IHHQ", data[36:52])
        if not self.keys or session != self.session or flags != 1 or size != len(data) - 52:
            raise Gone("a bad transform header")
        nonce = nonce[: 12 if self.cipher == 2 else 11]
        if nonce in self.seen_nonces:
            self.server.violation("a nonce was used twice")
        self.seen_nonces.add(nonce)
        aead = AESGCM(self.keys["in"]) if self.cipher == 2 else AESCCM(self.keys["in"], 16)
        try:
            return aead.decrypt(nonce, data[52:] + tag, data[20:52])
        except InvalidTag:
            self.server.violation("a request does not decrypt")
            raise Gone("tag") from None

    def send(self, msg, status=SUCCESS, body=b"", sign=True, asynchronous=False, seal=None, spoil=False):
        flags = 1 | (2 if asynchronous else 0)
        credits = max(1, min(msg.credits, self.server.max_credits)) if status != PENDING else 0
        if asynchronous and status != PENDING:
            credits = max(1, min(msg.credits, self.server.max_credits))
        middle = struct.pack("<Q", 77) if asynchronous else struct.pack("<II", 0, self.tree)
        if status not in (SUCCESS, MORE_PROCESSING) and not body:
            body = struct.pack("<HBBI", 9, 0, 0, 0) + b"\0"
        head = struct.pack("<4sHHIHHIIQ", b"\xfeSMB", 64, msg.charge, status, msg.command, credits, flags, 0,
                           msg.id) + middle + struct.pack("<Q", self.session) + bytes(16)
        for _ in range(credits):
            self.highest += 1
            self.window.add(self.highest)
        data = head + body
        seal = self.encrypt or msg.sealed if seal is None else seal  # MS-SMB2 3.3.4.1.4
        if self.keys and seal:
            data = self.seal(data)
        elif self.keys and sign and status != PENDING:
            data = data[:16] + struct.pack("<I", flags | 8) + data[20:]
            data = data[:48] + cmac(self.keys["sign"], data) + data[64:]
        if spoil:
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.transmit(data)
        return data

    def transmit(self, data):
        frame = struct.pack(">I", len(data)) + data
        if self.server.capture:
            self.server.capture.add(self.flow, False, frame)
        self.sock.sendall(frame)

    def seal(self, data):
        self.sent_nonce += 1
        nonce = struct.pack("<QQ", self.sent_nonce, 0)
        rest = nonce + struct.pack("<IHHQ", len(data), 0, 1, self.session)
        short = nonce[: 12 if self.cipher == 2 else 11]
        aead = AESGCM(self.keys["out"]) if self.cipher == 2 else AESCCM(self.keys["out"], 16)
        sealed = aead.encrypt(short, data, rest)
        return b"\xfdSMB" + sealed[-16:] + rest + sealed[:-16]

    # ---- what a client must keep to ----

    def check(self, msg):
        if msg.command == CANCEL:
            return
        ids = range(msg.id, msg.id + max(1, msg.charge))
        if any(i not in self.window for i in ids):
            self.server.violation(f"message id {msg.id} (charge {msg.charge}) was not granted")
            raise Gone("credits")
        self.window.difference_update(ids)
        if not self.keys:
            return
        if self.encrypt and not msg.sealed:
            self.server.violation(f"command {msg.command} came unencrypted")
            raise Gone("unencrypted")
        if not msg.sealed:
            signed = msg.raw[:48] + bytes(16) + msg.raw[64:]
            if not msg.flags & 8 or cmac(self.keys["sign"], signed) != msg.raw[48:64]:
                self.server.violation(f"command {msg.command} is not signed")
                raise Gone("unsigned")
        if msg.session != self.session:
            self.server.violation("another session id")
            raise Gone("session")

    # ---- the logon ----

    def negotiate(self, msg):
        size, count, mode, _r, caps = struct.unpack_from("<HHHHI", msg.body)
        dialects = struct.unpack_from(f"<{count}H", msg.body, 36)
        if size != 36:
            raise Refused(INVALID_PARAMETER)
        if not mode & 2:
            self.server.violation("the client does not require signing")
        self.offer = struct.pack("<I", caps) + msg.body[12:28] + struct.pack(f"<HH{count}H", mode, count, *dialects)
        common = [d for d in dialects if d in self.server.dialects]
        if not common:
            raise Refused(NOT_SUPPORTED)
        self.dialect = max(common)
        contexts = b""
        if self.dialect == 0x311:
            at, number = struct.unpack_from("<IH", msg.body, 28)
            ciphers, hashed = (), False
            for _ in range(number):
                kind, length = struct.unpack("<HH", msg.raw[at : at + 4])
                data = msg.raw[at + 8 : at + 8 + length]
                if kind == 1:
                    hashed = struct.unpack_from("<HHH", data)[2] == 1
                if kind == 2:
                    ciphers = struct.unpack_from(f"<{struct.unpack_from('<H', data)[0]}H", data, 2)
                at += 8 + (length + 7) // 8 * 8
            if not hashed:
                self.server.violation("no preauthentication context")
                raise Refused(INVALID_PARAMETER)
            self.cipher = next((c for c in ciphers if c in self.server.ciphers), 0)
            contexts = struct.pack("<HHI", 1, 38, 0) + struct.pack("<HHH", 1, 32, 1) + os.urandom(32) + bytes(2)
            contexts += struct.pack("<HHI", 2, 4, 0) + struct.pack("<HH", 1, self.cipher)
            caps_out = 4
        else:
            self.cipher = 1 if caps & 0x40 and 1 in self.server.ciphers else 0
            caps_out = 4 | (0x40 if self.cipher else 0)
        if self.server.downgrade:
            caps_out ^= 0x40
        body = struct.pack("<HHHH", 65, 3, self.dialect, 2 if contexts else 0) + self.server.guid
        body += struct.pack("<IIIIQQHHI", caps_out, self.server.max_transact, self.server.max_read, 1 << 20, 0, 0, 128, 0,
                            128 if contexts else 0) + contexts
        self.agreed = struct.pack("<I", caps_out ^ (0x40 if self.server.downgrade else 0)) + self.server.guid
        self.agreed += struct.pack("<HH", 3, self.dialect)
        self.preauth = hashlib.sha512(self.preauth + msg.raw).digest()
        sent = self.send(msg, SUCCESS, body)
        self.preauth = hashlib.sha512(self.preauth + sent).digest()

    def session_setup(self, msg):
        at, length = msg.field("<H", 12), msg.field("<H", 14)
        token = msg.part(at, length)
        self.session = self.session or int.from_bytes(os.urandom(6), "little") | 1
        self.preauth = hashlib.sha512(self.preauth + msg.raw).digest()
        if msg.field("<H", 0) != 25:
            raise Refused(INVALID_PARAMETER)
        try:
            result = gss.accept_sec_context(token, context=self.auth)
        except gss.GSSError as why:
            self.server.note(f"logon refused: {why}")
            raise Refused(LOGON_FAILURE) from None
        self.auth = result.context
        out = result.token or b""
        flags = 4 if self.server.encrypt and not result.more_steps else 0
        flags |= 1 if self.server.fault == "guest" and not result.more_steps else 0
        body = struct.pack("<HHHH", 9, flags, 72, len(out)) + out
        if result.more_steps:
            sent = self.send(msg, MORE_PROCESSING, body)
            self.preauth = hashlib.sha512(self.preauth + sent).digest()
            return
        key = gss.inquire_sec_context_by_oid(self.auth, gss.OID(elements=SESSION_KEY_OID))[0][:16].ljust(16, b"\0")
        if self.dialect == 0x311:
            self.keys = {"sign": kdf(key, b"SMBSigningKey\0", self.preauth),
                         "in": kdf(key, b"SMBC2SCipherKey\0", self.preauth),
                         "out": kdf(key, b"SMBS2CCipherKey\0", self.preauth)}
        else:
            self.keys = {"sign": kdf(key, b"SMB2AESCMAC\0", b"SmbSign\0"),
                         "in": kdf(key, b"SMB2AESCCM\0", b"ServerIn \0"),
                         "out": kdf(key, b"SMB2AESCCM\0", b"ServerOut\0")}
        self.server.keys.append(",".join(x.hex() for x in (struct.pack("<Q", self.session), key, self.keys["out"],
                                                           self.keys["in"])))
        self.send(msg, SUCCESS, body, sign=self.server.fault != "unsigned-logon", seal=False)
        self.encrypt = bool(flags & 4)

    def tree_connect(self, msg):
        path = msg.part(msg.field("<H", 4), msg.field("<H", 6)).decode("utf-16-le")
        share, _dash, self.fault = path.rsplit("\\", 1)[-1].lower().partition("-")
        if share != self.server.share:
            raise Refused(BAD_NETWORK_NAME)
        self.tree = 5
        self.send(msg, SUCCESS, struct.pack("<HBBIII", 16, 1, 0, 0x8000 if self.server.encrypt_share else 0, 0, 0x1F01FF))
        self.encrypt = self.encrypt or self.server.encrypt_share

    # ---- files ----

    def create(self, msg):
        (size, _s, _o, level, _f, _r, access, _a, share, disposition, options, name_at, name_len, ctx_at,
         ctx_len) = struct.unpack_from("<HBBIQQIIIIIHHII", msg.body)
        if size != 57 or name_at != 120 or level > 3:
            raise Refused(INVALID_PARAMETER)
        name = msg.part(name_at, name_len).decode("utf-16-le")
        contexts, at, end = [], ctx_at, ctx_at + ctx_len
        while ctx_len:
            if at % 8:
                self.server.violation("a create context is not aligned")
            step, n_at, n_len, _r2, d_at, d_len = struct.unpack("<IHHHHI", msg.part(at, 16))
            contexts.append((msg.part(at + n_at, n_len), msg.part(at + d_at, d_len)))
            if at + d_at + d_len > end:
                raise Refused(INVALID_PARAMETER)
            if not step:
                break
            at += step
        node, answers = self.server.open(self, name, dict(contexts), access, share, disposition, options)
        opened = Open(self.next_fid, node)
        self.opens[self.next_fid] = opened
        self.next_fid += 1
        out = b""
        for i, (n, d) in enumerate(answers):
            data_at = (16 + len(n) + 7) // 8 * 8
            entry = struct.pack("<HHHHI", 16, len(n), 0, data_at, len(d)) + n
            entry = entry.ljust(data_at - 4, b"\0") + d
            last = i + 1 == len(answers)
            entry = entry if last else entry.ljust((len(entry) + 4 + 7) // 8 * 8 - 4, b"\0")
            out += struct.pack("<I", 0 if last else len(entry) + 4) + entry
        body = struct.pack("<HBBIQQQQQQII", 89, 0, 0, 1, 0, 0, 0, 0, node.size, node.size, 0x80, 0)
        body += struct.pack("<QQ", opened.fid, 0xAB) + struct.pack("<II", 152 if out else 0, len(out)) + out
        self.send(msg, SUCCESS, body)

    def handle(self, msg, at):
        fid = msg.field("<Q", at)
        if fid not in self.opens:
            raise Refused(INVALID_HANDLE)
        return self.opens[fid]

    def close(self, msg):
        opened = self.handle(msg, 8)
        self.server.close(opened.node)
        del self.opens[opened.fid]
        self.send(msg, SUCCESS, struct.pack("<HH", 60, 0) + bytes(56))

    def charged(self, msg, size):
        if msg.charge < max(1, (size + 65535) // 65536):
            self.server.violation(f"{size} bytes for {msg.charge} credits")
            raise Refused(INVALID_PARAMETER)

    def read(self, msg):
        size, _pad, _flags, length, offset = struct.unpack_from("<HBBIQ", msg.body)
        if size != 49 or len(msg.body) < 49 or length > self.server.max_read:
            raise Refused(INVALID_PARAMETER)
        self.charged(msg, length)
        data = self.server.read(self, msg, self.handle(msg, 16).node, offset, length)
        if data is None:
            return
        body = struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data
        self.send(msg, SUCCESS, body, **self.server.reply_fault(self, "read"))

    def write(self, msg):
        size, at, length, offset = struct.unpack_from("<HHIQ", msg.body)
        if size != 49:
            raise Refused(INVALID_PARAMETER)
        self.charged(msg, length)
        self.server.write(self.handle(msg, 16).node, offset, msg.part(at, length))
        self.send(msg, SUCCESS, struct.pack("<HHIII", 17, 0, length, 0, 0))

    def ioctl(self, msg):
        size, _r, code = struct.unpack_from("<HHI", msg.body)
        in_at, in_len = msg.field("<I", 24), msg.field("<I", 28)
        room, flags = msg.field("<I", 44), msg.field("<I", 48)
        if size != 57 or flags != 1:
            raise Refused(INVALID_PARAMETER)
        self.charged(msg, max(in_len, room))
        data = msg.part(in_at, in_len)
        pending = False
        if code == 0x140204:
            if self.dialect == 0x311 or data != self.offer:
                raise Gone("validation")
            out = self.agreed
        else:
            pending, out = self.server.ioctl(self, msg, self.handle(msg, 8).node, code, data, room)
        if len(out) > room:
            raise Refused(0x80000005)
        body = struct.pack("<HHI", 49, 0, code) + msg.body[8:24] + struct.pack("<IIIIII", 112, 0, 112, len(out), 0, 0) + out
        self.send(msg, SUCCESS, body, asynchronous=pending, **self.server.reply_fault(self, "ioctl"))

    def plain(self, msg):
        if msg.field("<H", 0) != 4:
            raise Refused(INVALID_PARAMETER)
        self.send(msg, SUCCESS, struct.pack("<HH", 4, 0))

    def run(self):
        table = {NEGOTIATE: self.negotiate, SESSION_SETUP: self.session_setup, TREE_CONNECT: self.tree_connect,
                 CREATE: self.create, CLOSE: self.close, READ: self.read, WRITE: self.write, IOCTL: self.ioctl,
                 ECHO: self.plain, LOGOFF: self.plain, TREE_DISCONNECT: self.plain}
        try:
            while True:
                msg = self.receive()
                self.check(msg)
                if msg.command == CANCEL:
                    continue
                if msg.command > SESSION_SETUP and not self.keys or msg.command not in table:
                    raise Gone(f"command {msg.command}")
                with self.server.lock:
                    try:
                        table[msg.command](msg)
                    except Refused as why:
                        self.send(msg, why.status)
        except (Gone, OSError, struct.error) as why:
            self.server.note(f"connection over: {why!r}")
        finally:
            self.sock.close()


class Server:
    share = "share"
    dialects = (0x302, 0x311)
    ciphers = (1, 2)
    max_read = 1 << 20
    max_transact = 1 << 20
    max_credits = 128
    encrypt = False
    encrypt_share = False
    downgrade = False
    fault = ""

    def __init__(self):
        self.lock = threading.RLock()
        self.guid = os.urandom(16)
        self.capture = None
        self.violations = []
        self.keys = []  # of sessions, as tshark takes them
        self.log = []

    def note(self, text):
        self.log.append(text)

    def violation(self, text):
        self.violations.append(text)

    def reply_fault(self, _conn, _what):
        return {}

    def serve(self, sock):
        while True:
            client, address = sock.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, client, address[1])
            threading.Thread(target=connection.run, daemon=True).start()
