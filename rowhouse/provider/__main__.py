"""The plugin's process: `python -m rowhouse.provider [options] <engine address>`."""

from __future__ import annotations

import asyncio
import sys

from rowhouse.provider.plugin import Rowhouse
from rowhouse.wire.serving import serve


async def main(argv: list[str]) -> None:
    """Serve until the engine is done or gone."""
    await serve(Rowhouse(), argv)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
