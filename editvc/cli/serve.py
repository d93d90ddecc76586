"""``serve``: an endpoint at which revisions are tried side by side."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading

import click

from editvc.cli.completers import revisions
from editvc.cli.options import compute_options, examples, open_with_base
from editvc.cli.output import note, say


@click.command(epilog=examples("editvc serve main base --port 8080"))
@click.argument("revisions", nargs=-1, metavar="[REV]...", shell_complete=revisions)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
    help="The port; 0 for any that is free.",
)  # fmt: skip
@click.option(
    "--allow-remote", is_flag=True,
    help="Listen beyond this machine. Whoever reaches the port can ask: there is no password.",
)  # fmt: skip
@click.option(
    "--queue", "room", type=click.IntRange(1), default=16, show_default=True, metavar="N",
    help="Requests that may wait; more are told to come again (503).",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=120, show_default=True,
    metavar="SECONDS", help="How long a request may wait and be answered.",
)  # fmt: skip
@compute_options
@click.pass_context
def serve(
    ctx: click.Context,
    revisions: tuple[str, ...],
    host: str,
    port: int,
    allow_remote: bool,
    room: int,
    timeout: float,
) -> None:
    """Answer clients of OpenAI's interface, each with the revision that it names as its model.

    Without REV any revision is answered for. There is one model in memory, and requests are
    answered one after the other, greedily.
    """
    local = _is_local(host)
    if not local and not allow_remote:
        raise click.UsageError(
            f"--host {host} is beyond this machine, and whoever reaches it could ask: say "
            "--allow-remote"
        )
    repo = open_with_base(ctx)
    stop = threading.Event()
    with _listening(host, port) as listener, _until_told(stop):
        place = f"{host}:{listener.getsockname()[1]}"
        say(f"http://{place}/v1")
        note(f"Serving {', '.join(revisions) or 'every revision'}; Ctrl-C ends.")
        repo.serve(
            listener, revisions, room=room, seconds=timeout, stop=stop,
            hosts=["localhost", "127.0.0.1", "[::1]", host] if local else ["*"],
        )  # fmt: skip


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise click.UsageError(
            f"cannot listen at {host}:{port}: {error.strerror or error}"
        ) from error


class _until_told:
    """SIGINT and SIGTERM set an event while the block runs."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop

    def __enter__(self) -> None:
        self.before = {
            one: signal.signal(one, lambda *_: self.stop.set())
            for one in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *_: object) -> None:
        for one, handler in self.before.items():
            signal.signal(one, handler)
