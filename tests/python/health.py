"""Health and reflection with the clients of grpcio."""

import os
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

with open(os.environ["GATEHOUSE_CA"], "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
channel = grpc.secure_channel(os.environ["GATEHOUSE_ADDRESS"], credentials)

contracts = ProtoReflectionDescriptorDatabase(channel)
services = contracts.get_services()
assert "gsdk.connect.Connect" in services, services
pool = DescriptorPool(contracts)
connect = pool.FindServiceByName("gsdk.connect.Connect")
assert "GetDeviceList" in [method.name for method in connect.methods]
message = pool.FindMessageTypeByName("gatehouse.v1.Event")
assert "device_id" in message.fields_by_name
for name in ["gsdk.connect.Nobody", "gatehouse.store.Device"]:
    try:
        pool.FindMessageTypeByName(name)
    except KeyError:
        continue
    sys.exit(f"{name} is told")
assert pool.FindAllExtensions(message) == []

health = health_pb2_grpc.HealthStub(channel)
for name in ["", "connect.Connect", *services]:
    answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
    assert answer.status == SERVING, (name, answer)

watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
assert next(watch).status == SERVING
print("watching", flush=True)
assert next(watch).status == NOT_SERVING
try:
    next(watch)
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNAVAILABLE, error
else:
    sys.exit("the watch goes on")
print("NOT_SERVING, then UNAVAILABLE")
