"""IMAP spoken by hand: what a proper client would never say can be said, and nothing is understood but the tags."""

import itertools, re, socket

import ftps

TAGS = itertools.count(1)


class Imap:
    """One connection. `source` is the address it comes from, `window` how little it takes before it is read."""

    def __init__(self, daemon, name=None, password=None, tls=True, source="127.0.0.1", window=None, timeout=60):
        raw = socket.socket()
        if window:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        raw.settimeout(timeout)
        raw.bind((source, 0))
        raw.connect(("127.0.0.1", daemon.port["imaps" if tls else "imap"]))
        self.raw = ftps.context().wrap_socket(raw) if tls else raw
        self.input = bytearray()
        self.greeting = self.line()
        if name:
            answer = self.say(f"LOGIN {name} \"{password}\"")
            assert b" OK " in answer, answer

    def send(self, octets):
        self.raw.sendall(octets)

    def more(self):
        """Takes what comes next; false at the end."""
        try:
            piece = self.raw.recv(1 << 20)
        except TimeoutError:
            raise
        except OSError:
            piece = b""
        self.input += piece
        return bool(piece)

    def line(self):
        while b"\n" not in self.input:
            if not self.more():
                break
        line = bytes(self.input.partition(b"\n")[0])
        del self.input[:len(line) + 1]
        return line

    def until(self, tag):
        """Everything up to the line that ends a command; up to the end when the server closes instead. A command whose
        tag the server cannot tell ends with an untagged BAD (RFC 9051 §7.1.3)."""
        ending, at = re.compile(rb"(?:^|\n)(?:\* BAD|" + re.escape(tag) + rb" (?:OK|NO|BAD))[^\n]*\n"), 0
        while not (found := ending.search(self.input, at)):
            at = max(0, len(self.input) - 1000)
            if not self.more():
                return self.taken(len(self.input))
        end = found.end()
        del found  # it holds the buffer
        return self.taken(end)

    def taken(self, count):
        heard = bytes(self.input[:count])
        del self.input[:count]
        return heard

    def say(self, command):
        """One command; its responses. One that a server closes on ends with what it said."""
        tag = b"t%d" % next(TAGS)
        command = command.encode() if isinstance(command, str) else command
        try:
            self.send(tag + b" " + command + b"\r\n")
        except OSError:
            pass
        return self.until(tag)

    def verdict(self, command):
        """OK, NO or BAD; BYE when the server closed."""
        return verdict(self.say(command))

    def append(self, mailbox, message, sign=b"+"):
        return self.say(b"APPEND " + mailbox + b" {%d%s}\r\n" % (len(message), sign) + message)

    def rest(self):
        """All that comes until the server closes; `None` when it does not."""
        try:
            while self.more():
                pass
        except TimeoutError:
            return None
        return self.taken(len(self.input))

    def close(self):
        self.raw.close()


def verdict(answer):
    last = answer.rstrip().rpartition(b"\n")[2]
    words = last.split(b" ")
    return words[1].decode() if len(words) > 1 and words[1] in (b"OK", b"NO", b"BAD", b"BYE") else f"? {last[:200]!r}"
