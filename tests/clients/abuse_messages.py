"""Hostile messages: delivered by SMTP and by APPEND, then described, searched, sorted and threaded. A part of
abuse_imap.py."""

import smtplib, time

from rawimap import Imap, verdict

PASSWORD = "a long enough password"


def nested(depth, kind):
    """Multiparts, or messages, in one another."""
    if kind == "message":
        wrapped = b"Content-Type: message/rfc822\r\n\r\n" * depth
        return b"Subject: nested\r\n" + wrapped + b"Subject: inmost\r\n\r\ntext\r\n"
    begun = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(depth))
    ended = b"".join(b"\r\n--b%d--\r\n" % at for at in reversed(range(depth)))
    return b"Subject: nested\r\nMIME-Version: 1.0\r\n" + begun + b"Content-Type: text/plain\r\n\r\ninmost\r\n" + ended


def hostile():
    """Names and messages."""
    address = b"a%d@example.org"
    return {
        "1,000 multiparts": nested(1000, "multipart"),
        "1,000 messages": nested(1000, "message"),
        "10,000 multiparts": nested(10_000, "multipart"),
        "100,000 parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000
                         + b"--b--\r\n",
        "500,000 addresses": b"Subject: addresses\r\nTo: " + b",\r\n ".join(address % at for at in range(500_000))
                             + b"\r\n\r\nx\r\n",
        "nested groups": b"To: " + b"a:" * 100_000 + b";" * 100_000 + b"\r\n\r\nx\r\n",
        "nested comments": b"From: " + b"(" * 100_000 + b"a@example.org\r\n\r\nx\r\n",
        "100,000 fields": b"".join(b"X-Field-%d: value\r\n" % at for at in range(100_000)) + b"\r\nx\r\n",
        "100,000 references": b"References: " + b"\r\n ".join(b"<%d@example.org>" % at for at in range(100_000))
                              + b"\r\n\r\nx\r\n",
        "100,000 parameters": b"Content-Type: text/plain" + b"".join(b";\r\n p%d=v" % at for at in range(100_000))
                              + b"\r\n\r\nx\r\n",
        "100,000 continued parameters": b"Content-Type: text/plain" + b"".join(b";\r\n p*%d*=%%41" % at for at in
                                                                              range(100_000)) + b"\r\n\r\nx\r\n",
        "100,000 encoded words": b"Subject: " + b"\r\n ".join([b"=?utf-8?Q?=41?="] * 100_000) + b"\r\n\r\nx\r\n",
        "100,000 times Re": b"Subject: " + b"Re: [x] " * 100_000 + b"(fwd)" * 1000 + b"\r\n\r\nx\r\n",
        "no header": b"\r\nonly a body\r\n",
        "nothing": b"",
        "a header without a body": b"Subject: x\r\n",
        "half a header": b"Subject",
        "8 bit everywhere": bytes(range(128, 256)) * 100 + b": x\r\nSubject: \xff\xfe\r\n\r\n\xff\r\n",
        "bare CR and LF": b"Subject: a\rb\r\nX: c\nd\r\n\r\na\rb\nc\r\n",
        "a line of 50 MB": b"Subject: long\r\n\r\n" + b"x" * (50 * 1000 * 1000),
        "a field of 5 MB": b"Subject: " + b"x" * 5_000_000 + b"\r\n\r\nx\r\n",
        "an endless boundary": b"Content-Type: multipart/mixed; boundary=" + b"b" * 100_000 + b"\r\n\r\n--"
                               + b"b" * 100_000,
        "wrong base 64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=!A" * 100_000 + b"\r\n",
    }


# What does not go by SMTP, which takes a header of 1 MiB at most, beside what it refuses for that: the lines are too long for it, or there is nothing to send.
APPEND_ONLY = {"a line of 50 MB", "nothing", "bare CR and LF", "half a header", "a field of 5 MB",
               "an endless boundary", "wrong base 64", "nested groups", "nested comments", "100,000 times Re"}

DEEP = b".".join([b"1"] * 1000)
QUESTIONS = (b"FETCH %d ENVELOPE", b"FETCH %d BODYSTRUCTURE", b"FETCH %d BODY", b"FETCH %d BODY.PEEK[1]",
             b"FETCH %d BODY.PEEK[1.1.1.1.1.1.1.1.1.1.MIME]", b"FETCH %d BODY.PEEK[" + DEEP + b"]",
             b"FETCH %d BINARY.PEEK[" + DEEP + b"]", b"FETCH %d BINARY.SIZE[" + DEEP + b"]", b"FETCH %d BINARY.PEEK[1]",
             b"FETCH %d BODY.PEEK[HEADER.FIELDS (TO SUBJECT X-FIELD-7)]", b"FETCH %d BODY.PEEK[]<0.100>",
             b"FETCH %d (EMAILID THREADID SAVEDATE RFC822.SIZE)", b"FETCH %d PREVIEW",
             b"FETCH %d BODY.PEEK[1." + b"4294967295." * 20 + b"1]")
SEARCHES = (b"SEARCH TEXT inmost", b"SEARCH BODY xxxx", b"SEARCH TO a499999@example.org", b"SEARCH SUBJECT nested",
            b"SEARCH HEADER X-Field-99999 value", b"SEARCH FROM example",
            b"SORT (SUBJECT FROM TO CC DATE SIZE) UTF-8 ALL", b"SORT (DISPLAYFROM DISPLAYTO) UTF-8 ALL",
            b"THREAD REFERENCES UTF-8 ALL", b"THREAD ORDEREDSUBJECT UTF-8 ALL",
            b"SEARCH SENTSINCE 1-Jan-2000 NOT TEXT inmost", b"FETCH 1:* (ENVELOPE BODYSTRUCTURE FLAGS)",
            b"SEARCH OR TEXT inmost HEADER Subject x")


def messages(report, daemon):
    """All of it, in a mailbox of its own."""
    daemon.add("dave", PASSWORD, "--quota", "2G")
    client = Imap(daemon, "dave", PASSWORD)
    slow = {}
    for what, message in hostile().items():
        begun = time.time()
        said = verdict(client.append(b"INBOX", message))
        ways = {"APPEND": said}
        if what not in APPEND_ONLY:
            ways["SMTP"] = delivered(daemon, message)
        report.check(f"IMAP: {what} comes in, or is refused, in {time.time() - begun:.1f} s: {ways}",
                     said in ("OK", "NO", "BAD") and time.time() - begun < 30)
    nul = client.append(b"INBOX", b"Subject: NUL\r\n\r\na\0b\r\n")
    print(f"      NUL: {nul[-80:]!r}")
    client.say("SELECT INBOX")
    count = int(client.say("STATUS INBOX (MESSAGES)").split(b"MESSAGES ")[1].split(b")")[0])
    for number in range(1, count + 1):
        for question in QUESTIONS:
            ask(report, client, question % number, slow, 15)
    for question in SEARCHES:
        ask(report, client, question, slow, 30)
    report.check(f"IMAP: {count} hostile messages are described, searched, sorted and threaded",
                 not slow and count > 25, slow)
    client.close()


def ask(report, client, question, slow, limit):
    begun = time.time()
    answer = client.say(question)
    took = time.time() - begun
    if took > limit or verdict(answer) not in ("OK", "NO"):
        slow[question[:80]] = f"{took:.1f} s", answer[-200:]


def delivered(daemon, message):
    """The code of the answer."""
    try:
        with smtplib.SMTP("127.0.0.1", daemon.port["smtp"], timeout=60) as mail:
            mail.ehlo()
            mail.mail("x@example.org")
            mail.rcpt("dave@localhost")
            return mail.data(message)[0]
    except (smtplib.SMTPException, OSError) as error:
        return repr(error)
