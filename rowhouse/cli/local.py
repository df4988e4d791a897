"""demo and localcloud: everything on this machine, without an account."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rowhouse.cli.local_folder import DEFAULT, LocalFolder
from rowhouse.cli.output import EXIT_INTERRUPTED, JsonOption, emit, handled
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root

if TYPE_CHECKING:
    from rowhouse.localcloud.cloud import LocalCloud

__all__ = ["demo", "localcloud"]


@handled
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it up at the end and print what to open in a browser.")] = False,
) -> None:
    """Run the whole way on the local cloud: files to gated, billed instances, and a small life with them."""
    from rowhouse.demo.show import run

    raise typer.Exit(asyncio.run(run(find_root(Path(__file__).resolve()), keep=keep)))


@handled
def localcloud(
    directory: Annotated[
        Path | None, typer.Option("--dir", help=f"Where machines keep their volumes and logs; {DEFAULT} of the project.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the vendors' stand-ins on this machine until stopped; prints where to look and what to type next."""
    folder = LocalFolder(directory or find_root(Path.cwd()) / DEFAULT)
    with folder.held():
        try:
            asyncio.run(_serve(folder, as_json=as_json))
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None


async def _serve(folder: LocalFolder, *, as_json: bool) -> None:
    from rowhouse.localcloud.cloud import LocalCloud

    async def run(ports: dict[str, int]) -> None:
        cloud = LocalCloud(folder.path, ports=ports)
        cloud.stop_on_signals()
        async with cloud:
            folder.remember(cloud.env, cloud.ports)
            _announce(folder, cloud, as_json=as_json)
            await cloud.stop_requested.wait()
            folder.forget()  # before machines end, which takes a moment

    try:
        await run(folder.ports())
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        await run({})


def _announce(folder: LocalFolder, cloud: LocalCloud, *, as_json: bool) -> None:
    if as_json:
        emit({"pid": os.getpid(), "env_file": str(folder.env_file), "env": cloud.env, "urls": cloud.urls})
        return
    remembers = _remembers()
    typer.echo(
        f"The local cloud runs: stand-ins of Fly, Cloudflare and Stripe on this machine (process {os.getpid()}).\n"
        f"  login codes arrive at    {cloud.urls['mailbox']}\n"
        f"  what it does, its clock  {cloud.urls['control']}\n"
        f"  stop it                  Ctrl-C, or kill {os.getpid()}\n"
        + ("It begins empty, and there is a state from an earlier time: --refresh makes everything anew.\n" if remembers else "")
        + f"Next, in another terminal: {folder.load} && rowhouse up{' --refresh' if remembers else ''}"
    )


def _remembers() -> bool:
    """Whether the project has a state of an earlier time; the stand-ins begin empty."""
    try:
        root = find_root(Path.cwd())
    except EnvironmentProblemError:  # with --dir it runs anywhere
        return False
    return any(root.glob(".rowhouse/state/*/*"))
