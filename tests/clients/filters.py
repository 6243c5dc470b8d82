#!/usr/bin/env python3
"""Mail from outside and what judges it: rspamd and clamd, there and away; lists of addresses, greylisting and DMARC."""

import base64, email, email.encoders, email.mime.application, email.mime.multipart, email.mime.text
import random, re, threading, time

import filters_gates
from filters_servers import EICAR, Clamd, Rspamd, gtube
from filters_world import HOST, OURS, World, answer, letter
from harness import Report

FROM = "x@elsewhere.test"


def main():
    report = Report("filters")
    rspamd, clamd = Rspamd().start(), Clamd().start()
    world = World(rspamd=rspamd, clamd=clamd)
    try:
        for part in (spam, forged, virus, users, policies, large):
            guarded(report, part, world)
        report.whole(world.daemon)
    finally:
        world.stop()
        rspamd.remove()
        clamd.remove()
    filters_gates.run(report, guarded)
    report.end()


def guarded(report, part, *more):
    """A part that breaks down does not hide the others."""
    try:
        part(report, *more)
    except Exception as error:
        report.check(part.__name__, False, repr(error))


def spam(report, world):
    said = world.bring(letter("refused", gtube("X")))
    report.check("GTUBE is refused", said.startswith("550 5.7.1"), said)
    said = world.bring(letter("marked", gtube("Y")))
    came = world.junk("marked")
    head = email.message_from_bytes(came)
    report.check("the test for marking is taken into Junk", said.startswith("250") and came and
                 not world.has("marked"), (said, came[:2000]))
    report.check("it is flagged", head["X-Spam-Flag"] == "YES" and head["X-Junk-Reason"], head.items())
    report.check("with score and tests", re.match(r"Yes, score=\S+ required=\S+\s+tests=\S*GTUBE", re.sub(
        r"\s+", " ", head["X-Spam-Status"] or "")) and float(head["X-Spam-Score"]) >= 0, head.items())
    said = world.bring(letter("rewritten", gtube("Z")))
    came = world.junk("rewritten") or world.has("rewritten")
    report.check("the test for another subject is taken, its subject as it was", said.startswith("250") and
                 email.message_from_bytes(came)["Subject"] == "rewritten", (said, came[:1000]))
    said = world.bring(letter("come later", "x"))
    report.check("what rspamd wants later is put off", said.startswith("451") and "Come back later" in said, said)
    said = world.bring(letter("good", "a good word"))
    head = email.message_from_bytes(world.has("good"))
    report.check("good mail is taken into INBOX, and says so", said.startswith("250") and
                 head["X-Spam-Flag"] == "NO" and head["X-Spam-Status"].startswith("No,"), (said, head.items()))
    report.check("rspamd was told of the envelope", head["X-Envelope"] ==
                 f"192.0.2.1 client.test {FROM} alice@{OURS}", head["X-Envelope"])
    many = [f"alice@{OURS}", f"bob@{OURS}"]
    said = world.bring(letter("for two", gtube("Y")), to=many)
    report.check("what is junk is so for each", said.startswith("250") and world.junk("for two") and
                 world.junk("for two", "bob"), said)
    words = letter("long words", "x" * 900 + "\r\n" + gtube("Y"), "X-Long: " + "ab cd " * 150)
    report.check("a long line does not hide it", world.bring(words).startswith("250") and world.junk("long words"))


def forged(report, world):
    """Fields that only this server may write."""
    fields = ["X-Spam-Flag: YES", "x-spam-flag: NO", "X-SPAM-STATUS: No, forged", "X-Spam-Score: -100",
              "X-Junk-Reason: forged", "X-Spam-Level:\r\n ***forged", "X-Spam-Report: forged\r\n\tforged too",
              "X-Spam: forged", "X-Spam-Checker-Version: forged", "X-Envelope: forged",
              f"Authentication-Results: {HOST}; spf=pass reason=forged",
              f"authentication-results:\r\n {HOST.upper()};\r\n dkim=pass reason=forged",
              f"Authentication-Results: (forged) {HOST} 1; dmarc=pass",
              f'Authentication-Results: "{HOST}"; dmarc=pass reason=forged',
              f"Authentication-Results : {HOST}; dmarc=pass reason=forged",
              f"Authentication-Results: {HOST}.; dmarc=pass reason=forged",
              "Authentication-Results: other.test; spf=pass reason=honest"]
    said = world.bring(letter("forged", "text", *fields))
    whole = world.has("forged")
    head = email.message_from_bytes(whole.partition(b"\r\n\r\n")[0])
    left = whole.replace(b"Subject: forged", b"").replace(b"<forged@elsewhere.test>", b"")
    report.check("forged fields are taken away", said.startswith("250") and whole and b"forged" not in left,
                 whole[:3000])
    report.check("what another server found stays", "other.test; spf=pass reason=honest" in
                 (head.get_all("Authentication-Results") or []), head.items())
    ours = [one for one in head.get_all("Authentication-Results") or [] if one.startswith(HOST)]
    report.check("our own is there once", len(ours) == 1, head.items())
    report.check("our own flag is there once", head.get_all("X-Spam-Flag") == ["NO"], head.items())
    said = world.bring(b"X-Spam-Flag: NO\r\nX-Other: 1\r\nSubject: only head\r\nFrom: <x@elsewhere.test>\r\n")
    report.check("a header without an end does not hide them", said.startswith("250") and
                 b"X-Spam-Flag: NO\r\nX-Other" not in world.has("only head"), world.has("only head"))


def attached(mark, encoding=None, size=0):
    """A message with the test virus in an attachment, after so many octets of others."""
    whole = email.mime.multipart.MIMEMultipart()
    whole["Subject"], whole["From"], whole["To"] = mark, FROM, f"alice@{OURS}"
    whole.attach(email.mime.text.MIMEText("see the attachment"))
    if size:
        whole.attach(email.mime.application.MIMEApplication(random.Random(mark).randbytes(size), Name="noise.bin"))
    part = email.mime.application.MIMEApplication(EICAR.encode(), Name="eicar.com",
                                                  _encoder=encoding or email.encoders.encode_base64)
    whole.attach(part)
    return whole.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def virus(report, world):
    for name, content in {"the test virus": letter("eicar", EICAR),
                          "a virus in a field": letter("field", "x", "X-Long: " + Clamd.VIRUS),
                          "a virus in a body": letter("own", Clamd.VIRUS),
                          "a virus in an attachment": attached("base64"),
                          "a virus in an attachment, quoted": attached("quoted", email.encoders.encode_quopri),
                          "a virus at the end of 5 MB": letter("end", "a line of text\r\n" * 330_000 + Clamd.VIRUS),
                          "a virus in an attachment behind 5 MB": attached("late", size=5 << 20)}.items():
        said = world.bring(content)
        report.check(f"{name} is refused", said.startswith("550 5.7.1") and re.search(
            r"virus: \S*Test\.(Eicar|Wharf)", said), said)
    found = [one for one in world.daemon.json("audit", "query", "--action", "mail.deliver", "--outcome", "refused")
             if "carries a virus" in one["detail"]]
    report.check("the refusals are in the audit log", len(found) >= 7, found[-2:])
    said = world.bring(letter("clean 5 MB", "a line of text\r\n" * 330_000))
    report.check("5 MB without one are taken", said.startswith("250") and
                 world.has("clean 5 MB").endswith(b"a line of text\r\n\r\n"), said)
    said = world.bring(letter("both", gtube("Y") + "\r\n" + Clamd.VIRUS))
    report.check("of spam with a virus the virus is told", said.startswith("550") and "virus" in said, said)
    world.settings(clamd='found = "junk"')
    said = world.bring(letter("kept", Clamd.VIRUS))
    report.check("a virus goes into Junk where that is wished", said.startswith("250") and
                 b"X-Junk-Reason: virus Test.Wharf" in world.junk("kept"), said)
    world.settings()


def users(report, world):
    """Those who are logged in, and machines that are trusted: viruses are theirs too, spam is not asked about."""
    with world.session() as session:
        for name, content in {"the test virus": letter("eicar", EICAR, sender=f"alice@{OURS}"),
                              "in an attachment": attached("from alice").replace(FROM.encode(),
                                                                                 b"alice@ours.test")}.items():
            said = answer(session, f"alice@{OURS}", [f"bob@{OURS}"], content)
            report.check(f"a user's mail, {name}: refused", said.startswith("550 5.7.1") and "virus" in said, said)
        said = answer(session, f"alice@{OURS}", [f"bob@{OURS}"], letter("from alice", gtube("X"),
                                                                        sender=f"alice@{OURS}"))
        report.check("a user's mail is not asked about", said.startswith("250") and b"X-Spam" not in
                     world.has("from alice", "bob"), said)
    world.settings(clamd='found = "junk"')
    with world.session() as session:
        said = answer(session, f"alice@{OURS}", [f"bob@{OURS}"], letter("virus", EICAR, sender=f"alice@{OURS}"))
        report.check("a user's virus is refused, whatever is wished for others'", said.startswith("550"), said)
    world.settings(trusted='["192.0.2.0/24"]')
    said = world.bring(letter("trusted", gtube("X")))
    report.check("a trusted machine's mail is not asked about", said.startswith("250") and world.has("trusted"), said)
    said = world.bring(letter("trusted eicar", EICAR))
    report.check("a trusted machine's virus is refused", said.startswith("550"), said)
    world.settings()


AWAY = {"take": "250", "defer": "451 4.3.0", "junk": "250"}


def policies(report, world):
    """Stopped, frozen, and back."""
    for server, name in ((world.rspamd, "rspamd"), (world.clamd, "clamd")):
        for how, leave, back in (("stopped", server.stop, server.start), ("frozen", server.pause, server.resume)):
            leave()
            for policy, code in AWAY.items():
                world.settings(**{name: f'timeout = 4\naway = "{policy}"'})
                mark, begun = f"{name} {how} {policy}", time.monotonic()
                said = world.bring(letter(mark, "a good word"))
                place = "junk" if policy == "junk" else "inbox" if policy == "take" else "nowhere"
                found = "junk" if world.junk(mark) else "inbox" if world.has(mark) else "nowhere"
                took = time.monotonic() - begun
                report.check(f"{name} {how}, {policy}: {place}", said.startswith(code) and found == place and
                             took < 20, (said, found, took))
                if policy == "junk":
                    report.check(f"{name} {how}, {policy}: and says why", b"X-Junk-Reason: not checked" in
                                 world.junk(mark), world.junk(mark)[:1500])
                if name == "clamd":
                    own(report, world, f"{how}, {policy}")
            back()
            world.settings(**{name: 'away = "defer"'})
            bad = letter("back", gtube("X") if name == "rspamd" else EICAR)
            said = world.bring(bad)
            report.check(f"{name} {how} and back: it is asked by itself", said.startswith("550"), said)
    world.settings(rspamd='away = "junk"', clamd='away = "junk"')
    world.rspamd.stop()
    world.clamd.stop()
    world.bring(letter("both away", "x"))
    told = email.message_from_bytes(world.junk("both away"))["X-Junk-Reason"]
    report.check("both away: both are told", told and told.count("not checked") == 2, told)
    world.settings(rspamd='away = "junk"', clamd='away = "defer"')
    said = world.bring(letter("strict", "x"))
    report.check("both away: the stricter holds", said.startswith("451"), said)
    # The same daemon, without a reload, from away to back.
    world.rspamd.start()
    world.clamd.start()
    said = world.bring(letter("strict again", "x"))
    report.check("both back: mail is taken again", said.startswith("250") and world.has("strict again"), said)
    world.settings()


def own(report, world, mark):
    """What users and our own machines send while clamd is away: it is never refused for good."""
    with world.session() as session:
        said = answer(session, f"alice@{OURS}", [f"bob@{OURS}"], letter(f"mine {mark}", "x", sender=f"alice@{OURS}"))
    expected = "250" if mark.endswith("take") else "4"
    report.check(f"a user's mail while clamd is {mark}: {expected}", said.startswith(expected), said)
    said = world.bring(letter(f"ours {mark}", "x"), address="203.0.113.7")
    expected = {"take": ("250",), "defer": ("451",), "junk": ("250", "451")}[mark.split()[-1]]
    report.check(f"a trusted machine's mail while clamd is {mark}: {expected}", said.startswith(expected), said)


def large(report, world):
    """Messages of 20 MB, several at once, which both filters read."""
    world.settings(rspamd="timeout = 200", clamd="timeout = 200")
    numbers = random.Random(7)
    noise = b"".join(base64.b64encode(numbers.randbytes(57)) + b"\r\n" for _ in range((20 << 20) // 78))
    before, said = world.daemon.memory(), {}

    def one(number):
        content = letter(f"large {number}", "") + noise
        said[number] = world.bring(content + (Clamd.VIRUS.encode() + b"\r\n" if number % 2 else b""))
    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = (world.daemon.memory() - before) >> 20
    report.check("20 MB, four at once: judged right", [said[number][:3] for number in range(4)] ==
                 ["250", "550", "250", "550"], said)
    report.check("20 MB, four at once: they are there whole", all(
        world.has(f"large {number}").endswith(noise) for number in (0, 2)))
    report.check(f"20 MB, four at once: memory is bounded ({grown} MB more)", grown < 48, grown)
    # Larger than clamd will take.
    world.settings(clamd='timeout = 200\naway = "junk"', rspamd="timeout = 200")
    content = letter("too large", "") + noise + noise[:11 << 20]
    said = world.bring(content)
    report.check("too large for clamd: the policy for what is not checked", said.startswith("250") and
                 b"X-Junk-Reason: not checked" in world.junk("too large"), said)
    world.settings()


if __name__ == "__main__":
    main()
