"""imaptest, the test of IMAP servers by Dovecot's makers: its scripts, and 50 clients at random on common mailboxes.

It is not in Debian and no part of this project, so tests/run does not run it. To build it beside: autoreconf -vif,
configure and make first in github.com/dovecot/core, then in github.com/dovecot/imaptest with --with-dovecot=.../core.
Dovecot 2.3 passes 72 groups of scripts, four of them skipped, and has no error under stress.

Usage: IMAPTEST=.../src/imaptest imaptest.py [SECONDS]    PEER=dovecot shows what a clean run on Debian's Dovecot is
"""

import collections, email.utils, os, pathlib, random, re, subprocess, sys, tempfile

from dovecot import Dovecot
from harness import Daemon, Report
from mailboxes import PASSWORD

tempfile.tempdir = "/var/tmp"
ACCOUNTS, CLIENTS, MESSAGES = 5, 50, 500


def mbox(path):
    """Messages in ASCII whose ids are unique, which imaptest knows them by."""
    chance, words = random.Random(4), "wharf crane rope tide ledger cargo hull mast anchor quay berth sail".split()
    with open(path, "w", newline="\r\n") as out:
        for number in range(MESSAGES):
            date = email.utils.formatdate(1_750_000_000 + number * 600)
            lines = [" ".join(chance.choices(words, k=9)) for _ in range(chance.randrange(3, 120))]
            subject = ("Re: " if number % 3 else "") + " ".join(chance.choices(words, k=3))
            out.write(f"From sender@example.org  {date}\nFrom: Sender {number % 7} <s{number % 7}@example.org>\n"
                      f"To: reader@example.org\nSubject: {subject}\nDate: {date}\n"
                      f"Message-ID: <{number}@example.org>\n\n" + "\n".join(lines) + "\n\n")
    return path


def imaptest(daemon, *options):
    words = [os.environ["IMAPTEST"], "host=127.0.0.1", f"port={daemon.port['imaps']}", "ssl=any-cert",
             f"pass={PASSWORD}", "mech=plain", *options]
    # It takes mailboxes' names and rawlogs from where it stands.
    return subprocess.run(words, capture_output=True, text=True, errors="replace", cwd=daemon.folder, timeout=7200)


def scripts(report, daemon, folder):
    done = imaptest(daemon, "user=script", f"test={folder}")
    said = done.stdout + done.stderr
    found = re.search(r"(\d+) test groups: (\d+) failed, (\d+) skipped", said)
    for line in said.splitlines():
        print(f"      {line}")
    report.check(f"its scripts: {found[0] if found else 'no end'}", found and int(found[1]) - int(found[3]) > 50
                 and found[2] == "0", said[-3000:])


def stress(report, daemon, seconds):
    done = imaptest(daemon, "user=stress%d", f"users={ACCOUNTS}", f"clients={CLIENTS}", f"secs={seconds}", "msgs=100",
                    f"mbox={mbox(daemon.folder / 'mbox')}", "seed=1")
    lines = (done.stdout + "\n" + done.stderr).splitlines()
    totals = [line for line in lines if re.match(r"^\s*\d+( +\d+)+\s*$", line)]
    errors = [line for line in lines if re.search(r"Error|Fatal|Panic|BUG|stalled", line)]
    for line in lines[-12:]:
        print(f"      {line}")
    kinds = collections.Counter(re.sub(r"\d+", "N", error)[:120] for error in errors)
    for kind, count in kinds.most_common(20):
        print(f"      {count} x {kind}")
    report.check(f"{CLIENTS} clients on {ACCOUNTS} mailboxes for {seconds} s: {len(errors)} errors",
                 done.returncode == 0 and not errors and totals, "\n".join(errors[:20]) or done)


def main():
    if "IMAPTEST" not in os.environ:
        sys.exit("IMAPTEST has to name imaptest's binary")
    report, dovecot = Report("imaptest"), os.environ.get("PEER") == "dovecot"
    daemon = (Dovecot if dovecot else Daemon)().start()
    try:
        for name in ["script", *(f"stress{number}" for number in range(1, ACCOUNTS + 1))]:
            daemon.add(name, PASSWORD)
        scripts(report, daemon, os.environ.get("IMAPTEST_SCRIPTS",
                                               pathlib.Path(os.environ["IMAPTEST"]).absolute().parent / "tests"))
        stress(report, daemon, int(sys.argv[1]) if len(sys.argv) > 1 else 60)
        if not dovecot:
            report.whole(daemon)
    finally:
        report.check("the server stops when told", daemon.stop() == 0)
        daemon.remove()
    report.end()


main()
