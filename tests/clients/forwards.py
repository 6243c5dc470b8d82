#!/usr/bin/env python3
"""Addresses that stand for others, here and elsewhere; what the servers behind see of mail that is forwarded, and how
what fails finds back."""

import email, os, re, smtplib, time

import installed
import dkim

import forwards_lmtp, forwards_notices
from forwards_world import A, AUTHOR, B, ORIGIN, World, envelope
from harness import Report
from neighbours import PASSWORD, notification

PARTS = os.environ.get("PARTS", "").split()  # some of the functions below; all without it


def main():
    report = Report("forwards")
    world = World(forwards_lmtp.LISTENERS)
    try:
        parts = (aliases, circles, wrong, onward, chain, bounces, failures, forwards_notices.run, forwards_lmtp.run)
        for part in [part for part in parts if not PARTS or part.__name__ in PARTS]:
            guarded(report, part, world)
        guarded(report, lambda report, world: world.settle(), world)
        report.whole(world.a)
        report.whole(world.b)
    finally:
        world.stop()
    if not PARTS or "between" in PARTS:
        guarded(report, between)
    report.end()


def guarded(report, part, *more):
    """A part that breaks down does not hide the others."""
    try:
        part(report, *more)
    except Exception as error:
        report.check(part.__name__, False, repr(error))


def alias(world, address, *names):
    world.a.cli("alias", "add", address, *names)


def aliases(report, world):
    alias(world, "one@a.test", "anna")
    alias(world, "Team@A.test", "anna", "adam")
    alias(world, "staff@a.test", "team@a.test", "one@a.test")
    alias(world, "all@a.test", "staff@a.test", "adam")
    alias(world, "info+shop@a.test", "adam")
    alias(world, "info@a.test", "anna")
    alias(world, "chain1@a.test", "adam")
    for number in range(2, 8):
        alias(world, f"chain{number}@a.test", f"chain{number - 1}@a.test")
    for name, to, anna, adam in (
            ("an alias", "one@a.test", 1, 0), ("an alias in capitals", "ONE@A.TEST", 1, 0),
            ("a group", "team@a.test", 1, 1), ("an alias of aliases", "staff@a.test", 1, 1),
            ("an alias of those", "all@a.test", 1, 1), ("a detail of an alias", "one+x@a.test", 1, 0),
            ("an alias with a detail", "info+shop@a.test", 0, 1), ("another detail", "info+other@a.test", 1, 0),
            ("a detail of a user", "anna+x+y@a.test", 1, 0), ("an empty detail", "anna+@a.test", 1, 0),
            ("seven in a row", "chain7@a.test", 0, 1), ("quoted", '"one"@a.test', 1, 0),
            ("quoted with a backslash", '"o\\ne"@a.test', 1, 0), ("several that lead to one",
             ["one@a.test", "anna@a.test", "team@a.test"], 1, 1)):
        said = world.bring(to, world.message(name))
        seen = len(world.has("anna", name)), len(world.has("adam", name))
        report.check(f"aliases, {name}: each has it once", said.startswith("250") and seen == (anna, adam), (said,
                                                                                                             seen))
    said = world.bring("nobody@a.test", world.message("none"))
    report.check("aliases, nobody: refused", said.startswith("550 5.1.1"), said)
    world.a.cli("domain", "add", "catch.test")
    alias(world, "@catch.test", "adam")
    alias(world, "known@catch.test", "anna")
    for to, who in (("any@catch.test", "adam"), ("Any+Thing@catch.test", "adam"), ("known@catch.test", "anna"),
                    ("known+x@catch.test", "anna"), ("anna@catch.test", "anna"), ('"a b"@catch.test', "adam")):
        said = world.bring(to, world.message(f"catch {to}"))
        other = "anna" if who == "adam" else "adam"
        report.check(f"aliases, {to} by the catch-all: {who} has it", said.startswith("250") and
                     len(world.has(who, f"catch {to}")) == 1 and not world.has(other, f"catch {to}"), said)
    world.a.cli("alias", "remove", "one@a.test")
    said = world.bring("one@a.test", world.message("removed"))
    report.check("aliases, a removed one: refused", said.startswith("550 5.1.1"), said)
    shown = world.a.json("alias", "list")
    report.check("aliases are listed", any("@catch.test" in str(row) for row in shown) and
                 not any("one@a.test" == row for row in map(str, shown)), shown)


def circles(report, world):
    """Aliases that lead to themselves: one that is reached from itself is the account of that name, or nobody."""
    world.a.add("keep", PASSWORD)
    alias(world, "c1@a.test", "c2@a.test")
    alias(world, "c2@a.test", "c3@a.test")
    alias(world, "c3@a.test", "c1@a.test")
    alias(world, "self@a.test", "self@a.test")
    alias(world, "keep@a.test", "keep@a.test", "anna")
    alias(world, "k1@a.test", "k2@a.test", "adam")
    alias(world, "k2@a.test", "k1@a.test", "anna")
    for to in ("c1@a.test", "c2@a.test", "self@a.test"):
        begun = time.monotonic()
        with smtplib.SMTP(A, world.port, "mx.signer.test", timeout=60, source_address=(ORIGIN, 0)) as session:
            session.ehlo()
            session.mail(AUTHOR)
            said = session.rcpt(to)
        report.check(f"circles, {to}, where nobody is: refused for good at RCPT, at once", 500 <= said[0] < 600 and
                     time.monotonic() - begun < 5, said)
    for to, who in (("keep@a.test", ["keep", "anna"]), ("Keep+x@a.test", ["keep", "anna"]),
                    ("k1@a.test", ["anna", "adam"])):
        said = world.bring(to, world.message(f"circle {to}"))
        seen = [len(world.has(user, f"circle {to}")) for user in who]
        report.check(f"circles, {to}, which leads to people too: they have it once", said.startswith("250") and
                     seen == [1] * len(who), (said, seen))
    # Two ways that lead to one alias are no circle: the account that it hides stays hidden.
    alias(world, "ways@a.test", "hides@a.test", "other@a.test")
    alias(world, "other@a.test", "hides@a.test")
    alias(world, "hides@a.test", "anna")
    world.a.add("hides", PASSWORD)
    said = world.bring("ways@a.test", world.message("two ways"))
    seen = [len(world.has(user, "two ways")) for user in ("anna", "hides")]
    report.check("circles, two ways to one alias: whom it stands for has it, and nobody else",
                 said.startswith("250") and seen == [1, 0], (said, seen))
    said = world.bring("anna@a.test", world.message("not in circles"))
    report.check("circles: others have their mail", said.startswith("250"), said)
    for address in ("c1", "c2", "c3", "self", "keep", "k1", "k2", "ways", "other", "hides"):
        world.a.cli("alias", "remove", f"{address}@a.test")


def wrong(report, world):
    """What an alias cannot be is said when it is made."""
    for name, words in {"of a domain elsewhere": ("x@out.test", "anna"), "to nobody": ("y@a.test", "nobody"),
                        "without a domain": ("x", "anna"), "to half an address": ("y@a.test", "@out.test"),
                        "to an address with a space": ("y@a.test", "x y@out.test"),
                        "to a domain with a space": ("y@a.test", "x@out .test"),
                        "to a domain that is none": ("y@a.test", "x@xn--0.test"),
                        "to an address with an angle": ("y@a.test", "x>@out.test"),
                        "to two lines": ("y@a.test", "x\r\nDATA@out.test"),
                        "of two at signs": ("x@y@a.test", "anna"),
                        "to empty labels": ("y@a.test", "x@out..test")}.items():
        done = world.a.cli("alias", "add", *words, check=False)
        report.check(f"an alias {name} is refused", done.returncode != 0 and done.stderr.strip(), done)
        if done.returncode == 0:
            world.a.cli("alias", "remove", words[0])


def onward(report, world):
    alias(world, "fwd@a.test", "x@out.test")
    alias(world, "copy@a.test", "y@out.test", "anna")
    alias(world, "two@a.test", "x@out.test", "z@plain.test")
    alias(world, "far@a.test", "fwd@a.test", "adam")
    for name, to, sinks, users in (("to another server", "fwd@a.test", {"out": ["x@out.test"]}, ()),
                                   ("with a copy", "copy@a.test", {"out": ["y@out.test"]}, ["anna"]),
                                   ("to two servers", "two@a.test", {"out": ["x@out.test"], "plain": ["z@plain.test"]},
                                    ()),
                                   ("by an alias", "far@a.test", {"out": ["x@out.test"]}, ["adam"]),
                                   ("with a detail", "fwd+shop@a.test", {"out": ["x@out.test"]}, ())):
        said = world.bring(to, world.message(name))
        report.check(f"forwards, {name}: taken", said.startswith("250"), said)
        for sink, recipients in sinks.items():
            found = world.came(sink, name)
            sender, _, told = envelope(found[0][0])
            report.check(f"forwards, {name}: {sink} has it once, by an address at the forwarder's", len(found) == 1 and
                         [one for one, _ in told] == recipients and re.fullmatch(
                             r"SRS0=[A-Z2-7]{8}=[A-Z2-7]{2}=signer\.test=alice@a\.test", sender), (sender, told))
            report.check(f"forwards, {name}: no return path goes along", b"Return-Path:" not in found[0][1].partition(
                b"\r\n\r\n")[0], found[0][1][:500])
        for user in users:
            report.check(f"forwards, {name}: {user} has it too", len(world.has(user, name)) == 1 and
                         f"Return-Path: <{AUTHOR}>".encode() in world.has(user, name)[0], user)
    said = world.bring("fwd@a.test", world.message("from nobody"), sender="")
    sender, _, _ = envelope(world.came("out", "from nobody")[0][0])
    report.check("forwards, a notification: from nobody still", said.startswith("250") and sender == "", (said, sender))
    mine = world.message("mine", sign=False, sender="anna@a.test")
    said = world.submit("fwd@a.test", mine)
    sender, _, _ = envelope(world.came("out", "mine")[0][0])
    report.check("forwards, a user's own: from the user", said.startswith("250") and sender == "anna@a.test", sender)
    said = world.bring(["fwd@a.test", "two@a.test"], world.message("both ways"))
    found = world.came("out", "both ways")
    time.sleep(1)
    found = world.came("out", "both ways")
    report.check("forwards, two addresses that lead to one: once", len(found) == 1 and
                 len(envelope(found[0][0])[2]) == 1, [lines for lines, _ in found])
    # A local part of 64 octets, as long as one may be.
    author = "a" * 64 + "@signer.test"
    said = world.bring("fwd@a.test", world.message("long sender", sender=author), sender=author)
    sender, _, _ = envelope(world.came("out", "long sender")[0][0])
    said = world.bring(sender, b"Subject: bounce of long\r\n\r\nx\r\n", sender="")
    report.check("forwards, a long sender: it leads back", said.startswith("250") and world.came("signer",
                 "bounce of long"), (sender, said))


def chain(report, world):
    """From the signer by way of one daemon to the other, which checks."""
    alias(world, "bob@a.test", "bob@b.test")
    said = world.bring("bob@b.test", world.message("direct"), address=B, source="127.0.0.41")
    head = email.message_from_bytes((world.has("bob", "direct", world.b) or [b""])[0])
    report.check("chain, the policy is strict: SPF fails for others", said.startswith("250") and
                 "spf=fail" in (head["Authentication-Results"] or ""), (said, head.items()))
    for name, sign, text in (("signed", True, "Hello\r\n"), ("with odd lines", True,
                                                             ".\r\n..\r\n\r\n a  b \r\n\r\n\r\n"),
                             ("unsigned, but vouched for", False, "Hello\r\n"), ("8-bit", True, "Gr\u00fc\u00dfe\r\n")):
        said = world.bring("bob@a.test", world.message(name, text, sign), options=("BODY=8BITMIME",))
        world.settle()
        found = world.has("bob", name, world.b) or world.has("bob", name, world.b, "Junk")
        if not report.check(f"chain, {name}: it arrives", said.startswith("250") and len(found) == 1,
                            (said, world.heard("signer", f"{name.replace(' ', '.')}@signer.test", 0)[-1:])):
            continue
        head = email.message_from_bytes(found[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        results = " ".join(head.get_all("Authentication-Results")[0].split())
        report.check(f"chain, {name}: SPF passes for the forwarder", "spf=pass smtp.mailfrom=SRS0=" in
                     results or re.search(r'spf=pass smtp.mailfrom="?SRS0=', results), results)
        passes = "dkim=pass" in results and "dmarc=pass" in results
        report.check(f"chain, {name}: DKIM and DMARC {'pass' if sign else 'do not'}", passes == sign, results)
        report.check(f"chain, {name}: ARC passes", "arc=pass" in results, results)
        # As it went out: without what the last server wrote.
        sent = found[0][found[0].index(b"ARC-Seal:"):]
        cv, sets, reason = dkim.arc_verify(sent, dnsfunc=world.lookup())
        report.check(f"chain, {name}: dkimpy finds one set that holds", cv == dkim.CV_Pass and len(sets) == 1,
                     (cv, sets, reason))
        told = " ".join((head["ARC-Authentication-Results"] or "").split())
        report.check(f"chain, {name}: the set tells what the forwarder found", told.startswith("i=1; mx.a.test;") and
                     "spf=pass" in told and ("dkim=pass" in told) == sign, told)
        if sign:
            report.check(f"chain, {name}: dkimpy finds the author's signature good", dkim.verify(
                sent, dnsfunc=world.lookup()), found[0][:3000])
    # A chain that is broken already is not made to look whole.
    broken = (b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=signer.test; s=rsa; t=1; b=AAAA\r\nARC-Message-Signature: i=1; "
              b"a=rsa-sha256; c=relaxed/relaxed; d=signer.test; s=rsa; h=from; bh=AAAA; b=AAAA\r\n"
              b"ARC-Authentication-Results: i=1; signer.test; spf=pass\r\n") + world.message("broken chain")
    said = world.bring("bob@a.test", broken)
    world.settle()
    found = world.has("bob", "broken chain", world.b)
    report.check("chain, a broken one stays broken", said.startswith("250") and found and b"arc=fail" in found[0] and
                 found[0].count(b"ARC-Seal:") == 1, (said, found))


def bounces(report, world):
    """What comes back finds the sender."""
    world.bring("fwd@a.test", world.message("to come back"))
    srs, _, _ = envelope(world.came("out", "to come back")[0][0])
    for name, to, sender in (("as it was", srs, ""), ("in small letters", srs.lower(), ""),
                             ("from a person", srs, "someone@out.test"), ("quoted", '"%s"@%s' % tuple(srs.split("@")),
                                                                          "")):
        mark = f"back {name}"
        said = world.bring(to, f"Subject: {mark}\r\nFrom: <x@out.test>\r\n\r\nback\r\n".encode(), sender=sender)
        report.check(f"bounces, {name}: taken", said.startswith("250"), said)
        if said.startswith("250"):
            back, _, told = envelope(world.came("signer", mark)[0][0])
            report.check(f"bounces, {name}: the sender has it", [one.lower() for one, _ in told] == [AUTHOR] and
                         (back == "" if sender == "" else back.startswith("SRS0=")), (back, told))
    local, domain = srs.split("@")
    parts = local.split("=")
    for name, made in (("a made-up hash", "=".join(["SRS0", "AAAAAAAA", *parts[2:]])),
                       ("another sender", "=".join([*parts[:4], "bob"])), ("another domain", "=".join(
                           [*parts[:3], "out.test", parts[4]])), ("another day", "=".join(
                               [*parts[:2], "BB" if parts[2] == "AA" else "AA", *parts[3:]])), ("nothing in it", "SRS0="), ("no hash", "SRS0=="),
                       ("a made-up second", f"SRS1=AAAAAAAA=out.test=={'='.join(parts[1:])}"),
                       ("one with a second first", f"SRS1={parts[1]}=out.test=={'='.join(parts[2:])}")):
        said = world.bring(f"{made}@{domain}", b"Subject: forged\r\n\r\nx\r\n", sender="")
        report.check(f"bounces, {name}: refused", said.startswith("550 5.1.1"), (made, said))
    # The same sender by way of a domain whose catch-all takes all.
    alias(world, "fwd@catch.test", "x@out.test")
    world.publish()
    world.bring("fwd@catch.test", world.message("by the catch-all"))
    srs, _, _ = envelope(world.came("out", "by the catch-all")[0][0])
    said = world.bring(srs, b"Subject: back past the catch-all\r\n\r\nx\r\n", sender="")
    try:
        world.came("signer", "back past the catch-all")
        report.check("bounces, a domain with a catch-all: the sender has it", True)
    except TimeoutError:
        report.check("bounces, a domain with a catch-all: the sender has it", False,
                     (said, srs, "adam has it", len(world.has("adam", "back past the catch-all"))))
    # A user of ours is who it came from.
    alias(world, "self@a.test", "x@out.test")
    said = world.bring("self@a.test", world.message("ours from outside"), sender="anna@a.test")
    srs, _, _ = envelope(world.came("out", "ours from outside")[0][0])
    said = world.bring(srs, b"From: <x@out.test>\r\nSubject: back to anna\r\n\r\nx\r\n", sender="")
    report.check("bounces, to one of ours: she has it", said.startswith("250") and len(
        world.has("anna", "back to anna")) == 1, (srs, said))


def failures(report, world):
    """A forward that fails: who sent it is told, once."""
    alias(world, "gone@a.test", "lost@out.test")
    alias(world, "half@a.test", "lost@out.test", "x@out.test", "anna")
    for to in ("gone@a.test", "half@a.test"):
        mark = f"fails {to}"
        said = world.bring(to, world.message(mark))
        told = world.heard("signer", f"<fails.{to}@signer.test>")
        report.check(f"failures, {to}: the sender is told once", said.startswith("250") and len(told) == 1, (said,
                                                                                                             told))
        if not told:
            continue
        whole, rows = notification(told[0])
        seen = [(row["Action"], row["Status"], row["Final-Recipient"], row["Original-Recipient"]) for row in rows]
        report.check(f"failures, {to}: of the address it was sent to", seen == [
            ("failed", "5.1.1", "rfc822; lost@out.test", f"rfc822; {to}")] or seen == [
            ("failed", "5.1.1", "rfc822; lost@out.test", f"rfc822;{to}")], seen)
        back, _, rcpt = envelope(world.came("signer", whole["Subject"])[-1][0])
        report.check(f"failures, {to}: by nobody to the author", back == "" and [one for one, _ in rcpt] == [AUTHOR],
                     (back, rcpt))
    report.check("failures, half@a.test: the others have it", len(world.has("anna", "fails half@a.test")) == 1 and
                 world.came("out", "fails half@a.test"))
    said = world.bring("gone@a.test", world.message("fails from nobody"), sender="")
    time.sleep(3)
    report.check("failures, from nobody: nobody is told", said.startswith("250") and
                 world.heard("signer", "fails.from.nobody", 0) == [])


def between(report):
    """Two daemons that forward to each other: it ends, and the sender is told."""
    world = World(hops=12)
    try:
        world.a.cli("alias", "add", "ring@a.test", "ring@b.test")
        world.b.cli("alias", "add", "ring@b.test", "ring@a.test")
        begun = time.monotonic()
        said = world.bring("ring@a.test", world.message("in a ring"))
        told = world.heard("signer", "<in.a.ring@signer.test>", 60)
        report.check(f"a ring of two servers ends ({time.monotonic() - begun:.0f} s)", said.startswith("250") and
                     len(told) == 1, (said, told, world.a.json("queue", "list")))
        rows = notification(told[0])[1] if told else []
        report.check("a ring: the sender is told why", [(row["Action"], row["Status"]) for row in rows] ==
                     [("failed", "5.4.6")], told)
        if told:
            count = len(re.findall(rb"^ARC-Seal:", told[0], re.M | re.I))
            report.check("a ring: each passage sealed it", count >= 10 and b"cv=fail" not in told[0], count)
        world.settle()
        report.whole(world.a)
        report.whole(world.b)
    finally:
        world.stop()


if __name__ == "__main__":
    main()
