#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""read_store.py STORE SECRET list | cat SEQ DISK [VM] | files SEQ [VM] | scan | marks | policies | domains | states

A second implementation of docs/format/store.md, made from that document and sharing no code with the
collector.  STORE: the directory.  SECRET: key:FILE, passphrase:FILE or recovery:FILE.

list: one line a point that is not deleted: vm, seq, id, disks.  cat: the bytes of a disk, by number from 0, on standard
output; VM: the vm's id, else the first with such a number.  files: the configuration files of a point: name, size, SHA-256.  scan:
reads every record of every pack through its footer, and once more by walking the records, and says how many there are, and
what could not be read in the first place it was looked for.  marks, policies, domains: a line each.
states: of each copy of a collector's state number, moment, length and SHA-256 of the state file.
"""
import hashlib
import os
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Bad(Exception):
    """Something is not as the document says."""


def need(condition, what):
    if not condition:
        raise Bad(what)


# ---- section 3 ----

CRC_TABLE = []
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    CRC_TABLE.append(crc)


def crc32c(data):
    value = 0xFFFFFFFF
    for b in data:
        value = value >> 8 ^ CRC_TABLE[(value ^ b) & 0xFF]
    return value ^ 0xFFFFFFFF


def blake(key, data, size=32):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def kdf(key, label, data=b""):
    return blake(key, label.encode() + b"\0" + data)


def aead_open(cipher, key, number, ad, sealed):
    if cipher == 1:
        return AESGCM(key).decrypt(bytes(4) + struct.pack(">Q", number), sealed, ad)
    need(cipher == 2, "cipher")
    return ChaCha20Poly1305(key).decrypt(bytes(4) + struct.pack("<Q", number), sealed, ad)


def lz4_block(data, size):
    out = bytearray()
    at = 0
    while True:
        token = data[at]
        at += 1
        literals = token >> 4
        if literals == 15:
            while True:
                literals += data[at]
                at += 1
                if data[at - 1] != 255:
                    break
        out += data[at:at + literals]
        at += literals
        if at >= len(data):
            break
        distance = data[at] | data[at + 1] << 8
        at += 2
        length = token & 15
        if length == 15:
            while True:
                length += data[at]
                at += 1
                if data[at - 1] != 255:
                    break
        length += 4
        need(0 < distance <= len(out), "lz4 distance")
        while length > 0:  # in pieces that do not overlap
            piece = out[-distance:][:length]
            out += piece
            length -= len(piece)
    need(len(out) == size, "lz4 size")
    return bytes(out)


# ---- section 3.2: the recovery key ----

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def recovery_key(text):
    text = text.upper().replace("O", "0").replace("I", "1").replace("L", "1")
    values = [ALPHABET.index(c) for c in text if c not in " -\t\r\n"]
    need(len(values) == 40, "length of the recovery key")
    bits = 0
    for group in range(8):
        check = group + 1
        for v in values[group * 5:group * 5 + 4] + [0]:
            check = (check << 1 & 31) ^ (5 if check & 16 else 0) ^ v
        need(check == values[group * 5 + 4], "group %d" % (group + 1))
        for v in values[group * 5:group * 5 + 4]:
            bits = bits << 5 | v
    return bits.to_bytes(20, "big")


def stretch(secret, kind, recipient):
    """32 bytes from a secret, for a recipient's wrapping."""
    what, path = secret.split(":", 1)
    if {"key": 1, "passphrase": 2, "recovery": 3}[what] != kind:
        return None
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if kind == 1:
        lines = text.split("\n")
        need(lines[0] == "varve-store-key-1" and len(lines[1]) == 64, "key file")
        return bytes.fromhex(lines[1])
    if kind == 3:
        return hashlib.blake2b(recovery_key(text), digest_size=32).digest()
    from argon2.low_level import Type, hash_secret_raw
    salt = recipient[16:32]
    passes, kib = struct.unpack("<II", recipient[32:40])
    return hash_secret_raw(text.split("\n")[0].encode(), salt, passes, kib, 1, 32, Type.ID)


# ---- section 7.1: twice ----

def copies(data):
    """The one or two places where the content of an object may stand."""
    size = len(data)
    second = (size + 8191) // 8192 * 4096
    length = size - second
    if 0 < length <= second and second - length < 4096:
        return [data[:length], data[second:]]
    return []


class Store:
    def __init__(self, folder, secret):
        self.folder = folder
        self.domains = {}
        self.domain_names = {}
        self.load_keys(secret)
        self.index = {}  # keyed name -> places
        self.walked = 0
        self.salvaged = 0  # packs without a whole footer
        self.load_domains()
        for name in self.names("pack"):
            try:
                self.read_footer(name)
            except (Bad, struct.error, IndexError):
                self.salvage(name)

    def names(self, prefix):
        found = []
        for where, _, files in os.walk(os.path.join(self.folder, prefix)):
            for f in files:
                if not f.startswith("."):
                    found.append(os.path.relpath(os.path.join(where, f), self.folder))
        return sorted(found)

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as f:
            return f.read()

    # section 4
    def load_keys(self, secret):
        for name in reversed(self.names("cfg/keys")):
            for ring in copies(self.read(name)):
                if ring[:8] == b"VARVEKY1" and crc32c(ring[:-4]) == struct.unpack("<I", ring[-4:])[0]:
                    self.open_ring(ring, name, secret)
                    return
        config = self.read("cfg/store")
        self.check_config(config)
        need(struct.unpack("<Q", config[16:24])[0] == 0, "recipients in cfg/keys that are not there")
        wrap = kdf(stretch(secret, 1, None), "varve wrap 1", config[48:64])
        self.data_key = aead_open(config[10], wrap, 0, config[:64], config[64:112])

    def check_config(self, config):
        need(len(config) == 128 and config[:8] == b"VARVECF1", "cfg/store")
        need(crc32c(config[:124]) == struct.unpack("<I", config[124:])[0], "checksum of cfg/store")
        version, wrap_cipher, cipher, chunk_size, features = struct.unpack("<HBBIQ", config[8:24])
        need(version == 1 and features & ~1 == 0, "a newer format")
        need(features == 0 or config[64:112] == bytes(48), "a key wrapped in cfg/store and in cfg/keys")
        need(struct.unpack("<I", config[112:116])[0] == 128 and config[116:124] == bytes(8), "fan-out, zeros")
        del wrap_cipher, cipher
        self.chunk_size = chunk_size
        self.store_id = config[32:48]

    def open_ring(self, ring, name, secret):
        version, count, features, number = struct.unpack("<HHIQ", ring[8:24])
        need(version == 1 and features == 0, "a newer format of keys")
        need(number == int(name.split("/")[-1], 16), "number of the key object")
        need(len(ring) == 168 + 160 * count + 36 and 1 <= count <= 64, "size of the key object")
        need(ring[164:168] == bytes(4), "zeros of the key object")
        self.check_config(ring[32:160])
        for i in range(count):
            r = ring[168 + 160 * i:][:160]
            need(r[2:4] == bytes(2) and r[40:48] == bytes(8), "zeros of a recipient")
            need(0 < struct.unpack("<I", r[4:8])[0] <= struct.unpack("<I", ring[160:164])[0], "id of a recipient")
            need(r[0] == 2 or r[32:40] == bytes(8), "cost of a recipient that has none")
            secret_bytes = stretch(secret, r[0], r)
            if secret_bytes is None:
                continue
            try:
                self.data_key = aead_open(r[1], kdf(secret_bytes, "varve wrap 2", r[16:32]), 0,
                                          self.store_id + r[:112], r[112:])
            except Exception:  # another recipient of this kind
                continue
            need(blake(kdf(self.data_key, "varve keys 1"), ring[:-36]) == ring[-36:-4],
                 "MAC of the key object")
            return
        raise Bad("the secret opens nothing in this store")

    # section 5
    def read_footer(self, name):
        data = self.read(name)
        pack = bytes.fromhex(name.split("/")[-1])
        need(data[:8] == b"VARVEPK1" and data[16:32] == pack, "header of " + name)
        version, pack_kind, _, features = struct.unpack("<HBBI", data[8:16])
        need(version == 1 and features & ~1 == 0, "a newer format of " + name)
        need(crc32c(data[:60]) == struct.unpack("<I", data[60:64])[0], "checksum of the header")
        need((data[32:48] != bytes(16)) == (features == 1) and data[48:60] == bytes(12), "zeros of the header")
        domain = data[32:48] if features & 1 else bytes(16)
        tail = data[-48:]
        need(tail[:8] == b"VARVEPKE", "tail of " + name)
        need(crc32c(tail[:44]) == struct.unpack("<I", tail[44:])[0], "checksum of the tail")
        offset, length = struct.unpack("<II", tail[8:16])
        footer = data[offset:offset + length]
        need(blake(kdf(self.data_key, "varve footer 1", pack), footer, 16) == tail[16:32],
             "MAC of the footer")
        count = struct.unpack("<I", footer[4:8])[0]
        need(footer[:4] == b"VFTR" and footer[8:24] == pack and length == 24 + 48 * count, "footer")
        at = 64
        found = []
        for i in range(count):
            e = footer[24 + 48 * i:][:48]
            where, stored, raw, kind, codec = struct.unpack("<IIIBB", e[32:46])
            need(where == at, "a gap in " + name)
            need(kind == pack_kind and e[46:48] == bytes(2), "entry of " + name)
            at += 64 + stored
            found.append((e[:32], (name, where, stored, raw, kind, codec, i, domain)))
        need(at == offset and tail[36:44] == bytes(8), "the end of the records")
        for keyed, place in found:
            self.index.setdefault(keyed, []).append(place)
        self.walk(name, data, offset, found)

    def walk(self, name, data, end, found):
        """The same by the headers alone, as where a footer is damaged."""
        at = 64
        for number, (keyed, place) in enumerate(found):
            head = data[at:at + 64]
            if head[:4] != b"VREC" or crc32c(head[:60]) != struct.unpack("<I", head[60:])[0]:
                return  # damaged: get() says so when it is needed
            raw, stored, n = struct.unpack("<III", head[40:52])
            need(n == number and head[6:8] == bytes(2) and head[56:60] == bytes(4), "record header")
            need(head[8:40] == keyed and place[1:4] == (at, stored, raw), "footer and record differ")
            at += 64 + stored
            self.walked += 1
        need(at == end, "the end of the records")

    def salvage(self, name):
        """Section 5.3: no footer.  Record by record, each believed when its tag is right."""
        data = self.read(name)
        self.salvaged += 1
        pack = bytes.fromhex(name.split("/")[-1])
        whole = data[:8] == b"VARVEPK1" and crc32c(data[:60]) == struct.unpack("<I", data[60:64])[0]
        domains = [data[32:48] if data[12] & 1 else bytes(16)] if whole else [bytes(16)] + list(self.domains)
        ciphers = [data[11]] if whole else [1, 2]
        at = 64
        while at + 64 <= len(data):
            head = data[at:at + 64]
            if head[:4] != b"VREC" or crc32c(head[:60]) != struct.unpack("<I", head[60:])[0]:
                at += 1
                continue
            raw, stored, number = struct.unpack("<III", head[40:52])
            for domain in domains:
                for cipher in ciphers:
                    try:
                        aead_open(cipher, kdf(self.keys_of(domain), "varve pack 1", pack), number, head[:52],
                                  data[at + 64:at + 64 + stored])
                    except Exception:
                        continue
                    place = (name, at, stored, raw, head[4], head[5], number, domain)
                    self.index.setdefault(head[8:40], []).append(place)
                    self.walked += 1
            at += 64 + stored

    def keys_of(self, domain):
        return self.data_key if domain == bytes(16) else self.domains[domain]

    def get(self, sha, domain):
        why = Bad("a name that nothing has")
        for place in self.index.get(self.keyed_name(sha, domain), []):
            for cipher in (1, 2):
                try:
                    return self.get_at(place, sha, domain, cipher)
                except Exception as e:  # damaged there, or the other cipher
                    why = e
        raise why

    def get_at(self, place, sha, domain, cipher):
        name, where, stored, raw, kind, codec, number, of = place
        need(of == domain, "domain")
        with open(os.path.join(self.folder, name), "rb") as f:
            f.seek(where)
            record = f.read(64 + stored)
        need(record[:4] == b"VREC" and record[4] == kind and record[5] == codec, "record")
        need(struct.unpack("<III", record[40:52]) == (raw, stored, number), "lengths and number")
        need(crc32c(record[:60]) == struct.unpack("<I", record[60:64])[0], "checksum of the header")
        need(crc32c(record[64:]) == struct.unpack("<I", record[52:56])[0], "checksum of the record")
        pack = bytes.fromhex(name.split("/")[-1])
        plain = aead_open(cipher, kdf(self.keys_of(domain), "varve pack 1", pack), number, record[:52],
                          record[64:])
        data = lz4_block(plain, raw) if codec == 1 else plain
        need(hashlib.sha256(data).digest() == sha, "the bytes are not those of the name")
        return data

    def keyed_name(self, sha, domain):
        return blake(kdf(self.keys_of(domain), "varve name 1"), sha)

    # section 7
    def open_record(self, name, where=None):
        data = self.read(where or name)
        found = [c for c in copies(data) if c[8:10] == b"\2\0"] + [data]
        for record in found:
            if record[:8] != b"VARVERC1" or crc32c(record[:-4]) != struct.unpack("<I", record[-4:])[0]:
                continue
            version, cipher, _, features = struct.unpack("<HBBI", record[8:16])
            need(version in (1, 2) and features & ~1 == 0, "a newer format of " + name)
            head = 48 if features & 1 else 32
            domain = record[32:48] if features & 1 else bytes(16)
            key = kdf(self.keys_of(domain), "varve record 1", record[16:32])
            return aead_open(cipher, key, 0, record[:head] + name.encode(), record[head:-4]), domain
        raise Bad("no whole copy in " + name)

    # section 11
    def load_domains(self):
        for name in self.names("cfg/domain"):
            plain, _ = self.open_record(name)
            need(plain[:4] == b"VDM1" and len(plain) == 38 + struct.unpack("<H", plain[36:38])[0], name)
            self.domain_names[name.split("/")[-1]] = plain[38:].decode()
            self.domains[bytes.fromhex(name.split("/")[-1].replace("-", ""))] = plain[4:36]

    # section 12
    def marks(self):
        for kind, folder in enumerate(("gone", "hold", "lock"), 1):
            for name in self.names(folder):
                plain, domain = self.open_record(name)
                need(plain[:4] == b"VMK1" and plain[4] == kind and plain[5:8] == bytes(3), name)
                made, until, who, why = struct.unpack("<qqHH", plain[24:44])
                need(len(plain) == 44 + who + why and (kind != 2 or until == 0), name)
                need(kind != 3 or until // 1000000 == int(name.split("/")[3], 16), "moment of " + name)
                yield name, folder, plain[8:24], made, until, plain[44:44 + who].decode(), \
                    plain[44 + who:].decode(), domain

    # section 14
    def policies(self):
        name = self.names("policy")[-1]
        plain, _ = self.open_record(name)
        need(plain[:4] in (b"VPS1", b"VPS2"), name)
        at = 4

        def number():
            nonlocal at
            at += 4
            return struct.unpack("<I", plain[at - 4:at])[0]

        def text():
            nonlocal at
            length = plain[at]
            at += 1 + length
            return plain[at - length:at].decode()

        for _ in range(number()):
            policy = text()
            numbers = [number() for _ in range(7)]
            yield ("policy", policy, numbers + ([text() or "-"] if plain[:4] == b"VPS2" else []))
        yield ("all others", text(), [])
        for _ in range(number()):
            vm = plain[at:at + 16]
            at += 16
            yield ("vm " + vm.hex(), text(), [])
        need(at == len(plain), "end of " + name)

    # section 15
    def states(self):
        for name in self.names("state"):
            plain, _ = self.open_record(name)
            need(plain[:4] == b"VST1", name)
            size, made = struct.unpack("<Iq", plain[4:16])
            public = X25519PrivateKey.from_private_bytes(plain[16:48]).public_key()
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            need(name.split("/")[1] == hashlib.sha256(raw).hexdigest()[:16], "collector of " + name)
            packed = plain[48:]
            yield int(name.split("/")[2], 16), made, packed if len(packed) == size else lz4_block(packed, size)

    def points(self):
        names = set(self.names("point")) | {n[len("lost/"):] for n in self.names("lost/point")}
        for name in sorted(names):
            try:
                plain, domain = self.open_record(name)
            except (Bad, FileNotFoundError):  # section 9.1
                plain, domain = self.open_record(name, "lost/" + name)
            point = fields(plain)
            need(one(point, 5, 0) == int(name.split("/")[2], 16), "number of " + name)
            need(one(point, 2, b"").hex() == name.split("/")[1].replace("-", ""), "vm of " + name)
            yield name, point, domain

    # section 6
    def chunk_names(self, root, count, domain):
        level = 0
        while 128 ** (level + 1) < count:
            level += 1
        out = [None] * count

        def walk(sha, level, number):
            node = self.get(sha, domain)
            need(node[:4] == b"VND1" and node[4] == level and node[5] == 0, "node")
            present = [c for c in range(128) if node[8 + c // 8] >> c % 8 & 1]
            need(struct.unpack("<H", node[6:8])[0] == len(present), "children of a node")
            need(len(node) == 24 + 32 * len(present), "size of a node")
            for k, c in enumerate(present):
                child = node[24 + 32 * k:][:32]
                if level > 0:
                    walk(child, level - 1, 128 * number + c)
                else:
                    out[128 * number + c] = child

        if root and root != bytes(32):
            walk(root, level, 0)
        return out


def fields(data):
    """A protobuf message: number -> list of values."""
    out = {}
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            b = data[at]
            at += 1
            value |= (b & 127) << shift
            shift += 7
            if b < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        else:
            need(tag & 7 == 2, "wire type")
            length = varint()
            value = data[at:at + length]
            at += length
        out.setdefault(tag >> 3, []).append(value)
    return out


def one(message, number, default):
    return message.get(number, [default])[0]


def print_file(message, data):
    print(one(message, 1, b"").decode(), len(data), hashlib.sha256(data).hexdigest())


def main():
    store = Store(sys.argv[1], sys.argv[2])
    if sys.argv[3] == "list":
        gone = {(m[0].split("/", 1)[1], m[2]) for m in store.marks() if m[1] == "gone"}
        for name, point, _ in store.points():
            if (name.split("/", 1)[1], one(point, 1, b"")) in gone:
                continue
            print(name.split("/")[1], one(point, 5, 0), one(point, 1, b"").hex(),
                  len(point.get(16, [])))
    elif sys.argv[3] == "scan":
        print(len(store.index), store.walked, store.salvaged)
    elif sys.argv[3] == "marks":
        for name, kind, point, made, until, who, why, domain in store.marks():
            known = [p for n, p, d in store.points()
                     if n.split("/")[1:3] == name.split("/")[1:3] and one(p, 1, b"") == point and d == domain]
            print(kind, int(name.split("/")[2], 16), made, until, who, "-", why, "" if known else "(of no point)")
    elif sys.argv[3] == "policies":
        for what, name, numbers in store.policies():
            print(what, name, *numbers)
    elif sys.argv[3] == "states":
        for number, made, data in store.states():
            print(number, made, len(data), hashlib.sha256(data).hexdigest())
    elif sys.argv[3] == "domains":
        for name, text in store.domain_names.items():
            print(name, text)
    elif sys.argv[3] == "files":
        for name, point, _ in store.points():
            if one(point, 5, 0) != int(sys.argv[4]) or sys.argv[5:6] not in ([], [name.split("/")[1]]):
                continue
            for f in map(fields, point.get(17, [])):
                print_file(f, one(f, 2, b""))
            for f in map(fields, point.get(18, [])):
                print_file(f, lz4_block(one(f, 3, b""), one(f, 2, 0)))
            break
    else:
        for name, point, domain in store.points():
            if one(point, 5, 0) != int(sys.argv[4]) or sys.argv[6:7] not in ([], [name.split("/")[1]]):
                continue
            disk = fields(point[16][int(sys.argv[5])])
            size = one(disk, 4, 0)
            names = store.chunk_names(one(disk, 9, b""), one(disk, 10, 0), domain)
            for i, sha in enumerate(names):
                length = min(store.chunk_size, size - i * store.chunk_size)
                data = bytes(length) if sha is None else store.get(sha, domain)
                need(len(data) == length, "length of chunk %d" % i)
                sys.stdout.buffer.write(data)
            break


if __name__ == "__main__":
    main()
