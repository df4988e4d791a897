#!/usr/bin/env bash
# Runs the gateway and cloudflared; when either ends, both end, and the machine's restart policy brings them back.
set -euo pipefail
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
