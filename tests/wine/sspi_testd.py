#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What stands behind the stand-in for secur32.dll: SSPI's calls, answered by GSSAPI (MIT Kerberos, gss-ntlmssp).

    sspi_testd.py --dir DIR     writes DIR/sspi-port when it listens on loopback, and DIR/sspi-left, when it is ended
                                by SIGTERM: how many handles nobody gave back

One JSON object a line each way (standin_link.h); bytes follow a reply that says "bytes".
"""
import argparse
import json
import os
import signal
import socketserver
import sys
import threading

from gssapi import raw as gss

NTLM = gss.OID(elements=b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a")
SPNEGO = gss.OID(elements=b"\x2b\x06\x01\x05\x05\x02")
KERBEROS = gss.OID(elements=b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02")
SESSION_KEY = gss.OID(elements=b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x05")

# Numbers of winerror.h.
INVALID_HANDLE, UNSUPPORTED_FUNCTION, NO_PACKAGE = 0x80090301, 0x80090302, 0x80090305
INVALID_TOKEN, LOGON_DENIED, NO_CREDENTIALS = 0x80090308, 0x8009030C, 0x8009030E


class Refused(Exception):
    def __init__(self, number):
        super().__init__(hex(number))
        self.number = number


class Handles:
    """Credentials and contexts, by number; a context of another's credentials is not a handle."""

    def __init__(self):
        self.lock = threading.Lock()
        self.items = {}
        self.last = 0

    def add(self, item):
        with self.lock:
            self.last += 1
            self.items[self.last] = item
            return self.last

    def get(self, number, kind):
        with self.lock:
            item = self.items.get(number)
        if not isinstance(item, kind):
            raise Refused(INVALID_HANDLE)
        return item

    def drop(self, number, kind):
        self.get(number, kind)
        with self.lock:
            del self.items[number]


class Credentials:
    """Windows looks at names and passwords when a logon begins, not before."""

    def __init__(self, request):
        package = request["package"]
        if package not in ("NTLM", "Negotiate"):
            raise Refused(NO_PACKAGE)
        if request["krb5"]:  # of the program's environment, not of ours
            os.environ["KRB5_CONFIG"] = request["krb5"]
        self.mech = NTLM if package == "NTLM" else SPNEGO
        self.user, self.domain, self.password = (request.get(key) for key in ("user", "domain", "password"))
        self.creds = None

    def acquire(self):
        mechs = [self.mech]
        if self.creds is not None:
            return self.creds
        try:
            if self.user is None:
                self.creds = gss.acquire_cred(None, usage="initiate", mechs=mechs).creds
            else:
                name = f"{self.domain}\\{self.user}" if self.mech is NTLM else f"{self.user}@{self.domain}"
                name = gss.import_name(name.encode(), gss.NameType.user)
                self.creds = gss.acquire_cred_with_password(name, self.password.encode(), usage="initiate", mechs=mechs).creds
            if self.mech is SPNEGO:
                gss.set_neg_mechs(self.creds, [KERBEROS])
        except gss.GSSError as why:
            raise Refused(self.refusal()) from why
        return self.creds

    def refusal(self):
        return NO_CREDENTIALS if self.user is None else LOGON_DENIED


class Context:
    def __init__(self, credentials, target):
        service, _slash, host = target.partition("/")
        self.credentials = credentials
        self.target = gss.import_name(f"{service}@{host}".encode(), gss.NameType.hostbased_service)
        self.gss = None
        self.done = False

    def step(self, token):
        if self.done:
            raise Refused(INVALID_TOKEN)
        flags = {gss.RequirementFlag.mutual_authentication, gss.RequirementFlag.integrity, gss.RequirementFlag.confidentiality}
        try:
            result = gss.init_sec_context(self.target, self.credentials.acquire(), self.gss, self.credentials.mech, flags,
                                          input_token=token or None)
        except gss.GSSError as why:
            raise Refused(INVALID_TOKEN if token else self.credentials.refusal()) from why
        self.gss = result.context
        self.done = not result.more_steps
        return result.token or b""

    def key(self):
        if not self.done:
            raise Refused(UNSUPPORTED_FUNCTION)
        return gss.inquire_sec_context_by_oid(self.gss, SESSION_KEY)[0]


HANDLES = Handles()


def answer(request):
    """(fields, bytes) of the reply."""
    op = request["op"]
    if op == "hello":
        return {}, b""
    if op == "acquire":
        return {"id": HANDLES.add(Credentials(request))}, b""
    if op == "step":
        number = request["context"]
        if number:
            context = HANDLES.get(number, Context)
        else:
            context = Context(HANDLES.get(request["credentials"], Credentials), request["target"])
        token = context.step(bytes.fromhex(request["token"]))
        return {"id": number or HANDLES.add(context), "done": context.done}, token
    if op == "key":
        return {}, HANDLES.get(request["context"], Context).key()
    if op in ("delete", "forget"):
        HANDLES.drop(request["id"], Context if op == "delete" else Credentials)
        return {}, b""
    raise Refused(UNSUPPORTED_FUNCTION)


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            data = b""
            try:
                fields, data = answer(json.loads(line.rstrip(b"\0\n")))
                fields.update(ok=True, bytes=len(data))
            except Refused as why:
                fields = {"ok": False, "number": why.number}
            self.wfile.write(json.dumps(fields).encode() + b"\n" + data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--dir", required=True)
    arguments = arguments.parse_args()
    left = os.path.join(arguments.dir, "sspi-left")

    def end(_signal, _frame):
        with open(left, "w", encoding="ascii") as out:
            print(len(HANDLES.items), file=out)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    with Server(("127.0.0.1", 0), Connection) as server:
        port = os.path.join(arguments.dir, "sspi-port")
        with open(port + ".new", "w", encoding="ascii") as out:
            print(server.server_address[1], file=out)
        os.rename(port + ".new", port)
        server.serve_forever()


main()
