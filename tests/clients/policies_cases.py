"""What the hosts of others show of themselves, and what must become of the mail for them."""

import dataclasses, itertools

from neighbours import Sink

OFFERS = ("PIPELINING", "8BITMIME", "SIZE 50000000")
PROMISES = (*OFFERS, "REQUIRETLS")


@dataclasses.dataclass
class Host:
    """A mail host: what it shows in TLS, nothing where it has none, and its TLSA records. `listed` says whether it
    stands in the domain's policy."""
    identity: object = None
    tlsa: tuple = ()
    offers: tuple = OFFERS
    script: dict = None
    listed: bool = True


@dataclasses.dataclass
class Case:
    """A domain of its own, with the hosts of its MX, and its policy's mode where it has one. Then either the message is
    taken by the host of that number, in TLS or not, and no other hears of it; or `waits` begins what is said of it; or
    it comes back with the status `back`."""
    what: str
    hosts: list
    taken: int = None
    tls: bool = True
    waits: str = None
    back: str = None
    zone: str = "signed.test"
    mode: str = None
    options: tuple = ()
    header: str = ""
    # What is special: an `alias` of the TLSA record, a host that is `renamed` by one, signatures that do not hold
    # (`badmx`, `badaddress`, `badtlsa`); or of the policy: no `record` tells of it, its host sends `elsewhere`, or it
    # shows a certificate that is `unproven` or `misnamed`.
    how: str = ""
    name: str = ""
    sinks: list = dataclasses.field(default_factory=list)


class World:
    """The hosts of all cases, each at an address of its own, and the records that lead to them."""

    def __init__(self, port, policy_hosts):
        self.port, self.policy_hosts = port, policy_hosts
        self.zones = {zone: [] for zone in ("signed.test", "plain.test")}
        self.broken = []
        self.addresses = (f"127.0.{43 + number // 200}.{number % 200 + 20}" for number in itertools.count())

    def settle(self, case, name):
        """Gives a case its place."""
        case.name, records = f"{name}.{case.zone}", self.zones[case.zone]
        listed = []
        for number, host in enumerate(case.hosts):
            label = f"mx{number}.{name}"
            address = next(self.addresses)
            context = host.identity.context() if host.identity else None
            case.sinks.append(Sink(address, self.port, host.script, host.offers, context))
            records.append(f"{name} MX {10 + number} {label}")
            if case.how == "renamed":
                records.append(f"{label} CNAME real.{label}")
                label = f"real.{label}"
            records.append(f"{label} A {address}")
            at = f"_{self.port}._tcp.{label}"
            if case.how == "alias":
                records.append(f"{at} CNAME tlsa.{label}")
                at = f"tlsa.{label}"
            records += [f"{at} TLSA {record}" for record in host.tlsa]
            if host.listed:
                listed.append(f"{label}.{case.zone}")
            bad = {"badaddress": label, "badtlsa": at, "badmx": name}.get(case.how)
            if bad:
                self.broken.append(f"{bad}.{case.zone}.")
        if case.mode:
            self.policy(case, name, listed)
        return case

    def policy(self, case, name, listed):
        """Publishes one."""
        hosts, records = self.policy_hosts, self.zones[case.zone]
        if case.how != "record":
            records.append(f'_mta-sts.{name} TXT "v=STSv1; id=one"')
        records.append(f"mta-sts.{name} A {hosts.address}")
        if case.how == "elsewhere":
            hosts.policies[case.name] = "https://mta-sts.elsewhere.test/.well-known/mta-sts.txt"
            hosts.policies["elsewhere.test"] = policy("enforce", listed)
        else:
            hosts.policies[case.name] = policy(case.mode, listed)
        if case.how == "unproven":
            hosts.shown[f"mta-sts.{case.name}"] = hosts.authority.own(f"mta-sts.{case.name}")
        elif case.how == "misnamed":
            hosts.shown[f"mta-sts.{case.name}"] = hosts.authority.issue(case.name)

    def close(self, cases):
        for sink in (sink for case in cases for sink in case.sinks):
            sink.close()


def policy(mode, hosts, age=86400):
    """Its text (RFC 8461 §3.2)."""
    return "".join(f"{line}\r\n" for line in ("version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts),
                                              f"max_age: {age}"))


def host_of(name, number=0, zone="signed.test"):
    """What the certificate of a case's host must say."""
    return f"mx{number}.{name}.{zone}"


def dane(authority):
    """RFC 7672: what the signed zone of a host says of its certificate. By the names of the domains."""
    own, other = authority.own("whoever.test"), authority.own("other.test")
    right, wrong = (own.tlsa(3, 1, 1),), (other.tlsa(3, 1, 1),)
    issued = {name: authority.issue(host_of(name)) for name in ("chain", "between", "key", "forged")}
    root, between = authority.root.tlsa(2, 0, 1), authority.between.tlsa(2, 1, 2)
    expired = authority.issue(host_of("old"), days=-1)
    refusing = {"STARTTLS": b"454 4.7.0 not now\r\n"}
    return {
        "right": Case("the right key, though for another name", [Host(own, right)], 0),
        "whole": Case("the whole certificate", [Host(own, (own.tlsa(3, 0, 0),))], 0),
        "longer": Case("the certificate by SHA-512", [Host(own, (own.tlsa(3, 0, 2),))], 0),
        "rolled": Case("one of two keys", [Host(own, wrong + right)], 0),
        "alias": Case("the right key, by an alias of the record", [Host(own, right)], 0, how="alias"),
        "renamed": Case("the right key, of what the host is an alias of", [Host(own, right)], 0, how="renamed"),
        "expired": Case("the right key, in a certificate of before", [Host(expired, (expired.tlsa(3, 1, 1),))], 0),
        "old": Case("an authority, and a certificate of before", [Host(expired, (root,))], waits="4.7.5"),
        "astray": Case("a wrong key, of what the host is an alias of", [Host(own, wrong)], waits="4.7.5",
                       how="renamed"),
        "wrong": Case("a wrong key", [Host(own, wrong)], waits="4.7.5"),
        "proven": Case("a wrong key, though the public roots vouch for it", [Host(issued["forged"], wrong)],
                       waits="4.7.5"),
        "plain": Case("a host with a record and without TLS", [Host(None, right)], waits="4.7.4"),
        "refusing": Case("a host with a record that does not begin TLS", [Host(own, right, script=refusing)],
                         waits="4.7.4"),
        "ahead": Case("the right key, and words in the clear before it", [Host(own, right, script={
            "STARTTLS": b"220 go ahead\r\n250 and so on\r\n"})], waits="4.7.0"),
        "chain": Case("an authority, and a chain to it", [Host(issued["chain"], (root,))], 0),
        "between": Case("an authority between, by the SHA-512 of its key", [Host(issued["between"], (between,))], 0),
        "named": Case("an authority, and a certificate for another name", [Host(authority.issue("mx.other.test"),
                                                                               (root,))], waits="4.7.5"),
        "domain": Case("an authority, and a certificate for the domain", [Host(authority.issue("domain.signed.test"),
                                                                              (root,))], 0),
        "unchained": Case("an authority, and a certificate that signs itself", [Host(own, (root,))], waits="4.7.5"),
        "badtlsa": Case("a record with a broken signature", [Host(own, right)], waits="4.7.5", how="badtlsa"),
        "badmx": Case("an MX with a broken signature", [Host(own, right)], waits="4.4.3", how="badmx"),
        "badaddress": Case("an address with a broken signature", [Host(own, right)], waits="4.4.3", how="badaddress"),
        "unsigned": Case("a wrong key in a zone without signatures", [Host(own, wrong)], 0, zone="plain.test"),
        "second": Case("a wrong key at the first host, the right one at the second",
                       [Host(own, wrong), Host(own, right)], 1),
        "neither": Case("a wrong key at both hosts", [Host(own, wrong), Host(own, wrong)], waits="4.7.5"),
        "unusable": Case("records for the public roots, any certificate", [Host(own, (other.tlsa(1, 1, 1),
                                                                                     other.tlsa(0, 0, 1)))], 0),
        "naked": Case("records for the public roots, no TLS", [Host(None, (other.tlsa(1, 1, 1),))], waits="4.7.4"),
        "cut": Case("a record that is cut off beside a wrong one", [Host(own, (right[0][:-2], *wrong))], waits="4.7.5"),
        "silent": Case("no record and no TLS", [Host()], 0, tls=False)}


def sts(authority):
    """RFC 8461: what the policy of a domain says of its hosts. The zone has no signatures, but for the last ones."""
    own = authority.own("whoever.test")

    def good(name, number=0, zone="plain.test", **more):
        return Host(authority.issue(host_of(name, number, zone)), **more)
    cases = {
        "listed": Case("a host of the policy", [good("listed")], 0, mode="enforce"),
        "self": Case("a certificate that signs itself", [Host(own)], waits="4.7.5", mode="enforce"),
        "misnamed": Case("a certificate for another name", [Host(authority.issue("mx.other.test"))], waits="4.7.5",
                         mode="enforce"),
        "before": Case("a certificate of before", [Host(authority.issue(
            host_of("before", zone="plain.test"), days=-1))], waits="4.7.5", mode="enforce"),
        "ofdomain": Case("a certificate for the domain, not for the host", [Host(authority.issue(
            "ofdomain.plain.test"))], waits="4.7.5", mode="enforce"),
        "notls": Case("a host of the policy without TLS", [Host()], waits="4.7.4", mode="enforce"),
        "unlisted": Case("no host of the policy", [good("unlisted", listed=False), Host(own)], waits="4.7.5",
                         mode="enforce"),
        "better": Case("a host of the policy behind one that is none", [good("better", listed=False),
                                                                        good("better", 1)], 1, mode="enforce"),
        "testing": Case("a policy that is only tested", [Host(own)], 0, mode="testing"),
        "none": Case("a policy that is none any more", [Host(own)], 0, mode="none"),
        "hostile": Case("a policy host that nobody vouches for", [Host(own)], 0, mode="enforce", how="unproven"),
        "stranger": Case("a policy host that shows the domain's name", [Host(own)], 0, mode="enforce", how="misnamed"),
        "moved": Case("a policy host that sends elsewhere", [Host(own)], 0, mode="enforce", how="elsewhere"),
        "untold": Case("a policy that no record tells of", [Host(own)], 0, mode="enforce", how="record")}
    for case in cases.values():
        case.zone = "plain.test"
    return cases | {
        "both": Case("the right key, no root vouches for it, in the policy", [Host(own, (own.tlsa(3, 1, 1),))], 0,
                     mode="enforce"),
        "apart": Case("the right key, not in the policy", [Host(own, (own.tlsa(3, 1, 1),), listed=False), Host(own)],
                      waits="4.7.5", mode="enforce"),
        "against": Case("in the policy and vouched for, and a wrong key", [
            good("against", zone="signed.test", tlsa=(own.tlsa(3, 0, 1),))], waits="4.7.5", mode="enforce")}


def wishes(authority):
    """RFC 8689: what the sender wants of TLS."""
    own, other = authority.own("whoever.test"), authority.own("other.test")
    right, wrong = (own.tlsa(3, 1, 1),), (other.tlsa(3, 1, 1),)
    must, may = ("REQUIRETLS",), "TLS-Required: No\r\n"
    return {
        "promising": Case("REQUIRETLS to a host that promises it, with the right key",
                          [Host(own, right, PROMISES)], 0, options=must),
        "assured": Case("REQUIRETLS to a host that promises it, in the policy", [
            Host(authority.issue(host_of("assured", zone="plain.test")), offers=PROMISES)], 0, options=must,
            zone="plain.test", mode="enforce"),
        "tested": Case("REQUIRETLS to a host that promises it, in the policy that is only tested", [
            Host(authority.issue(host_of("tested", zone="plain.test")), offers=PROMISES)], 0, options=must,
            zone="plain.test", mode="testing"),
        "vouched": Case("REQUIRETLS to a host that promises it, with a certificate of the public roots", [
            Host(authority.issue(host_of("vouched")), offers=PROMISES)], 0, options=must),
        "unvouched": Case("REQUIRETLS to a host that promises it, with any certificate", [
            Host(own, offers=PROMISES)], back="5.7.10", options=must),
        "unpromising": Case("REQUIRETLS to a host that does not know it", [Host(own, right)], back="5.7.30",
                            options=must),
        "promised": Case("REQUIRETLS to a host that promises it in the clear alone", [
            Host(own, right, PROMISES, {"TLS EHLO": b"250-sink.test\r\n250 SIZE 50000000\r\n"})], back="5.7.30",
            options=must),
        "unproven": Case("REQUIRETLS to a host that nothing proves", [
            Host(authority.issue(host_of("unproven", zone="plain.test")), offers=PROMISES)], back="5.7.10",
            options=must, zone="plain.test"),
        "clear": Case("REQUIRETLS to a host without TLS", [Host(None, offers=PROMISES)], back="5.7.10", options=must),
        "careless": Case("TLS-Required: No, and a wrong key", [Host(own, wrong)], 0, header=may),
        "carefree": Case("TLS-Required: No, and no TLS where a key is", [Host(None, right)], 0, tls=False, header=may),
        "excused": Case("TLS-Required: No, and no host of the policy", [Host(own, listed=False)], 0,
                        zone="plain.test", mode="enforce", header=may),
        "void": Case("TLS-Required: No beside REQUIRETLS, and a wrong key", [Host(own, wrong, PROMISES)],
                     back="5.7.10", options=must, header=may)}
