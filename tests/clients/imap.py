"""Mail read by real clients over IMAP and POP3: each gets an account of its own with the same mail and does its
ordinary work; Python's imaplib, on a connection of its own, judges what became of it on the server.

Usage: imap.py [CLIENT...]     PEER=dovecot shows what a clean run on Debian's Dovecot looks like
"""

import os, sys, tempfile, time, traceback

import mailfetch, maillibs, mailsync, mutt
from dovecot import Dovecot
from harness import Daemon, Report
from mailboxes import furnish

tempfile.tempdir = "/var/tmp"
CLIENTS = {"imaplib": maillibs.by_imaplib, "imapclient": maillibs.by_imapclient, "aioimaplib": maillibs.by_aioimaplib,
           "poplib": maillibs.by_poplib, "mutt": mutt.by_mutt, "mbsync": mailsync.by_mbsync,
           "offlineimap": mailsync.by_offlineimap, "getmail": mailfetch.by_getmail, "fetchmail": mailfetch.by_fetchmail,
           "curl": mailfetch.by_curl, "gsasl": mailfetch.by_gsasl}


def main():
    report = Report("imap")
    names = sys.argv[1:] or list(CLIENTS)
    dovecot = os.environ.get("PEER") == "dovecot"
    daemon = (Dovecot if dovecot else Daemon)().start()
    try:
        furnish(daemon, names)
        for name in names:
            begun = time.time()
            try:
                CLIENTS[name](report, daemon, name)
            except Exception:
                report.check(f"{name} comes to its end", False, traceback.format_exc())
            print(f"      {name}: {time.time() - begun:.1f} s", flush=True)
        if not dovecot:
            report.whole(daemon)
    finally:
        report.check("the server stops when told", daemon.stop() == 0)
        daemon.remove()
    report.end()


main()
