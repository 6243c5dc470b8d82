#!/usr/bin/env python3
"""DANE, MTA-STS and REQUIRETLS are kept: a neighbour with a wrong certificate gets nothing, not even the sender's
address, and all others get their mail. The policy hosts are at port 443, so only root can run it."""

import email, pathlib, shutil, smtplib, socket, tempfile, time

from authority import Authority, PolicyHosts
from harness import Daemon, Report
from neighbours import CLIENT, PASSWORD, Postfix, Sink, inbox, insecure, notification, submit, waits
from policies_cases import Case, Host, World, dane, host_of, policy, sts, wishes
from resolvers import SlowKeys, Validator
from servers import comes, free_ports, wait
from signed_zone import SignedZones

A, B, C, THIEF, POLICIES, RESOLVER = (f"127.0.43.{last}" for last in range(1, 7))
TRIES = 3
BRIEF = 5  # seconds
DARK = 26  # seconds: long enough to give up asking whether there are signatures
NOT_ASKED = ("record", "unproven", "misnamed")


def main():
    report = Report("policies")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wharfinger-policies-"))
    authority, zones, (port,) = Authority(folder), SignedZones(), free_ports(1)
    hosts = PolicyHosts(authority, POLICIES)
    world = World(port, hosts)
    cases = [world.settle(case, name) for table in (dane, sts, wishes) for name, case in table(authority).items()]
    own, other = authority.own("whoever.test"), authority.own("other.test")
    probe = world.settle(Case("the probe", [Host(own, (other.tlsa(3, 1, 1),))]), "probe")
    kept = world.settle(Case("kept", [Host(authority.issue(host_of("kept", zone="plain.test")))], mode="enforce",
                             zone="plain.test"), "kept")
    brief = world.settle(Case("brief", [Host(authority.issue(host_of("brief", zone="plain.test")))], mode="enforce",
                              zone="plain.test"), "brief")
    hosts.policies[brief.name] = policy("enforce", [host_of("brief", zone="plain.test")], BRIEF)
    thief = Sink(THIEF, port, context=own.context())
    a = ours("a.test", A, zones, port, authority, world)
    b = ours("b.test", B, zones, port, authority, world, "stolen.plain.test")
    stolen(b, world)
    postfix = Postfix(C, port, "mx.c.test", "c.test", ["carol"])
    try:
        zones.start({zone: records for zone, records in world.zones.items() if zone != "plain.test"},
                    {"plain.test": world.zones["plain.test"]}, world.broken)
        hosts.start()
        for daemon, user in ((a, "alice"), (b, "bob")):
            daemon.start()
            daemon.add(user, PASSWORD)
        for part, more in ((between, (a, b, thief)), (many, (a, cases, hosts)), (from_postfix, (postfix, zones, b)),
                           (restarted, (a, probe, zones)), (remembered, (a, kept, brief, own, world, zones))):
            try:
                if part is many or part is between:
                    proven(a, probe)
                part(report, *more)
            except Exception as error:
                report.check(part.__name__.replace("_", " "), False, f"{error!r}\n{a.log()[-3000:]}")
        report.whole(a)
        report.whole(b)
    finally:
        for daemon in (a, b):
            daemon.stop()
            daemon.remove()
        postfix.remove()
        hosts.stop()
        zones.remove()
        world.close([*cases, probe, kept, brief])
        thief.close()
        shutil.rmtree(folder, ignore_errors=True)
    report.end()


def ours(domain, address, zones, port, authority, world, *more):
    """A daemon for a domain, and more, not started yet: others find it by the records that it tells of itself."""
    identity = authority.issue(f"mx.{domain}", *(f"mta-sts.{one}" for one in (domain, *more)))
    daemon = Daemon(f"""[smtp]
mta_sts = "enforce"
[smtp.dns]
servers = ["127.0.0.1:{zones.port}"]
trust_anchors = "{zones.folder}/anchor"
[smtp.outbound]
port = {port}
hourly = 0
retry_least = 1
retry_most = 1
rest_most = 1
warning = 0
roots = "{authority.root.chain}"
private_policies = true
[auth]
cleartext = "loopback"
[tls]
certificate = "{identity.chain}"
key = "{identity.key}"
""", hostname=f"mx.{domain}", mail=(address, port))
    # Who asks for its policy comes to the usual port.
    text = daemon.config.read_text().replace(f'"127.0.0.1:{daemon.port["https"]}"', f'"{address}:443"')
    daemon.config.write_text(text)
    daemon.cli("domain", "add", domain)
    world.zones[domain] = [f"mx.{domain}. A {address}", *told(daemon, domain, port)]
    return daemon


def told(daemon, domain, port):
    """The records that a daemon tells of itself, for a zone's file."""
    for record in daemon.json("domain", "dns", domain)["records"]:
        name, kind, value = record["name"], record["type"], record["value"]
        if kind in ("MX", "CNAME"):
            value += "."
        elif kind == "TXT":
            value = " ".join(f'"{value[at:at + 255]}"' for at in range(0, len(value), 255))
        # It sends from another address than where it takes mail, which is nothing that matters here.
        if kind != "SRV" and "v=spf1" not in value:
            yield f"{name.replace('_25._tcp', f'_{port}._tcp')}. {kind} {value}"


def stolen(b, world):
    """A domain that the daemon takes mail for, where somebody has put another host into the MX."""
    b.cli("domain", "add", "stolen.plain.test")
    world.zones["plain.test"] += ["stolen MX 10 mx.thief", f"mx.thief A {THIEF}", *(
        record for record in told(b, "stolen.plain.test", world.port)
        if "_mta-sts." in record or record.startswith("mta-sts."))]


def send(daemon, *cases):
    """A letter from alice for each of them."""
    with smtplib.SMTP("127.0.0.1", daemon.port["submission"], timeout=60) as session:
        session.starttls(context=insecure())
        session.login("alice", PASSWORD)
        for case in cases:
            session.sendmail("alice@a.test", [f"x@{case.name}"], f"From: <alice@a.test>\r\nTo: <x@{case.name}>\r\n"
                             f"Subject: {case.name}\r\n{case.header}\r\ntext\r\n", case.options)


def row(daemon, name):
    """What waits for a domain."""
    return next((one for one in waits(daemon) if one["recipient"] == f"x@{name}"), None)


def senders(sink):
    """The talks of a sink that came as far as to say from whom something is."""
    return [talk for talk in sink.talks if talk.contents or "MAIL" in talk.verbs()]


def heard(case):
    return [[(talk.verbs(), talk.tls, repr(talk.over)) for talk in sink.talks] for sink in case.sinks]


def dropped(daemon):
    """What is being tried stays until it was."""
    def gone():
        daemon.cli("queue", "drop", "--all")
        return waits(daemon) == []
    wait("what is dropped is gone", gone)


def proven(daemon, probe):
    """Until DANE is used: a wrong key is then no way any more."""
    def holds():
        before = len(probe.sinks[0].taken)
        send(daemon, probe)
        wait("the probe is tried", lambda: len(probe.sinks[0].taken) > before or tried(daemon, probe))
        dropped(daemon)
        return len(probe.sinks[0].taken) == before
    wait("DANE is used", holds)
    probe.sinks[0].talks.clear()


def tried(daemon, case, times=1):
    """What is said of a case that was tried so often; `None` before."""
    found = row(daemon, case.name)
    return found["said"] if found and found["attempts"] >= times else None


def many(report, a, cases, hosts):
    """What becomes of the mail for each of them."""
    send(a, *cases)
    end = time.monotonic() + 120
    left = list(cases)
    while left and time.monotonic() < end:
        rows = {one["recipient"]: one for one in waits(a)}
        left = [case for case in left if not over(case, rows.get(f"x@{case.name}"))]
        time.sleep(0.3)
    rows = {one["recipient"]: one for one in waits(a)}
    notices = [one for content in inbox(a, "alice") for one in notification(content)[1]]
    for case in cases:
        what, found = f"{case.what} ({case.name})", rows.get(f"x@{case.name}")
        seen = (found and found["said"], heard(case))
        reached = [number for number, sink in enumerate(case.sinks) if senders(sink)]
        if case.taken is not None:
            talks = senders(case.sinks[case.taken])
            report.check(f"{what}: it comes{' in TLS' if case.tls else ' in the clear'}", reached == [case.taken] and
                         len(case.sinks[case.taken].taken) == 1 and talks[-1].tls == case.tls and not found, seen)
            if case.options and talks:
                mail = next(line for line in talks[-1].lines if line.startswith(b"MAIL"))
                report.check(f"{what}: what is required goes along", b" REQUIRETLS" in mail, mail)
            continue
        report.check(f"{what}: it does not come, nor who sends it", reached == [], seen)
        if case.waits:
            report.check(f"{what}: it waits with {case.waits}", found and found["said"].startswith(case.waits) and
                         found["attempts"] >= TRIES, seen)
        else:
            about = [(one["Action"], one["Status"]) for one in notices
                     if one["Final-Recipient"].endswith(f" x@{case.name}")]
            report.check(f"{what}: it comes back with {case.back}", about == [("failed", case.back)], (about, seen))
    # Who does not care does not ask (RFC 8689 §4.2.2), and a host that nobody vouches for is asked for nothing.
    untold = {case.name for case in cases if case.header and not case.options or case.how in NOT_ASKED}
    wanted = {case.name for case in cases if case.mode} - untold
    asked = [name for name in hosts.asked if name.endswith((".signed.test", ".plain.test"))]
    report.check("each policy is fetched once, and none without a record and a certificate", sorted(asked) ==
                 sorted(wanted), asked)
    dropped(a)


def over(case, found):
    if case.waits:
        return found and found["attempts"] >= TRIES
    return not found


def between(report, a, b, thief):
    """Two daemons, by the records that they tell of themselves; the policies come from them too."""
    for sender, user, to, receiver in ((a, "alice@a.test", "bob@b.test", b), (b, "bob@b.test", "alice@a.test", a)):
        letter = f"From: <{user}>\r\nTo: <{to}>\r\nSubject: between\r\n\r\ntext\r\n"
        name = to.partition("@")[0]
        for options, protocol in ((), "ESMTPS"), (("REQUIRETLS",), "ESMTPS"):
            before = len(inbox(receiver, name))
            submit(sender, user.partition("@")[0], user, [to], letter, options)
            wait(f"{to} has it", lambda: len(inbox(receiver, name)) > before, 20)
            came = email.message_from_bytes(inbox(receiver, name)[-1])
            report.check(f"to {to} by its own records {' '.join(options)}", protocol in came["Received"], came.items())
    submit(a, "alice", "alice@a.test", ["x@stolen.plain.test"], "Subject: stolen\r\n\r\ntext\r\n")
    wait("it waits", lambda: (row(a, "stolen.plain.test") or {"attempts": 0})["attempts"] >= TRIES)
    said = row(a, "stolen.plain.test")["said"]
    report.check("a host that is not in the policy that our server gives out gets nothing", not thief.talks and
                 said.startswith("4.7.5") and "policy" in said, (said, [talk.lines for talk in thief.talks]))
    dropped(a)


def from_postfix(report, postfix, zones, b):
    """Debian's Postfix takes the record that we tell of ourselves."""
    validator = Validator(zones, RESOLVER)
    settings = postfix.etc / "main.cf"
    settings.write_text(settings.read_text().replace("smtp_tls_security_level = may", "smtp_tls_security_level = dane")
                        + "smtp_dns_support_level = dnssec\n")
    (postfix.folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:2 edns0 trust-ad\n")
    try:
        postfix.start()
        before = len(inbox(b, "bob"))
        with smtplib.SMTP(postfix.address, postfix.port, timeout=60, source_address=(CLIENT, 0)) as session:
            session.sendmail("carol@c.test", ["bob@b.test"], "From: <carol@c.test>\r\nSubject: dane\r\n\r\ntext\r\n")
        wait("bob has it", lambda: len(inbox(b, "bob")) > before, 30)
        verified = "Verified TLS connection established to mx.b.test"
        report.check("Postfix has verified us by the record that we tell of ourselves",
                     comes("it is in the log", lambda: verified in postfix.log(), 10), postfix.log()[-2500:])
    except Exception as error:
        report.check("Postfix sends to us", False, f"{error!r} {postfix.log()[-2500:]}")
    finally:
        validator.remove()


def restarted(report, a, probe, zones):
    """What waits since a key is wrong waits on after a restart, though what DNSSEC proves must be found out anew."""
    sink, config = probe.sinks[0], a.config.read_text()
    slow = SlowKeys(zones.port, 1.5)
    late = config.replace(f":{zones.port}\"", f":{slow.port}\"")
    try:
        for what, text, dark in (("", config, False), (" again", config, False), (" while keys come late", late, False),
                                 (" before DNS is there", config, True)):
            sink.talks.clear()
            sink.taken.clear()
            send(a, probe)
            wait("it waits", lambda: tried(a, probe))
            a.stop()
            times = len(sink.talks)
            a.config.write_text(text)
            if dark:
                zones.stop()
            a.start()
            if dark:
                time.sleep(DARK)
                respawned(zones)
            wait("it is tried again", lambda: sink.taken or len(sink.talks) > times + 1)
            said = row(a, probe.name)
            report.check(f"a wrong key, and a restart{what}: it does not come", not senders(sink) and said and
                         said["said"].startswith("4.7.5"), (said, heard(probe)))
            dropped(a)
            a.stop()
            a.config.write_text(config)
            a.start()
            proven(a, probe)
    finally:
        slow.close()


def respawned(zones):
    zones.spawn("/usr/sbin/unbound", "-d", "-c", zones.folder / "unbound.conf")
    zones.ready(lambda: socket.create_connection(("127.0.0.1", zones.port), 1).close() or True)


def published(zones, world):
    """The zone without signatures, as it is now."""
    (zones.folder / "plain.test.zone").write_text(zones.text("plain.test", world.zones["plain.test"]))
    zones.stop()
    respawned(zones)


def remembered(report, a, kept, brief, own, world, zones):
    """A policy holds as long as it says, whatever becomes of its host; and it gives way to a newer one."""
    hosts, records, (host,) = world.policy_hosts, world.zones["plain.test"], kept.sinks
    send(a, kept, brief)
    wait("both have theirs", lambda: host.taken and brief.sinks[0].taken)
    expired = time.monotonic() + BRIEF
    # Somebody has taken the name, the record and the policy host away.
    hosts.stop()
    records[:] = [record for record in records if "mta-sts.kept" not in record and "mta-sts.brief" not in record]
    published(zones, world)
    host.context = brief.sinks[0].context = own.context()
    host.talks.clear()
    for what in ("", ", and after a restart"):
        if what:
            a.stop()
            a.start()
        dropped(a)
        send(a, kept)
        wait("it is tried", lambda: tried(a, kept, TRIES) or len(host.taken) > 1)
        report.check(f"a policy holds though nobody can fetch it{what}", not senders(host) and
                     (tried(a, kept) or "").startswith("4.7.5"), (row(a, kept.name), heard(kept)))
    time.sleep(max(0, expired - time.monotonic()))
    send(a, brief)
    wait("it is tried", lambda: len(brief.sinks[0].taken) > 1 or tried(a, brief, TRIES))
    report.check("a policy ends with its time", len(brief.sinks[0].taken) == 2, (row(a, brief.name), heard(brief)))
    # The domain has another policy.
    report.check("a policy is fetched once as long as it is the same", hosts.asked.count(kept.name) == 1, hosts.asked)
    hosts.policies[kept.name] = policy("testing", [host_of("kept", zone="plain.test")])
    records += ['_mta-sts.kept TXT "v=STSv1; id=two"', f"mta-sts.kept A {hosts.address}"]
    published(zones, world)
    hosts.start()
    a.stop()
    a.start()
    wait("it comes", lambda: len(host.taken) == 2, 30)
    report.check("a new policy is fetched", hosts.asked.count(kept.name) == 2, hosts.asked)


if __name__ == "__main__":
    main()
