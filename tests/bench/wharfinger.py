"""The daemon of this tree, with one listener for each comparison and a store of its own."""

import json
import os
import subprocess

from peers import DOMAIN, HOST, PASSWORD, RECIPIENTS, Server, free_port, run

ACCOUNT = "bench"


class Wharfinger(Server):
    """The same certificate as the peers; limits per address lifted, since all clients come from one."""

    name = "Wharfinger"

    LISTENERS = {"smtp": ("smtp", "starttls"), "https": ("https", "implicit"), "ftp": ("ftp", "starttls"),
                 "imap": ("imap", "starttls"), "imaps": ("imap", "implicit"),
                 "pop3": ("pop3", "starttls"), "pop3s": ("pop3", "implicit")}

    def __init__(self, directory, tls, protocols, extra="", first=True, users=RECIPIENTS):
        """`extra` is added to the configuration; only the `first` node on a store makes its accounts."""
        super().__init__(directory, tls)
        self.protocols, self.extra, self.first, self.users = protocols, extra, first, users

    def start(self):
        for name in self.LISTENERS:
            setattr(self, name, free_port())
        listeners = "\n".join(f"""[listen.{name}]
protocol = "{protocol}"
bind = ["{HOST}:{getattr(self, name)}"]
tls = "{tls}"
""" for name, (protocol, tls) in self.LISTENERS.items() if name in self.protocols)
        self.binary = os.environ["WHARFINGER_BIN"]
        self.config = self.directory / "wharfinger.toml"
        self.config.write_text(f"""
hostname = "mx.{DOMAIN}"
node = "{self.directory.name}"
passive_ports = "41300-41499"

[telemetry]
bind = []

[tls]
certificate = "{self.tls.cert}"
key = "{self.tls.key}"

{self.extra}
{listeners}""")
        self.launch([self.binary, "serve", *self.where()], self.https)
        if not self.first:
            return
        run(self.binary, *self.where(), "domain", "add", DOMAIN)
        for name in [ACCOUNT, *self.users]:
            run(self.binary, *self.where(), "user", "add", name, "--password-stdin", input=PASSWORD.encode() + b"\n")
        self.dav("-X", "MKCOL", "public")

    def status(self):
        return json.loads(run(self.binary, *self.where(), "status", "--json"))

    def where(self):
        return ("--config", self.config, "--data", self.directory / "data")

    def publish(self, file):
        self.dav("-T", str(file), f"public/{file.name}")
        return f"https://{HOST}:{self.https}/~{ACCOUNT}/{file.name}"

    def messages(self):
        """How many the store holds."""
        return json.loads(run(self.binary, *self.where(), "--json", "status"))["store"]["messages"]

    def dav(self, *request):
        *options, path = request
        run("curl", "-sS", "--fail", "--cacert", self.tls.ca, "--user", f"{ACCOUNT}:{PASSWORD}", *options,
            f"https://{HOST}:{self.https}/dav/{path}", stdin=subprocess.DEVNULL)

    def login(self):
        return f"{ACCOUNT}:{PASSWORD}"

    def path(self, name):
        return name

    def stored(self, _name):
        """Nothing to wait for: what was answered with 226 is on disk."""
        return None
