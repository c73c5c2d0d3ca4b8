"""A device in another language: TLS from Python's ssl, aes from PyPI's noiseprotocol, and just
enough IOTMP to be one: Connect, keep-alive, and an Error to whatever it is asked.

    device.py --link tls --dial 127.0.0.1:51213 --id 7 --ca ca.crt --credential secret
    device.py --link tls --listen --id 7 --ca ca.crt --credential secret      the gateway dials
    device.py --link tls-server --listen --id 7 --ca ca.crt --cert c --cert-key k
    device.py --link aes --dial 127.0.0.1:51212 --id 7 --key 0123…            64 hex digits

Prints one JSON object a line: {"listens": port}, {"tls": version}, {"connected": true},
{"keep_alive": n}. Ends with 0 after --keep-alives echoes and a Disconnect, else with a word on
what went wrong.
"""

import argparse
import hashlib
import json
import socket
import ssl
import sys

OK, ERROR, CONNECT, DISCONNECT, KEEP_ALIVE = 1, 2, 3, 4, 5
PATIENCE_S = 60


def tell(**words):
    print(json.dumps(words), flush=True)


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def frame(kind, body=b""):
    return bytes([kind]) + varint(len(body)) + body


def text(value):
    """PSON v2: strings of up to 30 bytes have their length in the first byte."""
    data = value.encode()
    head = bytes([0x80 | len(data)]) if len(data) < 31 else b"\x9f" + varint(len(data))
    return head + data


def stream_id(body):
    """The first field of every request of the gateway: key 0x08, then a varint."""
    end = 1
    while body[end] > 0x7F:
        end += 1
    return body[: end + 1]


class Plain:
    """What the links have in common: a socket that gives and takes bytes."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the gateway closed the connection")
        return data

    def exactly(self, count):
        while len(self.buffer) < count:
            self.buffer += self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def number(self):
        value, shift = 0, 0
        while True:
            byte = self.exactly(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def message(self):
        kind = self.exactly(1)[0]
        return kind, self.exactly(self.number())


class Aes(Plain):
    """Noise NNpsk0: a version byte and the key's ID in clear, then messages behind their length."""

    def __init__(self, sock, key, dialled):
        from noise.connection import NoiseConnection

        super().__init__(sock)
        hello = b"\x01" + hashlib.sha256(key).digest()[:8]
        self.noise = NoiseConnection.from_name(b"Noise_NNpsk0_25519_AESGCM_SHA256")
        self.noise.set_psks(key)
        self.noise.set_prologue(hello)
        if dialled:
            self.noise.set_as_initiator()
            self.noise.start_handshake()
            sock.sendall(hello + self.pack(self.noise.write_message()))
            self.noise.read_message(self.packet())
        else:
            self.noise.set_as_responder()
            self.noise.start_handshake()
            if self.raw(9) != hello:
                sys.exit("the gateway asks for another key")
            self.noise.read_message(self.packet())
            sock.sendall(self.pack(self.noise.write_message()))

    @staticmethod
    def pack(data):
        return len(data).to_bytes(2, "big") + data

    def raw(self, count):
        data = b""
        while len(data) < count:
            got = self.sock.recv(count - len(data))
            if not got:
                raise EOFError("the gateway closed the connection")
            data += got
        return data

    def packet(self):
        return bytes(self.raw(int.from_bytes(self.raw(2), "big")))

    def send(self, data):
        self.sock.sendall(self.pack(self.noise.encrypt(data)))

    def more(self):
        return bytes(self.noise.decrypt(self.packet()))


def tls(sock, arguments):
    server = arguments.link == "tls-server"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    if arguments.tls_version:
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[arguments.tls_version]
        context.minimum_version = context.maximum_version = version
    # A device knows the gateway by its root and its role, not by a host name.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(arguments.ca)
    if arguments.cert:
        context.load_cert_chain(arguments.cert, arguments.cert_key)
    secured = context.wrap_socket(sock, server_side=server)
    names = [name for kind, name in secured.getpeercert().get("subjectAltName", ()) if kind == "URI"]
    if "urn:gatehouse:gateway" not in names:
        sys.exit(f"the certificate is not a gateway's: {names}")
    tell(tls=secured.version())
    return Plain(secured)


def secure(sock, arguments):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(PATIENCE_S)
    if arguments.link == "aes":
        return Aes(sock, bytes.fromhex(arguments.key), dialled=arguments.dial is not None)
    return tls(sock, arguments)


def converse(link, arguments):
    payload = b"\xe3" + text(arguments.owner) + text(arguments.id) + text(arguments.credential)
    link.send(frame(CONNECT, b"\x1a" + payload + b"\x08\x2a"))
    kind, body = link.message()
    if (kind, body) != (OK, b"\x08\x2a"):
        sys.exit(f"the Connect was answered with {kind} {body.hex()}")
    tell(connected=True)
    for number in range(1, arguments.keep_alives + 1):
        link.send(frame(KEEP_ALIVE))
        while True:
            kind, body = link.message()
            if kind == KEEP_ALIVE:
                break
            link.send(frame(ERROR, stream_id(body)))
        tell(keep_alive=number)
    link.send(frame(DISCONNECT))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--link", choices=["tls", "tls-server", "aes"], required=True)
    parser.add_argument("--dial")
    parser.add_argument("--listen", action="store_true")
    parser.add_argument("--id", required=True)
    parser.add_argument("--owner", default="")
    parser.add_argument("--credential", default="")
    parser.add_argument("--key")
    parser.add_argument("--ca")
    parser.add_argument("--cert")
    parser.add_argument("--cert-key")
    parser.add_argument("--tls-version", choices=["1.2", "1.3"])
    parser.add_argument("--keep-alives", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.dial:
        host, port = arguments.dial.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(PATIENCE_S)
        tell(listens=listener.getsockname()[1])
        sock, _ = listener.accept()
    converse(secure(sock, arguments), arguments)


if __name__ == "__main__":
    main()
