"""What a sender hears of its message (RFC 3461): of success, of failure, or nothing."""

import re, time

from forwards_world import AUTHOR, envelope
from neighbours import inbox, notification

ENVID = "QQ314159+2B1"


def run(report, world):
    world.a.cli("alias", "add", "dsn@a.test", "x@out.test")
    world.a.cli("alias", "add", "deaf@a.test", "x@plain.test")
    world.a.cli("alias", "add", "many@a.test", "x@out.test", "y@plain.test")
    world.a.cli("alias", "add", "mixed@a.test", "x@out.test", "anna")
    world.a.cli("alias", "add", "pair@a.test", "anna", "adam")
    world.a.cli("alias", "add", "away@a.test", "lost@out.test")
    for part in (success, passed_on, returned, never, own):
        try:
            part(report, world)
        except Exception as error:
            report.check(f"notices, {part.__name__}", False, repr(error))


def asked(world, to, mark, notify, more=(), orcpt=None, sender=AUTHOR, text="Hello\r\n"):
    """Sends it; the answer, and the rows of each notification that comes to the sender's server."""
    wishes = [f"NOTIFY={notify}"] if notify else []
    wishes += [f"ORCPT=rfc822;{orcpt}"] if orcpt else []
    said = world.bring(to, world.message(mark, text), sender, [f"ENVID={ENVID}", *more], wishes)
    time.sleep(0.5)
    world.settle()
    time.sleep(0.5)
    told = world.heard("signer", f"<{mark.replace(' ', '.')}@signer.test>", 0)
    return said, [(content, *notification(content)) for content in told]


def success(report, world):
    """Each way that ends well, and what is said of it."""
    for to, actions in {"anna@a.test": ["delivered"], "anna+shop@a.test": ["delivered"], "pair@a.test": ["delivered"],
                        "deaf@a.test": ["relayed"], "many@a.test": ["expanded"], "mixed@a.test": ["expanded"],
                        "dsn@a.test": []}.items():
        said, told = asked(world, to, f"success {to}", "SUCCESS,FAILURE", orcpt=f"old+2B1@{to[-6:]}")
        rows = [row for _, _, rows in told for row in rows]
        # An expanded one is told of once; a server without notifications passes nothing on that should be told.
        report.check(f"notices, success of {to}: {actions or 'left to the next server'}", said.startswith("250") and
                     [row["Action"] for row in rows] == actions, (said, [row.items() for row in rows]))
        for content, whole, rows in told:
            report.check(f"notices, success of {to}: what was given comes back", all(
                str(row["Original-Recipient"]).replace(" ", "") == f"rfc822;old+2B1@{to[-6:]}" or
                str(row["Original-Recipient"]).replace(" ", "") == f"rfc822;old+1@{to[-6:]}" for row in rows) and
                b"Original-Envelope-Id: QQ314159+1" in content, content[:2500])
            report.check(f"notices, success of {to}: for that address", [str(row["Final-Recipient"]).replace(
                " ", "") for row in rows] == [f"rfc822;{to}"] or rows[0]["Action"] == "relayed", rows[0].items())
            report.check(f"notices, success of {to}: status 2, and the header alone", rows[0]["Status"][:2] == "2." and
                         b"text/rfc822-headers" in content and b"\r\nHello\r\n" not in content, content[-1500:])
            report.check(f"notices, success of {to}: from nobody, as an automatic answer", whole["Auto-Submitted"] ==
                         "auto-replied" and envelope(world.came("signer", whole["Subject"])[-1][0])[0] == "", whole)
    said, told = asked(world, ["anna@a.test", "adam@a.test"], "success of two", "SUCCESS")
    rows = [str(row["Final-Recipient"]).replace(" ", "") for _, _, rows in told for row in rows]
    report.check("notices, success of two: both are told of", sorted(rows) == ["rfc822;adam@a.test",
                                                                              "rfc822;anna@a.test"], rows)


def passed_on(report, world):
    """What the next server is asked for."""
    said, _ = asked(world, "dsn@a.test", "passed on", "SUCCESS,DELAY", ("RET=HDRS",), "old@signer.test")
    lines, _ = world.came("out", "passed on")[0]
    _, mail, [(_, rcpt)] = envelope(lines)
    report.check("notices, passed on: what the sender wished", "RET=HDRS" in mail and f"ENVID={ENVID}" in mail and
                 re.search(r"NOTIFY=(SUCCESS,DELAY|DELAY,SUCCESS)\b", rcpt) and "ORCPT=rfc822;old@signer.test" in rcpt,
                 (said, mail, rcpt))
    asked(world, "dsn@a.test", "no address given", "FAILURE")
    lines, _ = world.came("out", "no address given")[0]
    _, _, [(_, rcpt)] = envelope(lines)
    report.check("notices, passed on: the address that it was sent to", "ORCPT=rfc822;dsn@a.test" in rcpt and
                 "NOTIFY=FAILURE" in rcpt, rcpt)
    asked(world, "dsn@a.test", "nothing asked", "")
    lines, _ = world.came("out", "nothing asked")[0]
    _, _, [(_, rcpt)] = envelope(lines)
    report.check("notices, passed on: no wish where there was none", "NOTIFY" not in rcpt, rcpt)
    for to in ("many@a.test", "mixed@a.test"):
        asked(world, to, f"expanded {to}", "SUCCESS,FAILURE")
        lines, _ = world.came("out", f"expanded {to}")[0]
        _, _, [(_, rcpt)] = envelope(lines)
        report.check(f"notices, {to}: no second success is asked for", "SUCCESS" not in rcpt and "FAILURE" in rcpt,
                     rcpt)
    lines, _ = world.came("plain", "expanded many@a.test")[0]
    report.check("notices: nothing is asked of a server that has none", not re.search(
        rb" (NOTIFY|ORCPT|ENVID|RET)=", b" ".join(lines)), lines)


def returned(report, world):
    """What comes back of a message that failed."""
    for ret, kind, has in (("RET=HDRS", "text/rfc822-headers", False), ("RET=FULL", "message/rfc822", True)):
        said, told = asked(world, "away@a.test", f"failed {ret}", "FAILURE", (ret,), text="the whole text\r\n")
        kinds = [part.get_content_type() for _, whole, _ in told for part in whole.get_payload()]
        report.check(f"notices, {ret}: so it comes back", len(told) == 1 and kinds[2:] == [kind] and
                     (b"the whole text" in told[0][0]) == has, (said, kinds))
        report.check(f"notices, {ret}: with the id of the envelope", told and b"Original-Envelope-Id: QQ314159+1" in
                     told[0][0], told[:1])
    said, told = asked(world, "away@a.test", "failed to x", "FAILURE", orcpt="first@other.test")
    rows = [row for _, _, rows in told for row in rows]
    report.check("notices, a failure: the address that was given before", [str(row["Original-Recipient"]).replace(
        " ", "") for row in rows] == ["rfc822;first@other.test"], [row.items() for row in rows])


def never(report, world):
    for to, wish in (("away@a.test", "NEVER"), ("away@a.test", "SUCCESS"), ("away@a.test", "DELAY"),
                     ("anna@a.test", "NEVER"), ("anna@a.test", "FAILURE"), ("deaf@a.test", "FAILURE"),
                     ("many@a.test", "NEVER"), ("anna@a.test", "")):
        said, told = asked(world, to, f"silent {to} {wish}", wish)
        report.check(f"notices, {wish or 'no wish'} for {to}: nothing is told", said.startswith("250") and told == [],
                     (said, told))
    lines, _ = world.came("out", "silent many@a.test NEVER")[0]
    report.check("notices, NEVER is passed on", "NOTIFY=NEVER" in envelope(lines)[2][0][1], lines)
    for bad in ("NEVER,SUCCESS", "SOMETIMES", ""):
        said = world.bring("anna@a.test", world.message("bad"), wishes=[f"NOTIFY={bad}"])
        report.check(f"notices, NOTIFY={bad} is refused", said[:3] in ("501", "555"), said)
    said = world.bring("anna@a.test", world.message("from nobody"), sender="", wishes=["NOTIFY=SUCCESS"])
    time.sleep(1)
    report.check("notices, success for nobody: nothing is told", said.startswith("250") and
                 world.heard("signer", "from.nobody@signer.test", 0) == [], said)


def own(report, world):
    """A user of ours hears of it in its own mailbox."""
    before = len(inbox(world.a, "anna"))
    mine = world.message("mine to adam", sign=False, sender="anna@a.test")
    said = world.submit(["adam@a.test", "dsn@a.test", "x@plain.test"], mine, ["ENVID=mine1"], ["NOTIFY=SUCCESS"])
    world.settle()
    time.sleep(1)
    rows = [(row["Action"], str(row["Final-Recipient"]).replace(" ", "")) for one in inbox(world.a, "anna")[before:]
            for row in notification(one)[1]]
    report.check("notices, a user's: of each that is known here", said.startswith("250") and sorted(rows) == [
        ("delivered", "rfc822;adam@a.test"), ("relayed", "rfc822;x@plain.test")], (said, rows))
