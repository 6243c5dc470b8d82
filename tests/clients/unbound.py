"""unbound, private to a test: it knows what it is told and nothing else."""

import socket

from servers import Server


class Unbound(Server):
    """Each kind of it says what it serves."""

    def answer(self, address, port, lines, behind="", modules="iterator", also=""):
        """Serves at an address with these lines of its server clause, and what stands `behind` that clause; `also` is
        another address with its port."""
        (self.folder / "unbound.conf").write_text(f"""server:
    interface: {address}@{port}
{f"    interface: {also}" if also else ""}
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{self.folder}"
    pidfile: ""
    use-syslog: no
    module-config: "{modules}"
{lines}
{behind}
remote-control:
    control-enable: no
""")
        self.spawn("/usr/sbin/unbound", "-d", "-c", self.folder / "unbound.conf")
        self.ready(lambda: socket.create_connection((address, port), 1).close() or True)
