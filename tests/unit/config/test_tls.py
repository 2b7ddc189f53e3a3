"""TLS in the configuration file: valid settings, errors, and secrets that are never shown."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import healthcheck.registry
from lb.config.describe import describe
from lb.config.load import parse
from lb.control.plan import plan
from lb.model import ListenerTlsSpec, PoolTlsSpec
from tests.support.complaints import complaints
from tests.support.tls_peers import certificate, write_authority, write_certificate

LISTENER = '[listeners.web]\nbind = ":1"\nservers = ["127.0.0.1:1"]\n[listeners.web.tls]\n'
POOL = '[listeners.web]\nbind = ":1"\n[pools.web]\nservers = ["127.0.0.1:1"]\n[pools.web.tls]\n'


@pytest.fixture
def files(tmp_path):
    """A directory with the files that the tests use."""
    write_certificate(tmp_path, "a", "a.example.org", "*.A.example.org")
    write_certificate(tmp_path, "b", "b.example.org")
    write_authority(tmp_path)
    (tmp_path / "both.pem").write_bytes(certificate("b.example.org").private_key_and_cert_chain_pem.bytes())
    (tmp_path / "text.pem").write_text("A letter, \N{SNOWMAN}\n")
    (tmp_path / "dir.pem").mkdir()
    key = serialization.load_pem_private_key((tmp_path / "a.key").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    return tmp_path


def read(files, text):
    return parse(text, str(files / "lb.toml"))


def errors(files, text):
    return complaints(text, files / "lb.toml")


def test_every_key_of_a_listener_reaches_the_model(files):
    tls = (
        read(
            files,
            LISTENER
            + 'min_version = "1.3"\nalpn = ["h2", "http/1.1"]\nclient_ca = "ca.pem"\nclient_certificate = "optional"\n'
            '[[listeners.web.tls.certificates]]\ncertificate = "a.pem"\nkey = "a.key"\n'
            f'[[listeners.web.tls.certificates]]\ncertificate = "{files}/both.pem"',
        )
        .listeners["web"]
        .tls
    )
    first, second = tls.certificates
    assert (first.chain.path, first.key.path, first.names) == ("a.pem", "a.key", ("a.example.org", "*.a.example.org"))
    assert first.key.content == (files / "a.key").read_bytes()
    assert second.chain == second.key
    assert (tls.min_version, tls.alpn, tls.client_certificate) == ("1.3", ("h2", "http/1.1"), "optional")
    assert tls.client_ca.path == "ca.pem"
    assert not unchanged(tls, ListenerTlsSpec(()))


def unchanged(spec, default):
    return [
        field.name for field in attrs.fields(type(spec)) if getattr(spec, field.name) == getattr(default, field.name)
    ]


def test_every_key_of_a_pool_reaches_the_model(files):
    text = 'ca = "ca.pem"\nserver_name = "inner"\nalpn = ["x"]\ncertificate = "a.pem"\nkey = "a.key"'
    tls = read(files, POOL + text).pools["web"].tls
    assert (tls.ca.path, tls.server_name, tls.alpn, tls.certificate.chain.path) == ("ca.pem", "inner", ("x",), "a.pem")
    assert unchanged(tls, PoolTlsSpec()) == ["verify"]
    assert not read(files, POOL + "verify = false").pools["web"].tls.verify


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "certificate: missing, as in certificate = 'cert.pem'"),
        ('certificate = "none.pem"', "certificate: 'none.pem' cannot be read: no such file or directory"),
        ('certificate = "dir.pem"', "certificate: 'dir.pem' cannot be read: is a directory"),
        ('certificate = "nul\\u0000.pem"', "certificate: 'nul\\x00.pem' cannot be read: embedded null byte"),
        ("certificate = 3", "certificate: must be a string, not 3"),
        ('certificate = "text.pem"', "certificate: 'text.pem' holds no certificate that can be read"),
        ('certificate = "a.pem"', "key: 'a.pem' holds no private key that can be read"),
        ('certificate = "a.pem"\nkey = "text.pem"', "key: 'text.pem' holds no private key that can be read"),
        ('certificate = "a.pem"\nkey = "b.key"', "key: 'b.key' does not belong to 'a.pem'"),
        (
            'certificate = "a.pem"\nkey = "locked.key"',
            "key: 'locked.key' is encrypted; only keys without a password are supported",
        ),
        ("certificates = []", "certificates: must hold at least one certificate"),
        ("certificates = [3]", "certificates[0]: must be a table, not 3"),
        ("certificates = [{}]", "certificates[0].certificate: missing, as in certificate = 'cert.pem'"),
        ('certificates = [{ certificate = "both.pem", x = 1 }]', "certificates[0].x: unknown key"),
        (
            'certificates = [{ certificate = "both.pem" }]\nkey = "a.key"',
            "key: cannot be combined with 'certificates'; list it there",
        ),
        (
            'certificate = "both.pem"\nclient_ca = "ca.pem"',
            "client_ca: has no effect without client_certificate = 'optional' or 'required'",
        ),
        (
            'certificate = "both.pem"\nclient_certificate = "required"',
            "client_certificate: 'required' needs a 'client_ca' to verify certificates",
        ),
        (
            'certificate = "both.pem"\nclient_certificate = "required"\nclient_ca = "a.key"',
            "client_ca: 'a.key' holds no certificate that can be read",
        ),
        ('certificate = "both.pem"\nalpn = "h2"', "alpn: must be a list like ['h2', 'http/1.1'], not 'h2'"),
        ('certificate = "both.pem"\nalpn = [""]', "alpn: a protocol has 1 to 255 ASCII characters, not ''"),
        ('certificate = "both.pem"\nmin_versoin = "1.3"', "min_versoin: unknown key, did you mean 'min_version'?"),
    ],
)
def test_a_mistake_of_a_listener_is_one_clear_line(files, lines, message):
    assert errors(files, LISTENER + lines) == [f"listeners.web.tls.{message}"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("verify = 1", "verify: must be true or false, not 1"),
        ('verify = false\nca = "ca.pem"', "ca: has no effect with verify = false"),
        ('ca = "text.pem"', "ca: 'text.pem' holds no certificate that can be read"),
        ('key = "a.key"', "certificate: missing, as in certificate = 'cert.pem'"),
        ('server_name = "a b"', "server_name: must be a host name or an address, not 'a b'"),
    ],
)
def test_a_mistake_of_a_pool_is_one_clear_line(files, lines, message):
    assert errors(files, POOL + lines) == [f"pools.web.tls.{message}"]


def test_authorities_may_have_text_around_them(files):
    """CA bundles of distributions contain text in many languages."""
    (files / "bundle.pem").write_bytes("Türktrust\n".encode() + (files / "ca.pem").read_bytes())
    assert read(files, POOL + 'ca = "bundle.pem"')


def test_a_server_without_a_name_needs_one(files):
    text = POOL.replace("127.0.0.1:1", "unix:/run/a")
    message = "missing: 'unix:/run/a' has no host name to verify its certificate against"
    assert errors(files, text) == [f"pools.web.tls.server_name: {message}"]
    assert read(files, text + "verify = false")
    assert read(files, text + 'server_name = "a"')


def test_what_is_shown_of_a_certificate_is_whom_it_is_for_and_until_when(files):
    text = LISTENER + 'certificate = "a.pem"\nkey = "a.key"'
    config = read(files, text)
    until = config.listeners["web"].tls.certificates[0].until
    assert describe(config).splitlines()[0] == (
        f"listener web: :1, TLS a.pem (a.example.org, *.a.example.org; until {until}) -> pool web"
    )


def test_a_renewed_certificate_is_a_change_of_its_listener(files):
    text = LISTENER + 'certificate = "a.pem"\nkey = "a.key"'
    old = read(files, text)
    assert plan(old, read(files, text)).changed == ()
    write_certificate(files, "a", issued=certificate.__wrapped__("a.example.org"))
    assert plan(old, read(files, text)).changed == ("web",)


CHECKED = POOL.replace("tls", "health") + 'probe = "tls"\nverify = true\n'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('ca = "none"', "ca: 'none' cannot be read: no such file or directory"),
        ('ca = "text.pem"', "ca: 'text.pem' holds no certificate that can be read"),
        ("ca = 1", "ca: must be a string, not 1"),
    ],
)
def test_a_mistake_of_a_check_is_one_clear_line(files, lines, message):
    assert errors(files, CHECKED + lines) == [f"pools.web.health.{message}"]


def test_another_authority_in_the_same_file_is_a_change_of_the_checks(files):
    """The file was read when the checks began, so a reload kept to the old one."""
    old = read(files, CHECKED + 'ca = "ca.pem"')
    assert "ca='ca.pem'" in describe(old)
    assert plan(old, read(files, CHECKED + 'ca = "ca.pem"')).changed == ()
    trustme.CA().cert_pem.write_to_path(files / "ca.pem")
    assert plan(old, read(files, CHECKED + 'ca = "ca.pem"')).changed == ("web",)


def test_checks_begin_without_a_look_at_a_disk(files, monkeypatch):
    """A file system that hangs held the event loop, and with it all traffic."""
    spec = read(files, CHECKED + 'ca = "ca.pem"').pools["web"].health.probe
    monkeypatch.setattr(Path, "open", pytest.fail)
    monkeypatch.setattr("builtins.open", pytest.fail)
    monkeypatch.setattr("os.open", pytest.fail)
    assert healthcheck.registry.create(spec)


def test_nothing_that_is_printed_holds_a_key(files):
    text = LISTENER + 'certificate = "a.pem"\nkey = "a.key"'
    old = read(files, text)
    write_certificate(files, "a", issued=certificate.__wrapped__("a.example.org"))
    new = read(files, text)
    secrets = [
        line for spec in (old, new) for line in spec.listeners["web"].tls.certificates[0].key.content.split()[4:-4]
    ]
    assert len(secrets) > 2
    steps = plan(old, new)
    printed = "".join([describe(new), repr(new), repr(steps), *steps.lines()])
    assert not [secret for secret in secrets if secret.decode() in printed]
