#!/bin/sh
# A new volume belongs to root: it is handed over, and the notebook itself does not run as root.
set -eu
mkdir -p "$DATA_DIR" && chown -R notebook:notebook "$DATA_DIR"
exec setpriv --reuid=notebook --regid=notebook --init-groups env HOME=/home/notebook python /app/app.py
