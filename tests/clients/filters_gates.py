"""Lists of addresses in DNS, greylisting, and what domains wish for mail in their name."""

import email, re, time

import installed
import dkim

import trust_table
from filters_world import OURS, Outside, World, answer, letter

ALICE = f"alice@{OURS}"
LISTS = """[smtp.dnsbl]
junk = 1
refuse = 2
timeout = 2
lists = [{ zone = "bl.test", codes = ["127.0.0.2"], weight = 2 }, { zone = "bl.test", codes = ["127.0.0.10-11"] },
         { zone = "more.test" }, { zone = "good.test", weight = -2 }]
"""
GREYLIST = "[smtp.greylist]\nenabled = true\ndelay = 8\nwindow = 60\n"


def run(report, guarded):
    for part in (lists, greylist, dmarc):
        guarded(report, part)


def listed(*answers):
    """What lists say of addresses, given as (address, list, answer)."""
    records = {}
    for address, zone, value in answers:
        name = ".".join(reversed(address.split("."))) if "." in address else ".".join(reversed(address))
        records.setdefault(f"{name}.{zone}", []).append(("A" if value != "TIMEOUT" else value,
                                                         value if value != "TIMEOUT" else None))
    return records


def lists(report):
    six = "20010db8" + "0" * 23 + "2"
    world = World(records=listed(
        ("198.51.100.2", "bl.test", "127.0.0.2"), ("198.51.100.3", "bl.test", "127.0.0.10"),
        ("198.51.100.4", "bl.test", "127.0.0.9"), ("198.51.100.5", "bl.test", "127.0.0.2"),
        ("198.51.100.5", "good.test", "127.0.0.2"), ("198.51.100.6", "bl.test", "TIMEOUT"),
        ("198.51.100.7", "bl.test", "127.255.255.254"), ("198.51.100.8", "bl.test", "203.0.113.1"),
        ("198.51.100.9", "bl.test", "127.0.0.11"), ("198.51.100.9", "more.test", "127.0.0.3"),
        ("198.51.100.10", "bl.test", "TIMEOUT"), ("198.51.100.10", "more.test", "127.0.0.3"),
        (six, "bl.test", "127.0.0.2")), more=LISTS)
    try:
        for name, address in (("an address", "198.51.100.2"), ("an IPv6 address", "2001:db8::2"),
                              ("an IPv4 address in IPv6", "::ffff:198.51.100.2"),
                              ("one on two lists of less weight", "198.51.100.9")):
            with Outside(world.daemon, address) as session:
                session.ehlo()
                session.mail("x@elsewhere.test")
                code, said = session.rcpt(ALICE)
                report.check(f"{name} on a list: refused at RCPT, the list is named", code == 550 and
                             said.startswith(b"5.7.1") and b"bl.test" in said, said)
                code, said = session.rcpt(f"bob@{OURS}")
                report.check(f"{name} on a list: also the next recipient", code == 550, said)
        asked = [name for name, _ in world.zones.asked if name == "2.100.51.198.bl.test"]
        # There were two sessions from there; one question may be asked again where the answer is slow.
        report.check("each list is asked once in a session", 2 <= len(asked) <= 3, asked)
        said = world.bring(letter("less weight", "x"), address="198.51.100.3")
        came = world.junk("less weight")
        report.check("one of less weight: into Junk, with the reason", said.startswith("250") and re.search(
            rb"X-Junk-Reason: [^\r]*listed by bl\.test", came) and b"X-Spam-Flag: YES" in came, (said, came[:1500]))
        for name, address in (("a code that does not count", "198.51.100.4"), ("also on a list of the good",
                              "198.51.100.5"), ("a list that does not answer", "198.51.100.6"),
                              ("a list that refuses to answer", "198.51.100.7"),
                              ("a list that answers what lists do not", "198.51.100.8"),
                              ("on no list", "198.51.100.99"), ("a private address", "10.1.2.3")):
            begun = time.monotonic()
            said = world.bring(letter(name, "x"), address=address)
            report.check(f"{name}: taken", said.startswith("250") and world.has(name) and
                         time.monotonic() - begun < 10, (said, time.monotonic() - begun))
        said = world.bring(letter("one silent", "x"), address="198.51.100.10")
        report.check("of two lists one is silent: the other counts", said.startswith("250") and
                     b"listed by more.test" in world.junk("one silent"), said)
        log = world.daemon.log()
        report.check("the log tells of lists that were not heard", log.count("was not heard") >= 3, log[-1500:])
        report.check("nobody is asked about private addresses", not any(
            "3.2.1.10" in name for name, _ in world.zones.asked), world.zones.asked[-5:])
        found = world.daemon.json("audit", "query", "--action", "mail.recipient", "--outcome", "refused")
        report.check("refusals are in the audit log", any("lists of spammers" in one["detail"] for one in found), found)
        report.whole(world.daemon)
    finally:
        world.stop()


def greylist(report):
    world = World(more=GREYLIST)

    def tries(name, expected, sender="sender@elsewhere.test", to=ALICE, address="192.0.2.1"):
        said = world.bring(letter(name, "x", sender=sender or "postmaster@elsewhere.test"), sender, [to], address)
        return report.check(f"greylisting, {name}: {expected}", said.startswith(expected) and
                            bool(world.has(name, to[:to.index("@")])) == (expected == "250"), said)
    try:
        tries("a first try", "451 4.7.1")
        tries("at once again", "451 4.7.1")
        tries("another recipient", "451 4.7.1", to=f"bob@{OURS}")
        tries("a notification", "451 4.7.1", sender="")
        time.sleep(8.2)
        tries("after the delay", "250")
        tries("known by now", "250")
        tries("from the same network", "250", address="192.0.2.77")
        tries("from another network", "451 4.7.1", address="192.0.3.1")
        tries("another sender", "451 4.7.1", sender="other@elsewhere.test")
        tries("the other recipient", "250", to=f"bob@{OURS}")
        tries("the notification again", "250", sender="")
        world.daemon.stop()
        world.daemon.start()
        tries("known, after a restart", "250")
        tries("first, seen before a restart", "250", sender="other@elsewhere.test") if time.sleep(8) is None else None
        world.bring(letter("verp", "x"), "list-1-alice=ours.test@list.test")
        time.sleep(8.2)
        tries("a sender with another number", "250", sender="list-2-alice=ours.test@list.test")
        world.settings(more=GREYLIST.replace("window = 60", "window = 9"))
        world.bring(letter("late", "x"), "late@elsewhere.test")
        time.sleep(10)
        tries("after the window", "451 4.7.1", sender="late@elsewhere.test")
        with world.session() as session:
            said = answer(session, ALICE, [f"bob@{OURS}"], letter("user", "x", sender=ALICE))
        report.check("greylisting, a user: 250", said.startswith("250"), said)
        said = world.bring(letter("unknown", "x"), to=[f"nobody@{OURS}"])
        report.check("greylisting, nobody: 550", said.startswith("550 5.1.1"), said)
        world.settings(trusted='["203.0.113.0/24"]', more=GREYLIST)
        tries("a trusted machine", "250", sender="new@elsewhere.test", address="203.0.113.7")
        report.whole(world.daemon)
    finally:
        world.stop()


SPF = "v=spf1 ip4:192.0.2.1 -all"


def dmarc(report):
    keys = trust_table.Keys()
    records = {name: [("TXT", value)] for name, value in keys.records.items()}
    records |= {"rsa._domainkey.list.test": [("TXT", keys.records["rsa._domainkey.signer.test"])]}
    for domain, wish in (("reject", "p=reject"), ("quarantine", "p=quarantine"), ("none", "p=none"),
                         ("strict", "p=reject; aspf=s; adkim=s"), ("sub", "p=none; sp=reject"),
                         ("broken", "p=nonsense")):
        records[f"{domain}.test"] = records[f"mail.{domain}.test"] = [("TXT", SPF)]
        records[f"_dmarc.{domain}.test"] = [("TXT", f"v=DMARC1; {wish}")]
    records["silent.test"], records["_dmarc.silent.test"] = [("TXT", SPF)], [("TIMEOUT", None)]
    records["two.test"] = [("TXT", SPF)]
    records["_dmarc.two.test"] = [("TXT", "v=DMARC1; p=reject"), ("TXT", "v=DMARC1; p=quarantine")]
    world = World(records=records)
    try:
        policies(report, world)
        signed(report, world, keys)
        wishes(report, world)
        sealers(report, world, keys)
        report.whole(world.daemon)
    finally:
        world.stop()


def found(world, mark):
    """Where it is, and what was found of it."""
    inbox, junk = world.has(mark), world.junk(mark)
    head = email.message_from_bytes((inbox or junk).partition(b"\r\n\r\n")[0])
    results = " ".join((head["Authentication-Results"] or "").split())
    return "INBOX" if inbox else "Junk" if junk else "nowhere", results


def policies(report, world):
    good, bad = "192.0.2.1", "198.51.100.1"
    for name, author, sender, address, code, place, result in (
            ("reject, another's server", "a@reject.test", "a@reject.test", bad, "550 5.7.1", "nowhere", ""),
            ("reject, another's envelope", "a@reject.test", "a@elsewhere.test", good, "550 5.7.1", "nowhere", ""),
            ("reject, a notification", "a@reject.test", "", good, "550 5.7.1", "nowhere", ""),
            ("reject, below it", "a@mail.reject.test", "a@elsewhere.test", good, "550 5.7.1", "nowhere", ""),
            ("reject, its own server", "a@reject.test", "a@reject.test", good, "250", "INBOX", "pass"),
            ("reject, a server below it", "a@reject.test", "a@mail.reject.test", good, "250", "INBOX", "pass"),
            ("strict, a server below it", "a@strict.test", "a@mail.strict.test", good, "550", "nowhere", ""),
            ("strict, its own server", "a@strict.test", "a@strict.test", good, "250", "INBOX", "pass"),
            ("quarantine, another's server", "a@quarantine.test", "a@quarantine.test", bad, "250", "Junk", "fail"),
            ("quarantine, its own server", "a@quarantine.test", "a@quarantine.test", good, "250", "INBOX", "pass"),
            ("none, another's server", "a@none.test", "a@none.test", bad, "250", "INBOX", "fail"),
            ("none but below, below", "a@mail.sub.test", "a@elsewhere.test", bad, "550", "nowhere", ""),
            ("none but below, itself", "a@sub.test", "a@elsewhere.test", bad, "250", "INBOX", "fail"),
            ("no record", "a@elsewhere.test", "a@elsewhere.test", bad, "250", "INBOX", "none"),
            ("two records", "a@two.test", "a@elsewhere.test", bad, "250", "INBOX", "(none|permerror)"),
            ("no answer", "a@silent.test", "a@elsewhere.test", bad, "(250|451)", "", "")):
        said = world.bring(letter(name, "x", sender=author), sender, address=address)
        where, results = found(world, name)
        report.check(f"DMARC, {name}: {place or 'not refused for good'}", re.match(code, said) and
                     (where == place or not place) and (not result or re.search(rf"dmarc={result}\b", results)),
                     (said, where, results))
    said = world.bring(b"From: <a@elsewhere.test>\r\nFrom: <a@reject.test>\r\nSubject: twice\r\n\r\nx\r\n")
    report.check("DMARC, two From fields: refused", said.startswith("550 5.6.0"), said)
    said = world.bring(letter("two", "x", sender="a@elsewhere.test>, <a@reject.test"), address=bad)
    report.check("DMARC, two authors of whom one is protected: not in INBOX", found(world, "two")[0] != "INBOX", said)
    said = world.bring(b"Subject: no author\r\n\r\nx\r\n")
    report.check("DMARC, no From field: an answer", said[:3] in ("250", "550"), said)


def signed(report, world, keys):
    """The author's domain signed it, and another server brings it."""
    plain = letter("signed", "Hello you", sender="alice@signer.test")
    for kind in ("rsa", "ed"):
        message = keys.sign(kind, plain.replace(b"Subject: signed", f"Subject: signed {kind}".encode()),
                            (b"relaxed", b"relaxed"), include=[b"from", b"to", b"subject", b"date"])
        said = world.bring(message, "x@elsewhere.test")
        where, results = found(world, f"signed {kind}")
        report.check(f"DMARC, {kind} signature of the author's domain: INBOX", where == "INBOX" and
                     "dkim=pass" in results and "dmarc=pass" in results, (said, where, results))
        said = world.bring(message.replace(b"Hello you", b"Hello me"), "x@elsewhere.test")
        report.check(f"DMARC, {kind} signature of another text: refused", said.startswith("550"), said)
    other = keys.sign("rsa", letter("other", "x", sender="a@reject.test"), (b"relaxed", b"relaxed"),
                      include=[b"from", b"subject"])
    said = world.bring(other)
    report.check("DMARC, signature of another domain: refused", said.startswith("550"), said)


def trusting(more):
    return f'["10.9.8.0/24"]\n{more}'


def wishes(report, world):
    """What the configuration makes of wishes."""
    world.settings(trusted=trusting('dmarc = "mark"'))
    said = world.bring(letter("only marked", "x", sender="a@reject.test"))
    where, results = found(world, "only marked")
    report.check("DMARC where wishes are only marked: taken and marked", where == "INBOX" and "dmarc=fail" in results,
                 (said, where, results))
    world.settings(trusted=trusting('spf_fail = "apply"'))
    said = world.bring(letter("spf", "x"), "a@none.test", address="198.51.100.1")
    report.check("SPF where wishes are done: refused", said.startswith("550 5.7.23"), said)
    world.settings(trusted=trusting("check = false"))
    said = world.bring(letter("unchecked", "x", sender="a@reject.test"))
    where, results = found(world, "unchecked")
    report.check("nothing checked: taken, nothing said", where == "INBOX" and results == "", (said, where, results))
    world.settings()


def sealers(report, world, keys):
    """A list that changes what it passes on, and vouches for what it saw."""
    def through(mark, changed=b"", told=b"pass"):
        seen = keys.sign("rsa", letter(mark, "Hello", sender="alice@signer.test"), (b"relaxed", b"relaxed"),
                         include=[b"from", b"subject"])
        seen = b"Authentication-Results: list.test; dkim=pass header.d=signer.test; dmarc=" + told + b"\r\n" + seen
        passed = seen.replace(b"Hello", b"Hello, said the list")
        seal = dkim.arc_sign(passed, b"rsa", b"list.test", keys.private["rsa"], b"list.test",
                             include_headers=[b"from", b"subject"])
        return world.bring(b"".join(seal) + passed.replace(b"said the list", changed or b"said the list"))
    said = through("sealed")
    report.check("ARC of a list that is not known: refused as the author's domain wishes", said.startswith("550"), said)
    world.settings(trusted=trusting('sealers = ["list.test"]'))
    said = through("sealed by a known list")
    where, results = found(world, "sealed by a known list")
    report.check("ARC of a list that is known: taken", where == "INBOX" and "arc=pass" in results,
                 (said, where, results))
    said = through("sealed as failed", told=b"fail (list.test; dmarc=pass)")
    report.check("ARC of a list that is known, which tells that DMARC failed: refused", said.startswith("550"), said)
    said = through("sealed and changed", b"said somebody")
    report.check("ARC of a list that is known, then changed: refused", said.startswith("550"), said)
    world.settings()
