"""Command line of the demo company: `python -m embedded.demo load|serve|advance|load-files`."""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import sys
import time
from pathlib import Path

import botocore.exceptions
import psycopg

from embedded.demo import steps
from embedded.demo.company import ONE_DAY, Company, parse_scale
from embedded.demo.inbox import Inbox, InboxError

EPILOG = """\
environment:
  SHOP_DB_URL            PostgreSQL database of the shop: postgresql://user:password@host:port/shop
  S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
                         object store of the inbox
  DEMO_SEED, DEMO_SCALE, DEMO_END_DATE
                         what `load` makes: any integer; orders (5000, 100k, 1M); last day (YYYY-MM-DD)
  STORE_API_KEY          what `serve` expects in the header X-Api-Key

`eval "$(make -s env)"` sets the addresses and keys of a running stack.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 if it succeeded, 1 if it failed with a reason, which is on standard error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        options.run(options)
    except (steps.DemoError, InboxError) as error:
        print(error, file=sys.stderr)
        return 1
    except psycopg.Error as error:
        reason = str(error).strip()
        print(f"The shop database refused: {reason}. Check SHOP_DB_URL and `make status`.", file=sys.stderr)
        return 1
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        print(f"The object store refused: {error}. Check `make status`.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embedded.demo",
        description="The demo company: a simulated shop with a database, a REST service and an inbox.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    load = commands.add_parser("load", help="fill shop database and inbox up to DEMO_END_DATE; once is enough")
    load.set_defaults(run=_load)
    serve = commands.add_parser("serve", help="run the REST service; adds a day to the shop each day at 00:30 UTC")
    serve.add_argument("--port", type=int, required=True, help="port to listen on")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1; 0.0.0.0 in a container)"
    )
    serve.set_defaults(run=_serve)
    advance = commands.add_parser("advance", help="add the next days to shop database and inbox")
    advance.add_argument("--days", type=int, default=1, metavar="N", help="how many days (default 1)")
    advance.set_defaults(run=_advance)
    files = commands.add_parser("load-files", help="put your own invoice CSVs into the inbox for the generated ones")
    files.add_argument("folder", type=Path, metavar="DIR", help="folder whose *.csv files are taken")
    files.set_defaults(run=_load_files)
    return parser


def _load(options: argparse.Namespace) -> None:
    try:
        company = Company(
            seed=int(_setting("DEMO_SEED")),
            scale=parse_scale(_setting("DEMO_SCALE")),
            end_date=datetime.date.fromisoformat(_setting("DEMO_END_DATE")),
        )
    except ValueError as error:
        raise steps.DemoError(f"DEMO_SEED, DEMO_SCALE or DEMO_END_DATE cannot be used: {error}") from error
    started = time.monotonic()
    if steps.load(_setting("SHOP_DB_URL"), Inbox(), company, _say):
        print(f"loaded in {time.monotonic() - started:.1f} s")  # the rest is progress, on stderr


def _advance(options: argparse.Namespace) -> None:
    if options.days < 1:
        raise steps.DemoError(f"--days {options.days}: write a number from 1.")
    database_url = _setting("SHOP_DB_URL")
    through = steps.last_day(database_url) + ONE_DAY * options.days
    steps.advance(database_url, Inbox(), through, _say)


def _load_files(options: argparse.Namespace) -> None:
    inbox = Inbox()
    put, same, removed = steps.load_files(_setting("SHOP_DB_URL"), inbox, options.folder, _say)
    _say(
        f"{put} files put into the inbox, {same} were there already, {removed} generated files removed; "
        f"the inbox has {len(inbox.keys())} files."
    )
    _say(
        "Rows of generated files that a run has published already stay in the lake: bronze keeps what was received, "
        "so figures over all days have both."
    )


def _serve(options: argparse.Namespace) -> None:
    # Loaded here so that the other commands do not wait for the web server's import.
    from embedded.demo import service

    service.run(options.host, options.port, _setting("SHOP_DB_URL"), Inbox(), _setting("STORE_API_KEY"))


def _setting(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise steps.DemoError(f"{name} is not set. `python -m embedded.demo --help` lists what is needed.")
    return value


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
