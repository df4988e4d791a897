#!/bin/sh
# Makes .venv from a hash-pinned lock, bytecode compiled, with the `rowhouse` command in it. Usage: setup.sh LOCKFILE
# uv installs (seconds instead of minutes); where its package cannot be had, pip does the same job.
set -eu
cd "$(dirname "$0")/.."
lock=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Rowhouse needs Python 3.11 to 3.13; set PYTHON to one. This is " + sys.version.split()[0] + ".")'
[ -x .venv/bin/python ] || { echo "setup: making .venv" >&2; "$python" -m venv .venv; }
say() { echo "setup: $*" >&2; }
if [ ! -x .venv/bin/uv ]; then
  say "installing the installer"
  .venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt || say "no uv here; pip takes over, which takes minutes"
fi
say "installing from $lock"
if [ -x .venv/bin/uv ]; then
  VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --require-hashes --compile-bytecode -r "$lock"
  VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --no-build-isolation --no-deps -e .
else
  .venv/bin/pip install -q --disable-pip-version-check --require-hashes -r "$lock"
  .venv/bin/pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
fi
say "done"
