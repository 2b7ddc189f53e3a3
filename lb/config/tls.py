"""Read TLS settings from the configuration file. Loads certificates, keys and CAs, and reports their errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lb.model import CertificateSpec, ListenerTlsSpec, PemSpec, PoolTlsSpec, ServerSpec
from lb.model.shape import NOWHERE, Keys, given, list_of, or_boolean, other_than, shape_of, shaped, table_of, when
from lb.model.table import Table
from lb.model.values import Reader, boolean, choice, shown, text
from lb.net.files import read_file
from lb.tls.contexts import check_authority, check_certificate

__all__ = [
    "LISTENER_TLS_TABLE",
    "POOL_TLS_TABLE",
    "ca_certificates",
    "pem",
    "read_certificate",
    "read_listener_tls",
    "read_pool_tls",
]

_LONGEST_PROTOCOL = 255  # bytes, RFC 7301, 3.1


def read_listener_tls(listener: Table, directory: Path, alpn: tuple[str, ...]) -> ListenerTlsSpec | None:
    """Read ``[listeners.<name>.tls]``; None if it is absent. Paths are relative to ``directory``.

    ``alpn``: the protocols that are offered if the table does not say it.
    """
    if not listener.has("tls"):
        return None
    table = listener.table("tls")
    certificates = _certificates(table, directory)
    readers: Mapping[str, Reader[object]] = {
        "min_version": choice(ListenerTlsSpec, "min_version"),
        "alpn": _protocols,
        "client_ca": ca_certificates(directory),
        "client_certificate": choice(ListenerTlsSpec, "client_certificate"),
    }
    values = table.values(readers)
    spec = ListenerTlsSpec(certificates, **{"alpn": alpn, **values})
    if spec.client_certificate == "none" and table.has("client_ca"):
        message = "has no effect without client_certificate = 'optional' or 'required'"
        table.complain(message, table.at("client_ca"))
    if spec.client_certificate != "none" and not table.has("client_ca"):
        message = f"{spec.client_certificate!r} needs a 'client_ca' to verify certificates"
        table.complain(message, table.at("client_certificate"))
    table.finish()
    return spec


def read_pool_tls(pool: Table, servers: tuple[ServerSpec, ...], directory: Path) -> PoolTlsSpec | None:
    """Read ``[pools.<name>.tls]``; None if it is absent or false."""
    if not pool.has("tls") or pool.content["tls"] is False:
        return None
    table = pool.below({}, pool.at("tls")) if pool.content["tls"] is True else pool.table("tls")
    readers: Mapping[str, Reader[object]] = {
        "verify": boolean,
        "ca": ca_certificates(directory),
        "server_name": _server_name,
        "alpn": _protocols,
    }
    values = table.values(readers)
    own = read_certificate(table, directory) if table.has("certificate") or table.has("key") else None
    spec = PoolTlsSpec(certificate=own, **values)
    if not spec.verify and table.has("ca"):
        table.complain("has no effect with verify = false", table.at("ca"))
    nameless = [server.name for server in servers if server.address.is_unix]
    if spec.verify and nameless and not spec.server_name:
        message = f"missing: {nameless[0]!r} has no host name to verify its certificate against"
        table.complain(message, table.at("server_name"))
    table.finish()
    return spec


def _certificates(table: Table, directory: Path) -> tuple[CertificateSpec, ...]:
    """Read one certificate and key, or a list of them."""
    if not table.has("certificates"):
        one = read_certificate(table, directory)
        return () if one is None else (one,)
    for key in ("certificate", "key"):
        if table.has(key):
            table.complain("cannot be combined with 'certificates'; list it there", table.at(key))
    if table.content["certificates"] == []:
        table.complain("must hold at least one certificate", table.at("certificates"))
    found = []
    for path, value in table.items("certificates"):
        entry = table.below(value, path)
        if isinstance(value, dict):
            found.append(read_certificate(entry, directory))
            entry.finish()
    return tuple(each for each in found if each is not None)


def read_certificate(table: Table, directory: Path) -> CertificateSpec | None:
    """Read ``certificate`` and ``key``; the key may be in the certificate's file."""
    if not table.has("certificate"):
        table.complain("missing, as in certificate = 'cert.pem'", table.at("certificate"))
    chain = table.value("certificate", pem(directory))
    key = table.value("key", pem(directory)) if table.has("key") else chain
    if chain is None or key is None:
        return None
    try:
        certificate = CertificateSpec(chain, key, *_names_and_end(chain))
        check_certificate(certificate)
    except ValueError as error:
        option, _, message = str(error).partition(": ")
        table.complain(message, table.at(option))
        return None
    return certificate


def _names_and_end(chain: PemSpec) -> tuple[tuple[str, ...], str]:
    """Return the names and expiry date of the first certificate. Raises ValueError ``certificate: message``."""
    from cryptography import x509  # noqa: PLC0415 - 90 ms and 17 MB, needed only with TLS

    try:
        own = x509.load_pem_x509_certificates(chain.content)[0]
        try:
            alternatives = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = alternatives.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:  # old certificate: use the subject's common name
            names = [str(each.value) for each in own.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    except ValueError as error:
        raise ValueError(f"certificate: {chain.path!r} holds no certificate that can be read") from error
    return tuple(name.lower() for name in names), own.not_valid_after_utc.date().isoformat()


def pem(directory: Path) -> Reader[PemSpec]:
    """The path of a PEM file, relative to ``directory``, with its content."""

    @shaped(shape_of(text))
    def read(value: object) -> PemSpec:
        path = text(value)
        try:
            return PemSpec(path, read_file(directory / path))
        except (OSError, ValueError) as error:  # ValueError: NUL in the path
            reason = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"{path!r} cannot be read: {reason.lower()}") from error

    return read


def ca_certificates(directory: Path) -> Reader[PemSpec]:
    """The path of a PEM file with certificates to trust, relative to ``directory``."""

    @shaped(shape_of(text))
    def read(value: object) -> PemSpec:
        authority = pem(directory)(value)
        check_authority(authority)
        return authority

    return read


@shaped(list_of({"type": "string", "pattern": r"^[\x00-\x7f]+$", "maxLength": _LONGEST_PROTOCOL}))
def _protocols(value: object) -> tuple[str, ...]:
    """Read protocol names in order of preference."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list like ['h2', 'http/1.1'], not {shown(value)}")  # noqa: TRY004
    protocols = tuple(map(text, value))
    for protocol in protocols:
        if not (protocol.isascii() and 0 < len(protocol) <= _LONGEST_PROTOCOL):
            raise ValueError(f"a protocol has 1 to {_LONGEST_PROTOCOL} ASCII characters, not {shown(protocol)}")
    return protocols


@shaped({"type": "string", "pattern": r"^(?:[!-,/-~-][!-~]*)?$"})
def _server_name(value: object) -> str:
    name = text(value)
    if not (name.isascii() and name.isprintable() and " " not in name) or name.startswith("."):
        raise ValueError(f"must be a host name or an address, not {shown(name)}")
    return name


_CERTIFICATE: Keys = {"certificate": text, "key": text}
LISTENER_TLS_TABLE = table_of(
    {
        **_CERTIFICATE,
        "certificates": list_of(table_of(_CERTIFICATE, required=["certificate"]), least=1),
        "min_version": choice(ListenerTlsSpec, "min_version"),
        "alpn": _protocols,
        "client_ca": text,
        "client_certificate": choice(ListenerTlsSpec, "client_certificate"),
    },
    rules=[
        when({"required": ["certificates"]}, {"properties": dict.fromkeys(_CERTIFICATE, NOWHERE)}),
        when({"not": {"required": ["certificates"]}}, {"required": ["certificate"]}),
        when(given(client_certificate=other_than("none")), {"required": ["client_ca"]}),
        when(given(client_ca={}), given(client_certificate=other_than("none"))),
    ],
)
POOL_TLS_TABLE = or_boolean(
    table_of(
        {"verify": boolean, "ca": text, "server_name": _server_name, "alpn": _protocols, **_CERTIFICATE},
        rules=[
            when(given(key={}), {"required": ["certificate"]}),
            when(given(verify={"const": False}), {"properties": {"ca": NOWHERE}}),
        ],
    ),
    False,
    True,
)
