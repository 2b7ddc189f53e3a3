"""The registry of probes: the built-in ones, entry points, and ``module:Name``."""

from __future__ import annotations

from healthcheck.probe import Probe
from lb.model.plugin import Registry

__all__ = ["create", "load", "names"]

_REGISTRY = Registry(
    kind="probe",
    base=Probe,  # type: ignore[type-abstract]  # any subclass of it
    group="lb.probes",
    built_in={
        "tcp": "healthcheck.probes.tcp:TcpProbe",
        "http": "healthcheck.probes.http:HttpProbe",
        "grpc": "healthcheck.probes.grpc:GrpcProbe",
        "tls": "healthcheck.probes.tls:TlsProbe",
        "exchange": "healthcheck.probes.exchange:ExchangeProbe",
        "exec": "healthcheck.probes.exec:ExecProbe",
        "redis": "healthcheck.probes.redis:RedisProbe",
        "postgres": "healthcheck.probes.postgres:PostgresProbe",
        "mysql": "healthcheck.probes.mysql:MysqlProbe",
        "smtp": "healthcheck.probes.smtp:SmtpProbe",
        "agent": "healthcheck.probes.agent:AgentProbe",
    },
)

names = _REGISTRY.names
load = _REGISTRY.load
create = _REGISTRY.create
