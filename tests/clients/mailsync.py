"""Two-way synchronisation with a folder of Maildirs: mbsync and offlineimap."""

import re

from harness import run
from mailboxes import (KEPT, LETTERS, PASSWORD, PLAIN, SENT, append, boxes, deliver, good, held, imap_utf7, login,
                       message)

FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}


def files(maildir):
    """The messages of a Maildir: path, flags, octets with CRLF as they were on the server."""
    found = []
    for path in sorted([*maildir.glob("cur/*"), *maildir.glob("new/*")]):
        letters = re.search(r":2,([A-Z]*)", path.name)
        content = re.sub(rb"\r?\n", b"\r\n", path.read_bytes())
        # A mark that the two clients put on what they bring to the server.
        content = re.sub(rb"^X-(TUID|OfflineIMAP): .*\r\n", b"", content, flags=re.M)
        found.append((path, {FLAGS[letter] for letter in (letters[1] if letters else "") if letter in FLAGS}, content))
    return found


def bare(maildir):
    return sorted(content[content.index(b"From: Sender"):] for _, _, content in files(maildir))


def the(maildir, number):
    """The file of a message by the number in its id."""
    return next(path for path, _, content in files(maildir) if b"\r\nMessage-ID: <%d@example.org>" % number in content)


def flagged(maildir, number):
    return next(flags for path, flags, _ in files(maildir) if path == the(maildir, number))


def mark(maildir, number, flags):
    path = the(maildir, number)
    path.rename(maildir / "cur" / f"{path.name.split(':')[0]}:2,{flags}")


def snapshot(daemon, name, root):
    """Everything on both sides."""
    return ({box: dict(held(daemon, name, box)) for box in sorted(boxes(daemon, name))},
            {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.parent.name in ("cur", "new")})


def both_ways(report, daemon, name, sync, root, place):
    """`place` says where a mailbox's Maildir lies, by its name."""
    def checked(what):
        done = sync()
        return report.check(f"{name}: {what}", done.returncode == 0, (done.returncode, done.stdout[-1500:],
                                                                      done.stderr[-1500:]))

    checked("the first run ends well")
    for box, wanted in (("INBOX", SENT), (PLAIN, KEPT[:2]), (LETTERS, KEPT[2:3])):
        report.check(f"{name}: {box} is there, octet by octet", bare(place(box)) == sorted(wanted),
                     list(root.rglob("*")))
    inbox = place("INBOX")
    report.check(f"{name}: flags came along", flagged(inbox, 2) == {"\\Seen"} and flagged(inbox, 1) == set()
                 and flagged(place(PLAIN), 20) == {"\\Seen", "\\Flagged"})
    # Here: a new message, a flag, a deletion. There: the same, and a delivery.
    mine, theirs, delivered = (message(number, f"{name} {number}", ["Grüße", ".", "end"]) for number in (70, 71, 72))
    (inbox / "new" / "1790000000.1_1.localhost").write_bytes(mine.replace(b"\r\n", b"\n"))
    mark(inbox, 1, "FS")
    mark(inbox, 2, "")
    the(inbox, 4).unlink()
    append(daemon, name, LETTERS, theirs, "(\\Answered)")
    deliver(daemon, [name], delivered)
    with login(daemon, name) as client:
        good(client.select())
        good(client.uid("STORE", "3", "+FLAGS", "(\\Answered \\Flagged)"))
        good(client.uid("STORE", "5", "+FLAGS", "(\\Deleted)"))
        good(client.expunge())
    checked("the second run ends well")
    there = held(daemon, name)
    brought = re.sub(rb"^X-(TUID|OfflineIMAP): .*\r\n", b"", there.find(f"{name} 70")[2], flags=re.M)
    report.check(f"{name}: what is new here is there", brought == mine, brought)
    report.check(f"{name}: what is new there is here", delivered in bare(inbox)
                 and bare(place(LETTERS)) == sorted([KEPT[2], theirs]))
    report.check(f"{name}: flags of here are there", there[1][0] == {"\\Flagged", "\\Seen"} and there[2][0] == set(),
                 (there[1][0], there[2][0]))
    report.check(f"{name}: flags of there are here", flagged(inbox, 3) == {"\\Answered", "\\Flagged"}
                 and flagged(place(LETTERS), 71) == {"\\Answered"})
    report.check(f"{name}: what was deleted on either side is gone from both", sorted(there)[:6] == [1, 2, 3, 6, 7, 8]
                 and len(there) == 8 and len(files(inbox)) == 8 and not {SENT[3], SENT[4]} & set(bare(inbox)),
                 sorted(there))
    before = snapshot(daemon, name, root)
    checked("the third run ends well")
    report.check(f"{name}: and changes nothing on either side", snapshot(daemon, name, root) == before)


def by_mbsync(report, daemon, name):
    root = daemon.folder / name
    (root / "mail").mkdir(parents=True)
    settings = root / "mbsyncrc"
    settings.write_text(f"""
IMAPAccount there
Host localhost
Port {daemon.port["imap"]}
User {name}
Pass "{PASSWORD}"
SSLType STARTTLS
CertificateFile {daemon.certificate}
SystemCertificates no

IMAPStore there
Account there

MaildirStore here
Path {root}/mail/
Inbox {root}/mail/INBOX
SubFolders Verbatim

Channel all
Far :there:
Near :here:
Patterns *
Create Near
Expunge Both
SyncState *
""")
    both_ways(report, daemon, name, lambda: run("mbsync", "-c", settings, "-a"), root / "mail",
              lambda box: root / "mail" / imap_utf7.encode(box).decode())


def by_offlineimap(report, daemon, name):
    root = daemon.folder / name
    root.mkdir()
    settings = root / "rc"
    settings.write_text(f"""
[general]
accounts = one
metadata = {root}/state
[Account one]
localrepository = here
remoterepository = there
utf8foldernames = yes
[Repository here]
type = Maildir
localfolders = {root}/mail
[Repository there]
type = IMAP
remotehost = localhost
remoteport = {daemon.port["imaps"]}
remoteuser = {name}
remotepass = {PASSWORD}
ssl = yes
sslcacertfile = {daemon.certificate}
""")
    both_ways(report, daemon, name, lambda: run("offlineimap", "-o", "-u", "basic", "-c", settings), root / "mail",
              lambda box: root / "mail" / box)
