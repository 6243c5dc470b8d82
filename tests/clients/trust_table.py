"""A table of signed messages: what dkimpy signs we must judge as it does, and what we sign it must verify.

The functions that do our part are parameters: `judge(message, client, helo, sender)` gives the text of our field
Authentication-Results, `signed_by_us(message)` the message as it goes out, and `sealed_by_us(message)` the message as
it is passed on, with our ARC set. `records` is what DNS has of our own keys. Needs dkimpy, pynacl, authres and
openssl."""

import base64, re, subprocess
from dataclasses import dataclass

import installed
import authres, dkim
from nacl.signing import SigningKey

DOMAIN = "signer.test"
SIGNED = [b"from", b"to", b"subject", b"date", b"message-id", b"from", b"x-odd", b"x-twice", b"x-twice"]
FORMS = [(h, b) for h in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]

HEADER = (b"Received: from a by b; now\r\nFrom: Alice <alice@signer.test>\r\nTo: bob@us.test\r\nSubject: A message\r\n"
          b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@signer.test>\r\n")

HEADERS = {
    "plain": b"",
    "folded": b"X-Odd: one\r\n two\r\n\tthree  four\r\n",
    "spaces": b"X-Odd:    many \t  spaces   \r\n",
    "none": b"X-Odd:no space\r\n",
    "empty": b"X-Odd:\r\n",
    "blank": b"X-Odd:   \r\n \t\r\n",
    "first line empty": b"X-Odd:\r\n  below\r\n",
    "letters": b"x-oDD: Case\r\n",
    "colons": b"X-Odd: a:b;c=d\r\n",
    "twice": b"X-Twice: one\r\nX-Odd: between\r\nX-Twice: two\r\n",
    "thrice": b"X-Twice: one\r\nX-Twice: two\r\nX-Twice: three\r\n",
    "8-bit": "X-Odd: gr\u00fc\u00df  dich\r\n".encode(),
    "long": b"X-Odd: " + b"word " * 180 + b"\r\n",
}

BODIES = {
    "empty": b"",
    "one line end": b"\r\n",
    "many line ends": b"\r\n" * 50,
    "one space": b" \r\n",
    "text": b"Hello\r\n",
    "no line end": b"Hello",
    "blank lines after": b"Hello\r\n\r\n\r\n",
    "white lines after": b"Hello\r\n \r\n\t\r\n  \t \r\n",
    "white then text": b"Hello\r\n \r\n\t\r\nthere\r\n",
    "blank lines before": b"\r\n\r\nHello\r\n",
    "white before": b" \t Hello\r\n",
    "inner spaces": b"a  b\tc \t d\r\n",
    "line end spaces": b"a \r\nb\t\r\nc \t \r\n",
    "dots": b".\r\n..\r\n.a\r\n",
    "8-bit": "gr\u00fc\u00df  dich \r\n".encode() + b"\xff\xfe\r\n",
    "long": b"word  word\t" * 9000 + b"\r\n",
    "many": b"".join(b"line %d  of text \r\n" % n for n in range(3000)),
}

# What befalls a signed message, and whether it may then still pass.
CHANGES = {
    "subject": (lambda m: m.replace(b"A message", b"A massage"), False),
    "sender": (lambda m: m.replace(b"alice@signer.test>", b"alicia@signer.test>"), False),
    "date": (lambda m: m.replace(b"10:00:00", b"10:00:01"), False),
    "body": (lambda m: m.replace(b"Hello", b"Hallo"), False),
    "line added": (lambda m: m + b"more\r\n", False),
    "line taken": (lambda m: m.replace(b"there\r\n", b""), False),
    "From added above": (lambda m: b"From: x@signer.test\r\n" + m, False),
    "From added below": (lambda m: m.replace(b"\r\n\r\n", b"\r\nFrom: x@signer.test\r\n\r\n", 1), False),
    "odd field added": (lambda m: b"X-Odd: new\r\n" + m, False),
    "other field added": (lambda m: b"X-Other: new\r\n" + m, True),
    "other field taken": (lambda m: m.replace(b"Received: from a by b; now\r\n", b""), True),
    "hash": (lambda m: re.sub(rb"bh=[^;]{4}", b"bh=AAAA", m, count=1), False),
    "signature": (lambda m: re.sub(rb"([ ;]b=)[^;]{4}", rb"\1AAAA", m, count=1), False),
    "selector": (lambda m: re.sub(rb"s=(rsa|ed)\b", b"s=nokey", m, count=1), False),
    "revoked": (lambda m: re.sub(rb"s=(rsa|ed)\b", b"s=gone", m, count=1), False),
    "time": (lambda m: re.sub(rb"t=\d+", b"t=1000000000", m, count=1), False),
    "blank lines": (lambda m: m + b"\r\n\r\n", True),
    "unsigned": (lambda m: re.sub(rb"^DKIM-Signature:(.*\r\n[ \t])*.*\r\n", b"", m), False),
}
RELAXED_CHANGES = {
    "refolded": (lambda m: m.replace(b"A message", b"A\r\n\t message"), b"relaxed", None),
    "case": (lambda m: m.replace(b"Subject:", b"SUBJECT:"), b"relaxed", None),
    "line end space": (lambda m: m.replace(b"you\r\n", b"you \t\r\n"), None, b"relaxed"),
    "inner space": (lambda m: m.replace(b"Hello you", b"Hello  you"), None, b"relaxed"),
    "white lines": (lambda m: m + b" \r\n\t\r\n", None, b"relaxed"),
}


@dataclass
class Case:
    name: str
    message: bytes
    passes: bool | None = None  # what must come out beside dkimpy's own opinion
    utf8: bool = False          # not all of the header section is ASCII


class Keys:
    """An RSA and an Ed25519 key, and the TXT records of their domain."""

    def __init__(self):
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
        public = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem, capture_output=True,
                                check=True).stdout
        ed = SigningKey.generate()
        self.private = {"rsa": pem, "ed": base64.b64encode(bytes(ed))}
        key = "._domainkey." + DOMAIN
        self.records = {
            "rsa" + key: "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode(),
            "ed" + key: "v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(ed.verify_key)).decode(),
            "gone" + key: "v=DKIM1; p=",
            "_dmarc." + DOMAIN: "v=DMARC1; p=reject",
        }

    def lookup(self, more=None):
        """The records as dkimpy asks for them."""
        records = {**self.records, **(more or {})}
        return lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode() or None

    def sign(self, kind, message, form, **more):
        algorithm = {"rsa": b"rsa-sha256", "ed": b"ed25519-sha256"}[kind]
        return dkim.sign(message, kind.encode(), DOMAIN.encode(), self.private[kind], canonicalize=form,
                         signature_algorithm=algorithm, include_headers=more.pop("include", SIGNED), **more) + message


def theirs(keys):
    """What dkimpy signs, whole and changed."""
    for name, body in BODIES.items():
        for form in FORMS:
            for kind in ("rsa", "ed"):
                message = keys.sign(kind, HEADER + b"\r\n" + body, form)
                yield Case(f"body {name}, {form[0].decode()}/{form[1].decode()}, {kind}", message, True)
    for number, (name, field) in enumerate(HEADERS.items()):
        for form in FORMS[::3]:
            message = keys.sign(("rsa", "ed")[number % 2], field + HEADER + b"\r\nHello\r\n", form)
            yield Case(f"header {name}, {form[0].decode()}", message, True, not field.isascii())
    plain = HEADER + b"\r\nHello you\r\nthere\r\n"
    for number, (name, (change, passes)) in enumerate(CHANGES.items()):
        signed = keys.sign(("rsa", "ed")[number % 2], plain, FORMS[number % 4])
        assert change(signed) != signed, name
        yield Case(f"changed {name}", change(signed), passes)
    for name, (change, header, body) in RELAXED_CHANGES.items():
        for form in FORMS:
            passes = (header is None or form[0] == header) and (body is None or form[1] == body)
            signed = keys.sign("ed", plain, form)
            assert change(signed) != signed, name
            yield Case(f"changed {name}, {form[0].decode()}/{form[1].decode()}", change(signed), passes)
    two = keys.sign("ed", keys.sign("rsa", plain, FORMS[3]), FORMS[0])
    yield Case("two signatures", two, True)
    yield Case("two signatures, the body changed", two.replace(b"Hello", b"Hallo"), False)
    yield Case("a part of the body", keys.sign("rsa", plain, FORMS[3], length=True) + b"more\r\n", False)
    yield Case("signed for another", keys.sign("rsa", plain, FORMS[3], identity=b"x@sub.signer.test"), True)
    yield Case("never signed", plain, False)


def ours():
    """What we sign."""
    for name, body in BODIES.items():
        yield Case(f"body {name}", HEADER + b"\r\n" + body)
    for name, field in HEADERS.items():
        yield Case(f"header {name}", field + HEADER + b"\r\nHello\r\n", None, not field.isascii())
    yield Case("few fields", b"From: alice@signer.test\r\n\r\nHello\r\n")


def results(text, method):
    """The results of a method in an Authentication-Results field."""
    found = authres.AuthenticationResultsHeader.parse(text.strip().replace("\r\n", ""))
    return [result for result in found.results if result.method == method]


def opinions(message, lookup):
    """What dkimpy says of each signature."""
    count = len(re.findall(rb"^dkim-signature:", message.split(b"\r\n\r\n")[0], re.I | re.M))
    found = []
    for number in range(count):
        try:
            found.append(bool(dkim.DKIM(message).verify(idx=number, dnsfunc=lookup)))
        except dkim.DKIMException:
            found.append(False)
    return found


def authors(message):
    """How many From fields it has."""
    return len(re.findall(rb"^from[ \t]*:", message.split(b"\r\n\r\n")[0], re.I | re.M))


def judged(keys, judge):
    """Yields (name, what went wrong or None) for all that dkimpy signs; what `judge` refuses must have several From
    fields."""
    for case in theirs(keys):
        text = judge(case.message, "192.0.2.1", "client.test", "sender@elsewhere.test")
        if text is None:
            yield case.name, None if authors(case.message) > 1 else "it was refused"
            continue
        found = [result.result == "pass" for result in results(text, "dkim")]
        expected = opinions(case.message, keys.lookup())
        if "a part of the body" in case.name:
            expected = [False]  # we do not take l=
        good = found == (expected or [False]) and all(found) == case.passes
        dmarc = [result.result for result in results(text, "dmarc")]
        if case.message.count(b"\r\nFrom:") == 1 and not case.message.startswith(b"From:"):
            good &= dmarc == ["pass" if any(found) else "fail"]
        else:
            good &= dmarc == ["none"]
        yield case.name, None if good else f"expected {expected}, {case.passes}; found {text}"


def verified(keys, signed_by_us, records):
    """Yields the same for all that we sign, with the records of our own domain."""
    lookup = keys.lookup(records)
    for case in ours():
        message = signed_by_us(case.message)
        found = opinions(message, lookup)
        good = found and all(found)
        yield f"signed by us: {case.name}", None if good else f"{found} for {message[:2000]}"
        if b"\r\nSubject: A message" in message:
            changed = [message.replace(b"A message", b"A massage"), b"Subject: x\r\n" + message,
                       message.replace(b"\r\n\r\n", b"\r\nReply-To: x@x.test\r\n\r\n", 1), message + b"x\r\n"]
            good = not any(any(opinions(one, lookup)) for one in changed)
            yield f"signed by us and changed: {case.name}", None if good else "a change was not seen"


def chained(keys, judge, sealed_by_us, records):
    """Yields the same for ARC: chains of dkimpy, of ours, and mixed ones."""
    lookup = keys.lookup(records)

    def sealed_by_them(message):
        before, _ = opinion(message)
        field = b"Authentication-Results: relay.test; dkim=pass header.d=signer.test; arc=" + before + b"\r\n"
        lines = dkim.arc_sign(field + message, b"rsa", DOMAIN.encode(), keys.private["rsa"], b"relay.test",
                              include_headers=[b"from", b"to", b"subject"])
        return b"".join(lines) + message

    def opinion(message):
        """Of dkimpy: what the chain is, and of how many sets."""
        found, sets, _ = dkim.arc_verify(message, dnsfunc=lookup)
        return found or b"fail", len(sets)

    for name, body in BODIES.items():
        message = keys.sign("rsa", HEADER + b"\r\n" + body, FORMS[3])
        for chain in ("t", "o", "to", "ot", "oto", "oot"):
            sealed = message
            for who in chain:
                sealed = sealed_by_them(sealed) if who == "t" else sealed_by_us(sealed)
            text = judge(sealed, "192.0.2.1", "client.test", "sender@elsewhere.test")
            found, theirs_ = [result.result for result in results(text, "arc")], opinion(sealed)
            good = found == ["pass"] and theirs_ == (b"pass", len(chain))
            yield f"chain {chain}, body {name}", None if good else f"{theirs_}, {text}"
            if chain in ("t", "to", "oto"):
                broken = sealed.replace(b"Subject: A message", b"Subject: A massage")
                text = judge(broken, "192.0.2.1", "client.test", "sender@elsewhere.test")
                found = [result.result for result in results(text, "arc")]
                good = found == ["fail"] and opinion(broken)[0] != b"pass"
                yield f"broken chain {chain}, body {name}", None if good else text
