"""Python's mail libraries: imaplib, imapclient, aioimaplib and poplib."""

import asyncio, imaplib, poplib, re, time

from mailboxes import (KEPT, LETTERS, PASSWORD, PLAIN, SENT, append, boxes, deliver, good, held, login, message, trust,
                       wire)

import installed
import aioimaplib, imapclient
from imapclient.imapclient import ARCHIVE, DRAFTS, FLAGGED, JUNK, SEEN, SENT as OUTBOX, TRASH

ORDER = ["8bit_", "attachment", "dots", "long lines", "nested", "plain", "Re: plain", "Re: plain"]


def refused(call, *values):
    """Whether a library's call ends in an error of the protocol."""
    try:
        return call(*values)[0] in ("NO", "BAD")
    except (imaplib.IMAP4.error, poplib.error_proto):
        return True


def numbers(answer):
    return [int(number) for number in (good(answer)[0] or b"").split()]


def by_imaplib(report, daemon, name):
    clear = imaplib.IMAP4("localhost", daemon.port["imap"], timeout=60)
    report.check("imaplib: no log-in before TLS", "LOGINDISABLED" in clear.capabilities
                 and refused(clear.login, name, PASSWORD), clear.capabilities)
    clear.starttls(trust(daemon))
    good(clear.authenticate("PLAIN", lambda _: f"\0{name}\0{PASSWORD}".encode()))
    report.check("imaplib: STARTTLS, then AUTHENTICATE PLAIN", clear.state == "AUTH")
    clear.logout()
    report.check("imaplib: SASL-IR", "SASL-IR" in clear.capabilities, clear.capabilities)
    wrong = imaplib.IMAP4_SSL("localhost", daemon.port["imaps"], ssl_context=trust(daemon), timeout=60)
    report.check("imaplib: a wrong password is refused", refused(wrong.login, name, "wrong"))
    wrong.logout()
    with login(daemon, name) as client:
        reading(report, client)
        searching(report, client)
        changing(report, daemon, client, name)
        extensions(report, client)
        by_hand(report, daemon, client, name)


def reading(report, client):
    good(client.select(readonly=True))
    content = [item[1] for item in good(client.fetch("1:*", "(BODY.PEEK[])")) if isinstance(item, tuple)]
    report.check("imaplib: every message has the octets that were sent",
                 len(content) == len(SENT) and all(got.endswith(sent) for got, sent in zip(content, SENT)))
    part = good(client.fetch("3", "(BODY.PEEK[2]<10.70>)"))[0]
    whole = SENT[2].split(b"base64\r\n\r\n")[1]
    report.check("imaplib: a range of one part of a message", part[1] == whole[10:80]
                 and b"BODY[2]<10>" in part[0], part)
    sizes = [int(re.search(rb"RFC822.SIZE (\d+)", line)[1]) for line in good(client.fetch("1:*", "(RFC822.SIZE)"))]
    report.check("imaplib: RFC822.SIZE is the number of octets", sizes == [len(got) for got in content], sizes)
    items = good(client.fetch("3,6", "(ENVELOPE BODYSTRUCTURE)"))
    text = b"".join(b"".join(item) if isinstance(item, tuple) else item for item in items).lower()
    report.check("imaplib: envelope and structure tell of sender, attachment and the message within",
                 all(word in text for word in (b'"sender3" "example.org"', b'"octet-stream"', b'"inner"')), text)
    report.check("imaplib: what is read only stays unseen", numbers(client.search(None, "SEEN")) == [2])


def searching(report, client):
    for wanted, *keys in (([1, 7, 8], "SUBJECT", "plain"), ([1, 7], "BODY", "herrings"), ([4], "FROM", "sender4"),
                          ([3], "LARGER", "100000"), ([1, 2], "TO", "reader", "1:2"), ([], "TEXT", "no such word"),
                          ([1, 7], "OR", "BODY", "again about", "BODY", "about herrings"),
                          ([7, 8], "HEADER", "References", "<1@example.org>"), ([2], "NOT", "UNSEEN"),
                          ([2, 4], "UID", "2,4"), ([], "SENTBEFORE", "1-Jan-2020")):
        seen = numbers(client.search(None, *[f'"{key}"' if " " in key else key for key in keys]))
        report.check(f"imaplib: SEARCH {' '.join(keys)}", seen == wanted, seen)
    for charset, literal, wanted in (("UTF-8", "Grüße aus", [2]), ("UTF-8", "日本語", [2])):
        client.literal = literal.encode()
        seen = numbers(client.search(charset, "TEXT"))
        report.check(f"imaplib: SEARCH CHARSET {charset} TEXT {literal}", seen == wanted, seen)
    order = numbers(client.sort("(REVERSE DATE)", "UTF-8", "ALL"))
    report.check("imaplib: SORT by the reverse of the date", order == [8, 7, 6, 5, 4, 3, 2, 1], order)
    order = numbers(client.sort("(SUBJECT)", "UTF-8", "ALL"))
    report.check("imaplib: SORT by the base subject", order == [2, 3, 4, 5, 6, 1, 7, 8], order)
    threads = good(client.thread("REFERENCES", "UTF-8", "ALL"))[0]
    report.check("imaplib: THREAD by references", b"(1 7 8)" in threads and b"(3)" in threads, threads)
    threads = good(client.thread("ORDEREDSUBJECT", "UTF-8", "SUBJECT", "plain"))[0]
    report.check("imaplib: THREAD by subject", threads in (b"(1 (7)(8))", b"(1 7 8)"), threads)


def changing(report, daemon, client, name):
    good(client.select())
    good(client.store("1:3", "+FLAGS", "(\\Flagged $Work)"))
    good(client.store("2", "-FLAGS", "(\\Seen)"))
    good(client.store("3", "FLAGS", "(\\Answered)"))
    flags = [value[0] for value in held(daemon, name).values()][:3]
    report.check("imaplib: STORE adds, removes and sets flags and keywords", flags == [
        {"\\Flagged", "$Work"}, {"\\Flagged", "$Work"}, {"\\Answered"}], flags)
    report.check("imaplib: SEARCH by flags", [numbers(client.search(None, *keys)) for keys in (
        ["FLAGGED"], ["KEYWORD", "$Work"], ["ANSWERED"], ["UNFLAGGED", "1:4"])] == [[1, 2], [1, 2], [3], [3, 4]])
    copied = client.copy("4:5", wire(LETTERS))
    report.check("imaplib: COPY says the new UIDs (UIDPLUS)",
                 re.fullmatch(rb"\d+ 4:5 2:3", client.response("COPYUID")[1][-1] or b""), copied)
    good(client.uid("MOVE", "6", wire(LETTERS)))
    report.check("imaplib: COPY and MOVE bring the octets", held(daemon, name, LETTERS).bare()
                 == sorted([KEPT[2], *SENT[3:6]]) and len(held(daemon, name)) == len(SENT) - 1)
    good(client.store("1,4", "+FLAGS.SILENT", "(\\Deleted)"))
    good(client.uid("EXPUNGE", "4"))
    report.check("imaplib: UID EXPUNGE removes only what it names", list(held(daemon, name)) == [1, 2, 3, 5, 7, 8])
    gone = good(client.expunge())
    report.check("imaplib: EXPUNGE says which", gone[-1:] == [b"1"]
                 and list(held(daemon, name)) == [2, 3, 5, 7, 8], gone)
    made = wire("Made/Under ü")
    good(client.create(made))
    good(client.append(made, "(\\Draft $Label1)", '"01-Feb-2025 03:04:05 -0500"', KEPT[3]))
    good(client.rename(made, wire("Renamed ü")))
    moved = held(daemon, name, "Renamed ü")
    report.check("imaplib: CREATE, APPEND, RENAME", moved.bare() == [KEPT[3]]
                 and "Made/Under ü" not in boxes(daemon, name) and moved[1][0] == {"\\Draft", "$Label1"}, moved)
    good(client.select(wire("Renamed ü"), readonly=True))
    date = good(client.fetch("1", "(INTERNALDATE)"))[0]
    utc = time.mktime(time.struct_time((2025, 2, 1, 8, 4, 5, 0, 0, -1))) - time.timezone
    report.check("imaplib: APPEND keeps the date", time.mktime(imaplib.Internaldate2tuple(date)) == utc, date)
    good(client.select())
    good(client.delete(wire("Renamed ü")))
    report.check("imaplib: DELETE", "Renamed ü" not in boxes(daemon, name))
    status = good(client.status(wire(PLAIN), "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))[0]
    report.check("imaplib: STATUS", re.search(rb"MESSAGES 2\b", status) and re.search(rb"UNSEEN 1\b", status)
                 and re.search(rb"UIDNEXT 3\b", status), status)
    good(client.unsubscribe(wire(PLAIN)))
    listed = b" ".join(good(client.lsub()))
    report.check("imaplib: UNSUBSCRIBE and LSUB", PLAIN.encode() not in listed and b"Gr&APYA3w-e &- Ma&AN8-" in listed,
                 listed)
    report.check("imaplib: what is not there is refused", refused(client.select, "Nothing")
                 and refused(client.delete, "Nothing") and refused(client.create, "INBOX"))
    good(client.select())


def extensions(report, client):
    offered = set(good(client.capability())[-1].decode().upper().split())
    wanted = {"IMAP4REV1", "IDLE", "ENABLE", "ID", "NAMESPACE", "UNSELECT", "MOVE", "UIDPLUS", "CONDSTORE", "QRESYNC",
              "SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS", "ESEARCH", "SEARCHRES", "WITHIN", "SORT", "SORT=DISPLAY",
              "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "QUOTA", "BINARY"}
    report.check("imaplib: the capabilities that clients look for", not wanted - offered
                 and offered & {"LITERAL+", "LITERAL-"}, wanted - offered)
    space = good(client.namespace())[0]
    report.check("imaplib: NAMESPACE", space.startswith(b'(("" "/"))'), space)
    imaplib.Commands.setdefault("ID", ("NONAUTH", "AUTH", "SELECTED"))
    report.check("imaplib: ID", client._simple_command("ID", '("name" "imaplib")')[0] == "OK")
    good(client.unselect())
    report.check("imaplib: ENABLE after UNSELECT", client.enable("CONDSTORE")[0] == "OK")
    good(client.select())
    root = b" ".join(good(client.getquotaroot("INBOX"))[1])
    report.check("imaplib: GETQUOTAROOT tells what is used", re.search(rb"\(STORAGE [1-9]\d* [1-9]\d+", root), root)


def by_hand(report, daemon, client, name):
    """What imaplib has no call for, on its connection: LITERAL+, QRESYNC's words, IDLE."""
    def say(octets):
        client.send(octets)
        return lines(b"h1 ")

    def lines(until):
        found = []
        while not found or not found[-1].startswith(until):
            found.append(client.readline())
        return found

    content = message(50, "by literal+", ["sent without waiting"])
    said = say(b"h1 APPEND INBOX (\\Seen) {%d+}\r\n" % len(content) + content + b"\r\n")
    report.check("by hand: APPEND with LITERAL+ says the new UID", b"OK [APPENDUID " in said[-1], said)
    said = say(b"h1 UID SEARCH RETURN (MIN MAX COUNT) ALL\r\n")
    report.check("by hand: ESEARCH", any(b"ESEARCH" in line and b"MIN 2 MAX 9 COUNT 6" in line for line in said), said)
    said = say(b"h1 STATUS INBOX (HIGHESTMODSEQ SIZE)\r\n")
    modseq = int(re.search(rb"HIGHESTMODSEQ (\d+)", b"".join(said))[1])
    append(daemon, name, "INBOX", message(51, "newer", ["x"]))
    client.noop()
    said = say(b"h1 UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)\r\n" % modseq)
    told = [line for line in said if b" FETCH (" in line]
    report.check("by hand: CHANGEDSINCE fetches the new one alone", len(told) == 1 and b"UID 10" in told[0], said)
    client.send(b"h1 IDLE\r\n")
    begun = lines(b"+")
    deliver(daemon, [name], message(52, "pushed", ["x"]))
    at = time.time()
    pushed = lines(b"* 8 EXISTS")
    took = time.time() - at
    report.check(f"by hand: a delivery is pushed to who idles: {took * 1000:.0f} ms", took < 3, (begun, pushed))
    said = say(b"DONE\r\n")
    report.check("by hand: DONE ends IDLE", said[-1].startswith(b"h1 OK"), said)


def by_imapclient(report, daemon, name):
    client = imapclient.IMAPClient("localhost", daemon.port["imap"], ssl=False, timeout=60)
    client.starttls(trust(daemon))
    client.login(name, PASSWORD)
    special = {use: client.find_special_folder(use) for use in (OUTBOX, DRAFTS, TRASH, JUNK, ARCHIVE)}
    report.check("imapclient: a new account has its special folders", all(special.values()), special)
    names = {folder for _, _, folder in client.list_folders()}
    report.check("imapclient: folders in letters of all kinds", {"INBOX", PLAIN, LETTERS} <= names, names)
    report.check("imapclient: subscribed folders", {PLAIN, LETTERS}
                 <= {folder for _, _, folder in client.list_sub_folders()})
    seen = client.select_folder(LETTERS)
    report.check("imapclient: SELECT", seen[b"EXISTS"] == 1 and seen[b"UIDNEXT"] == 2 and seen[b"UIDVALIDITY"], seen)
    client.select_folder("INBOX")
    report.check("imapclient: search in UTF-8", client.search(["TEXT", "Grüße aus"], charset="UTF-8") == [2]
                 and client.search(["SUBJECT", "8bit ä"], charset="UTF-8") == [2])
    report.check("imapclient: sort and thread", client.sort(["REVERSE", "ARRIVAL", "REVERSE DATE"])[0] == 8
                 and (1, 7, 8) in client.thread(), client.thread())
    fetched = client.fetch([1, 3], ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[]"])
    report.check("imapclient: envelope and structure", fetched[1][b"ENVELOPE"].subject == b"plain"
                 and fetched[3][b"BODYSTRUCTURE"].is_multipart and fetched[3][b"BODY[]"].endswith(SENT[2]), fetched[1])
    client.add_flags([1, 2], [FLAGGED, "$Kept"])
    client.remove_flags([2], [SEEN])
    flags = {uid: set(flags) - {b"\\Recent"} for uid, flags in client.get_flags([1, 2]).items()}
    report.check("imapclient: flags", flags == dict.fromkeys((1, 2), {b"\\Flagged", b"$Kept"}), flags)
    client.move([4], special[ARCHIVE])
    report.check("imapclient: move", 4 not in held(daemon, name)
                 and held(daemon, name, special[ARCHIVE]).bare() == [SENT[3]])
    client.delete_messages([5])
    client.uid_expunge([5])
    report.check("imapclient: delete and expunge", sorted(held(daemon, name)) == [1, 2, 3, 6, 7, 8])
    limits = client.get_quota_root("INBOX")[1]
    report.check("imapclient: quota", any(str(limit.resource) == "STORAGE" and limit.usage > 0
                                           for limit in limits), limits)
    client.append(LETTERS, KEPT[3], flags=["\\Seen", "$Kept"])
    report.check("imapclient: append", held(daemon, name, LETTERS).bare() == sorted(KEPT[2:]))
    client.idle()
    client.idle_check(0)
    other = login(daemon, name)
    good(other.select())
    good(other.store("1", "+FLAGS", "(\\Answered)"))
    good(other.uid("STORE", "6", "+FLAGS", "(\\Deleted)"))
    good(other.expunge())
    other.logout()
    told, end = [], time.time() + 5
    while time.time() < end and not any(line[1] == b"EXPUNGE" for line in told):
        told += client.idle_check(1)
    client.idle_done()
    report.check("imapclient: who idles hears of another's flags and expunge",
                 any(line[:2] == (1, b"FETCH") and b"\\Answered" in str(line).encode() for line in told)
                 and (4, b"EXPUNGE") in told, told)
    client.create_folder("Für später")
    client.rename_folder("Für später", "Später/Jetzt")
    renamed = boxes(daemon, name)
    client.delete_folder("Später/Jetzt")
    report.check("imapclient: folders are made, renamed, deleted", "Später/Jetzt" in renamed
                 and "Später/Jetzt" not in boxes(daemon, name), renamed)
    client.logout()


def by_aioimaplib(report, daemon, name):
    content = message(60, "pushed to aioimaplib", ["now"])

    async def work():
        client = aioimaplib.IMAP4_SSL("localhost", daemon.port["imaps"], timeout=30, ssl_context=trust(daemon))
        await client.wait_hello_from_server()
        await client.login(name, PASSWORD)
        await client.select("INBOX")
        idle = await client.idle_start(timeout=60)
        # Whatever the server has to say at the beginning.
        await asyncio.sleep(0.3)
        begun = time.time()
        await asyncio.to_thread(deliver, daemon, [name], content)
        pushed = []
        while not any(b"9 EXISTS" in line for line in pushed):
            pushed += await client.wait_server_push(timeout=30)
        took = time.time() - begun
        client.idle_done()
        await asyncio.wait_for(idle, 10)
        report.check(f"aioimaplib: a delivery is pushed to who idles: {took * 1000:.0f} ms", took < 3, pushed)
        answer = await client.uid("fetch", "9", "(BODY.PEEK[])")
        report.check("aioimaplib: and it is what was sent", answer.result == "OK"
                     and any(bytes(line).endswith(content) for line in answer.lines), answer)
        answer = await client.uid_search("SUBJECT pushed")
        report.check("aioimaplib: search", answer.result == "OK" and answer.lines[0].split()[-1:] == [b"9"], answer)
        await client.uid("store", "9", "+FLAGS", "(\\Flagged)")
        await client.uid("move", "9", '"' + PLAIN + '"')
        report.check("aioimaplib: flags and moves", held(daemon, name, PLAIN).find("pushed to aioimaplib")[1]
                     == {"\\Flagged"} and len(held(daemon, name)) == 8)
        await client.logout()

    asyncio.run(work())


def unlocked(daemon, name):
    """A session that is logged in, as soon as the one before has let go: on PostgreSQL unlocking is a commit."""
    for left in reversed(range(40)):
        client = poplib.POP3_SSL("localhost", daemon.port["pop3s"], context=trust(daemon), timeout=60)
        client.user(name)
        try:
            client.pass_(PASSWORD)
            return client
        except poplib.error_proto as error:
            client.close()
            if not left or "IN-USE" not in str(error):
                raise
        time.sleep(0.25)


def by_poplib(report, daemon, name):
    client = poplib.POP3("localhost", daemon.port["pop3"], timeout=60)
    offered = client.capa()
    report.check("poplib: before TLS, STLS is offered and a password is not taken", "STLS" in offered
                 and "USER" not in offered and refused(lambda: (client.user(name), client.pass_(PASSWORD))), offered)
    client.stls(trust(daemon))
    offered = client.capa()
    report.check("poplib: CAPA after STLS", {"USER", "UIDL", "TOP", "PIPELINING", "RESP-CODES", "SASL"} <= set(offered),
                 offered)
    client.user(name)
    client.pass_(PASSWORD)
    count, size = client.stat()
    whole = held(daemon, name)
    octets = [value[1] for value in whole.values()]
    report.check("poplib: STAT and LIST tell number and octets", (count, size) == (len(SENT), sum(map(len, octets)))
                 and client.list()[1] == [b"%d %d" % item for item in enumerate(map(len, octets), 1)], (count, size))
    got = [b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    report.check("poplib: RETR gives the octets that IMAP gives", got == octets)
    top = client.top(4, 2)[1]
    report.check("poplib: TOP gives the header and two lines", top[-3:] == [b"", b".", b".."], top)
    ids = client.uidl()[1]
    report.check("poplib: UIDL names each", len({line.split()[1] for line in ids}) == count, ids)
    client.noop()
    report.check("poplib: a number that is not there is refused", refused(client.retr, 99))
    held_lock = poplib.POP3_SSL("localhost", daemon.port["pop3s"], context=trust(daemon), timeout=60)
    held_lock.user(name)
    try:
        answer = held_lock.pass_(PASSWORD)
    except (poplib.error_proto, TimeoutError) as error:
        answer = str(error)
    report.check("poplib: the maildrop is locked to a second session", "IN-USE" in str(answer), answer)
    client.dele(1)
    client.dele(2)
    client.rset()
    client.dele(3)
    client.close()  # without QUIT
    client = unlocked(daemon, name)
    report.check("poplib: without QUIT nothing is deleted", len(held(daemon, name)) == len(SENT))
    report.check("poplib: UIDL says the same again", client.uidl()[1] == ids)
    client.dele(3)
    client.dele(8)
    client.quit()
    report.check("poplib: QUIT deletes what was told", sorted(held(daemon, name)) == [1, 2, 4, 5, 6, 7])
