"""FTPS as the tests speak it: ftplib with the data connection's TLS session resumed from the control connection's."""

import ftplib, ssl


def context():
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


class Ftps(ftplib.FTP_TLS):
    def ntransfercmd(self, command, rest=None):
        connection, size = ftplib.FTP.ntransfercmd(self, command, rest)
        if self._prot_p:
            connection = self.context.wrap_socket(connection, session=self.sock.session)
        return connection, size


def login(port, name, password, timeout=60):
    # TLS 1.2 here: Python sees a TLS 1.3 ticket only after it has read from the connection.
    made = context()
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    client = Ftps(context=made, timeout=timeout)
    client.connect("127.0.0.1", port)
    client.login(name, password)
    client.prot_p()
    return client
