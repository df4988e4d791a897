#!/bin/sh
# Makes .venv from a hash-pinned lock, bytecode compiled, with the `rowhouse` command in it. Usage: setup.sh LOCKFILE
# uv installs (seconds instead of minutes); where it cannot, pip does the same job.
set -eu
cd "$(dirname "$0")/.."
lock=$1
python=${PYTHON:-python3}
say() { echo "setup: $*" >&2; }
"$python" -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Rowhouse needs Python 3.11 to 3.13; set PYTHON to one. This is " + sys.version.split()[0] + ".")'
[ -x .venv/bin/python ] || { say "making .venv"; "$python" -m venv .venv; }
export VIRTUAL_ENV="$PWD/.venv"
pip() { .venv/bin/python -m pip install -q --disable-pip-version-check "$@"; }
with_uv() {
  .venv/bin/uv "$@" pip install -q --require-hashes --compile-bytecode -r "$lock" &&
    .venv/bin/uv "$@" pip install -q --no-build-isolation --no-deps -e .
}
if [ ! -x .venv/bin/uv ]; then
  say "installing the installer"
  pip --require-hashes -r requirements-uv.txt || say "no uv here"
fi
say "installing from $lock"
# Some networks have certificates that only the system knows: uv's own list is tried first, because it is there everywhere.
if [ -x .venv/bin/uv ] && { with_uv 2>.venv/uv.log || with_uv --system-certs 2>>.venv/uv.log; }; then
  :
else
  say "pip takes over, which takes minutes (.venv/uv.log tells why)"
  pip --require-hashes -r "$lock"
  pip --no-build-isolation --no-deps -e .
fi
say "done"
