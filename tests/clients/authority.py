"""Certificates for a test: an authority of its own with all that it vouches for, who vouches for himself, and a server
of HTTPS that gives policies out."""

import functools, http.server, itertools, ssl, subprocess, threading

from signed_zone import tlsa

EXTENSIONS = {"authority": "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n",
              "host": "basicConstraints = critical, CA:FALSE\n"}


class Identity:
    """A key with its certificate, and those that stand above it as a server sends them."""

    def __init__(self, chain, key):
        self.chain, self.key = chain, key

    @functools.cached_property
    def certificate(self):
        """The octets of the certificate."""
        first, end, _ = self.chain.read_text().partition("-----END CERTIFICATE-----")
        return ssl.PEM_cert_to_DER_cert(first + end)

    @functools.cached_property
    def public_key(self):
        """The octets of the SubjectPublicKeyInfo."""
        return subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER"], check=True,
                              capture_output=True).stdout

    def context(self):
        """TLS as a server with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def tlsa(self, usage, selector, matching):
        """The record that names it."""
        return tlsa(usage, selector, matching, self.public_key if selector else self.certificate)


class Authority:
    """Issues certificates. `root` is what vouches for them, `between` stands between it and them."""

    def __init__(self, folder):
        self.folder, self.numbers = folder, itertools.count()
        self.root = self.made("The test's root", "authority")
        self.between = self.made("The test's authority", "authority", above=self.root)

    def made(self, name, kind, above=None, also=(), days=30):
        stem = self.folder / f"certificate{next(self.numbers)}"
        chain, key, request, extensions = (stem.with_suffix(f".{end}") for end in ("pem", "key", "csr", "ext"))
        names = f"subjectAltName = {','.join(f'DNS:{one}' for one in also)}\n" if also else ""
        extensions.write_text(EXTENSIONS[kind] + names)
        signer = ["-CA", above.chain, "-CAkey", above.key] if above else ["-signkey", key]
        for words in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                       f"/CN={name}", "-keyout", key, "-out", request],
                      ["x509", "-req", "-in", request, "-days", str(days), "-extfile", extensions, "-out", chain,
                       *signer]):
            subprocess.run(["openssl", *words], check=True, capture_output=True)
        if above:
            # What a server sends: all above it, the root included, which a TLSA record may name.
            chain.write_text(chain.read_text() + above.chain.read_text())
        return Identity(chain, key)

    def issue(self, *names, days=30):
        """One that the root vouches for, so many days from now; of before, where they are less than none."""
        return self.made(names[0], "host", self.between, names, days)

    def own(self, name):
        """One that nobody vouches for."""
        return self.made(name, "host", None, [name])


class PolicyHosts:
    """HTTPS at port 443 of an address for the policy hosts of many domains; `policies` holds by the domain what is
    answered: a text, or a place elsewhere to go to. Each shows a certificate of the authority for its name, but for
    those that `shown` has another one for. `asked` are the domains that were asked for."""

    def __init__(self, authority, address):
        self.authority, self.address = authority, address
        self.policies, self.shown, self.asked = {}, {}, []
        self.server = None

    def start(self):
        hosts = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def setup(self):
                self.request.settimeout(20)
                self.request.do_handshake()
                super().setup()

            def do_GET(self):
                domain = (self.headers["Host"] or "").removeprefix("mta-sts.")
                hosts.asked.append(domain)
                policy = hosts.policies.get(domain) if self.path == "/.well-known/mta-sts.txt" else None
                moved = policy is not None and policy.startswith("https:")
                self.send_response(404 if policy is None else 301 if moved else 200)
                if moved:
                    self.send_header("Location", policy)
                body = b"" if policy is None or moved else policy.encode()
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """Who does not like the certificate goes: that is no fault."""

        self.server = Server((self.address, 443), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self.named
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def named(self, connection, name, _):
        if name is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if name not in self.shown:
            self.shown[name] = self.authority.issue(name)
        connection.context = self.shown[name].context()
        return None

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
