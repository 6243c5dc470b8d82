"""The load of the IMAP and POP3 comparisons: raw sockets and commands made beforehand, which look for the tagged line
only. Each function here runs in processes of its own and gives seconds."""

import re
import select
import socket
import ssl
import time
from multiprocessing import get_context

from messages import messages

fork = get_context("fork")
LONGEST = 600  # seconds without an answer
PASSES = 5  # times that POP3 reads a mailbox
PATIENCE = 60  # seconds until a session in IDLE must know of a delivery


class Imap:
    """One session that waits for each answer."""

    def __init__(self, port, user, password, source="127.0.0.1", tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), LONGEST, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = bytearray(1 << 20)
        self.line()
        self.command(f'LOGIN {user} "{password}"')

    def command(self, text, count=None):
        """The end of the answer, with its tagged line; with `count`, how often that stands in the whole of it."""
        self.socket.sendall(b"q9Z " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return self.answer(count)

    def answer(self, count=None, tag=b"q9Z "):
        tail, found, mark = b"", 0, b"\r\n" + tag
        keep = len(count) - 1 if count else 0
        while True:
            size = self.socket.recv_into(self.buffer)
            if not size:
                raise SystemExit(f"the server closed the connection after {tail[-200:]!r}")
            view = bytes(memoryview(self.buffer)[:size])
            if count:  # a match that lies across two reads is counted with the second
                found += (tail[-keep:] + view).count(count) if keep else view.count(count)
            tail = b"\r\n" + view if not tail else tail[-4096:] + view
            if tail.endswith(b"\r\n") and (at := tail.rfind(mark)) >= 0:
                if tail[at + len(mark):at + len(mark) + 2] != b"OK":
                    raise SystemExit(f"the server said {tail[at:].decode(errors='replace')}")
                return found if count else tail

    def line(self):
        """One line that is not followed by another yet."""
        line = b""
        while not line.endswith(b"\r\n"):
            if not (byte := self.socket.recv(4096)):
                raise SystemExit(f"the server closed the connection after {line!r}")
            line += byte
        return line

    def close(self):
        self.socket.close()


# --- many sessions at once --------------------------------------------------------------------------------------------

def mixed(contents, turns):
    """What one client does, over and over: a message comes, is read, flagged, copied, and leaves by MOVE or EXPUNGE."""
    yield b"SELECT INBOX"
    for turn in range(turns):
        content = contents[turn % len(contents)]
        said = yield b"APPEND INBOX {%d+}\r\n%s" % (len(content), content)
        uid = re.search(rb"APPENDUID \d+ (\d+)", said)[1]
        yield b"NOOP" if turn % 10 else b"SELECT INBOX"
        yield b"UID FETCH %s:* (FLAGS ENVELOPE)" % uid
        said = yield b"UID FETCH %s (UID BODY.PEEK[])" % uid
        if content[-200:] not in said:
            raise RuntimeError(f"FETCH did not give what was appended: {said!r}")
        yield b"UID STORE %s +FLAGS (\\Seen)" % uid
        yield b"UID SEARCH UNSEEN"
        if turn % 2:
            yield b"UID MOVE %s Trash" % uid
        else:
            yield b"UID COPY %s Archive" % uid
            yield b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % uid
            yield b"UID EXPUNGE %s" % uid


def drive(scripts, ready):
    """Runs [(session, generator of commands)] side by side; {verb: [how many, seconds until the answer]}."""
    poll, running, tally = select.epoll(), {}, {}
    for session, script in scripts:
        poll.register(session.socket, select.EPOLLIN)
        running[session.socket.fileno()] = session, script
    ready()
    for session, script in scripts:
        session.begin(next(script))
    while running:
        for file, _ in poll.poll():
            session, script = running[file]
            if (said := session.more()) is None:
                continue
            each = tally.setdefault(session.verb, [0, 0.0])
            each[0] += 1
            each[1] += time.monotonic() - session.begun
            try:
                session.begin(script.send(said))
            except StopIteration:
                poll.unregister(file)
                del running[file]
    return tally


class Stepped(Imap):
    """A session whose answers come piece by piece, when its socket is readable."""

    def begin(self, command):
        self.said, self.begun = b"\r\n", time.monotonic()
        words = command[:24].split()
        self.verb = (words[1] if words[0] == b"UID" else words[0]).decode()
        self.socket.sendall(b"q9Z " + command + b"\r\n")

    def more(self):
        """The answer, or None while it lacks its tagged line."""
        self.said = self.said[-512:] + self.socket.recv(1 << 16)
        at = self.said.rfind(b"\r\nq9Z ")
        if at < 0 or not self.said.endswith(b"\r\n"):
            return None
        if self.said[at + 6:at + 8] != b"OK":
            raise RuntimeError(f"{self.verb}: {self.said[at:].decode(errors='replace')}")
        return self.said


def idle(port, tls, jobs, password, ready, delivered=True):
    """Sessions in IDLE for [(user, address to come from)]; if something is delivered, [(user, when it saw EXISTS)]."""
    poll, waiting, seen = select.epoll(), {}, []
    for user, source in jobs:
        session = Imap(port, user, password, source, tls)
        session.command("SELECT INBOX")
        session.socket.sendall(b"q9Z IDLE\r\n")
        while not session.line().startswith(b"+"):
            pass
        del session.buffer
        session.socket.setblocking(False)
        waiting[session.socket.fileno()] = session.socket, user
        poll.register(session.socket, select.EPOLLIN)
    ready()
    if not delivered:
        return seen
    end = time.monotonic() + PATIENCE
    held = []  # so that no session ends before the others are through
    while waiting and time.monotonic() < end:
        for file, _ in poll.poll(1):
            plain, user = waiting[file]
            if b"EXISTS" in _now(plain):
                seen.append((user, time.monotonic()))
                poll.unregister(file)
                held.append(waiting.pop(file))
    return seen


def _now(plain):
    """What has come over a TLS connection by now."""
    said = b""
    try:
        while piece := plain.recv(1 << 14):
            said += piece
    except ssl.SSLWantReadError:
        return said
    raise RuntimeError(f"a session in IDLE was closed after {said!r}")


def retrieve(port, password, jobs, ready):
    """All messages of each of the users `jobs` over POP3, several times; how many, and their bytes."""
    sessions = []
    for user in jobs:
        plain = socket.create_connection(("127.0.0.1", port), LONGEST)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.recv(512)
        for command in (f"USER {user}", f"PASS {password}", "STAT"):
            said = _pop(plain, command)
        sessions.append((plain, int(said.split()[1])))
    ready()
    count = size = 0
    for plain, most in sessions:
        for number in [*range(1, most + 1)] * PASSES:
            size += len(_pop(plain, f"RETR {number}", b"\r\n.\r\n"))
            count += 1
    for plain, _ in sessions:
        _pop(plain, "QUIT")
        plain.close()
    return count, size


def _pop(plain, command, end=b"\r\n"):
    plain.sendall(command.encode() + b"\r\n")
    said = b""
    while not said.endswith(end):
        if not (piece := plain.recv(1 << 16)):
            raise RuntimeError(f"the server closed the connection after {said[-200:]!r}")
        said += piece
        if said.startswith(b"-ERR"):
            raise RuntimeError(f"{command.split()[0]}: {said!r}")
    return said


# --- processes --------------------------------------------------------------------------------------------------------

def spread(work, jobs, processes, before=None, during=None):
    """Shares `jobs` among processes that run `work(jobs, ready)`; `ready` comes back when all of them have called it.

    `before` is called when all are there, `during` while they work. Gives the seconds from the start on, the CPU
    seconds of the clients, and what each `work` returned.
    """
    go, queue = fork.Event(), fork.Queue()
    shares = [jobs[at::processes] for at in range(processes)]

    def share(mine):
        begun = 0.0

        def ready():
            nonlocal begun
            queue.put(None)
            go.wait()
            begun = time.process_time()

        try:
            result = work(mine, ready)
            queue.put((time.process_time() - begun, result))
        except BaseException as error:  # a client that fails must not leave the bench waiting
            queue.put(RuntimeError(f"{type(error).__name__}: {error}"))

    children = [fork.Process(target=share, args=(mine,), daemon=True) for mine in shares if mine]
    for child in children:
        child.start()
    try:
        _collect(queue, children)
        if before:
            before()
        begin = time.monotonic()
        go.set()
        if during:
            during()
        done = _collect(queue, children)
        return time.monotonic() - begin, sum(cpu for cpu, _ in done), [result for _, result in done]
    finally:
        for child in children:
            child.is_alive() and child.kill()


def _collect(queue, children):
    results = []
    for _ in children:
        if isinstance(result := queue.get(timeout=LONGEST), Exception):
            raise SystemExit(f"a client failed: {result}")
        results.append(result)
    return results
