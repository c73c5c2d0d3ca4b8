"""A client of the Connect API in another language, over TLS with nothing but ca.crt.

Adds 50 auto devices, sees each become connected in SubscribeStatus, lists them, kills and
restarts one simulator and sees loss and return, disconnects, deletes. Exits 0 when all of that
was seen; says what was missing otherwise.

Its stubs are made from proto/ when it starts. From the environment: GATEHOUSE_BIN (the binary),
GATEHOUSE_ADDRESS (host:port of the gateway's gRPC), GATEHOUSE_CA (ca.crt), GATEHOUSE_KEY (the
fleet key), GATEHOUSE_PROTO (the folder with the contracts).
"""

import importlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

import grpc
from grpc_tools import protoc

# No step takes this long on a machine that works; it only keeps a broken run from hanging.
PATIENCE_S = 60
COUNT = 50
FIRST_ID = 1001
LOST_ID = FIRST_ID + COUNT - 1


def load_stubs(proto, folder):
    contracts = ["device.proto", "err.proto", "connect.proto"]
    arguments = ["protoc", f"-I{proto}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + contracts) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, folder)
    return importlib.import_module("connect_pb2"), importlib.import_module("connect_pb2_grpc")


class Simulator:
    """`gatehouse simulate` with devices that listen; `addresses` maps ID to (IP, port)."""

    def __init__(self, first_id, count, port=0):
        command = [os.environ["GATEHOUSE_BIN"], "simulate", "--listen", "127.0.0.1", "--format", "json"]
        command += ["--first-id", str(first_id), "--count", str(count), "--port", str(port)]
        command += ["--key", os.environ["GATEHOUSE_KEY"]]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addresses = {}
        while len(self.addresses) < count:
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the simulator ended early")
            message = json.loads(line)
            if "listens" in message:
                ip, port = message["listens"].rsplit(":", 1)
                self.addresses[message["device"]] = (ip, int(port))
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Statuses:
    """Follows SubscribeStatus and waits for statuses of devices, in order for each device."""

    def __init__(self, stub, pb):
        self.pb = pb
        self.seen = queue.Queue()
        self.stream = stub.SubscribeStatus(pb.SubscribeStatusRequest(queueSize=16))
        self.stream.initial_metadata()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        try:
            for change in self.stream:
                self.seen.put(change)
        except grpc.RpcError as error:
            self.seen.put(error)

    def wait_for(self, ids, status):
        missing = set(ids)
        while missing:
            try:
                change = self.seen.get(timeout=PATIENCE_S)
            except queue.Empty:
                sys.exit(f"no {self.pb.Status.Name(status)} for {sorted(missing)}")
            if isinstance(change, grpc.RpcError):
                sys.exit(f"the status stream ended: {change}")
            assert change.timestamp > 1_700_000_000, change
            if change.status == status:
                missing.discard(change.deviceID)

    def cancel(self):
        self.stream.cancel()
        while not isinstance(end := self.seen.get(timeout=PATIENCE_S), grpc.RpcError):
            pass
        assert end.code() == grpc.StatusCode.CANCELLED, end


def run(stub, pb, simulators):
    statuses = Statuses(stub, pb)
    addresses = {}
    for simulator in simulators:
        addresses.update(simulator.addresses)
    infos = [
        pb.AsyncConnectInfo(deviceID=device, IPAddr=ip, port=port)
        for device, (ip, port) in addresses.items()
    ]
    stub.AddAsyncConnection(pb.AddAsyncConnectionRequest(connectInfos=infos))
    statuses.wait_for(addresses, pb.TCP_CONNECTED)
    print(f"{COUNT} devices connected")

    listed = stub.GetDeviceList(pb.GetDeviceListRequest()).deviceInfos
    assert {info.deviceID for info in listed} == set(addresses), listed
    for info in listed:
        assert (info.IPAddr, info.port) == addresses[info.deviceID], info
        assert info.status == pb.TCP_CONNECTED and info.autoReconnect and not info.useSSL, info
        assert info.connectionMode == pb.SERVER_TO_DEVICE, info
    print("all are listed")

    lost = simulators.pop()
    lost.kill()
    statuses.wait_for([LOST_ID], pb.DISCONNECTED)
    print("one is lost")
    simulators.append(Simulator(LOST_ID, 1, port=addresses[LOST_ID][1]))
    statuses.wait_for([LOST_ID], pb.TCP_CONNECTED)
    print("and back")

    stub.Disconnect(pb.DisconnectRequest(deviceIDs=[FIRST_ID]))
    statuses.wait_for([FIRST_ID], pb.DISCONNECTED)
    statuses.wait_for([FIRST_ID], pb.TCP_CONNECTED)
    print("a disconnected auto device comes back")

    stub.DeleteAsyncConnection(pb.DeleteAsyncConnectionRequest(deviceIDs=list(addresses)))
    statuses.wait_for(addresses, pb.DISCONNECTED)
    assert not stub.GetDeviceList(pb.GetDeviceListRequest()).deviceInfos
    print("all are deleted")
    statuses.cancel()


def main():
    with tempfile.TemporaryDirectory() as folder:
        pb, pb_grpc = load_stubs(os.environ["GATEHOUSE_PROTO"], folder)
        root = pathlib.Path(os.environ["GATEHOUSE_CA"]).read_bytes()
        credentials = grpc.ssl_channel_credentials(root_certificates=root)
        simulators = [Simulator(FIRST_ID, COUNT - 1), Simulator(LOST_ID, 1)]
        try:
            with grpc.secure_channel(os.environ["GATEHOUSE_ADDRESS"], credentials) as channel:
                run(pb_grpc.ConnectStub(channel), pb, simulators)
        finally:
            for simulator in simulators:
                simulator.kill()


main()
