"""Mozilla's Marionette: a program of theirs under Xvfb, driven by JavaScript that runs with its own rights. Each
message is its length, a colon and an array in JSON."""

import json, socket, subprocess

from servers import Server, free_ports


class Thunderbird(Server):
    """Thunderbird with a profile of its own on a screen of its own."""

    def __init__(self):
        super().__init__("thunderbird")
        self.profile, self.port = self.folder / "profile", free_ports(1)[0]
        self.profile.mkdir()
        self.screen = Server("xvfb")
        self.serial = 0

    def trust(self, authority):
        for words in (["-N", "--empty-password"], ["-A", "-n", "test", "-t", "C,,", "-i", authority]):
            subprocess.run(["certutil", "-d", f"sql:{self.profile}", *words], check=True, capture_output=True)

    def start(self, preferences):
        preferences |= {"marionette.port": self.port}
        lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in preferences.items()]
        (self.profile / "user.js").write_text("".join(lines))
        number = self.screen.folder / "number"
        self.screen.spawn("sh", "-c", f"exec Xvfb -displayfd 3 -screen 0 1280x900x24 -nolisten tcp 3> {number}")
        self.screen.ready(lambda: number.read_text().endswith("\n"))
        # No bus and no proxy of the machine's: what it asks of the network goes where the preferences say.
        self.spawn("thunderbird", "--profile", self.profile, "--no-remote", "--marionette",
                   "--remote-allow-system-access", DISPLAY=":" + number.read_text().strip(), MOZ_CRASHREPORTER_DISABLE="1",
                   DBUS_SESSION_BUS_ADDRESS="")
        self.ready(self.connect, 240)
        self.command("WebDriver:NewSession", {})
        self.command("Marionette:SetContext", {"value": "chrome"})
        return self

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), 120)
        return "marionetteProtocol" in self.receive()

    def receive(self):
        length = b""
        while not length.endswith(b":"):
            octet = self.socket.recv(1)
            if not octet:
                raise ConnectionError("Thunderbird has closed the connection")
            length += octet
        text = b""
        while len(text) < int(length[:-1]):
            text += self.socket.recv(int(length[:-1]) - len(text))
        return json.loads(text)

    def command(self, name, parameters):
        self.serial += 1
        text = json.dumps([0, self.serial, name, parameters]).encode()
        self.socket.sendall(b"%d:" % len(text) + text)
        _, serial, error, value = self.receive()
        if error or serial != self.serial:
            raise RuntimeError(f"{name}: {error}")
        return value

    def do(self, script, *values, seconds=300):
        """What an asynchronous function's body returns; `values` are its `arguments`."""
        self.command("WebDriver:SetTimeouts", {"script": seconds * 1000})
        self.socket.settimeout(seconds + 60)
        wrapped = ("const [...values] = arguments; const done = values.pop(); (async () => {" + script + "})()"
                   ".then(value => done({ value }), error => done({ error: `${error}\\n${error.stack}` }));")
        answer = self.command("WebDriver:ExecuteAsyncScript", {"script": wrapped, "args": list(values)})["value"]
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def stop(self):
        super().stop()
        self.screen.stop()
