"""Mail from other programs and back: what Python's mailbox module wrote is imported with its flags, keywords and dates,
what is exported it can read, and what is exported and imported again is the same to the byte. Imports and exports that
were killed are run again: nothing is there twice, nothing is lost."""

import base64, collections, http.client, mailbox, os, pathlib, re, subprocess, time

import ftps, movers
from harness import BINARY, run, tested

PASSWORD = "a long enough password"
MANY = int(os.environ.get("MESSAGES", "20000"))
BITS = {1: "\\Seen", 2: "\\Answered", 4: "\\Flagged", 8: "\\Deleted", 16: "\\Draft"}
DATE = 1_000_000_000


def message(number, subject="", ends="\n"):
    """Some have lines that an mbox must quote, and some are large."""
    body = ["Hello.", "From me to you", ">From the past", "", "From ann@example.org Sun Sep  9 01:46:40 2001", "", ""]
    if number % 50 == 0:
        body += ["a line of a large message"] * 20_000
    head = [f"From: ann{number}@example.org", f"Subject: {subject or number}", f"Message-ID: <{number}@example.org>"]
    return ends.join(head + [""] + body + [""]).encode()


def stored(daemon, account):
    """What an account has: how often each content, date and set of flags is in each mailbox."""
    rows = daemon.store.rows
    number, = rows("SELECT id FROM accounts WHERE name = $1", account)[0]
    names = {1 << bit: name for bit, name in rows("SELECT bit, name FROM keywords WHERE account = $1", number)} | BITS
    found = rows("""SELECT mailboxes.name, hash, received, flags FROM messages JOIN mailboxes ON mailboxes.id = mailbox
                    JOIN blobs ON blobs.id = messages.blob WHERE mailboxes.account = $1""", number)
    return collections.Counter((name, bytes(hash).hex(), received // 1000, frozenset(
        name for bit, name in names.items() if flags & bit)) for name, hash, received, flags in found)


class Https:
    def __init__(self, daemon, user):
        self.connection = http.client.HTTPSConnection("127.0.0.1", daemon.port["https"], context=ftps.context(),
                                                      timeout=60)
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()}

    def get(self, path):
        self.connection.request("GET", "/dav/Mail/" + path, headers=self.headers)
        return self.connection.getresponse().read()


def maildir(folder):
    """A Maildir with folders, flags, keywords and dates, by Python."""
    top = mailbox.Maildir(folder, create=True)
    places = {"INBOX": top, "Sent": top.add_folder("Sent"), "a/bü": top.add_folder("a.b&APw-")}
    letters = {"INBOX": {"a": "$Label1", "c": "Junk"}, "Sent": {"b": "$Label1"}, "a/bü": {}}
    wanted = collections.Counter()
    number = 0
    for name, place in places.items():
        keywords = "".join(f"{ord(letter) - 97} {word}\n" for letter, word in letters[name].items())
        (pathlib.Path(place._path) / "dovecot-keywords").write_text(keywords)
        for flags in ("", "S", "RS", "F", "DFPRST", "".join(letters[name])):
            number += 1
            item = mailbox.MaildirMessage(message(number))
            item.set_flags(flags)
            item.set_subdir("cur" if flags else "new")
            item.set_date(DATE + number)
            place.add(item)
            means = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "D": "\\Draft", "T": "\\Deleted",
                     "P": "$Forwarded", **letters[name]}
            wanted[name, DATE + number, frozenset(means[flag] for flag in flags)] += 1
    # The same message twice is two messages.
    for _ in range(2):
        twin = mailbox.MaildirMessage(message(1000))
        twin.set_date(DATE)
        top.add(twin)
    wanted["INBOX", DATE, frozenset()] = 2
    os.mkdir(folder / "cur" / "not a message")
    os.mkfifo(folder / "cur" / "pipe:2,S")
    return wanted


def mboxes(folder):
    folder.mkdir()
    wanted = collections.Counter()
    for name in ("inbox", "Work.mbox"):
        box = mailbox.mbox(folder / name)
        for number in range(10):
            item = mailbox.mboxMessage(message(number))
            flags = ["", "R", "RO", "ROFA", "ROD"][number % 5]
            item.set_flags(flags)
            item.set_from("ann@example.org", time.gmtime(DATE + number))
            box.add(item)
            means = {"R": "\\Seen", "F": "\\Flagged", "A": "\\Answered", "D": "\\Deleted"}
            place = {"inbox": "Old/inbox", "Work.mbox": "Old/Work"}[name]
            wanted[place, DATE + number, frozenset(means[flag] for flag in flags if flag in means)] += 1
        box.close()
    (folder / "notes.txt").write_text("no mail\n")
    return wanted


def flagged(found):
    """Without the contents."""
    counted = collections.Counter()
    for (name, _, seconds, flags), count in found.items():
        counted[name, seconds, flags] += count
    return counted


def importing(report, daemon):
    def take(*words):
        done = daemon.cli("import", *map(str, words), check=False)
        return done.stdout.splitlines()

    folder = daemon.folder / "maildir"
    wanted = maildir(folder)
    lines = take("maildir", "alice", folder)
    report.check("a Maildir is imported", lines[0] == "20 messages imported, 0 were there already", lines)
    report.check("what is no message is named", len(lines) == 3 and "pipe" in lines[1] + lines[2], lines)
    found = flagged(stored(daemon, "alice"))
    report.check("with folders, flags, keywords and dates", found == wanted, (found - wanted, wanted - found))
    web = Https(daemon, "alice")
    contents = {web.get(f"INBOX/{uid}.eml") for uid in range(1, 9)}
    expected = {message(number, ends="\r\n") for number in [*range(1, 7), 1000]}
    report.check("and the line ends of mail", contents == expected, [content[:200] for content in contents - expected])
    lines = take("maildir", "alice", folder)
    report.check("once", lines[0] == "0 messages imported, 20 were there already", lines)

    boxes = mboxes(daemon.folder / "mboxes")
    before = flagged(stored(daemon, "alice"))
    lines = take("mbox", "alice", daemon.folder / "mboxes", "--mailbox", "Old")
    report.check("a folder of mbox files is imported below a mailbox", lines[0].startswith("20 messages imported")
                 and "notes.txt" in lines[1], lines)
    found = flagged(stored(daemon, "alice")) - before
    report.check("with flags and dates", found == boxes, (found - boxes, boxes - found))
    body = Https(daemon, "alice").get("Old/Work/2.eml")
    # Python quotes as mboxo does: what had a quote already cannot be told from what got one.
    report.check("and unquoted", b"\r\nFrom me to you\r\n" in body and b"Status" not in body, body[:300])
    lines = take("mbox", "alice", daemon.folder / "mboxes" / "inbox", "--mailbox", "Old/inbox")
    report.check("a single file goes into the mailbox that is named, once",
                 lines == ["0 messages imported, 10 were there already"], lines)
    for words, why in ((("maildir", "nobody", folder), "nobody"), (("maildir", "alice", daemon.data), "no Maildir"),
                       (("mbox", "alice", "/not/there"), "/not/there")):
        done = daemon.cli("import", *map(str, words), check=False)
        report.check(f"what cannot be says so ({words[0]} {words[1]})", done.returncode == 1
                     and why in done.stdout + done.stderr, done)


def there_and_back(report, daemon):
    first = stored(daemon, "alice")
    count = sum(first.values())
    for form, account in (("maildir", "bob"), ("mbox", "carol")):
        folder = daemon.folder / f"export-{form}"
        line = daemon.cli("export", form, "alice", str(folder)).stdout.splitlines()[0]
        report.check(f"an account is exported as {form}",
                     line == f"{count} messages exported, 0 were there already", line)
        line = daemon.cli("export", form, "alice", str(folder)).stdout.splitlines()[0]
        report.check("once", line == f"0 messages exported, {count} were there already", line)
        daemon.cli("import", form, account, str(folder))
        found = stored(daemon, account)
        report.check("imported into another account, all is the same", found == first, (found - first, first - found))
        line = daemon.cli("import", form, account, str(folder)).stdout.splitlines()[0]
        report.check("and stays so", line == f"0 messages imported, {count} were there already", line)
    by_python = mailbox.Maildir(daemon.folder / "export-maildir", create=False)
    report.check("Python's Maildir reads the folders", sorted(by_python.list_folders()) ==
                 sorted(["Archive", "Drafts", "Junk", "Sent", "Trash", "Old.Work", "Old.inbox", "a.b&APw-"]),
                 by_python.list_folders())
    flags = collections.Counter(item.get_flags() for item in by_python)
    report.check("and the flags", len(by_python) == 8 and flags["DFPRST"] == 1 and flags["RS"] == 1, flags)
    dates = sorted(int(item.get_date()) for item in by_python)
    report.check("and the dates", dates == sorted([DATE, DATE] + [DATE + number for number in range(1, 7)]), dates)
    box = mailbox.mbox(daemon.folder / "export-mbox" / "Old" / "Work.mbox")
    flags = collections.Counter(item.get_flags() for item in box)
    report.check("Python's mbox reads the messages and their flags", len(box) == 10 and flags["ROAF"] == 2, flags)
    wrong = [item["subject"] for item in box if b"Hello" not in item.get_payload(decode=True)]
    report.check("and their bodies", not wrong, wrong)
    alone = daemon.folder / "alone"
    daemon.cli("export", "maildir", "alice", str(alone), "--mailbox", "a/bü")
    report.check("one mailbox is exported alone", len(mailbox.Maildir(alone, create=False)) == 6)


def begin(daemon, *words):
    return subprocess.Popen([BINARY, "--config", str(daemon.config), *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def count(daemon, account):
    rows = daemon.store.rows
    return rows("""SELECT COUNT(*) FROM messages JOIN mailboxes ON mailboxes.id = mailbox
                   JOIN accounts ON accounts.id = mailboxes.account WHERE accounts.name = $1""", account)[0][0]


def wait_for(what, limit=120):
    end = time.time() + limit
    while not what():
        if time.time() > end:
            return False
        time.sleep(0.002)
    return True


def interrupted(report, daemon):
    folder = daemon.folder / "many"
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True)
    for number in range(MANY):
        path = folder / "cur" / f"{DATE + number}.M{number}.host:2,S"
        path.write_bytes(message(number * 50 + 1, f"message {number}"))
        os.utime(path, (DATE + number, DATE + number))
    kill = (("the command line", lambda process: process.kill()), ("the daemon", lambda process: daemon.kill()),
            ("the command line again", lambda process: process.kill()))
    for number, (what, deed) in enumerate(kill, 1):
        process = begin(daemon, "import", "maildir", "dave", folder)
        reached = wait_for(lambda: count(daemon, "dave") >= number * MANY // 5)
        deed(process)
        output = process.communicate()[0]
        if what == "the daemon":
            report.check("the command line tells that the daemon is gone", process.returncode == 1 and
                         "run the command again" in output, output)
            daemon.start()
        had = count(daemon, "dave")
        report.check(f"{what} is killed in the middle of an import ({had} of {MANY} messages)", reached and had < MANY)
    begun, had = time.time(), count(daemon, "dave")
    line = daemon.cli("import", "maildir", "dave", str(folder)).stdout.splitlines()[0]
    counts = re.fullmatch(r"(\d+) messages imported, (\d+) were there already", line)
    added, there = map(int, counts.groups()) if counts else (0, 0)
    # The daemon ends the batch it was in when the command line was killed, so there may be more than were counted.
    report.check(f"run again, it goes on where it was, {(time.time() - begun) * 1000 / max(1, added):.1f} ms each",
                 added + there == MANY and there >= had > 0, (line, had))
    found = stored(daemon, "dave")
    dates = {seconds for _, _, seconds, _ in found}
    report.check("nothing is there twice, nothing is lost", sum(found.values()) == len(found) == len(dates) == MANY,
                 (sum(found.values()), len(found), len(dates)))
    for form in ("maildir", "mbox"):
        to = daemon.folder / f"many-{form}"
        place = {"maildir": to / "cur", "mbox": to / "INBOX.mbox"}[form]

        def begins():
            return place.exists() and (len(os.listdir(place)) if form == "maildir" else place.stat().st_size) > 1000

        process = begin(daemon, "export", form, "dave", to)
        reached = wait_for(begins)
        process.kill()
        process.wait()
        line = daemon.cli("export", form, "dave", str(to)).stdout.splitlines()[0]
        numbers = [int(word) for word in line.split() if word.isdigit()]
        report.check(f"an export as {form} that was killed goes on: {line}", reached and sum(numbers) == MANY
                     and numbers[0] > 0, line)
        daemon.cli("import", form, f"erin-{form}", str(to))
        again = stored(daemon, f"erin-{form}")
        report.check("and comes back whole", again == found, (len(again), len(found)))


def without_daemon(report, daemon):
    daemon.stop()
    done = daemon.cli("import", "maildir", "frank", str(daemon.folder / "maildir"), check=False)
    report.check("without the daemon it is imported too", done.stdout.startswith("20 messages imported"), done)
    report.check("all of it", flagged(stored(daemon, "frank")) == flagged(collections.Counter(
        {key: number for key, number in stored(daemon, "alice").items() if not key[0].startswith("Old/")})))
    done = daemon.cli("export", "mbox", "frank", str(daemon.folder / "offline"), check=False)
    report.check("and exported", done.stdout.startswith("20 messages exported"), done)
    if os.geteuid() == 0:
        # Root reads what is its own, and the store is opened by whom it belongs to.
        run("chown", "-R", "65534:65534", daemon.data)
        os.chmod(daemon.folder, 0o711)
        os.chmod(daemon.folder / "maildir", 0o700)
        done = daemon.cli("import", "maildir", "grace", str(daemon.folder / "maildir"), check=False)
        report.check("root imports its own files for the store's owner", done.stdout.startswith("20 messages imported"),
                     done)
        strangers = [str(path) for path in daemon.data.rglob("*") if path.stat().st_uid != 65534]
        report.check("and leaves nothing of root's in the store", not strangers, strangers)
        run("chown", "-R", "0:0", daemon.data)
    daemon.start()


def main():
    with tested("import") as (report, daemon):
        for name in ("alice", "bob", "carol", "dave", "erin-maildir", "erin-mbox", "frank", "grace", "heidi"):
            daemon.add(name, PASSWORD)
        importing(report, daemon)
        there_and_back(report, daemon)
        for part in (movers.folders, movers.hostile, movers.at_once, movers.archive, movers.thunderbird):
            part(report, daemon, "heidi")
        interrupted(report, daemon)
        print(f"      {daemon.memory() / (1 << 20):.1f} MiB used at most", flush=True)
        without_daemon(report, daemon)


main()
