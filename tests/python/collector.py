"""An OTLP collector: prints every span that comes over gRPC as a line of JSON, and first its port.

    collector.py [PORT]
    collector.py --tls DIR
    collector.py --mutual DIR

With --tls it speaks TLS alone and writes to DIR the root that it stands on (ca.crt), another one
(other.crt), and a certificate with its key for a client (client.crt, client.key). With --mutual it
serves only who shows such a certificate.
"""

import datetime
import ipaddress
import json
import pathlib
import sys
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)


def value(any_value):
    kind = any_value.WhichOneof("value")
    return None if kind is None else getattr(any_value, kind)


def attributes(of):
    return {attribute.key: value(attribute.value) for attribute in of.attributes}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        headers = dict(context.invocation_metadata())
        shown = context.auth_context().get("x509_common_name", [None])[0]
        for resource_spans in request.resource_spans:
            resource = attributes(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    line = {
                        "name": span.name,
                        "kind": span.kind,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "began": span.start_time_unix_nano,
                        "ended": span.end_time_unix_nano,
                        "attributes": attributes(span),
                        "failed": span.status.code == 2,
                        "resource": resource,
                        "authorization": headers.get("authorization"),
                        "shown": shown and shown.decode(),
                    }
                    print(json.dumps(line), flush=True)
        return trace_service_pb2.ExportTraceServiceResponse()


class Root:
    """A root that signs certificates."""

    def __init__(self, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self.sign(self.name, self.key, constraints, [])

    def sign(self, name, key, constraints, alternatives):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(constraints, critical=True)
        )
        if alternatives:
            names = x509.SubjectAlternativeName(alternatives)
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name):
        """A key and a certificate of that name for this host, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = self.sign(subject, key, constraints, [here])
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return private, pem(certificate)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def credentials(directory, is_mutual):
    root = Root("a root")
    key, certificate = root.issue("client")
    files = {
        "ca.crt": pem(root.certificate),
        "other.crt": pem(Root("another root").certificate),
        "client.key": key,
        "client.crt": certificate,
    }
    for name, text in files.items():
        (pathlib.Path(directory) / name).write_bytes(text)
    return grpc.ssl_server_credentials(
        [root.issue("collector")],
        root_certificates=pem(root.certificate) if is_mutual else None,
        require_client_auth=is_mutual,
    )


def main():
    arguments = sys.argv[1:] or ["0"]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    if arguments[0].startswith("--"):
        how = credentials(arguments[1], arguments[0] == "--mutual")
        bound = server.add_secure_port("127.0.0.1:0", how)
    else:
        bound = server.add_insecure_port(f"127.0.0.1:{arguments[0]}")
    server.start()
    print(bound, flush=True)
    server.wait_for_termination()


main()
