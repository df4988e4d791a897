#!/usr/bin/env bash
# Runs the gateway and cloudflared; when either ends, both end, and the machine's restart policy brings them back.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
  # A new volume belongs to root; the gateway does not run as root.
  mkdir -p /data/routes && chown -R gateway:gateway /data
  exec setpriv --reuid=gateway --regid=gateway --init-groups env HOME=/home/gateway bash "$0"
fi
python -m rowhouse.edge &
gateway=$!
cloudflared tunnel --no-autoupdate run &  # reads TUNNEL_TOKEN from the environment
tunnel=$!
trap 'kill -TERM "$gateway" "$tunnel" 2>/dev/null || true' TERM INT
status=0
wait -n || status=$?
kill -TERM "$gateway" "$tunnel" 2>/dev/null || true
wait || true
exit "$status"
