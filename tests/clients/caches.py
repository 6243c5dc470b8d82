"""Three nodes on one store: what one of them has seen and another changes, it sees anew. Paths, log-ins, addresses,
quotas, web sessions and listings, each looked at on one node first, so that it may be cached there, then changed on
another, then looked at again at once."""

import base64, ftplib, http.client, io, os, re, smtplib, urllib.parse

import ftps
from harness import Daemon, Report, Shared

PASSWORD, OTHER = "a long enough password", "another long password"
ROUNDS = int(os.environ.get("ROUNDS", "30"))


def https(node, method, path, body=None, user="alice", password=PASSWORD, source=None, **headers):
    """The status and the content; without a user, no password is sent."""
    client = http.client.HTTPSConnection("127.0.0.1", node.port["https"], context=ftps.context(), timeout=60,
                                         source_address=source)
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    client.request(method, path, body, headers)
    answer = client.getresponse()
    content = answer.read()
    client.close()
    return answer.status, content, answer.headers


def status(node, method, path, *more, **headers):
    return https(node, method, path, *more, **headers)[0]


def ftp(node, user="alice", password=PASSWORD):
    return ftps.login(node.port["ftp"], user, password)


def files(report, one, two):
    """Open sessions on both, so that nothing is looked up afresh but for need."""
    here, stale = ftp(one), []
    for number in range(ROUNDS):
        before, after = os.urandom(100 + number), os.urandom((50, 5_000, 200_000)[number % 3])
        here.storbinary("STOR same", io.BytesIO(before))
        first = https(two, "GET", "/dav/same")
        here.storbinary("STOR same", io.BytesIO(after))
        again = https(two, "GET", "/dav/same", **{"If-None-Match": first[2]["ETag"]})
        if first[:2] != (200, before) or again[:2] != (200, after):
            stale.append((number, first[0], again[0], len(again[1])))
    report.check(f"a file written over {ROUNDS} times is the new one at once, and its ETag too", not stale, stale)
    there, stale = ftp(two), []
    for number in range(ROUNDS):
        name = f"n{number}"
        missing = status(one, "GET", f"/dav/{name}")
        there.storbinary(f"STOR {name}", io.BytesIO(b"x"))
        made = status(one, "GET", f"/dav/{name}")
        there.delete(name)
        gone = status(one, "GET", f"/dav/{name}")
        stale += [] if (missing, made, gone) == (404, 200, 404) else [(missing, made, gone)]
    report.check("a file that was not there is there at once, and a deleted one gone", not stale, stale)
    here.quit()
    there.quit()


def folders(report, one, two, three):
    here, there, stale = ftp(one), ftp(two), []
    here.mkd("deep")
    here.mkd("deep/er")
    for number in range(ROUNDS):
        name, body = f"moved{number}", os.urandom(20)
        here.storbinary("STOR deep/er/file", io.BytesIO(body))
        there.cwd("/deep/er")
        before = [status(three, "GET", "/dav/deep/er/file"), there.size("file"), there.nlst()]
        here.rename("deep", name)
        after = [status(three, "GET", "/dav/deep/er/file"), https(three, "GET", f"/dav/{name}/er/file")[1]]
        try:
            listed = there.nlst("/deep/er")
        except ftplib.error_perm:
            listed = []
        there.cwd("/")
        good = before == [200, 20, ["file"]] and after == [404, body] and not listed
        stale += [] if good else [(before, after, listed)]
        here.rename(name, "deep")
    report.check(f"a folder renamed {ROUNDS} times: its files are at the new path at once, not at the old", not stale,
                 stale[:2])
    here.quit()
    there.quit()


def mail(node, recipient):
    """The code that answers a recipient."""
    with smtplib.SMTP("127.0.0.1", node.port["smtp"], timeout=60) as client:
        client.ehlo()
        client.mail("x@example.org")
        return client.rcpt(recipient)[0]


def addresses(report, one, two, three):
    seen = [mail(node, "team@localhost") for node in (two, three)]
    one.cli("alias", "add", "team@localhost", "alice")
    seen += [mail(node, "team@localhost") for node in (two, three)]
    three.cli("alias", "remove", "team@localhost")
    seen += [mail(node, "team@localhost") for node in (one, two)]
    report.check("an alias is known to all at once, and forgotten", seen == [550, 550, 250, 250, 550, 550], seen)
    seen = [mail(two, "alice@example.net")]
    three.cli("domain", "add", "example.net")
    seen.append(mail(two, "postmaster@example.net"))
    three.cli("domain", "remove", "example.net")
    seen.append(mail(two, "postmaster@example.net"))
    report.check("a domain too", seen == [550, 250, 550], seen)


def log_ins(report, one, two, three):
    def tried(node, password):
        return status(node, "GET", "/dav/", user="bob", password=password)
    seen = [tried(two, PASSWORD), tried(three, PASSWORD)]
    one.cli("user", "passwd", "bob", "--password-stdin", input=OTHER + "\n")
    seen += [tried(two, PASSWORD), tried(two, OTHER), tried(three, OTHER)]
    report.check("a new password is the only one at once", seen == [200, 200, 401, 200, 200], seen)
    one.cli("user", "disable", "bob")
    seen = [tried(two, OTHER), tried(three, OTHER), mail(three, "bob@localhost") // 100]
    report.check("a disabled account is shut out at once", seen[:2] == [401, 401] and seen[2] in (2, 4, 5), seen)
    two.cli("user", "enable", "bob")
    seen = [tried(one, OTHER), tried(three, OTHER)]
    report.check("and let in again", seen == [200, 200], seen)
    one.add("carol", PASSWORD)
    seen = [status(node, "GET", "/dav/", user="carol") for node in (two, three)]
    report.check("a new account is known to all", seen == [200, 200], seen)
    two.cli("user", "remove", "carol")
    seen = [status(node, "GET", "/dav/", user="carol") for node in (one, three)] + [mail(three, "carol@localhost")]
    report.check("a removed one to none", seen == [401, 401, 550], seen)


def guesses(report, one, two, three):
    """Ten passwords are free, by whichever node."""
    def tried(node, password, source):
        return status(node, "GET", "/dav/", password=password, source=(source, 0))
    known = tried(three, PASSWORD, "127.0.0.1")
    for number in range(14):
        tried((one, two)[number % 2], f"wrong {number}", "127.0.0.7")
    # The wait so far may be over any moment: a long one, if the ten were counted together; a node alone saw but seven.
    one.store.rows("UPDATE throttle SET failures = 20 WHERE key = $1 AND failures >= 10", "pair:alice@127.0.0.7")
    seen = [tried(node, PASSWORD, "127.0.0.7") for node in (one, two, three)]
    report.check("guesses at two nodes are counted together, and by the third", set(seen) <= {401, 429}, seen)
    seen = [known] + [tried(node, PASSWORD, "127.0.0.1") for node in (one, two, three)]
    report.check("but where the owner is known, none shuts the owner out", seen == [200] * 4, seen)


def quotas(report, one, two, three):
    seen = [status(two, "PUT", "/dav/big", os.urandom(200_000), user="bob", password=OTHER)]
    one.cli("user", "quota", "bob", "300K")
    seen.append(status(two, "PUT", "/dav/bigger", os.urandom(200_000), user="bob", password=OTHER))
    status(three, "DELETE", "/dav/big", user="bob", password=OTHER)
    seen.append(status(two, "PUT", "/dav/bigger", os.urandom(200_000), user="bob", password=OTHER))
    report.check("a quota, and what is used of it, is the same on all", seen == [201, 507, 201], seen)


def cookies(headers, before=()):
    """What a browser would send back."""
    kept = dict(before)
    for line in headers.get_all("Set-Cookie", []):
        name, _, value = line.split(";")[0].partition("=")
        kept[name] = value
    return {name: value for name, value in kept.items() if value}


def sent(kept):
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}


def form(node, path, page, kept, **fields):
    fields["csrf"] = re.search(rb'name="csrf" value="([^"]+)"', page)[1].decode()
    origin = f"https://127.0.0.1:{node.port['https']}"
    return https(node, "POST", path, urllib.parse.urlencode(fields), user=None, Origin=origin,
                 **{"Content-Type": "application/x-www-form-urlencoded"}, **sent(kept))


def web(report, one, two, three):
    _, page, headers = https(one, "GET", "/", user=None)
    # The form of one node may reach another.
    code, _, headers = form(two, "/login", page, cookies(headers), name="alice", password=PASSWORD)
    kept = cookies(headers)
    seen = [status(node, "GET", "/files/", user=None, **sent(kept)) for node in (one, two, three)]
    report.check("a web session made on one node works on all", (code, seen) == (303, [200] * 3), (code, seen))
    page = https(three, "GET", "/files/", user=None, **sent(kept))[1]
    code = form(three, "/logout", page, kept)[0]
    seen = [status(node, "GET", "/files/", user=None, **sent(kept)) for node in (one, two, three)]
    report.check("and ended on one, on none", (code, seen) == (303, [303] * 3), (code, seen))


def main():
    report, store, nodes = Report("caches"), Shared(), []
    try:
        for number in range(3):
            nodes.append(Daemon(f'node = "n{number + 1}"', store=store).start())
        one, two, three = nodes
        one.add("alice", PASSWORD)
        one.add("bob", PASSWORD)
        for part, more in ((files, nodes[:2]), (folders, nodes), (addresses, nodes), (log_ins, nodes), (guesses, nodes),
                           (quotas, nodes), (web, nodes)):
            try:
                part(report, *more)
            except Exception as error:
                report.check(f"{part.__name__} ran to its end", False, repr(error))
        for node in nodes:
            verified = node.cli("audit", "verify", check=False)
            report.check("the audit log of all is whole", verified.returncode == 0, verified.stdout + verified.stderr)
        wrote = {node for node, in store.rows("SELECT DISTINCT node FROM audit")}
        report.check("each record tells its node", {"n1", "n2", "n3"} <= wrote, wrote)
        log = "".join(node.log() for node in nodes)
        report.check("the logs tell of no fault", "ERROR" not in log and "panicked" not in log, log[-2000:])
    finally:
        for node in nodes:
            node.stop()
            node.remove()
    report.end()


main()
