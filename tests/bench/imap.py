"""Measures IMAP and POP3 beside Dovecot: the same messages, the same commands, the same run; see `run`."""

import functools
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import ssl
import statistics
import sys
import tempfile
import time

import engines
import imapload
from imapload import Imap, Stepped, drive, mixed, spread
from messages import COMMON, RARE, SECOND, WITHIN, messages
from meter import Meter, memory
from peers import DOMAIN, PASSWORD, RECIPIENTS, Dovecot, Tls
from report import Least, Row, print_report
from wharfinger import Wharfinger

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LARGE = int(os.environ.get("BENCH_MESSAGES", "100000"))  # messages in the one large mailbox
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "5000"))  # in IDLE
SIDES = os.environ.get("BENCH_SIDES", "peer ours").split()
PARTS = os.environ.get("BENCH_PARTS", "idle mixed pop3 headers search").split()
OWNER, FEEDER = "large", "feeder"  # of the large mailbox, and of the one that messages are appended to
APPENDED = 2_000
SETTLE = 8  # seconds from the last IDLE until the memory counts; longer than Dovecot waits with hibernating
EACH = 25  # sessions of one user in IDLE
IDLERS = [f"i{number}" for number in range(1, SESSIONS // EACH + 1)]
SMALL = 200  # messages in the mailboxes of the mixed load and of POP3
CLIENTS, PROCESSES = 40, 2
SECONDS = 5
WATCHES = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")
FIELDS = ("From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type "
          "Reply-To")


def main():
    base = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")))
    base.chmod(0o755)
    started, watches = [], WATCHES.read_text()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what follows is undone
    # Dovecot takes one inotify instance for each session in IDLE, or else looks only every half minute.
    WATCHES.write_text(str(max(int(watches), 2 * SESSIONS + 1000)))
    try:
        tls, rows = Tls(base / "tls"), []
        servers = sides(base, tls, started)
        client = functools.partial(ssl.create_default_context, cafile=tls.ca)
        if "idle" in PARTS:  # first: sessions would live in what other work has freed, and seem to need nothing
            rows += idle(servers, client())
            if "peer" in SIDES:
                hibernating = begin(Dovecot(base / "hibernating", tls, IDLERS, hibernate=True), started)
                # Memory alone, for which hibernating is meant.
                rows += idle([hibernating], client(), ", imap_hibernate_timeout = 5s", deliver=False)
                hibernating.stop()
        if {"mixed", "pop3"} & set(PARTS):
            for server in servers:
                for user in RECIPIENTS:
                    fill(server, user, SMALL)
        rows += mixed_load(servers) if "mixed" in PARTS else []
        rows += pop3(servers) if "pop3" in PARTS else []
        if {"headers", "search"} & set(PARTS):
            rows += large_mailbox(servers)
        print_report(rows, ROUNDS, str(base))
    finally:
        WATCHES.write_text(watches)
        for server in reversed(started):
            server.stop()
        shutil.rmtree(base, ignore_errors=True)


def sides(base, tls, started):
    """The servers to compare; ENGINE=postgres puts ours on PostgreSQL and S3."""
    users = [*RECIPIENTS, OWNER, FEEDER, *IDLERS]
    found = [begin(Dovecot(base / "dovecot", tls, users), started)] if "peer" in SIDES else []
    if "ours" in SIDES:
        extra = LIMITS
        if os.environ.get("ENGINE") == "postgres":
            postgres, bucket = engines.servers.Postgres().start(), engines.servers.S3().start()
            started += [bucket, postgres]
            bucket.bucket("bench")
            extra += engines.shared_store(postgres.database(), bucket, "imap")
        protocols = ["https", "imap", "imaps", "pop3", "pop3s"]
        found.append(begin(Wharfinger(base / "wharfinger", tls, protocols, extra, users=users), started))
    return found


LIMITS = """
[limits]
connections = 20000
per_address = 10000

[auth]
cleartext = "loopback"
"""


def begin(server, started):
    started.append(server)
    server.start()
    return server


def is_ours(server):
    return isinstance(server, Wharfinger)


def fill(server, user, count, at_once=100):
    """Appends the messages from the first on, every fourth of them read; gives the seconds of the server alone."""
    session, seconds = Imap(server.imap, user, PASSWORD), 0.0
    pending = []
    for number, content in enumerate(messages(count)):
        flags = b"()" if number % 4 else b"(\\Seen)"
        came = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(arrival(number))).encode()
        pending.append(b' %s "%s" {%d+}\r\n%s' % (flags, came, len(content), content))
        if len(pending) == at_once or number == count - 1:
            begun = time.monotonic()
            session.command(b"APPEND INBOX" + b"".join(pending))
            seconds += time.monotonic() - begun
            pending = []
    session.close()
    return seconds


def arrival(number):
    return 1_600_000_000 + 600 * number


def put(server, user, count):
    """The same messages as by `fill`; Dovecot takes them as files, which is far faster for it."""
    if not is_ours(server):
        files = ((content, not number % 4, arrival(number)) for number, content in enumerate(messages(count)))
        if server.put(user, files):
            return
    fill(server, user, count)


def alternate(row, servers, load, rounds=ROUNDS):
    """`load(server)` gives how many operations took how many seconds; the peer and ours take turns."""
    for turn in range(rounds):
        for server in servers if turn % 2 == 0 else reversed(servers):
            os.sync()
            with Meter(server.pid) as meter:
                count, seconds = load(server)
            row.add(is_ours(server), count, seconds, meter)
            say(f"{row.title}: {server.name} {row.rate(is_ours(server)):,.1f} {row.unit}")
    return row


# --- what is measured -------------------------------------------------------------------------------------------------

def mixed_load(servers):
    row = Row(f"IMAP, mixed load, {CLIENTS} connections of {len(RECIPIENTS)} accounts", "commands/s", aim=1.0,
              peer=peer_name(servers), durable="ours all; Dovecot's all but flags "
              "(`mail_fsync = optimized`)")
    contents = [content[:4096].rpartition(b"\r\n")[0] + b"\r\n" for content in messages(200) if len(content) > 4096]
    turns = {}
    for server in servers:  # a short run warms the server up, and says how long a round must be
        commands, seconds = mix(server, contents, 4)
        turns[server] = max(4, int(4 * SECONDS / seconds) // 2 * 2)
    return [alternate(row, servers, lambda server: mix(server, contents, turns[server]))]


def mix(server, contents, turns):
    def work(users, ready):
        scripts = [(Stepped(server.imap, user, PASSWORD), mixed(contents, turns)) for user in users]
        return drive(scripts, ready)

    users = [RECIPIENTS[at % len(RECIPIENTS)] for at in range(CLIENTS)]
    seconds, cpu, tallies = spread(work, users, PROCESSES)
    kept(server, CLIENTS * turns)
    verbs = {}
    for tally in tallies:
        for verb, (count, waited) in tally.items():
            total, before = verbs.get(verb, (0, 0.0))
            verbs[verb] = total + count, before + waited
    commands = sum(count for count, _ in verbs.values())
    busy = 100 * cpu / seconds / min(PROCESSES, os.cpu_count())
    waits = ", ".join(f"{verb} {1000 * waited / count:.2f}" for verb, (count, waited) in sorted(verbs.items()))
    say(f"  {server.name}: {commands} commands, the clients were busy {busy:.0f} % of the time; ms to answer: {waits}")
    return commands, seconds


def kept(server, appended):
    """After `appended` more messages, half of them copied and half moved, each mailbox must hold what it should."""
    server.accepted += appended
    half = server.accepted // 2 // len(RECIPIENTS)
    for user in RECIPIENTS:
        session = Imap(server.imap, user, PASSWORD)
        for mailbox, count in (("INBOX", SMALL), ("Archive", half), ("Trash", half)):
            if f"MESSAGES {count})".encode() not in (said := session.command(f"STATUS {mailbox} (MESSAGES)")):
                raise SystemExit(f"{server.name}, {user}: {count} messages should be in {mailbox}: {said!r}")
        session.close()


def pop3(servers):
    row = Row("POP3 RETR, 10 connections", "messages/s", aim=None, peer=peer_name(servers), durable="reads only")

    def load(server):
        users = RECIPIENTS[:10]
        seconds, cpu, results = spread(lambda mine, ready: imapload.retrieve(server.pop3, PASSWORD, mine, ready),
                                       users, len(users))
        count, size = (sum(each) for each in zip(*results))
        if count != SMALL * len(users) * imapload.PASSES:
            raise SystemExit(f"{server.name} had {count} messages for POP3")
        say(f"  {server.name}: {size} bytes, the clients used {cpu:.2f} s of CPU in {seconds:.2f} s")
        return count, seconds

    return [alternate(row, servers, load)]


def large_mailbox(servers):
    feed = Row(f"IMAP APPEND of {APPENDED:,} messages, 100 in a command", "messages/s", aim=None,
               peer=peer_name(servers), durable="both")
    rows = [alternate(feed, servers, lambda server: (APPENDED, fill(server, FEEDER, APPENDED)))]
    for server in servers:
        begun = time.monotonic()
        put(server, OWNER, LARGE)
        say(f"  {server.name}: the large mailbox took {time.monotonic() - begun:.0f} s to fill")
    sessions = {server: Imap(server.imap, OWNER, PASSWORD) for server in servers}
    if "headers" in PARTS:
        rows += headers(servers, sessions)
    if "search" in PARTS:
        rows += searches(servers, sessions)
    for session in sessions.values():
        session.close()
    return rows


def headers(servers, sessions):
    for server in servers:
        begun = time.monotonic()
        if f"* {LARGE} EXISTS".encode() not in sessions[server].command("SELECT INBOX"):
            raise SystemExit(f"{server.name} does not have {LARGE} messages")
        say(f"  {server.name}: the first SELECT took {time.monotonic() - begun:.3f} s")
    rows = []
    for title, items, aim in (("headers as Thunderbird asks", f"UID FLAGS BODY.PEEK[HEADER.FIELDS ({FIELDS})]", 1.0),
                              ("ENVELOPE, size and date", "UID FLAGS ENVELOPE RFC822.SIZE INTERNALDATE", 1.0),
                              ("flags", "UID FLAGS", None)):
        def load(server):
            count = sessions[server].command(f"FETCH 1:* ({items})", b" FETCH (")
            if count != LARGE:
                raise SystemExit(f"{server.name} answered FETCH with {count} messages of {LARGE}")

        for times, rounds in (("the first time", 1), ("again", ROUNDS)):
            row = Least(f"FETCH of {LARGE:,}: {title}, {times}", "s", aim=aim, peer=peer_name(servers),
                        durable="reads only")
            rows.append(timed(row, servers, load, rounds, LARGE))
    return rows


def searches(servers, sessions):
    rows = []
    for server in servers:
        sessions[server].command("SELECT INBOX")
        if is_ours(server):
            indexed(server)
    for title, keys in (("a rare word", f"TEXT {RARE}"), ("a common word", f"TEXT {COMMON}"),
                        ("within a word", f"TEXT {WITHIN}"), ("two words", f"TEXT {COMMON} TEXT {SECOND}")):
        hits = {}

        def load(server):
            hits[server] = found(sessions[server].command(f"UID SEARCH RETURN (COUNT) {keys}"))

        row = Least("", "ms", aim=100.0, peer=peer_name(servers), durable="reads only", scale=1000)
        rows.append(timed(row, servers, load, ROUNDS, 1))
        counts = set(hits.values())
        if len(counts) != 1:
            raise SystemExit(f"SEARCH {keys}: " + ", ".join(f"{server.name} found {hits[server]}" for server in hits))
        row.title = f"SEARCH TEXT in {LARGE:,}: {title}, {counts.pop():,} hits"
        say(f"{row.title}: " + ", ".join(f"{side.name} {row.rate(is_ours(side)):,.1f} ms" for side in servers))
    return rows


def indexed(server):
    """The tail that is not in the index is read message by message; of a mailbox that was filled within seconds that is
    all of it, so the index is waited for, and how long that takes is told."""
    begun = time.monotonic()
    while (left := server.status()["store"]["unindexed"]) > 0:
        if time.monotonic() - begun > 1800:
            raise SystemExit(f"{left} messages are not in the index after half an hour")
        time.sleep(1)
    say(f"  {server.name}: the index was complete {time.monotonic() - begun:.0f} s later")


def found(answer):
    if not (count := re.search(rb"ESEARCH [^\r]*COUNT (\d+)", answer)):
        raise SystemExit(f"no ESEARCH answer: {answer!r}")
    return int(count[1])


def timed(row, servers, load, rounds, operations):
    """Seconds of `load(server)`; what takes very long is not done again."""
    slow = set()
    for turn in range(rounds):
        for server in servers if turn % 2 == 0 else reversed(servers):
            if server in slow:
                continue
            # What takes less than a second is not disturbed by the meter's looking.
            with Meter(server.pid, every=1) as meter:
                begun, busy = time.monotonic(), time.process_time()
                load(server)
                seconds, busy = time.monotonic() - begun, time.process_time() - busy
            row.add(is_ours(server), seconds, meter.cpu / operations, meter.memory)
            seconds > 2 * SECONDS and slow.add(server)
            row.title and say(f"{row.title}: {server.name} {seconds:.3f} s, the client used {busy:.3f} s of CPU")
    return row


def idle(servers, tls, note="", deliver=True):
    """Memory for each session, and the time until all know of one delivery to each user."""
    name = peer_name(servers)
    held = Least(f"Memory of one IMAPS session in IDLE, of {SESSIONS:,}{note}", "KiB", aim=20.0, peer=name,
                 durable="–")
    told = Least(f"One delivery to each of {len(IDLERS)} users, until {SESSIONS:,} sessions in IDLE know", "s",
                 aim=None, peer=name, durable="both") if deliver else None
    for server in servers:
        with_idle(server, tls, held, told)
    return [held, told] if deliver else [held]


def with_idle(server, tls, held, told):
    for user in IDLERS:  # each has a mailbox, and nothing is made for the first time below
        fill(server, user, 1)
    time.sleep(1)
    before = memory(server.pid)
    jobs = [(user, f"127.0.{1 + at // 200}.{1 + at % 200}") for at, user in enumerate(IDLERS)] * EACH
    random.Random(1).shuffle(jobs)
    content = next(messages(1))
    opening, meter = (Meter(server.pid, every=5) for _ in range(2))
    senders, sent, begun = {}, {}, time.monotonic()

    def ready():
        opened = time.monotonic() - begun
        time.sleep(SETTLE)
        opening.__exit__()
        used = memory(server.pid) - before
        say(f"{held.title}: {server.name} {used / SESSIONS:,.1f} KiB; "
            f"with all that the server held before {(used + before) / SESSIONS:,.1f} KiB; "
            f"{SESSIONS / opened:.0f} sessions/s opened")
        held.add(is_ours(server), used / SESSIONS, opening.cpu / SESSIONS, opening.memory)
        senders.update((user, Imap(server.imap, user, PASSWORD)) for user in IDLERS if told)

    def deliver():
        meter.__enter__()
        first = time.monotonic()
        for session in senders.values():
            session.socket.sendall(b"q9Z APPEND INBOX {%d+}\r\n%s\r\n" % (len(content), content))
        for user, session in senders.items():
            session.answer()
            sent[user] = time.monotonic()
        sent[None] = first

    opening.__enter__()

    def work(mine, go):
        return imapload.idle(server.imaps, tls, mine, PASSWORD, go, delivered=told is not None)

    if told is None:
        spread(work, jobs, PROCESSES, ready)
        return
    _, _, results = spread(work, jobs, PROCESSES, ready, deliver)
    meter.__exit__()
    seen = [one for result in results for one in result]
    if len(seen) != SESSIONS:
        raise SystemExit(f"{server.name}: {len(seen)} of {SESSIONS} sessions learnt of the delivery")
    seconds = max(when for _, when in seen) - sent[None]
    after = sorted(when - sent[user] for user, when in seen)
    told.add(is_ours(server), seconds, meter.cpu / SESSIONS, meter.memory)
    say(f"{told.title}: {server.name} {seconds:.2f} s; after the OK of the delivery: median "
        f"{statistics.median(after):.3f} s, the last {after[-1]:.3f} s")
    for session in senders.values():
        session.close()


def peer_name(servers):
    return next((server.name for server in servers if not is_ours(server)), Dovecot.name)


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    main()
