"""demo and localcloud: everything on this machine, without an account."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.output import handled
from rowhouse.cli.surroundings import find_root

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
    directory: Annotated[Path, typer.Option("--dir", help="Where machines keep their volumes and logs.")] = Path(".rowhouse/localcloud"),
) -> None:
    """Run the vendors' stand-ins on loopback until interrupted; prints the variables that lead `rowhouse` to them."""
    from rowhouse.localcloud.cloud import LocalCloud

    def announce(env: dict[str, str]) -> None:
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(env.items()))
        path = directory / "env"
        path.touch(mode=0o600)
        path.write_text(text)
        typer.echo(text, nl=False)
        typer.echo(f"# In another terminal: . {path} && rowhouse up", err=True)
        if any(Path(".rowhouse/state").glob("*/*")):
            # The stand-ins begin empty; the state remembers those of the last time.
            typer.echo("# There is a state from an earlier time: `rowhouse up --refresh` sees what is no longer there.", err=True)

    async def serve() -> None:
        async with LocalCloud(directory.resolve()) as cloud:
            announce(cloud.env)
            await asyncio.Event().wait()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
