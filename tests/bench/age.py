"""What a mailbox of 200,000 messages costs its reader, when it is new and when much has come and gone in it; see `run`.
Ours alone: the aim is that nothing grows with age."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from imap import LIMITS, begin
from imapload import Imap
from messages import messages
from peers import PASSWORD, Tls
from wharfinger import Wharfinger

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "200000"))
SMALL = 1_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CHANGES = 200  # of a tenth of the mailbox each


def main():
    base = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")))
    base.chmod(0o755)
    started = []
    try:
        tls = Tls(base / "tls")
        server = begin(Wharfinger(base / "wharfinger", tls, ["https", "imap"], LIMITS, users=["small", "large"]), started)
        for user, count in (("small", SMALL), ("large", MESSAGES)):
            taken = fill(server, base / user, user, count)
            print(f"{count:,} messages imported in {taken:.0f} s, {1000 * taken / count:.2f} ms each")
        again(server)
        tell("1,000 messages", server, "small")
        tell(f"{MESSAGES:,} messages", server, "large")
        begun = time.monotonic()
        history(server)
        print(f"{CHANGES} changes of {MESSAGES // 10:,} flags each, a tenth expunged and appended anew: "
              f"{time.monotonic() - begun:.0f} s")
        tell("the same after that", server, "large")
        again(server)
        tell("and after a restart", server, "large")
    finally:
        for each in reversed(started):
            each.stop()
        shutil.rmtree(base, ignore_errors=True)


def fill(server, folder, user, count):
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    for number, content in enumerate(messages(count)):
        (folder / "cur" / f"{1_600_000_000 + number}.{number}.bench:2,S").write_bytes(content.replace(b"\r\n", b"\n"))
    begun = time.monotonic()
    subprocess.run([server.binary, "import", "maildir", user, folder, *server.where()], check=True,
                   stdout=subprocess.DEVNULL)
    taken = time.monotonic() - begun
    shutil.rmtree(folder)
    return taken


def again(server):
    """Another process, which remembers nothing."""
    server.stop()
    server.launch([server.binary, "serve", *server.where()], server.https)


def tell(title, server, user):
    session = Imap(server.imap, user, PASSWORD)
    newest = int(session.command("STATUS INBOX (MESSAGES)").split(b"MESSAGES ")[1].split(b")")[0])
    commands = {"SELECT, the first time": "SELECT INBOX", "SELECT": "SELECT INBOX",
                "FETCH 1:* (FLAGS)": "FETCH 1:* (FLAGS)",
                "the newest 50 envelopes": f"FETCH {newest - 49}:{newest} (UID FLAGS ENVELOPE)",
                "APPEND": "APPEND INBOX {14+}\r\nSubject: x\r\n\r\n", "STATUS": "STATUS INBOX (MESSAGES UNSEEN SIZE)"}
    told = []
    for name, command in commands.items():
        taken = []
        for _ in range(1 if "first" in name else ROUNDS):
            begun = time.monotonic()
            session.command(command)
            taken.append(time.monotonic() - begun)
        told.append(f"{name} {1000 * sorted(taken)[len(taken) // 2]:.1f} ms")
    session.close()
    print(f"{title}: {', '.join(told)}")


def history(server):
    session = Imap(server.imap, "large", PASSWORD)
    session.command("SELECT INBOX")
    part = MESSAGES // 10
    for number in range(CHANGES):
        first = 1 + number * 37 % (MESSAGES - part)
        sign = "+-"[number % 2]
        session.command(f"STORE {first}:{first + part - 1} {sign}FLAGS.SILENT (\\Flagged)")
    session.command(f"STORE 1:{part} +FLAGS.SILENT (\\Deleted)")
    session.command("EXPUNGE")
    for number, content in enumerate(messages(part, MESSAGES)):
        session.command(b"APPEND INBOX {%d+}\r\n%s" % (len(content), content))
    session.close()


if __name__ == "__main__":
    main()
