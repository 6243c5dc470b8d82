"""Fills a queue: many sessions at once hand over one message after another, with pipelining (RFC 2920)."""

import base64
import socket
import threading

from peers import DOMAIN, HOST, PASSWORD

SESSIONS = 20
SIZE = 4 << 10
CLIENT = "client.bench.test"
LINE = b"What is written here is of no use to anybody but who counts it.\r\n"


def submit(server, recipients):
    """Each recipient gets a message of its own; those of one destination are as far from each other as can be."""
    failed = []
    parts = [recipients[at::SESSIONS] for at in range(SESSIONS)]
    threads = [threading.Thread(target=_session, args=(server, part, failed), daemon=True) for part in parts if part]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{server.name} did not take a message: {failed[0]!r}")


def _session(server, recipients, failed):
    try:
        with socket.create_connection((HOST, server.port), 120) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = connection.makefile("rb")
            _expect(answers, 220)
            _say(connection, answers, f"EHLO {CLIENT}\r\n".encode(), 250)
            if server.login_as:
                plain = base64.b64encode(f"\0{server.login_as}\0{PASSWORD}".encode()).decode()
                _say(connection, answers, f"AUTH PLAIN {plain}\r\n".encode(), 235)
            for recipient in recipients:
                start = f"MAIL FROM:<{server.sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
                _say(connection, answers, start.encode(), 250, 250, 354)
                _say(connection, answers, _message(server.sender, recipient) + b".\r\n", 250)
            _say(connection, answers, b"QUIT\r\n", 221)
    except (OSError, ValueError) as error:
        failed.append(error)


def _say(connection, answers, octets, *codes):
    connection.sendall(octets)
    for code in codes:
        _expect(answers, code)


def _expect(answers, code):
    while (line := answers.readline())[3:4] == b"-":
        pass
    if line[:3] != b"%d" % code:
        raise ValueError(line)


def _message(sender, recipient):
    local, _, domain = recipient.partition("@")
    head = (f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: Number {local}\r\n"
            f"Date: Sat, 01 Aug 2026 12:00:00 +0000\r\nMessage-ID: <{local}.{domain}@{DOMAIN}>\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n").encode()
    lines, rest = divmod(SIZE - len(head), len(LINE))
    return head + LINE * lines + (b"x" * (rest - 2) + b"\r\n" if rest >= 2 else b"")
