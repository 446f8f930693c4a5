"""A client that knows nothing of dsctl but its address and token: everything else it learns by reflection.

Usage: list_and_watch.py ADDRESS TOKEN JOB
Prints one JSON line: the jobs it was told of, the states and steps it saw of JOB, and what it was told without a token.
Needs grpcio, grpcio-reflection and protobuf.
"""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class WithToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the token to every call."""

    def __init__(self, token):
        self.metadata = (("authorization", f"Bearer {token}"),)

    def _with_token(self, details):
        return details._replace(metadata=tuple(details.metadata or ()) + self.metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    intercept_unary_stream = intercept_unary_unary
    intercept_stream_stream = intercept_unary_unary


def call(channel, pool, method, request=None, stream=False):
    descriptor = pool.FindServiceByName("dsctl.v1.Jobs").FindMethodByName(method)
    ask, answer = GetMessageClass(descriptor.input_type), GetMessageClass(descriptor.output_type)
    make = channel.unary_stream if stream else channel.unary_unary
    stub = make(
        f"/dsctl.v1.Jobs/{method}", request_serializer=ask.SerializeToString, response_deserializer=answer.FromString
    )
    return stub(ask(**(request or {})), timeout=120)


def refusal_without_token(plain, pool):
    try:
        call(plain, pool, "List")
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def main():
    address, token, job = sys.argv[1:]
    plain = grpc.insecure_channel(address)
    channel = grpc.intercept_channel(plain, WithToken(token))
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    jobs = [found.id for found in call(channel, pool, "List").jobs]
    steps, states = [], []
    for event in call(channel, pool, "Watch", {"job": job}, stream=True):
        if event.HasField("step"):
            steps.append(event.step.step)
        if event.HasField("job"):
            states.append(event.job.state)
    refused = refusal_without_token(plain, pool)
    print(json.dumps({"jobs": jobs, "steps": steps, "states": states, "without_token": refused}))


if __name__ == "__main__":
    main()
