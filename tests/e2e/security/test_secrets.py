"""Secrets are never shown: not by ``lb check`` or ``lb diff``, in configuration errors, or in the log."""

from __future__ import annotations

import signal

import pytest

from lb.config.describe import describe
from lb.config.load import ConfigError, parse
from lb.control.plan import plan
from lb.model import PluginSpec, Secret
from tests.support.balancer import balancer, config, run_lb
from tests.support.servers import Named, serving

SECRET = "s3cr3t-Pa55"
HEALTH = {
    "redis": f'probe = "redis"\npassword = "{SECRET}"',
    "exchange": f'probe = "exchange"\nsend = "AUTH {SECRET}\\r\\n"',
    "steps": f'probe = "exchange"\nsteps = [{{ send = "AUTH {SECRET}\\r\\n", expect = "OK" }}]',
    "several": f'checks = [{{ probe = "tcp" }}, {{ probe = "redis", password = "{SECRET}" }}]',
}


def text(health, address="127.0.0.1:1"):
    return config(Named("a", address), health=health)


@pytest.mark.parametrize("kind", HEALTH)
def test_no_text_about_a_configuration_holds_a_secret(kind):
    new, old = parse(text(HEALTH[kind]), "new"), parse(text(HEALTH[kind].replace(SECRET, "0ld-" + SECRET)), "old")
    shown = [describe(new), repr(new), str(new), *plan(old, new).lines(), repr(plan(old, new))]
    assert not [each for each in shown if SECRET in each]
    assert "(hidden)" in describe(new)
    assert len(plan(old, new).lines()) == 1  # the change is reported


def test_no_text_about_mode_http_holds_a_secret(tmp_path):
    def read(secret):
        (tmp_path / "staff").write_text(f"alice:$apr1${secret[-8:]}$HqJZimcKQFAMYayBlzkrA/\n")
        (tmp_path / "signing").write_text(secret)
        return parse(
            f"""
            [listeners.www]
            mode = "http"
            bind = ":80"
            [[listeners.www.routes]]
            pool = "web"
            auth = "staff"
            request_headers = {{ set = {{ Authorization = "Basic {secret}" }}, add = {{ X-Auth-Token = "{secret}" }} }}
            [users.staff]
            file = "staff"
            [pools.web]
            servers = ["127.0.0.1:1"]
            sticky = {{ cookie = "lb", secret_file = "signing" }}
            """,
            str(tmp_path / "lb.toml"),
        )

    old, new = read("0ldSaltt"), read("newSaltt")
    assert old.users != new.users
    lines = plan(old, new).lines()
    shown = [describe(new), repr(new), *lines, repr(plan(old, new))]
    assert not [each for each in shown if "Saltt" in each]
    assert len(lines) == 4, "two header fields, the secret of cookies, a password"


def test_a_secret_is_compared_and_given_to_the_probe():
    assert Secret("a") == Secret("a") != Secret("b")
    spec = parse(text(HEALTH["redis"]), "new").pools["web"].health.probe
    assert spec == PluginSpec("redis", (("password", Secret(SECRET)),))


@pytest.mark.parametrize(
    "health",
    [
        f'probe = "redis"\npassword = ["{SECRET}"]',
        f'probe = "redis"\npasword = "{SECRET}"',
        f'probe = "exchange"\nsend = ["{SECRET}"]',
        f'probe = "exchange"\nsteps = [{{ send = ["{SECRET}"] }}]',
        f'probe = "exchange"\nsteps = [{{ send = "{SECRET}", expect = "*" }}]',
        f'probe = "exchange"\nsteps = "{SECRET}"',
        f'probe = "redis"\npassword = "{SECRET}',
        f'checks = [{{ probe = "redis", password = ["{SECRET}"] }}]',
        f'checks = [{{ probe = "redis", pasword = "{SECRET}" }}]',
    ],
)
def test_no_complaint_repeats_a_secret(health):
    with pytest.raises(ConfigError) as caught:
        parse(text(health), "lb.toml")
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_no_line_of_a_run_or_a_command_holds_a_secret(tmp_path):
    """The server's error repeats the password, as a Redis without AUTH does."""

    async def echoes(stream):
        async for chunk in stream:
            argument = chunk.split(b"\r\n")[-2]
            await stream.send_all(b"-ERR unknown command 'AUTH', with args beginning with: '%s'\r\n" % argument)

    async with serving(echoes) as server:
        redis = config(server, health=f'{HEALTH["redis"]}\ninterval = "50ms"\nfast_interval = "20ms"')
        async with balancer(tmp_path, redis) as lb:
            assert (await lb.event("backend.ejected"))["reason"] == "AUTH: ERR unknown command"
            await lb.reload(redis.replace(SECRET, SECRET + "-2"))
            await lb.reload(redis.replace(f'"{SECRET}"', f'["{SECRET}"]'))
            lb.signal(signal.SIGTERM)
            await lb.exit_code()
        assert lb.events
        assert SECRET not in repr(lb.events) + repr(lb.other_lines)
    (tmp_path / "a.toml").write_text(redis)
    (tmp_path / "b.toml").write_text(redis.replace(SECRET, SECRET + "-2"))
    for command in (["check", "--config", "a.toml"], ["diff", "a.toml", "b.toml"]):
        code, out, err = await run_lb(*command, cwd=tmp_path)
        assert code == 0
        assert "(hidden)" in out
        assert SECRET not in out + err
