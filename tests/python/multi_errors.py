"""How a client in another language reads the errors of a ...Multi call: grpcio-status, which raises
ValueError where the trailer does not agree with the status.

Its stubs are made from proto/ when it starts. From the environment: GATEHOUSE_ADDRESS (host:port of
the gateway's gRPC), GATEHOUSE_CA (ca.crt), GATEHOUSE_PROTO (the folder with the contracts).
"""

import importlib
import os
import pathlib
import sys
import tempfile

import grpc
from grpc_status import rpc_status
from grpc_tools import protoc

UNKNOWN = list(range(900_001, 900_101))


def load(proto, folder):
    contracts = ["device.proto", "err.proto", "connect.proto"]
    arguments = ["protoc", f"-I{proto}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + contracts) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, folder)
    return importlib.import_module("connect_pb2"), importlib.import_module("err_pb2")


def failed(call, request, package, err):
    try:
        call(request, timeout=60)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        # Some clients take each trailer for details.
        trailers = [key for key, _ in error.trailing_metadata()]
        assert trailers == ["grpc-status-details-bin"], trailers
    else:
        sys.exit("the call should fail: none of the devices is connected")
    assert status is not None, "no google.rpc.Status in the trailer"
    assert status.code == grpc.StatusCode.NOT_FOUND.value[0], status
    [detail] = status.details
    assert detail.type_url == f"type.googleapis.com/{package}.MultiErrorResponse", detail.type_url
    message = err.MultiErrorResponse.FromString(detail.value)
    assert sorted(one.deviceID for one in message.deviceErrors) == UNKNOWN
    assert {one.code for one in message.deviceErrors} == {5}
    assert {one.msg for one in message.deviceErrors} == {"Cannot get connection"}


def main():
    with tempfile.TemporaryDirectory() as folder:
        connect, err = load(os.environ["GATEHOUSE_PROTO"], folder)
    root = pathlib.Path(os.environ["GATEHOUSE_CA"]).read_bytes()
    credentials = grpc.ssl_channel_credentials(root)
    with grpc.secure_channel(os.environ["GATEHOUSE_ADDRESS"], credentials) as channel:
        for prefix in ["gsdk.", ""]:
            for method, request in [
                ("SetConnectionModeMulti", connect.SetConnectionModeMultiRequest),
                ("EnableSSLMulti", connect.EnableSSLMultiRequest),
                ("DisableSSLMulti", connect.DisableSSLMultiRequest),
            ]:
                answer = getattr(connect, f"{method}Response")
                call = channel.unary_unary(
                    f"/{prefix}connect.Connect/{method}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=answer.FromString,
                )
                failed(call, request(deviceIDs=UNKNOWN), f"{prefix}err", err)


if __name__ == "__main__":
    main()
