"""Resolvers between a mail server and signed zones."""

import socket, threading, time

from servers import free_ports
from unbound import Unbound


class Validator(Unbound):
    """unbound as a resolver that proves what it says, with the anchor of the zones."""

    def __init__(self, zones, address):
        super().__init__("validator")
        self.answer(address, 53, f"""    trust-anchor-file: "{zones.folder}/anchor"
    do-not-query-localhost: no
    local-zone: "test." nodefault""", f"""forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{zones.port}""", "validator iterator")


class SlowKeys:
    """DNS as another server has it, but for keys, which take their time."""

    DNSKEY = 48

    def __init__(self, port, seconds):
        self.there, self.seconds = ("127.0.0.1", port), seconds
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port, = free_ports(1)
        self.socket.bind(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                question, client = self.socket.recvfrom(65536)
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(question, client), daemon=True).start()

    def pass_on(self, question, client):
        at = 12
        while question[at]:
            at += question[at] + 1
        if int.from_bytes(question[at + 1:at + 3]) == self.DNSKEY:
            time.sleep(self.seconds)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.settimeout(5)
            try:
                way.sendto(question, self.there)
                self.socket.sendto(way.recv(65536), client)
            except OSError:
                pass  # who asked asks again

    def close(self):
        self.socket.close()
