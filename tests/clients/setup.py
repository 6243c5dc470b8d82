"""How mail clients find out where their servers are: the documents for Thunderbird, Outlook and Apple, fetched with
curl, read with Python's own parsers, and tried by logging in wherever they say. Whether a user exists shows nowhere."""

import imaplib, json, plistlib, poplib, signal, smtplib, ssl, time, uuid
import xml.etree.ElementTree as xml

import ftps
from harness import LISTENERS, Daemon, Report, run

PASSWORD = "a long enough password"
ALICE, NOBODY = "alice@localhost", "nobody@localhost"
AUTOCONFIG = ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml")
SCHEMA = "http://schemas.microsoft.com/exchange/autodiscover"
OUTLOOK = f"{SCHEMA}/outlook/responseschema/2006a"
LOCAL = {protocol for _, protocol, _ in LISTENERS}


def curl(daemon, path, *more, scheme="https"):
    """The status, the content type and the body of an answer."""
    done = run("curl", "--insecure", "--silent", "--show-error", "--max-time", "30", *more, "--write-out",
               "\n%{http_code} %{content_type}", f"{scheme}://127.0.0.1:{daemon.port[scheme]}{path}")
    body, _, last = done.stdout.rpartition("\n")
    status, _, kind = last.partition(" ")
    return int(status), kind, body


def request(address, schema=OUTLOOK):
    return (f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{SCHEMA}/outlook/requestschema/2006"><Request>'
            f"<EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>{schema}</AcceptableResponseSchema>"
            f"</Request></Autodiscover>")


def outlook(daemon, body, path="/autodiscover/autodiscover.xml"):
    file = daemon.folder / "request"
    file.write_text(body)
    return curl(daemon, path, "--header", "Content-Type: text/xml", "--data-binary", f"@{file}")


def error_code(body):
    found = [element.text for element in xml.fromstring(body).iter() if element.tag.endswith("ErrorCode")]
    return int(found[0]) if found else None


def real(daemon, protocol):
    """The daemon's ports of a protocol that have TLS, with how it begins, implicit TLS first."""
    ports = [(daemon.port[name], tls) for name, spoken, tls in LISTENERS if spoken == protocol and tls != "none"]
    return sorted(ports, key=lambda port: port[1] != "implicit")


def log_in(protocol, port, implicit, name):
    """Logs in with Python's client of the protocol; whether it was let in."""
    context = ftps.context()
    try:
        if protocol == "submission":
            client = smtplib.SMTP_SSL("127.0.0.1", port, context=context, timeout=20) if implicit else \
                smtplib.SMTP("127.0.0.1", port, timeout=20)
            if not implicit:
                client.starttls(context=context)
            client.login(name, PASSWORD)
        elif protocol == "imap":
            client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=20) if implicit else \
                imaplib.IMAP4("127.0.0.1", port, timeout=20)
            if not implicit:
                client.starttls(context)
            client.login(name, PASSWORD)
        else:
            client = poplib.POP3_SSL("127.0.0.1", port, context=context, timeout=20) if implicit else \
                poplib.POP3("127.0.0.1", port, timeout=20)
            if not implicit:
                client.stls(context)
            client.user(name)
            client.pass_(PASSWORD)
    except (smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto, ssl.SSLError, OSError) as error:
        print(f"{protocol} on {port}: {error}")
        return False
    (client.logout if protocol == "imap" else client.quit)()
    return True


def thunderbird(report, daemon):
    answers = {curl(daemon, f"{path}?emailaddress={address}", scheme=scheme)
               for path in AUTOCONFIG for address in (ALICE, NOBODY, "") for scheme in ("https", "http")}
    if not report.check("autoconfig is one document, with TLS and without, for known and unknown", len(answers) == 1,
                        answers):
        return
    status, kind, body = answers.pop()
    report.check("autoconfig is XML", status == 200 and kind == "text/xml; charset=utf-8", (status, kind))
    config = xml.fromstring(body)
    report.check("autoconfig is clientConfig 1.1", config.tag == "clientConfig" and config.get("version") == "1.1")
    report.check("its domain is the address's", config.findtext("emailProvider/domain") == "localhost", body)
    told = {"imap": [], "pop3": [], "submission": []}
    for server in config.iter():
        if server.tag in ("incomingServer", "outgoingServer"):
            protocol = "submission" if server.tag == "outgoingServer" else server.get("type")
            tls = {"SSL": "implicit", "STARTTLS": "starttls"}[server.findtext("socketType")]
            told[protocol].append((int(server.findtext("port")), tls))
            report.check(f"{protocol} is told with the host, the whole address and a password over TLS",
                         (server.findtext("hostname"), server.findtext("username"), server.findtext("authentication"))
                         == ("localhost", "%EMAILADDRESS%", "password-cleartext"), xml.tostring(server))
    for protocol, ports in told.items():
        report.check(f"autoconfig tells the ports of {protocol}, and TLS from the first byte before STARTTLS",
                     ports == real(daemon, protocol), (ports, real(daemon, protocol)))
        for port, tls in ports:
            report.check(f"{ALICE} logs in to {protocol} with {tls} TLS as told",
                         log_in(protocol, port, tls == "implicit", ALICE))
    report.check("autoconfig has no other domain", curl(daemon, AUTOCONFIG[0] + "?emailaddress=a@b.example")[0] == 404)


def autodiscover(report, daemon):
    status, kind, body = outlook(daemon, request(ALICE))
    names = {"o": OUTLOOK}
    report.check("autodiscover is XML", status == 200 and kind == "text/xml; charset=utf-8", (status, kind))
    blocks = xml.fromstring(body).findall(".//o:Protocol", names)
    told = {}
    for block in blocks:
        text = {child.tag.partition("}")[2]: child.text for child in block}
        told[text["Type"]] = (int(text["Port"]), {"SSL": "implicit", "TLS": "starttls"}[text["Encryption"]])
        report.check(f"autodiscover tells how {text['Type']} is logged in to",
                     [text[key] for key in ("Server", "LoginName", "SSL", "SPA", "AuthRequired")]
                     == ["localhost", ALICE, "on", "off", "on"], text)
    expected = {name: real(daemon, protocol)[0] for name, protocol in
                (("IMAP", "imap"), ("POP3", "pop3"), ("SMTP", "submission")) if protocol in LOCAL}
    report.check("autodiscover tells the best port of each kind", told == expected, (told, expected))
    for path in ("/Autodiscover/Autodiscover.xml", "/AUTODISCOVER/AUTODISCOVER.XML"):
        report.check(f"autodiscover is at {path} too", outlook(daemon, request(ALICE), path)[2] == body)
    report.check("autodiscover tells an unknown user the same",
                 outlook(daemon, request(NOBODY)) == (status, kind, body.replace(ALICE, NOBODY)))
    url = f"https://127.0.0.1:{daemon.port['https']}/autodiscover/autodiscover.xml"
    for address in (ALICE, NOBODY):
        found = curl(daemon, f"/autodiscover/autodiscover.json?Email={address}&Protocol=AutodiscoverV1")
        report.check(f"autodiscover.json leads {address} there",
                     json.loads(found[2]) == {"Protocol": "AutodiscoverV1", "Url": url}, found)


def apple(report, daemon):
    def fetch(address):
        return curl(daemon, "/email.mobileconfig", "--get", "--data-urlencode", f"email={address}")

    incoming = next((protocol for protocol in ("imap", "pop3") if protocol in LOCAL), None)
    status, kind, body = fetch(ALICE)
    if incoming is None:
        report.check("there is no profile where nothing reads mail", status == 404, (status, body))
        return
    report.check("the profile has Apple's type", (status, kind) == (200, "application/x-apple-aspen-config"), body)
    profile = plistlib.loads(body.encode())
    account, = profile["PayloadContent"]
    told = [(account[f"{way}MailServerHostName"], account[f"{way}MailServerPortNumber"],
             account[f"{way}MailServerUsername"], account[f"{way}MailServerUseSSL"])
            for way in ("Incoming", "Outgoing")]
    expected = [("localhost", real(daemon, protocol)[0][0], ALICE, True) for protocol in (incoming, "submission")]
    report.check("the profile tells the best ports", told == expected, (told, expected))
    report.check("the profile is a mail account", (profile["PayloadType"], account["PayloadType"],
                 account["EmailAddress"]) == ("Configuration", "com.apple.mail.managed", ALICE), account)
    report.check("a second installation replaces the first", fetch(ALICE)[2] == body)
    other = plistlib.loads(fetch(NOBODY)[2].encode())
    ids = {uuid.UUID(part["PayloadUUID"]) for one in (profile, other) for part in (one, *one["PayloadContent"])}
    report.check("every account has identifiers of its own", len(ids) == 4, ids)
    same = fetch(NOBODY)[2].replace(NOBODY, ALICE)
    for one, two in zip((other, *other["PayloadContent"]), (profile, *profile["PayloadContent"])):
        same = same.replace(one["PayloadUUID"], two["PayloadUUID"])
    report.check("the profile of an unknown user is the same but for address and identifiers", same == body)
    odd = "a&b'c@localhost"
    account, = plistlib.loads(fetch(odd)[2].encode())["PayloadContent"]
    report.check("an odd address comes through whole", account["EmailAddress"] == odd, account)


def hostile(report, daemon):
    lines = "".join(f'<!ENTITY e{n} "{"&e%d;" % (n - 1) * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "{"lol" * 10}">{lines}]>'
    outside = '<!DOCTYPE x [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>'
    for what, doctype in (("an XML bomb", bomb), ("an external entity", outside), ("an unknown entity", "")):
        body = request("&e9;").replace("?>", f"?>{doctype}", 1)
        status, _, answer = outlook(daemon, body)
        report.check(f"{what} is refused",
                     status == 200 and error_code(answer) == 600 and "root:" not in answer, answer)
    deep = request("<x>" * 15_000)
    for what, body in (("no XML", "hello"), ("nothing", ""), ("15,000 elements in each other", deep)):
        status, _, answer = outlook(daemon, body)
        report.check(f"{what} is refused", status == 200 and error_code(answer) == 600, answer)
    status = outlook(daemon, request("a" * (10 << 20)))[0]
    report.check("10 MB are refused", status == 413, status)
    status, _, answer = outlook(daemon, request(ALICE, f"{SCHEMA}/mobilesync/responseschema/2006"))
    report.check("another schema is told so", status == 200 and error_code(answer) == 601, answer)
    for address in ("<b>@localhost", "a\n@localhost", "a\r\nX: y@localhost", '"a b"@localhost', "a@localhost<", "alice",
                    "a@localhost&", "a@b@localhost"):
        written = address.replace("&", "&amp;").replace("<", "&lt;").replace("\r", "&#13;").replace("\n", "&#10;")
        status, _, answer = outlook(daemon, request(written))
        report.check(f"autodiscover takes no {address!r}", status == 200 and error_code(answer) == 600, answer)
        for path, name in ((AUTOCONFIG[0], "emailaddress"), ("/email.mobileconfig", "email")):
            status, _, answer = curl(daemon, path, "--get", "--data-urlencode", f"{name}={address}")
            report.check(f"{path} takes no {address!r}", status == 400 and address not in answer, (status, answer))
    report.check(f"the daemon stays small: {daemon.memory() >> 20} MiB", daemon.memory() < 100 << 20)


def reload(report, daemon):
    """Clients are told of what listens now, by the name that the configuration gives."""
    text = daemon.config.read_text()
    before, _, after = text.partition("[listen.submission]\n")
    daemon.config.write_text(before + after.partition("[")[1] + after.partition("[")[2]
                             + '[http]\nmail_host = "mail.example"\n')
    daemon.process.send_signal(signal.SIGHUP)
    gone = (daemon.port["submission"], "STARTTLS")
    for _ in range(100):
        servers = xml.fromstring(curl(daemon, AUTOCONFIG[0])[2]).findall(".//outgoingServer")
        told = [(int(server.findtext("port")), server.findtext("socketType")) for server in servers]
        hosts = {server.findtext("hostname") for server in servers}
        if gone not in told:
            break
        time.sleep(0.05)
    report.check("after a reload only what still listens is told", told == [(daemon.port["submissions"], "SSL")], told)
    report.check("the name is that of mail_host", hosts == {"mail.example"}, hosts)


def main():
    report = Report("setup")
    daemon = Daemon().start()
    try:
        daemon.add("alice", PASSWORD)
        for part in (thunderbird, autodiscover, apple, hostile, reload):
            part(report, daemon)
    finally:
        daemon.stop()
        daemon.remove()
    report.end()


if __name__ == "__main__":
    main()
