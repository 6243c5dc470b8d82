"""The domains of a server: the records of each, read by a name server; what `domain check` says of them; the rotation
of keys; names beyond ASCII."""

import json, re, signal, smtplib, time

from servers import free_ports
from unbound import Unbound


class Zone(Unbound):
    """unbound, with a zone whose file is what `domain dns` printed."""

    def __init__(self, text, origin, more=""):
        super().__init__("zone", "unbound")
        self.port, = free_ports(1)
        zone = self.folder / "zone"
        zone.write_text(
            f"$TTL 60\n{origin}. IN SOA ns.{origin}. h.{origin}. 1 60 60 60 60\n{origin}. IN NS ns.{origin}.\n"
                        f"ns.{origin}. IN A 127.0.0.1\n{more}{text}")
        self.answer("127.0.0.1", self.port, '    local-zone: "test." nodefault', f"""auth-zone:
    name: "{origin}."
    zonefile: "{zone}"
    for-downstream: yes
    for-upstream: no
    fallback-enabled: no""")


def reread(daemon, old, new):
    """Another configuration by SIGHUP."""
    whole, before = daemon.config.read_text(), len(daemon.log())
    assert old in whole, old
    daemon.config.write_text(whole.replace(old, new))
    daemon.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while "read anew" not in daemon.log()[before:]:
        if time.monotonic() > end:
            raise RuntimeError(daemon.log()[before:])
        time.sleep(0.05)


def check(world, port, name="a.test", as_json=True):
    """`domain check` with DNS at a port: its exit code and output."""
    old = f'servers = ["127.0.0.1:{world.zones.port}"]'
    reread(world.daemon, old, f'servers = ["127.0.0.1:{port}"]')
    try:
        begun = time.monotonic()
        done = world.daemon.cli("domain", "check", name, check=False)
        took = time.monotonic() - begun
        return done, world.daemon.cli("domain", "check", name, "--json", check=False) if as_json else None, took
    finally:
        reread(world.daemon, f'servers = ["127.0.0.1:{port}"]', old)


def published(report, world):
    """The records, as a name server reads them."""
    text = world.daemon.cli("domain", "dns", "a.test").stdout
    rows = world.daemon.json("domain", "dns", "a.test")["records"]
    kinds = {(one["type"], one["name"]) for one in rows}
    needed = {("MX", "a.test"), ("TXT", "a.test"), ("TXT", "_dmarc.a.test"), ("TXT", "_mta-sts.a.test"),
              ("TXT", "_smtp._tls.a.test"), ("TLSA", "_25._tcp.mx.a.test"), ("SRV", "_submissions._tcp.a.test"),
              ("SRV", "_imaps._tcp.a.test"), ("CNAME", "autoconfig.a.test"), ("CNAME", "mta-sts.a.test")}
    report.check("domain dns: every record is there", needed <= kinds and sum("_domainkey" in name for _,
                                                                              name in kinds) == 2,
                 sorted(kinds))
    report.check("domain dns: each line says what it is for", len(re.findall("^; ", text, re.M)) == len(rows), text)
    zone = Zone(text, "a.test", "mx.a.test. IN A 127.0.0.51\n")
    try:
        faults = [line for line in zone.log().splitlines() if "error" in line or "fail" in line.lower()]
        report.check("domain dns: unbound reads it as a zone", not faults, faults)
        done, shown, _ = check(world, zone.port)
        words = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
        report.check("domain check: all is there", done.returncode == 0 and words == {"ok"}, done.stdout + done.stderr)
        answer = json.loads(shown.stdout)
        report.check("domain check: also as JSON", shown.returncode == 0 and answer["wrong"] == 0 and
                     [one["record"] for one in answer["records"]][1:] == rows, shown.stdout[:500])
    finally:
        zone.remove()


def differences(report, world):
    """Something is missing, other, or unknown."""
    rows = world.daemon.json("domain", "dns", "a.test")["records"]
    text = world.daemon.cli("domain", "dns", "a.test").stdout
    key = next(one["name"] for one in rows if "_domainkey" in one["name"])

    def without(name):
        return "".join(line + "\n" for line in text.splitlines() if not line.startswith(name + ". "))
    address, more = "mx.a.test. IN A 127.0.0.51\n", "other.a.test. IN A 127.0.0.52\n"
    other = 'a.test. IN TXT "v=spf1 a -all"\n'
    for name, zone, code, word, place in (
            ("a key is missing", without(key), 1, "missing", key),
            ("a host without address", text, 1, "missing", "mx.a.test. IN A/AAAA"),
            ("no MX", re.sub(r"(?m)^a\.test\. IN MX.*\n", "", text), 1, "missing", "a.test. IN MX"),
            ("another MX", re.sub(r"(?m)^(a\.test\. IN MX 10) .*", r"\1 other.a.test.", text), 1, "other",
             "a.test. IN MX"),
            ("a better MX of another host", text + "a.test. IN MX 5 other.a.test.\n", 1, "other", "a.test. IN MX"),
            ("an MX of another host that is as good", text + "a.test. IN MX 10 other.a.test.\n", 1, "other",
             "a.test. IN MX"),
            ("an MX of another host that comes after", text + "a.test. IN MX 20 other.a.test.\n", 0, "ok",
             "a.test. IN MX"),
            ("MX with another preference", re.sub(r"(?m)^(a\.test\. IN MX) 10", r"\1 5", text), 0, "ok",
             "a.test. IN MX"),
            ("another SPF", re.sub(r'(?m)^a\.test\. IN TXT "v=spf1.*\n', other, text), 1, "other", "a.test. IN TXT"),
            ("texts of others beside it", text + 'a.test. IN TXT "some-verification=1"\n', 0, "ok", "a.test. IN TXT"),
            ("two SPF records", text + other, 1, "other", "a.test. IN TXT"),
            ("a policy of its own", re.sub(r'"v=DMARC1;[^"]*"', '"v=DMARC1; p=reject"', text), 0, "ok",
             "_dmarc.a.test"),
            ("no DMARC", without("_dmarc.a.test"), 1, "missing", "_dmarc.a.test"),
            ("two DMARC records", text + '_dmarc.a.test. IN TXT "v=DMARC1; p=none"\n', 1, "other", "_dmarc.a.test"),
            ("no TLSA", without("_25._tcp.mx.a.test"), 0, "missing", "_25._tcp.mx.a.test"),
            ("a key of somebody else", re.sub(rf'(?m)^({re.escape(key)}\. IN TXT) .*', r'\1 "v=DKIM1; k=rsa; p=AAAA"',
                                              text),
             1, "other", key),
            ("an address in place of an alias", without("autoconfig.a.test") + "autoconfig.a.test. IN A 127.0.0.51\n",
             0, "ok",
             "autoconfig.a.test"),
            ("a key in other letters", re.sub(rf'(?m)^({re.escape(key)}\. IN TXT .*p=)(.*)',
                                              lambda found: found[1] + found[2].swapcase(), text), 1, "other", key)):
        served = Zone(zone, "a.test", more if name == "a host without address" else address + more)
        try:
            done, shown, _ = check(world, served.port)
            lines = [line for line in done.stdout.splitlines() if re.search(rf"^\w+ +{re.escape(place)}", line)]
            report.check(f"domain check, {name}: {word}, exit code {code}", done.returncode == code and
                         any(line.startswith(word) for line in lines), (done.returncode, lines, done.stderr))
            if code:
                report.check(f"domain check, {name}: says what to do", "domain dns a.test" in done.stderr and
                             done.stderr.count("\n") == 1, done.stderr)
                try:
                    report.check(f"domain check, {name}: JSON says so", json.loads(shown.stdout)["wrong"] >= 1,
                                 shown.stdout)
                except ValueError as error:
                    report.check(f"domain check, {name}: JSON says so", False, (repr(error), shown.stdout[:300]))
        finally:
            served.remove()
    port, = free_ports(1)
    done, _, took = check(world, port, as_json=False)
    words = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    report.check(f"domain check, no DNS: unknown, within a minute ({took:.0f} s)", done.returncode == 1 and words ==
                 {"unknown"} and took < 60, (done.stdout[:500], done.stderr))
    done = world.daemon.cli("domain", "check", "elsewhere.test", check=False)
    report.check("domain check, a domain that is not ours: says so", done.returncode == 1 and
                 "not a domain of this server" in
                 done.stderr, done)


def own_names(report, world):
    """The names of this host are those of the configuration, where they can be published."""
    own = 'hostname = "mx.a.test"'
    for other in ('hostname = "localhost"', 'hostname = "10.0.0.1"'):
        reread(world.daemon, own, other)
        try:
            for command in ("dns", "check"):
                done = world.daemon.cli("domain", command, "a.test", check=False)
                report.check(f"domain {command} with {other}: says what to set", done.returncode == 1 and
                             not done.stdout and "`hostname`" in done.stderr and done.stderr.count("\n") == 1, done)
        finally:
            reread(world.daemon, other, own)
    table = '[http]\nmail_host = "imap.a.test"\n[smtp.dns]'
    reread(world.daemon, "[smtp.dns]", table)
    try:
        rows = world.daemon.json("domain", "dns", "a.test")["records"]
        targets = {one["value"].split()[-1] for one in rows if one["type"] == "SRV"}
        report.check("mail_host: SRV leads to it, MX to the host", targets == {"imap.a.test"} and
                     any(one["value"] == "10 mx.a.test" for one in rows), rows)
    finally:
        reread(world.daemon, table, "[smtp.dns]")


def smarthost(report, world):
    """What leaves by another host is not to fail SPF for it."""
    table = '[smtp.outbound]\nroutes = [{ domains = ["*"], host = "smart.test:587" }]'
    reread(world.daemon, "[smtp.outbound]", table)
    try:
        text = world.daemon.cli("domain", "dns", "a.test").stdout
        ours = 'a.test. IN TXT "v=spf1 mx ~all"\n'
        report.check("smarthost: SPF lets others send, and says that the smarthost belongs into it", re.search(
            r"^; .*include:.*\n" + re.escape(ours), text, re.M), text)
        for name, value, code in (("nobody else sends", "mx -all", 1), ("as printed", "mx ~all", 0),
                                  ("with its record", "mx include:smart.a.test -all", 0)):
            served = Zone(text.replace(ours, f'a.test. IN TXT "v=spf1 {value}"\n'), "a.test",
                          'mx.a.test. IN A 127.0.0.51\nsmart.a.test. IN TXT "v=spf1 ip4:127.0.0.53 -all"\n')
            try:
                done, _, _ = check(world, served.port, as_json=False)
                report.check(f"smarthost, SPF: {name}: exit code {code}", done.returncode == code, done)
            finally:
                served.remove()
    finally:
        reread(world.daemon, table, "[smtp.outbound]")


def selectors(content):
    return set(re.findall(rb"DKIM-Signature:.*?s=(\w+);", content, re.S))


def rotation(report, world):
    """Keys that are made, published, used, and left."""
    from submission import verifies

    def signed(mark):
        world.send(f"From: anna@a.test\r\nSubject: {mark}\r\n\r\nx\r\n".encode())
        return world.came(mark)

    def rotate(*words):
        return world.daemon.cli("domain", "rotate", "a.test", *words, check=False)
    world.publish()
    first = selectors(signed("rot before"))
    done = rotate()
    shown = re.findall(r"^(\S+)\._domainkey\.a\.test\. IN TXT", done.stdout, re.M)
    report.check("rotate: it prints the new records alone", done.returncode == 0 and len(set(shown)) == 2 and not
                 {one.encode() for one in shown} & first and "rotate a.test" in done.stdout, done)
    report.check("rotate: as zone lines throughout", all(line.startswith(";") or re.match(r"\S+\. IN TXT \"", line)
                 for line in done.stdout.splitlines() if line), done.stdout)
    came = signed("rot waiting")
    report.check("rotate: the old keys sign until then", selectors(came) == first and verifies(world, came),
                 came[:1500])
    done = rotate()
    report.check("rotate: not before DNS shows them", done.returncode == 1 and "DNS does not show" in done.stderr and
                 selectors(signed("rot early")) == first, done)
    world.publish(leave=[f"{shown[0]}._domainkey.a.test"])
    done = rotate()
    report.check("rotate: not before DNS shows both", done.returncode == 1 and shown[0] in done.stderr, done)
    world.publish()
    done = rotate()
    came = signed("rot after")
    report.check("rotate: then the new ones sign at once", done.returncode == 0 and selectors(came) ==
                 {one.encode() for one in shown} and verifies(world, came), (done, selectors(came), shown))
    names = [one["name"] for one in world.daemon.json("domain", "dns", "a.test")["records"]
             if "_domainkey" in one["name"]]
    report.check("rotate: the records of the old ones stay for a while", len(names) == 4 and all(
        f"{one.decode()}._domainkey.a.test" in names for one in first), names)
    report.check("rotate: what was signed before still verifies", verifies(world, world.came("rot before")))
    done = rotate()
    report.check("rotate: again, new ones", done.returncode == 0 and "IN TXT" in done.stdout, done)
    done = rotate("--now")
    came = signed("rot now")
    report.check("rotate --now: without asking DNS", done.returncode == 0 and not selectors(came) & (
        {one.encode() for one in shown} | first), (done, selectors(came)))
    world.publish()
    report.check("rotate --now: and they verify when they are published", verifies(world, came))
    done = world.daemon.cli("domain", "rotate", "a.test", "--now", check=False)
    report.check("rotate --now with none that wait: says what it did", done.returncode in (0, 1) and
                 (done.stdout + done.stderr).strip(), done)
    found = [one["action"] for one in world.daemon.json("audit", "query", "--limit", "1000")
             if "dkim" in one["action"] or
             "domain" in one["action"]]
    report.check("rotate: the audit log tells of it", len([one for one in found if one != "domain.add"]) >= 4, found)
    world.daemon.cli("domain", "remove", "second.test")
    world.daemon.cli("domain", "add", "second.test")
    world.publish()
    world.send(b"From: info@second.test\r\nSubject: added anew\r\n\r\nx\r\n", sender="info@second.test")
    came = world.came("added anew")
    report.check("a domain that was removed and added anew signs with its new keys", verifies(world, came), came[:1500])


def beyond(report, world):
    """A domain with letters beyond ASCII has two forms of its name, which mean the same (RFC 5890, RFC 6531)."""
    from submission import verifies
    name, ascii_name = "bücher.test", "xn--bcher-kva.test"
    done = world.daemon.cli("domain", "add", name, check=False)
    if not report.check("a domain beyond ASCII can be added", done.returncode == 0, done):
        return
    text = world.daemon.cli("domain", "dns", name).stdout
    report.check("its records are in ASCII, as zones are", all(line.isascii() for line in text.splitlines()
                 if not line.startswith(";")) and ascii_name in text, text)
    for form in (ascii_name, name, "BÜCHER.test", ascii_name.upper()):
        with smtplib.SMTP(world.address, world.port, timeout=30) as session:
            session.ehlo()
            session.mail("x@out.test", [] if form.isascii() else ["SMTPUTF8"])
            session.send(f"RCPT TO:<anna@{form}>\r\n".encode())
            code, text = session.getreply()
            report.check(f"mail for anna@{form} is for the user here", code == 250, (code, text))
    said = world.send(f"From: anna@{ascii_name}\r\nSubject: from beyond\r\n\r\nx\r\n".encode(),
                      sender=f"anna@{ascii_name}")
    report.check("its users may send from it", said.startswith("250"), said)
    if said.startswith("250"):
        world.publish()
        came = world.came("from beyond")
        report.check("and it signs what they send", verifies(world, came), came[:1500])
    done = world.daemon.cli("domain", "add", ascii_name, check=False)
    report.check("it cannot be added twice, in the other form", done.returncode != 0, done)


PARTS = [published, differences, own_names, smarthost, rotation, beyond]
