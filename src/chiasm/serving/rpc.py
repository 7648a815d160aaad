"""Calls between our processes: a :class:`RpcServer` answers, a :class:`RpcClient` asks."""

from chiasm.serving.link import Answer
from chiasm.serving.rpc_client import OutgoingCall, RpcClient
from chiasm.serving.rpc_server import DeferredHandler, Handler, IncomingCall, RpcServer

__all__ = [
    "Answer",
    "DeferredHandler",
    "Handler",
    "IncomingCall",
    "OutgoingCall",
    "RpcClient",
    "RpcServer",
]
