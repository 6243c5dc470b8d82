"""mutt on a terminal of its own: it is told by keys what a reader would press, and ends by itself."""

import os, pty, select, time

from mailboxes import KEPT, LETTERS, PASSWORD, PLAIN, SENT, held


def on_terminal(words, seconds=20):
    """Runs a program on a terminal of its own; its exit code, below 0 where it did not end in time, and its screen."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="vt100", LINES="30", COLUMNS="110", LC_ALL="C.UTF-8", HOME="/nonexistent")
        os.execvp(words[0], [str(word) for word in words])
    screen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                screen += os.read(terminal, 65536)
            except OSError:  # the program has closed it
                break
    else:
        os.kill(child, 9)
    code = os.waitpid(child, 0)[1]
    os.close(terminal)
    return os.waitstatus_to_exitcode(code), screen.decode(errors="replace")


def by_mutt(report, daemon, name):
    root = daemon.folder / "mutt"
    root.mkdir()
    settings = root / "muttrc"
    settings.write_text(f"""
set folder = "imap://{name}@localhost:{daemon.port['imap']}/"
set spoolfile = "+INBOX" imap_user = "{name}" imap_pass = "{PASSWORD}"
set ssl_force_tls = yes ssl_starttls = yes certificate_file = "{daemon.certificate}"
set header_cache = "" tmpdir = "{root}" record = "" mbox = "" move = no confirmappend = no confirmcreate = no
set quit = yes delete = yes wait_key = no pipe_decode = no beep = no mark_old = no sleep_time = 0 sort = mailbox-order
set auto_tag = yes timeout = 2 charset = "utf-8" save_empty = yes copy = no
bind editor <Space> noop
""")

    def mutt(keys, *more):
        code, screen = on_terminal(["mutt", "-n", "-F", settings, *more, "-e", f'push "{keys}"'])
        return code == 0, screen[-1500:]

    before = held(daemon, name)
    # Open the third and keep its octets, flag the first, move the fourth, copy the fifth, delete the sixth.
    done, screen = mutt(f"3<enter><display-message><exit><pipe-message>cat > {root}/three<enter>"
                        "1<enter><flag-message>"
                        f"4<enter><save-message>={PLAIN}<enter>"
                        f"5<enter><copy-message>={LETTERS}<enter>"
                        "6<enter><delete-message><sync-mailbox><quit>")
    after = held(daemon, name)
    report.check("mutt: comes to its end", done, screen)
    got = (root / "three").read_bytes() if (root / "three").exists() else b""
    report.check("mutt: reads a message with its attachment", got.replace(b"\r\n", b"\n")
                 == before[3][1].replace(b"\r\n", b"\n"), got[:300])
    report.check("mutt: what was read is seen, what was not is not", "\\Seen" in after[3][0]
                 and "\\Seen" not in after[7][0], after[3][0])
    report.check("mutt: flags", "\\Flagged" in after[1][0], after[1][0])
    report.check("mutt: moves", 4 not in after and SENT[3] in held(daemon, name, PLAIN).bare(), (sorted(after), screen))
    report.check("mutt: copies into a folder with letters of all kinds", 5 in after
                 and held(daemon, name, LETTERS).bare() == sorted([KEPT[2], SENT[4]]), screen)
    report.check("mutt: deletes", sorted(after) == [1, 2, 3, 5, 7, 8], sorted(after))
