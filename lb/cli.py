"""The command line: one function per command. Each command imports only the modules that it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeAlias

from lb import __version__
from lb.console.arguments import add_ctl, add_explain, add_top
from lb.console.config_file import UsageError, add_config, config_file, reordered, take_new_file
from lb.console.output import Messages, Output
from lb.net.signals import unblock_signals

__all__ = ["main"]

OK, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
DIFFERS = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 success, 1 failure at run time, 2 bad usage or configuration."""
    with redirect_stderr(Messages(sys.stderr)):
        return _run_with_output(list(sys.argv[1:] if arguments is None else arguments))


def _run_with_output(argv: list[str]) -> int:
    """Run a command. If its output cannot be written, say why and return 1."""
    output = Output(sys.stdout)
    with redirect_stdout(output):
        try:
            code = _run_command(argv)
            output.flush()
        except KeyboardInterrupt:
            print("lb: interrupted", file=sys.stderr)
            return INTERRUPTED
        except (OSError, ExceptionGroup):
            if output.failure is None:
                raise
    if output.failure is None:
        return code
    output.discard()
    if not isinstance(output.failure, BrokenPipeError):  # else the reader, for example `head`, has closed the pipe
        print(f"lb: cannot write to stdout: {str(output.failure.strerror).lower()}", file=sys.stderr)
    return FAILED


def _run_command(argv: list[str]) -> int:
    try:
        options = _parsed(_with_command(argv))
        if options.command not in (_run, _demo):  # these handle signals, the early ones too
            unblock_signals()
        code: int = options.command(options)
    except SystemExit as end:  # help, version, bad usage
        return int(end.code or OK)
    except UsageError as error:
        print(f"lb: {error}", file=sys.stderr)
        return BAD_USAGE
    except ImportError:
        from lb.console.own_packages import name_conflict

        conflict = name_conflict()
        if conflict is None:
            raise
        print(f"lb: {conflict}", file=sys.stderr)
        return FAILED
    return code


def _with_command(argv: list[str]) -> list[str]:
    """Return the arguments with the command that ``lb --config FILE`` and ``lb --watch`` leave out."""
    return ["run", *argv] if argv and argv[0].startswith(("-c", "--config", "--watch")) else argv


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser(argv[0] if argv else "")
    options, rest = parser.parse_known_args(argv)
    if rest and not reordered(options, rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if not take_new_file(options):
        parser.error("the following arguments are required: NEW")
    return options


def _parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands or, if there is a command of this name, of that one: each takes time to add."""
    parser = argparse.ArgumentParser(
        prog="lb",
        description="A load balancer, reverse proxy, forward proxy and media server.",
        epilog="`lb --config FILE` is short for `lb run --config FILE`. See also `lb COMMAND --help`.",
    )
    parser.add_argument("--version", action="version", version=f"trio-lb {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    known = {
        "run": _add_run,
        "check": _add_check,
        "diff": _add_diff,
        "demo": _add_demo,
        "explain": _add_explain,
        "rehearse": _add_rehearse,
        "schema": _add_schema,
        "ctl": _add_ctl,
        "migrate": _add_migrate,
        "strategy": _add_strategy,
        "top": _add_top,
    }
    if command in known:
        known[command](commands)
        return parser
    for add in known.values():
        add(commands)
    _add_help(commands, parser)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - has no other name


def _add_run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run the balancer in the foreground",
        description="Run the balancer in the foreground. Logs to stderr. SIGHUP reloads the configuration. SIGTERM and "
        "SIGINT stop gracefully: open connections may finish within process.stop_timeout. A second signal stops at "
        "once.",
    )
    add_config(run)
    run.add_argument(
        "--watch",
        action="store_true",
        help="reload when a file of the configuration has changed, as process.watch does",
    )
    run.set_defaults(command=_run)


def _add_check(commands: Commands) -> None:
    check = commands.add_parser(
        "check",
        help="validate a configuration",
        description="Validate a configuration and print a summary of it. Opens no socket. Exit code 0 if it is valid, "
        "else 2 with all errors on stderr, one per line. Warns on stderr of what is hardly intended.",
    )
    add_config(check)
    check.add_argument("--strict", action="store_true", help="exit code 2 for warnings, too")
    check.add_argument("--resolve", action="store_true", help="look names up, and warn of those that do not resolve")
    check.set_defaults(command=_check)


def _add_diff(commands: Commands) -> None:
    diff = commands.add_parser(
        "diff",
        help="show what a reload would change",
        description="Show the changes that a reload from FILE to NEW would make, one per line. For pools with a hash "
        "strategy, also show the share of clients that would move to another server. With --cluster, show which nodes "
        "of the cluster have applied FILE.",
    )
    diff.add_argument("--exit-code", action="store_true", help="exit with 1 if anything differs")
    diff.add_argument(
        "--cluster",
        action="store_true",
        help="compare FILE with what the nodes run, of the cluster that its [admin] is in",
    )
    add_config(diff)
    diff.add_argument("other", type=Path, nargs="?", metavar="NEW", help="the file to compare it with")
    diff.set_defaults(command=_diff, admin=None, token_file=None)


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="demonstrate failover",
        description="Run small servers, a balancer in front of them and a light load, with a live view. Kill a server "
        "and watch the failover: no session or request fails. Or run a forward proxy, and see what it refuses; or a "
        "live stream, and watch it. Exit code 1 if anything failed.",
    )
    demo.add_argument(
        "kind",
        nargs="?",
        choices=("tcp", "http", "cache", "forward", "live"),
        default="tcp",
        help="connections (the default), two web sites, a cache in front of a slow server, a forward proxy, "
        "or a live stream",
    )
    demo.add_argument(
        "--seconds", type=float, metavar="N", help="stop after N seconds; kill and restart a server meanwhile"
    )
    demo.set_defaults(command=_demo)


def _add_explain(commands: Commands) -> None:
    explain = commands.add_parser(
        "explain",
        help="show which server a client or a request gets, and why",
        description="Show which server a client or a request gets, and why the others are not chosen. Without "
        "--running and --admin, compute it from the configuration file alone; with them, ask the running balancer.",
    )
    add_explain(explain)
    explain.set_defaults(command=_explain)


def _add_rehearse(commands: Commands) -> None:
    rehearse = commands.add_parser(
        "rehearse",
        help="simulate failures without a network",
        description="Simulate failures under a configuration: the balancer's own code runs with simulated clients, "
        "servers and time. Opens no socket. Exit code 1 if an expectation is not met.",
    )
    add_config(rehearse)
    rehearse.add_argument(
        "other", type=Path, metavar="SCENARIO", help="scenario with clients, servers and faults (TOML)"
    )
    rehearse.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="EXPRESSION",
        help="condition on the result, for example 'failed == 0'; may be repeated",
    )
    rehearse.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report with charts to FILE")
    rehearse.add_argument("--nodes", type=int, metavar="N", help="rehearse N equal balancers, lb1 to lbN")
    rehearse.add_argument("--seed", type=int, metavar="N", help="use this random seed instead of the scenario's")
    rehearse.add_argument("--json", action="store_true", help="print JSON")
    rehearse.set_defaults(command=_rehearse)


def _add_schema(commands: Commands) -> None:
    schema = commands.add_parser(
        "schema",
        help="print a JSON Schema of the configuration",
        description="Print a JSON Schema (draft-07) of lb.toml, for editors and for checks without trio-lb: its keys, "
        "what they mean, and what they take. It knows the strategies, probes and modes that are installed.",
    )
    schema.set_defaults(command=_schema)


def _add_ctl(commands: Commands) -> None:
    ctl = commands.add_parser(
        "ctl",
        help="inspect and control a running balancer",
        description="Inspect and control a running balancer over its admin endpoint. See also `lb ctl COMMAND --help`.",
    )
    add_ctl(ctl)
    ctl.set_defaults(command=_ctl)


def _add_migrate(commands: Commands) -> None:
    from lb.tools.migrate.formats import FORMATS

    migrate = commands.add_parser(
        "migrate",
        help="translate the configuration of another program",
        description="Print the configuration of another program as lb.toml, with a comment at each directive that has "
        "no counterpart, and a summary on stderr. Exit code 0 if it is complete, 3 with gaps, 2 if the file cannot be "
        "read.",
    )
    migrate.add_argument("source", type=Path, nargs="?", metavar="FILE", help="the configuration to translate")
    migrate.add_argument(
        "--from", dest="program", choices=[*FORMATS], help="the program it is of; default: as its name and content say"
    )
    migrate.add_argument(
        "--explain",
        action="store_true",
        help="print what became of each directive, without FILE the keys of all that are known",
    )
    migrate.set_defaults(command=_migrate)


def _add_top(commands: Commands) -> None:
    top = commands.add_parser(
        "top",
        help="show a live view of a running balancer",
        description="Show a live view of a running balancer, over its admin endpoint. Keys drain and enable servers.",
    )
    add_top(top)
    top.set_defaults(command=_top)


def _add_strategy(commands: Commands) -> None:
    strategy = commands.add_parser("strategy", help="list strategies, or test one")
    actions = strategy.add_subparsers(required=True, metavar="COMMAND")
    known = actions.add_parser(
        "list",
        help="list the available strategies",
        description="List the built-in and the installed strategies, with their options.",
    )
    known.set_defaults(command=_strategy_list)
    test = actions.add_parser(
        "test",
        help="test a strategy",
        description="Test a strategy with the calls that a pool makes: whether it obeys the rules, how it distributes "
        "clients, which clients move when a server is removed, and what a pick costs. Exit code 0; 1 if it breaks a "
        "rule; 2 if it cannot be loaded.",
    )
    test.add_argument(
        "name", metavar="NAME", help="name as in the configuration: built-in, installed, or 'module:Name'"
    )
    test.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the strategy, value in TOML; may be repeated",
    )
    test.set_defaults(command=_strategy_test)
    for parser in (known, test):
        parser.add_argument("--json", action="store_true", help="print JSON")


def _add_help(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Add ``lb help`` and ``lb version``, the same as ``--version``, and what completes words for shells."""
    text = commands.add_parser(
        "help",
        help="show the manual",
        description="Show a page of the manual, with man on a terminal, else as plain text. The options of a "
        "command alone: `lb COMMAND --help`.",
    )
    text.add_argument("words", nargs="*", metavar="PAGE", help="a command, lb.toml, events, admin, http, and so on")
    text.add_argument("--write", type=Path, metavar="DIRECTORY", help="write all pages there, for man and for packages")
    text.set_defaults(command=lambda options: _help(parser, options))
    complete = commands.add_parser("complete", help="print what may follow some words, for the completion of shells")
    complete.add_argument("words", nargs="*", metavar="WORD", help="after '--', the words after 'lb' up to the cursor")
    complete.set_defaults(command=_complete)
    version = commands.add_parser("version", help="show the version")
    version.set_defaults(command=lambda _options: parser.parse_args(["--version"]))


def _run(options: argparse.Namespace) -> int:
    from lb.service.init import leave_process_1

    leave_process_1()
    from lb.service.run import run

    return run(config_file(options), watch=options.watch)


def _check(options: argparse.Namespace) -> int:
    from lb.console.check import check_command

    return check_command(config_file(options), strict=options.strict, resolve=options.resolve)


def _diff(options: argparse.Namespace) -> int:
    if options.cluster:
        from lb.console.ctl import diff_cluster

        if options.other is not None:
            raise UsageError(f"lb diff --cluster compares one file with what the nodes run, not with {options.other}")
        return diff_cluster(options)
    return _diff_files(options)


def _diff_files(options: argparse.Namespace) -> int:
    from lb.config.load import ConfigError, load
    from lb.control.plan import plan
    from lb.discovery.sources import with_servers_files

    errors: list[str] = []
    configs = []
    for path in (config_file(options), options.other):
        try:
            configs.append(with_servers_files(load(path)))
        except ConfigError as error:
            errors += error.errors
    if errors:
        return _bad_config(errors)
    steps = plan(*configs)
    print("\n".join(steps.lines()))
    return DIFFERS if options.exit_code and not steps.is_empty else OK


def _demo(options: argparse.Namespace) -> int:
    from lb.tools.demo import demo

    return demo(options.kind, options.seconds)


def _explain(options: argparse.Namespace) -> int:
    from lb.console.explain import explain_command

    return explain_command(options)


def _rehearse(options: argparse.Namespace) -> int:
    from lb.tools.rehearse.main import rehearse

    return rehearse(
        config_file(options),
        options.other,
        nodes=options.nodes,
        seed=options.seed,
        expected=options.expect,
        report=options.report,
        as_json=options.json,
    )


def _schema(_options: argparse.Namespace) -> int:
    import json

    from lb.tools.schema.document import schema

    print(json.dumps(schema(), indent=2))
    return OK


def _ctl(options: argparse.Namespace) -> int:
    if options.action == "completion":
        from lb.console.completion import SCRIPTS

        print(SCRIPTS[options.shell])
        return OK
    from lb.console.ctl import ctl

    if options.cluster and options.action != "status":
        holds = options.action in ("drain", "enable", "weight")
        hint = "; it holds on all nodes anyway" if holds else ""
        raise UsageError(f"--cluster goes with 'status', not with {options.action!r}{hint}")
    return ctl(options)


def _migrate(options: argparse.Namespace) -> int:
    from lb.tools.migrate.main import explain_words, migrate

    if options.source is not None:
        return migrate(options.source, options.program, explain=options.explain)
    if options.explain:
        return explain_words(options.program)
    raise UsageError("lb migrate needs the file to translate, or --explain")


def _help(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from lb.tools.manual.pages import man_pages
    from lb.tools.manual.show import page_of, show_page, write_pages

    if options.write is not None:
        write_pages(parser, options.write)
        return OK
    try:
        page = page_of(options.words, man_pages(parser))
    except LookupError as error:
        raise UsageError(str(error.args[0])) from error
    show_page(page)
    return OK


def _complete(options: argparse.Namespace) -> int:
    from lb.console.completion import names_of_balancer, offered

    parser = _parser()
    found = offered(parser, _with_command(options.words), lambda *asked: names_of_balancer(parser, *asked))
    print("".join(f"{each}\n" for each in found), end="")
    return OK


def _strategy_list(options: argparse.Namespace) -> int:
    import json

    from lb.tools.strategy_kit.command import known, known_text

    entries = known()
    print(json.dumps(entries, default=str) if options.json else known_text(entries))
    return OK


def _strategy_test(options: argparse.Namespace) -> int:
    import json

    from lb.tools.strategy_kit.command import finding_text, findings

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
    from lb.console.top import top

    return top(options)


def _bad_config(errors: Sequence[str]) -> int:
    print("\n".join(errors), file=sys.stderr)
    return BAD_USAGE
