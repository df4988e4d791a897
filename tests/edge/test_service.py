"""The process itself: ready line, SIGTERM, wrong settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rowhouse.edge.settings import GatewayError, Settings


def test_a_process_says_that_it_is_ready_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "ROWHOUSE_STORE_URL": (tmp_path / "s").as_uri(),
        "ROWHOUSE_ACCESS_ISSUER": "http://127.0.0.1:9",
        "ROWHOUSE_GATEWAY_PORT": "0",
    }
    with subprocess.Popen([sys.executable, "-m", "rowhouse.edge"], env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "gateway ready http://127.0.0.1:" in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(10) == 0
        assert "gateway ended" in rest


@pytest.mark.parametrize(
    "env", [{}, {"ROWHOUSE_ACCESS_ISSUER": "team"}, {"ROWHOUSE_ACCESS_ISSUER": "https://t.example", "ROWHOUSE_GATEWAY_PORT": "x"}]
)
def test_wrong_settings_are_named(env: dict[str, str]) -> None:
    with pytest.raises(GatewayError, match="ROWHOUSE_"):
        Settings.from_env(env)
