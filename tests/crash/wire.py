"""An IMAP connection as the crash test needs it: every byte that is sent is its own, so that it knows what was sent."""

import re, socket

import ftps

LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
FETCH = re.compile(rb"\* \d+ FETCH \(")


class Imap:
    def __init__(self, port, name, password):
        plain = socket.create_connection(("127.0.0.1", port), 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = ftps.context().wrap_socket(plain)
        self.file, self.tag = self.socket.makefile("rb"), 0
        self.response()
        assert self.command(f'LOGIN {name} "{password}"').ok

    def response(self):
        """One response: its text without the literals, and these."""
        text, literals = b"", []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            announced = LITERAL.search(line)
            if not announced:
                return text + line.rstrip(b"\r\n"), literals
            text += line[:announced.start()]
            literals.append(self.file.read(int(announced[1])))

    def command(self, *parts, wait=False):
        """Sends text and literals (bytes) in turn, waiting before each literal for the server's word if told to."""
        self.tag += 1
        out, untagged = f"t{self.tag} ".encode(), []
        for part in parts:
            if isinstance(part, str):
                out += part.encode()
            elif wait:
                self.socket.sendall(out + b"{%d}\r\n" % len(part))
                answer = self.until(b"+", untagged)
                if not answer[0].startswith(b"+"):
                    return Answer(answer[0], untagged)
                out = part
            else:
                out += b"{%d+}\r\n" % len(part) + part
        self.socket.sendall(out + b"\r\n")
        return Answer(self.until(b"t", untagged)[0], untagged)

    def until(self, start, untagged):
        while True:
            response = self.response()
            if response[0].startswith((start, b"t")):
                return response
            untagged.append(response)


class Answer:
    """The tagged response to a command, and the untagged ones before it."""

    def __init__(self, tagged, untagged):
        self.ok = tagged.split(b" ", 2)[1] == b"OK"
        self.tagged, self.untagged = tagged.decode(), untagged

    def code(self, name):
        """The words of a response code, tagged or not; `None` if it was not told."""
        texts = [self.tagged] + [text.decode() for text, _ in self.untagged if text.startswith(b"* OK")]
        found = [match for text in texts if (match := re.search(rf"\[{name} ([^\]]*)\]", text))]
        return found[0][1].split() if found else None

    def fetched(self):
        """What FETCH tells: the UID, the text of the response and its literals."""
        for text, literals in self.untagged:
            if FETCH.match(text) and (uid := re.search(rb"UID (\d+)", text)):
                yield int(uid[1]), text, literals


def uids(text):
    """The UIDs of a set such as `3:5,9`, in its order."""
    found = []
    for one in text.split(","):
        first, _, last = one.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


def uid_set(numbers):
    return ",".join(map(str, numbers))
