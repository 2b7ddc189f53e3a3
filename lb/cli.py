"""The command line: one function per command, each of which loads only what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lb.operate.ctl_arguments import add_ctl, add_explain, add_top

__all__ = ["main"]

OK, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 failed while running, 2 bad usage or configuration."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if (words and words[0] in ("--config", "-c")) or (words and words[0].startswith("--config=")):
        words.insert(0, "run")
    options = _parser().parse_args(words)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough; Python's exit would try to flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lb",
        description="A layer-4 TCP load balancer.",
        epilog="`lb --config FILE` is short for `lb run --config FILE`. `lb COMMAND --help` tells more.",
    )
    parser.add_argument("--version", action="version", version=f"trio-lb {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="balance, in the foreground",
        description="Balance, in the foreground. SIGHUP reloads the configuration, SIGTERM and SIGINT stop once open "
        "connections have ended (at most process.stop_timeout), a second one stops now. Logs to stderr.",
    )
    _add_config(run)
    run.set_defaults(command=_run)

    check = commands.add_parser(
        "check",
        help="validate a configuration",
        description="Validate a configuration and print what would run. Opens no socket. Exit code 0, or 2 with all "
        "errors, one a line.",
    )
    _add_config(check)
    check.set_defaults(command=_check)

    diff = commands.add_parser(
        "diff",
        help="what a reload would do",
        description="What a reload from OLD to NEW would do, one line each; for hash pools also the share of keys "
        "that move to another server.",
    )
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    diff.set_defaults(command=_diff)

    demo = commands.add_parser(
        "demo",
        help="see it work",
        description="Three small servers, a balancer in front of them, a light load, and a live view. Kill a server "
        "and see no session fail. Exit code 1 if one did.",
    )
    demo.add_argument(
        "--seconds", type=float, metavar="N", help="end after N seconds, killing and reviving a server on the way"
    )
    demo.set_defaults(command=_demo)

    explain = commands.add_parser(
        "explain",
        help="who gets this client, and why",
        description="Who gets this client, and why each other server is passed over. Worked out from the configuration "
        "alone, or with --running asked of the balancer that runs with it.",
    )
    add_explain(explain)
    explain.set_defaults(command=_explain)

    rehearse = commands.add_parser(
        "rehearse",
        help="see what would happen",
        description="What would become of a configuration's traffic if servers failed: the balancer's own decisions, "
        "with clients, servers and time that are imagined. Opens no socket. Exit code 1 if an expectation is not met.",
    )
    rehearse.add_argument("config", type=Path, metavar="CONFIG", help="the balancer's TOML file")
    rehearse.add_argument("scenario", type=Path, metavar="SCENARIO", help="the TOML file with what happens")
    rehearse.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="EXPRESSION",
        help="what has to come of it, as in 'failed == 0'; may be given several times",
    )
    rehearse.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page with charts")
    rehearse.add_argument("--seed", type=int, metavar="N", help="in place of the scenario's: chance plays otherwise")
    rehearse.add_argument("--json", action="store_true", help="for programs")
    rehearse.set_defaults(command=_rehearse)

    ctl = commands.add_parser(
        "ctl",
        help="look at a running balancer and steer it",
        description="Look at a running balancer and steer it, over its admin endpoint. "
        "`lb ctl COMMAND --help` tells more.",
    )
    add_ctl(ctl)
    ctl.set_defaults(command=_ctl)

    _add_strategy(commands.add_parser("strategy", help="which strategies there are, and what one is worth"))
    top = commands.add_parser(
        "top",
        help="watch a running balancer on a terminal",
        description="Watch a running balancer on a terminal, over its admin endpoint; drain and enable servers by key.",
    )
    add_top(top)
    top.set_defaults(command=_top)
    return parser


def _add_strategy(strategy: argparse.ArgumentParser) -> None:
    actions = strategy.add_subparsers(required=True, metavar="COMMAND")
    known = actions.add_parser(
        "list",
        help="the strategies that a configuration may name",
        description="The built-in strategies and those that are installed, with their options.",
    )
    known.set_defaults(command=_strategy_list)
    test = actions.add_parser(
        "test",
        help="what a strategy is worth",
        description="Ask a strategy what a pool would, and say what comes of it: whether it keeps the rules, how it "
        "spreads clients, who moves when a server goes, what a pick costs. Exit code 0, 1 if it breaks a rule, 2 if it "
        "cannot be loaded.",
    )
    test.add_argument("name", metavar="NAME", help="as the configuration has it: built-in, installed, or 'module:Name'")
    test.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="for the strategy, the value in TOML"
    )
    test.set_defaults(command=_strategy_test)
    for parser in (known, test):
        parser.add_argument("--json", action="store_true", help="for programs")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the TOML file")


def _version() -> str:
    from importlib.metadata import version

    return version("trio-lb")


def _run(options: argparse.Namespace) -> int:
    from lb.run import run

    return run(options.config)


def _check(options: argparse.Namespace) -> int:
    from lb.config import ConfigError, load
    from lb.describe import describe
    from lb.discovery.servers_file import with_servers_files

    try:
        config = with_servers_files(load(options.config))
    except ConfigError as error:
        return _bad_config(error.errors)
    print(describe(config))
    return OK


def _diff(options: argparse.Namespace) -> int:
    from lb.config import ConfigError, load
    from lb.discovery.servers_file import with_servers_files
    from lb.plan import plan

    errors: list[str] = []
    configs = []
    for path in (options.old, options.new):
        try:
            configs.append(with_servers_files(load(path)))
        except ConfigError as error:
            errors += error.errors
    if errors:
        return _bad_config(errors)
    print("\n".join(plan(*configs).lines()))
    return OK


def _demo(options: argparse.Namespace) -> int:
    from lb.demo import demo

    return demo(options.seconds)


def _explain(options: argparse.Namespace) -> int:
    from lb.operate.explain_command import explain

    return explain(options)


def _rehearse(options: argparse.Namespace) -> int:
    from lb.rehearse.main import rehearse

    return rehearse(
        options.config,
        options.scenario,
        seed=options.seed,
        expected=options.expect,
        report=options.report,
        as_json=options.json,
    )


def _ctl(options: argparse.Namespace) -> int:
    if options.action == "completion":
        from lb.operate.completion import completion

        print(completion(_parser(), options.shell))
        return OK
    from lb.operate.ctl import ctl

    return ctl(options)


def _strategy_list(options: argparse.Namespace) -> int:
    import json

    from lb.strategy_kit.command import known, known_text

    entries = known()
    print(json.dumps(entries, default=str) if options.json else known_text(entries))
    return OK


def _strategy_test(options: argparse.Namespace) -> int:
    import json

    from lb.strategy_kit.command import finding_text, findings

    found = []
    try:
        for finding in findings(options.name, options.option):
            found.append(finding)
            if not options.json:
                print(finding_text(finding), flush=True)
    except ValueError as error:
        return _bad_config([f"lb: {error}"])
    except KeyboardInterrupt:
        print("lb: interrupted", file=sys.stderr)
        return INTERRUPTED
    if options.json:
        print(json.dumps([{"check": each.check, "verdict": each.verdict, "text": each.text} for each in found]))
    return FAILED if any(each.verdict == "fail" for each in found) else OK


def _top(options: argparse.Namespace) -> int:
    from lb.operate.top import top

    return top(options)


def _bad_config(errors: Sequence[str]) -> int:
    print("\n".join(errors), file=sys.stderr)
    return BAD_USAGE
