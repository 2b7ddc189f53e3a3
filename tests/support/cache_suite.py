"""The public suite http-tests/cache-tests against our cache: ``make cache-tests PATH=DIRECTORY``.

The directory is a checkout of https://github.com/http-tests/cache-tests with its dependencies (``npm install
--omit=dev``). The suite's own server is the origin, its own client asks, and its own rules judge the results. It runs
twice: with a cache in memory only, and with one on disk only. Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from tests.e2e.traffic.test_real_peers import running
from tests.support.balancer import balancer
from tests.support.servers import free_port

__all__ = ["PROXIES", "Report", "judged", "run"]

LEAST_REQUIRED, LEAST_OPTIMAL = 150, 80
"""How many tests must pass: of those that RFC 9111 requires, and of those that make a cache worth its place."""
RIVAL = "ATS"
"""The best of the other reverse proxies. What is required and passes there must pass here."""
COMPARED = ("nginx", "Varnish", RIVAL, "Squid")
"""The caches whose published results are in the table."""

JUDGE = """
import { readFileSync } from "node:fs";
import suites from "./tests/index.mjs";
import published from "./results/index.mjs";
import { determineTestResult, resultTypes } from "./test-engine/lib/results.mjs";
const names = new Map(Object.entries(resultTypes).map(([name, type]) => [type, name]));
const tests = suites.flatMap(suite => suite.tests).filter(test => !test.browser_only);
const judge = file => {
  const results = JSON.parse(readFileSync(file));
  return tests.map(test => [
    test.id, test.kind ?? "required", names.get(determineTestResult(suites, test.id, results)), test.name,
    (results[test.id] ?? ["", "not run"])[1] ?? "",
  ]);
};
const wanted = JSON.parse(process.argv[1]);
const theirs = published.filter(({ name }) => wanted.includes(name));
console.log(JSON.stringify([
  ...theirs.map(({ name, version, file }) => [`${name} ${version}`, judge(`./results/${file}`)]),
  ...process.argv.slice(2).map(file => ["", judge(file)]),
]));
"""
"""Prints the verdicts on published results and on results in files: a cache's name, and a row for each test."""


@attrs.frozen
class Verdict:
    """How a cache did in a test."""

    test: str
    kind: str
    """``required``, ``optimal``, or ``check`` for a question without a wrong answer."""
    result: str
    """A name of the suite's ``resultTypes``."""
    title: str
    reason: str

    @property
    def passed(self):
        return self.result in ("pass", "yes")

    def __str__(self):
        return f"{self.test} ({self.result}): {self.title}: {self.reason}"


@attrs.frozen
class Report:
    """The verdicts on a cache."""

    cache: str
    verdicts: tuple[Verdict, ...]

    def of(self, kind):
        return [verdict for verdict in self.verdicts if verdict.kind == kind]

    def passed(self, kind):
        """Return the names of the tests of a kind that passed."""
        return {verdict.test for verdict in self.of(kind) if verdict.passed}

    def failed(self, kind):
        return [verdict for verdict in self.of(kind) if not verdict.passed]

    def row(self):
        """Return a row of a table in Markdown."""
        counts = " | ".join(f"{len(self.passed(kind))}" for kind in ("required", "optimal", "check"))
        return f"| {self.cache} | {counts} |"

    def missed(self, rival):
        """Return the targets that are missed, a line each."""
        required, optimal = len(self.passed("required")), len(self.passed("optimal"))
        behind = sorted(rival.passed("required") - self.passed("required"))
        lines = {
            f"{required} required ones pass, not {LEAST_REQUIRED}": required < LEAST_REQUIRED,
            f"{optimal} optimal ones pass, not {LEAST_OPTIMAL}": optimal < LEAST_OPTIMAL,
            f"{rival.cache} passes and we do not: {', '.join(behind)}": bool(behind),
        }
        return [line for line, holds in lines.items() if holds]


def table(reports):
    """Return the counts of caches as a table in Markdown."""
    counts = {kind: len(reports[0].of(kind)) for kind in ("required", "optimal", "check")}
    head = (
        f"| cache | required, of {counts['required']} | optimal, of {counts['optimal']} | yes, of {counts['check']} |"
    )
    return "\n".join([head, "|---|---|---|---|", *(report.row() for report in reports)])


def node(checkout, *arguments, **environment):
    """Return the command that runs a script of the suite, and its environment. The suite reads npm's variables."""
    return [shutil.which("node"), "--no-warnings", *arguments], {**os.environ, **environment}


async def judged(checkout, *files):
    """Return the reports on the compared caches, and on the results in files, by the rules of the suite."""
    command, env = node(checkout, "--input-type=module", "--eval", JUDGE, json.dumps(COMPARED), *map(str, files))
    done = await trio.run_process(command, capture_stdout=True, cwd=checkout, env=env)
    return [Report(cache, tuple(Verdict(*row) for row in rows)) for cache, rows in json.loads(done.stdout)]


@asynccontextmanager
async def origin(checkout, home):
    """Run the server of the suite; yields its port."""
    port = free_port()
    variables = {"protocol": "http", "port": str(port), "pidfile": str(home / "origin.pid")}
    command, env = node(
        checkout, "test-engine/server/server.mjs", **{f"npm_config_{key}": value for key, value in variables.items()}
    )
    async with running(command, port, cwd=checkout, env=env):
        yield port


@asynccontextmanager
async def lb(home, origin_port, *, on_disk=False):
    """Run ``lb`` in front of a server, with a cache in memory only or on disk only; yields its port.

    Not with "updating": it is the operator's leave to serve what is stale (RFC 9111, 4.2.4), and the suite gives none.
    """
    place = f'path = "{home}/cache"\nmemory = "0"' if on_disk else ""
    text = f"""
        [caches.suite]
        {place}
        [listeners.web]
        mode = "http"
        bind = "127.0.0.1:0"
        [[listeners.web.routes]]
        pool = "origin"
        [listeners.web.routes.cache]
        zone = "suite"
        obey_client = true
        use_stale = ["error", "timeout"]
        [pools.origin]
        health = false
        servers = ["127.0.0.1:{origin_port}"]
    """
    async with balancer(home, text) as started:
        yield started.port


@asynccontextmanager
async def nginx(home, origin_port):
    """The same with nginx, configured as for the results that the suite publishes; yields its port."""
    port = free_port()
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(
        f"daemon off; pid {home}/pid; error_log {home}/error.log; {user} events {{ worker_connections 2048; }}\n"
        f"http {{ access_log off; {paths} proxy_cache_path {home}/cache levels=1:2 keys_zone=suite:8m inactive=600m;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{origin_port};\n"
        "proxy_cache suite; proxy_cache_revalidate on; proxy_http_version 1.1; } } }\n"
    )
    command = [shutil.which("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]
    async with running(command, port):
        yield port


PROXIES = {
    "lb": {"trio-lb, in memory": lb, "trio-lb, on disk": partial(lb, on_disk=True)},
    "nginx": {"nginx, run here": nginx},
}
"""What can be tested: caches by title, each run in a directory, in front of the origin's port."""


async def run(checkout, proxy, test=""):
    """Run the suite, or one test of it, against a cache; return what its client prints: JSON, or all that was said."""
    with tempfile.TemporaryDirectory(prefix="cache-suite-") as directory:
        home = Path(directory)
        async with origin(checkout, home) as origin_port, proxy(home, origin_port) as port:
            base = f"http://127.0.0.1:{port}"
            command, env = node(
                checkout, "test-engine/cli.mjs", npm_config_base=base, npm_config_id=test, npm_package_config_id=test
            )
            done = await trio.run_process(command, capture_stdout=True, cwd=checkout, env=env)
    return done.stdout.decode()


async def run_all(checkout, proxies):
    """Run the whole suite against each cache, print the results, and return whether all targets are met."""
    with tempfile.TemporaryDirectory(prefix="cache-suite-results-") as directory:
        files = []
        for number, (title, proxy) in enumerate(proxies.items()):
            print(f"{title}: about two minutes …", file=sys.stderr)
            files.append(Path(directory, f"{number}.json"))
            files[-1].write_text(await run(checkout, proxy))
        reports = await judged(checkout, *files)
    theirs, unnamed = reports[: -len(files)], reports[-len(files) :]
    ours = [attrs.evolve(report, cache=title) for title, report in zip(proxies, unnamed, strict=True)]
    [rival] = [report for report in theirs if report.cache.startswith(RIVAL)]
    print(table([*ours, *theirs]))
    missed = []
    for report in ours:
        for kind in ("required", "optimal"):
            print(f"\n{report.cache}: {kind} and not passed:", *report.failed(kind), sep="\n  ")
        missed += [f"{report.cache}: {line}" for line in report.missed(rival)]
    print("", *missed, sep="\n")
    return not missed


def problem(checkout):
    """Return why the suite cannot run; None if it can."""
    if not (checkout / "test-engine" / "cli.mjs").is_file():
        return f"{checkout} is no checkout of https://github.com/http-tests/cache-tests"
    if not (checkout / "node_modules" / "undici").is_dir():
        return f"its dependencies are missing: cd {checkout} && npm install --omit=dev"
    if shutil.which("node") is None:
        return "node is not installed; the suite needs version 20 or newer"
    return None


def main():
    parser = argparse.ArgumentParser(prog="cache_suite", description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=lambda text: Path(text).resolve(), help="directory of the suite")
    parser.add_argument("--proxy", choices=PROXIES, default="lb", help="whose cache (default: %(default)s)")
    parser.add_argument("--id", help="run one test, and print all its requests and responses")
    options = parser.parse_args()
    if reason := problem(options.checkout):
        parser.error(reason)
    proxies = PROXIES[options.proxy]
    if options.id:
        for title, proxy in proxies.items():
            print(title, trio.run(partial(run, options.checkout, proxy, options.id)), sep="\n\n")
        return 0
    return 0 if trio.run(run_all, options.checkout, proxies) else 1


if __name__ == "__main__":
    sys.exit(main())
