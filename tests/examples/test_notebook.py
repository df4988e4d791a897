"""The sample notebook's page: what a browser sends from it arrives."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

APP = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "app.py"


class Tags(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {"HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": str(tmp_path_factory.mktemp("notes"))}
    process = subprocess.Popen([sys.executable, "-I", "-S", str(APP)], env=env, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            for _ in range(250):
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
            yield client
    finally:
        process.terminate()
        process.wait(10)


def test_what_each_button_of_the_page_sends_to_is_served(notebook: httpx.Client) -> None:
    tags = Tags(notebook.get("/").text)
    (form,) = tags.all("form")
    targets = [button.get("formaction") or form["action"] for button in tags.all("button")]
    assert targets == ["/notes", "/generate"]
    for target in targets:
        answer = notebook.post(str(target), data={"text": "hello"}, headers={"Accept": "application/json"})
        assert answer.status_code == 201, target
        assert answer.json()["text"]


def test_the_script_sends_to_the_buttons_own_attribute_and_says_when_a_note_was_not_saved(notebook: httpx.Client) -> None:
    page = notebook.get("/").text
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    # The property of a button without the attribute is the address of the page, where nothing takes a note.
    assert not re.search(r"(?:submitter|form)\.(?:formAction|action)\b", script)
    assert 'submitter.getAttribute("formaction")' in script
    assert 'form.getAttribute("action")' in script
    assert [one.get("role") for one in Tags(page).all("p") if one.get("id") == "trouble"] == ["alert"]
    assert "answer.ok" in script
    assert "trouble.textContent" in script


def test_a_page_loads_without_asking_for_anything_that_is_not_there(notebook: httpx.Client) -> None:
    tags = Tags(notebook.get("/").text)
    assert [link["href"] for link in tags.all("link") if link.get("rel") == "icon"] == ["data:,"]
    assert not [tag for tag, attributes in tags.found if "src" in attributes]
