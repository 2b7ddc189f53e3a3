"""examples/forward: what its README says to type, with the real programs, the proxy, and servers of ours."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from functools import partial
from urllib.parse import quote

import pytest
import trio
from playwright.sync_api import sync_playwright

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE
from tests.support.office import HELLO, LOGIN, NAME, README, boxes, office, write_users
from tests.support.tls_peers import write_certificate

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")


def library(name):
    """Skip the test if a library is missing; in CI, fail."""
    if importlib.util.find_spec(name) is None:
        assert not os.environ.get("CI"), f"{name} is not installed"
        pytest.skip(f"there is no {name}")


@one_process_or_two
async def test_curl_asks_with_a_url_and_through_tunnels_of_both_protocols(tmp_path):
    program("curl")
    async with office(tmp_path) as its:
        (commands,) = boxes("curl")
        assert await its.types(commands) == HELLO * 4
        await its.tunnels("connect", its.tunnel, 2)
        await its.tunnels("socks5", its.tunnel, 1)
        request = await its.proxy.event("http.request")
        assert (request["method"], request["host"], request["status"]) == ("GET", its.plain, 200)
        await its.types(f"echo '{re.search('`(proxy = .+)`', README)[1]}' > ~/.curlrc")
        assert await its.runs("curl", "-sS", its.https) == HELLO
        await its.tunnels("connect", its.tunnel, 3)


async def test_programs_take_the_proxy_from_the_environment(tmp_path):
    program("curl")
    async with office(tmp_path) as its:
        (exports,) = boxes("Most programs")
        assert await its.types(f"{exports}\ncurl -sS https://example.com/ http://example.com/") == HELLO * 2
        fetch = "import sys, httpx; [print(end=httpx.get(url).text) for url in sys.argv[1:]]"
        said = await its.types(f'{exports}\npython -c "{fetch}" https://example.com/ http://example.com/')
        assert said == HELLO * 2
        await its.tunnels("connect", its.tunnel, 2)
        requests = [await its.proxy.event("http.request", count=count) for count in (1, 2)]
        assert {request["host"] for request in requests} == {its.plain}


async def test_curl_is_told_why_a_target_is_refused(tmp_path):
    program("curl")
    async with office(tmp_path) as its:
        assert await its.runs("curl", "-sS", its.http, "-x", f"127.0.0.1:{its.proxy.port}") == HELLO
        refused = ("curl", "-sS", "-x", f"127.0.0.1:{its.proxy.port}", "-D-", "-o/dev/null")
        head = (await its.runs(*refused, "http://169.254.169.254/latest/meta-data/")).lower()
        assert head.startswith("http/1.1 403 ")
        assert "\r\nproxy-status: trio-lb; error=http_request_denied" in head
        records = [await its.proxy.event("http.request", status=403)]
        assert [record["reason"] for record in records] == ["denied_target"]


USERS = 'auth = "staff"'
STAFF = '[users.staff]\nfile = "staff.htpasswd"'


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_curl_logs_in_to_each_kind_of_proxy(tmp_path, scheme):
    """With ``https`` it speaks TLS to the proxy, and through that to the server."""
    program("curl")
    write_users(tmp_path / "staff.htpasswd", LOGIN)
    tls = "[listeners.web.tls]\n" + write_certificate(tmp_path, "proxy", "127.0.0.1") if scheme == "https" else ""
    async with office(tmp_path, USERS, f"{STAFF}\n{tls}") as its:
        proxy = ("-sS", "-x", f"{scheme}://127.0.0.1:{its.proxy.port}", "--proxy-cacert", tmp_path / "ca.pem")
        assert await its.runs("curl", *proxy, "-U", LOGIN, its.https) == HELLO
        (record,) = await its.tunnels("socks5" if scheme == "socks5h" else "connect", its.tunnel, 1)
        assert record["user"] == "alice"
        wrong = ["curl", *proxy, "-U", "alice:wrong", its.https]
        done = await trio.run_process(wrong, env=its.environment, check=False, capture_stdout=True, capture_stderr=True)
        assert done.returncode in (56, 97), "neither a failed CONNECT nor a failed SOCKS handshake"
        refused = await its.proxy.event("connection.closed", reason="auth", user="alice")
        assert not refused["bytes_out"]


async def make_repository(its):
    """A repository that git's server has, with a thousand lines of text."""
    await its.types(
        "git init -q --bare -b main ../site/git/project.git\n"
        "git -C ../site/git/project.git config http.receivepack true\n"
        "git init -q -b main work; cd work\n"
        "git config user.name Alice; git config user.email alice@example.org\n"
        "seq 1000 > numbers; git add numbers; git commit -q -m 'A thousand numbers'\n"
        "git push -q ../../site/git/project.git main\n"
    )


@one_process_or_two
async def test_git_clones_and_pushes_over_http_and_https(tmp_path):
    program("git")
    (tmp_path / "site" / "git").mkdir(parents=True)
    async with office(tmp_path) as its:
        await make_repository(its)
        (command,) = boxes("git")
        await its.types(command)
        for number, site in enumerate((its.http, its.https)):
            await its.runs("git", "clone", "-q", f"{site}git/project.git", f"clone-{number}")
            assert len((its.home / f"clone-{number}" / "numbers").read_text().splitlines()) == 1000
            await its.types(
                f"cd clone-{number}; git config user.name Alice; git config user.email alice@example.org\n"
                f"date > more-{number}; git add .; git commit -q -m More; git push -q"
            )
        assert int(await its.runs("git", "-C", "../site/git/project.git", "rev-list", "--count", "main")) == 3
        methods = {record["method"] for record in its.proxy.of("http.request")}
        assert methods == {"GET", "POST"}
        await its.proxy.event("connection.closed", protocol="connect", target=its.tunnel, count=2)


def write_package(directory):
    """A wheel in a package index, as PEP 503 wants it."""
    import zipfile

    name = "tiny_parcel-1.0-py3-none-any.whl"
    index = directory / "simple" / "tiny-parcel"
    index.mkdir(parents=True)
    meta = "tiny_parcel-1.0.dist-info"
    with zipfile.ZipFile(index / name, "w") as wheel:
        wheel.writestr("tiny_parcel.py", "SAID = 'unpacked'\n")
        wheel.writestr(f"{meta}/METADATA", "Metadata-Version: 2.1\nName: tiny-parcel\nVersion: 1.0\n")
        wheel.writestr(
            f"{meta}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{meta}/RECORD", f"tiny_parcel.py,,\n{meta}/METADATA,,\n{meta}/WHEEL,,\n{meta}/RECORD,,\n")
    digest = hashlib.sha256((index / name).read_bytes()).hexdigest()
    (index / "index.html").write_text(f'<!doctype html><a href="{name}#sha256={digest}">{name}</a>')


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_pip_installs_a_package(tmp_path, scheme):
    program("pip")
    write_package(tmp_path / "site")
    async with office(tmp_path) as its:
        (command,) = boxes("pip")
        await its.types(command)
        index = f"{its.https if scheme == 'https' else its.http}simple"
        hosts = () if scheme == "https" else ("--trusted-host", NAME)
        await its.runs(
            "pip", "install", "-q", "--no-deps", "--target", "installed", "--index-url", index, *hosts, "tiny-parcel"
        )
        assert (its.home / "installed" / "tiny_parcel.py").read_text() == "SAID = 'unpacked'\n"
        if scheme == "https":
            await its.proxy.event("connection.closed", protocol="connect", target=its.tunnel)
        else:
            await its.proxy.event("http.request", host=its.plain, status=200, count=2)


def write_archive(site, control):
    """An archive of Debian packages with one package in it, unsigned: apt must be told to trust it."""
    for program_name in ("apt-get", "dpkg-deb"):
        program(program_name)
    package = site.parent / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(control)
    archive = site / "debian"
    archive.mkdir(parents=True)
    file = archive / "tiny-parcel_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Zgzip", package, file], check=True, stdout=subprocess.DEVNULL)
    data = file.read_bytes()
    index = f"{control}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    (archive / "Packages").write_text(index)
    return file


CONTROL = """\
Package: tiny-parcel
Version: 1.0
Architecture: all
Maintainer: Alice <alice@example.org>
Description: a parcel that is tiny
"""


def write_apt_home(home, settings, source):
    """Directories of an apt of its own, which asks one source and has these settings. Return its configuration file."""
    for directory in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/sources.list.d"):
        (home / directory).mkdir(parents=True)
    (home / "status").touch()
    (home / "etc" / "sources.list").write_text(f"deb [trusted=yes] {source} ./\n")
    (home / "etc" / "apt.conf").write_text(
        f'Dir "{home}";\nDir::State "{home}/state";\nDir::State::status "{home}/status";\nDir::Cache "{home}/cache";\n'
        f'Dir::Etc "{home}/etc";\nDir::Etc::parts "{home}/none";\nDir::Bin::methods "/usr/lib/apt/methods";\n'
        f'APT::Sandbox::User "";\nAcquire::https::CAInfo "{home.parent}/ca.pem";\nAcquire::Languages "none";\n'
        f"{settings}"
    )
    return home / "etc" / "apt.conf"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_apt_updates_and_fetches_a_package(tmp_path, scheme):
    package = write_archive(tmp_path / "site", CONTROL)
    async with office(tmp_path) as its:
        (settings,) = boxes("apt")
        source = f"{its.https if scheme == 'https' else its.http}debian"
        apt = {"APT_CONFIG": str(write_apt_home(its.home, its.adapted(settings), source))}
        await its.runs("apt-get", "-q", "update", **apt)
        await its.runs("apt-get", "-q", "download", "tiny-parcel", **apt)
        assert (its.home / package.name).read_bytes() == package.read_bytes()
        if scheme == "https":
            await its.proxy.event("connection.closed", protocol="connect", target=its.tunnel)
            return
        fetched = f"/debian/./{package.name}"
        first = await its.proxy.event("http.request", host=its.plain, path=fetched)
        assert (first["status"], first["cache"]) == (200, "MISS")
        (its.home / package.name).unlink()
        await its.runs("apt-get", "-q", "clean", **apt)
        await its.runs("apt-get", "-q", "download", "tiny-parcel", **apt)
        second = await its.proxy.event("http.request", host=its.plain, path=fetched, count=2)
        assert second["cache"] in ("HIT", "REVALIDATED")
        assert (its.home / package.name).read_bytes() == package.read_bytes()


PAGE = f"""<!doctype html><title>{HELLO}</title><script src="/script.js"></script><p>nothing</p>"""
SCRIPT = 'addEventListener("load", () => { document.querySelector("p").textContent = "the script runs"; });'


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_chromium_loads_pages_through_each_kind_of_proxy(tmp_path, scheme):
    chromium = program("chromium")
    async with office(tmp_path) as its:
        (tmp_path / "site" / "page.html").write_text(PAGE)
        (tmp_path / "site" / "script.js").write_text(SCRIPT)
        (command,) = boxes("Chromium")
        option = its.adapted(command.split()[1]).replace("http://", f"{scheme}://")
        loopback = re.search("`(--proxy-bypass-list='<-loopback>')`", README)[1].replace("'", "")

        def visit(*urls):
            with sync_playwright() as playwright:
                arguments = ["--no-sandbox", option, loopback]
                browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
                page = browser.new_page(ignore_https_errors=True)
                page.set_default_timeout(PATIENCE * 1000)
                for url in urls:
                    page.goto(url)
                    assert page.title() == HELLO
                    page.get_by_text("the script runs").wait_for()
                browser.close()

        await trio.to_thread.run_sync(partial(visit, f"{its.https}page.html", f"{its.http}page.html"))
        protocol = "connect" if scheme == "http" else "socks5"
        await its.proxy.event("connection.closed", protocol=protocol, target=its.tunnel)
        if scheme == "http":
            await its.proxy.event("http.request", host=its.plain, path="/script.js")
        else:
            await its.proxy.event("connection.closed", protocol=protocol, target=its.plain)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_python_socks_connects(tmp_path, scheme):
    library("python_socks")
    async with office(tmp_path) as its:
        code = boxes("Python")[0].replace("socks5://", f"{scheme}://")
        said = await its.runs(sys.executable, "-c", its.adapted(code), **libraries())
        assert "200 OK" in said
        await its.tunnels("connect" if scheme == "http" else "socks5", its.tunnel, 1)


async def test_python_socks_of_trio_logs_in(tmp_path):
    library("python_socks")
    from python_socks import ProxyError
    from python_socks.async_.trio import Proxy

    write_users(tmp_path / "staff.htpasswd", LOGIN)
    async with office(tmp_path, USERS, STAFF) as its:
        address = f"127.0.0.1:{its.proxy.port}"
        with trio.fail_after(PATIENCE):
            proxy = Proxy.from_url(f"socks5://{quote(LOGIN, safe=':')}@{address}", rdns=True)
            sock = await proxy.connect(NAME, its.site.http_port)
            async with trio.SocketStream(sock) as stream:
                await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
                answer = b"".join([chunk async for chunk in stream])
            assert answer.endswith(HELLO.encode())
            (record,) = await its.tunnels("socks5", its.plain, 1)
            assert record["user"] == "alice"
            for wrong in ("alice:wrong@", ""):
                with pytest.raises(ProxyError):
                    await Proxy.from_url(f"socks5://{wrong}{address}", rdns=True).connect(NAME, its.site.http_port)


async def test_pysocks_connects(tmp_path):
    library("socks")
    async with office(tmp_path) as its:
        said = await its.runs(sys.executable, "-c", its.adapted(boxes("Python")[1]), **libraries())
        assert "200 OK" in said
        await its.tunnels("socks5", its.tunnel, 1)


def libraries():
    """Variables for a program that finds the libraries of this process."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def test_proxychains_takes_a_program_along_that_knows_no_proxy(tmp_path):
    program("proxychains4")
    program("openssl")
    async with office(tmp_path) as its:
        settings, command = boxes("Programs that know no proxy")
        (its.home / "proxychains.conf").write_text(its.adapted(settings))
        asks = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | {command.strip()} -quiet -ign_eof -CAfile $SSL_CERT_FILE 2>&1"
        assert HELLO in await its.types(asks)
        await its.tunnels("socks5", its.tunnel, 1)
