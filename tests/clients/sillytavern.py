"""SillyTavern in a browser: the program as npm has it, driven as a person drives it.

What a person would click stands in the page; where that is brittle (a slider, a menu in a menu),
the same is done by SillyTavern's own slash commands, or in its live settings.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from graph.settings import ROOT
from tests.support import free_port

PACKAGE = ROOT / ".venv" / "sillytavern" / "node_modules" / "sillytavern"
USER = "Robin Ashby"

AS_SHIPPED: dict[str, Any] = {
    "names_behavior": 0,
    "custom_prompt_post_processing": "",
    "continue_prefill": False,
    "stream_openai": True,
    "custom_include_body": "",
    "custom_model": "iyagi",
}
"""Its settings of a chat completion that the tests change."""


def what_is_missing() -> str:
    """Why SillyTavern cannot be driven here; empty if it can."""
    if not ((shutil.which("chromium") or shutil.which("google-chrome"))
            and shutil.which("chromedriver")):  # fmt: skip
        return "no Chromium with its driver here; on Debian: apt install chromium chromium-driver"
    if not shutil.which("node"):
        return "no Node here; SillyTavern needs version 20"
    if not PACKAGE.is_dir():
        return "no SillyTavern here; run tests/clients/install_sillytavern.sh"
    return ""


class Refused(Exception):
    """What the page says no to."""


class Tavern:
    """The browser on SillyTavern."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self._driver, self._url = driver, url

    def open(self) -> None:
        """(Re)loads it, and waits until it is connected to the server."""
        self._driver.get(self._url)
        self.until(lambda: self._js("return !!globalThis.SillyTavern && !!document.body"))
        self.until(lambda: not self.all("#preloader"))
        self.until(self.is_connected)

    def is_connected(self) -> bool:
        return bool(self._of_context("onlineStatus") != "no_connection")

    def until(self, holds: Callable[[], Any], within: float = 60) -> Any:
        return WebDriverWait(self._driver, within, poll_frequency=0.05).until(lambda _: holds())

    def one(self, css: str) -> Any:
        return self._driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[Any]:
        return list(self._driver.find_elements(By.CSS_SELECTOR, css))

    def picture(self, path: Path) -> None:
        self._driver.save_screenshot(str(path))

    def _js(self, code: str, *values: Any) -> Any:
        return self._driver.execute_script(code, *values)

    def _of_context(self, code: str, *values: Any) -> Any:
        return self._js(f"return SillyTavern.getContext().{code}", *values)

    def _wait_for(self, promise: str, value: Any) -> Any:
        """What a promise of `value` becomes."""
        result = self._driver.execute_async_script(
            f"""
            const [value, done] = arguments;
            {promise}.then(is => done({{is: is ?? null}}), error => done({{no: String(error)}}));
            """,
            value,
        )
        if "no" in result:
            raise Refused(result["no"])
        return result["is"]

    def command(self, line: str) -> str:
        """Runs a slash command; what it hands on."""
        run = "SillyTavern.getContext().executeSlashCommandsWithOptions(value)"
        return str(self._wait_for(f"{run}.then(result => result?.pipe)", line) or "")

    def set(self, **settings: Any) -> None:
        """Settings of a chat completion, by their names in its presets."""
        self._js(
            "Object.assign(SillyTavern.getContext().chatCompletionSettings, arguments[0])", settings
        )

    # Characters and chats.

    def bring(self, card: Path, name: str) -> None:
        """Imports a card and its lorebook, answering what SillyTavern asks."""
        self.one("#character_import_file").send_keys(str(card))
        self._answer("Import Tags")
        self.command(f"/go {name}")
        self._answer("embedded World/Lorebook")
        self.until(lambda: name in self._of_context("getWorldInfoNames()"))
        # As "Link to World Info" in its menu: of itself it links the book with the next edit.
        self._wait_for(
            "import('/scripts/world-info.js').then(world => world.charUpdatePrimaryWorld(value))",
            name,
        )
        self.until(
            lambda: self._of_context(
                "characters.some(one => one.data?.extensions?.world === arguments[0])", name
            )
        )

    def _answer(self, question: str) -> None:
        """Clicks a dialog's first button."""
        dialog = "[...document.querySelectorAll('dialog[open]')].find(dialog =>"
        dialog += " dialog.innerText.includes(arguments[0]))"
        self.until(lambda: self._js(f"return !!{dialog}", question))
        self._js(f"{dialog}.querySelector('.popup-button-ok').click()", question)
        self.until(lambda: not self._js(f"return !!{dialog}", question))

    def go(self, name: str) -> None:
        """A new chat with a character or a group."""
        self.until(lambda: self._does(f"/go {name}") and self._is_with(name))
        self.until(lambda: self._does("/newchat") and self._has_begun_anew())

    def _does(self, line: str) -> bool:
        """Whether a slash command goes through: none does while SillyTavern saves a chat."""
        with suppress(Refused):
            self.command(line)
            return True
        return False

    def _is_with(self, name: str) -> bool:
        found = self._js(
            "const {groupId, groups, characterId, characters} = SillyTavern.getContext();"
            "const group = groups.find(group => group.id === groupId);"
            "return (group ?? characters[characterId])?.name"
        )
        return bool(found == name)

    def _has_begun_anew(self) -> bool:
        said_by_a_person = self._of_context("chat.map(message => message.is_user)")
        return bool(said_by_a_person) and not any(said_by_a_person)

    def make_group(self, name: str, *members: str) -> None:
        """A group whose members answer each message in this order; it is there after `open`."""
        group = {
            **{"name": name, "chat_id": name, "chats": [name], "chat_metadata": {}},
            **{"activation_strategy": 1, "generation_mode": 0, "disabled_members": []},
            "members": [
                self._of_context("characters.find(one => one.name === arguments[0]).avatar", member)
                for member in members
            ],
        }
        self._wait_for(
            """
            fetch("/api/groups/create", {
                method: "POST",
                headers: SillyTavern.getContext().getRequestHeaders(),
                body: JSON.stringify(value),
            }).then(answer => answer.status)
            """,
            group,
        )

    def messages(self) -> list[tuple[str, str]]:
        """What stands in the chat: who, and what."""
        found = self._of_context("chat.map(message => [message.name, message.mes])")
        return [(name, text) for name, text in found]

    def shown(self) -> list[tuple[str, str]]:
        """The same as a person sees it, without its markup."""
        found = self._js(
            "return [...document.querySelectorAll('#chat .mes')].map(message =>"
            " [message.getAttribute('ch_name'),"
            "  message.querySelector('.mes_text').innerText.trim()])"
        )
        return [(name, text) for name, text in found]

    # Turns.

    def type(self, message: str) -> None:
        box = self.one("#send_textarea")
        box.clear()
        box.send_keys(message)
        self.until(lambda: self.box() == message)

    def box(self) -> str:
        return str(self.one("#send_textarea").get_attribute("value"))

    def send(self, message: str) -> None:
        """Types it and presses Enter."""
        self.type(message)
        self.one("#send_textarea").send_keys(Keys.ENTER)

    def choose(self, option: str) -> None:
        """An entry of the menu beside the input box."""
        self.one("#options_button").click()
        entry = self.one(f"#option_{option}")
        self.until(entry.is_displayed)
        entry.click()

    def swipe(self) -> None:
        """The arrow beside the last message; it does nothing while an older swipe is shown."""
        self.until(lambda: self._of_context("swipe.isAllowed()"))
        self._js("document.querySelector('#chat .last_mes .swipe_right').click()")

    def stop(self) -> None:
        button = self.one("#mes_stop")
        self.until(button.is_displayed)
        button.click()

    def is_writing(self) -> bool:
        """Whether it waits for a reply, or for the next one of a group, or still shows a swipe: a
        chat that is left in the middle of one takes no message until the page is loaded anew."""
        writes = "const at = document.body.dataset; return 'generating' in at || 'swiping' in at"
        return bool(self._js(writes)) or bool(self.one("#mes_stop").is_displayed())

    def warnings(self) -> list[str]:
        """What it says in the corner of the page."""
        bad = "#toast-container :is(.toast-error, .toast-warning)"
        return list(
            self._js(
                "return [...document.querySelectorAll(arguments[0])].map(t => t.innerText)", bad
            )
        )

    def clear_warnings(self) -> None:
        self._js("globalThis.toastr.clear()")
        self._js("document.querySelectorAll('#toast-container .toast').forEach(t => t.remove())")

    def offered_models(self) -> list[str]:
        """What it found in the server's list of models."""
        found = self._js(
            "return [...document.querySelectorAll('#model_custom_select option')]"
            ".map(option => option.value)"
        )
        return [name for name in found if name]


def _settings(api: str) -> dict[str, Any]:
    """Its own settings, connected to the server."""
    shipped = PACKAGE / "default" / "content" / "settings.json"
    settings: dict[str, Any] = json.loads(shipped.read_text(encoding="utf-8"))
    settings |= {"firstRun": False, "main_api": "openai", "username": USER}
    settings["power_user"]["auto_connect"] = True
    # Summaries by the same model, and only when they are asked for.
    summary = {"source": "main", "promptInterval": 0, "promptForceWords": 0}
    settings.setdefault("extension_settings", {})["memory"] = summary
    settings["oai_settings"] |= {
        **AS_SHIPPED,
        "chat_completion_source": "custom",
        "custom_url": api,
        "openai_max_context": 8192,
        "max_context_unlocked": True,
    }
    return settings


@contextmanager
def open_tavern(home: Path, api: str) -> Iterator[Tavern]:
    """Starts SillyTavern for the server at `api`, and a browser; ends them."""
    user = home / "data" / "default-user"
    user.mkdir(parents=True)
    (user / "settings.json").write_text(json.dumps(_settings(api)), encoding="utf-8")
    # A second browser window is what this guards against; here, chats that change fast set it off.
    config = "backups:\n  chat:\n    checkIntegrity: false\n"
    (home / "config.yaml").write_text(config, encoding="utf-8")
    port = free_port()
    with (home / "tavern.log").open("wb") as log:
        process = subprocess.Popen(
            ["node", "server.js", "--port", str(port), "--dataRoot", str(home / "data"),
             "--configPath", str(home / "config.yaml"), "--disableCsrf",
             "--browserLaunchEnabled", "false"],
            cwd=PACKAGE,  # where it keeps what it has compiled
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/"
        _until_up(url, process, home / "tavern.log")
        driver = _browser(home)
        try:
            tavern = Tavern(driver, url)
            tavern.open()
            yield tavern
        finally:
            driver.quit()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for the server; its first start compiles the page, which takes a minute."""
    end = time.monotonic() + 300
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=10).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(log.read_text(encoding="utf-8", errors="replace"))
        time.sleep(0.1)


def _browser(home: Path) -> Chrome:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("disable-dev-shm-usage", f"user-data-dir={home / 'browser'}", "window-size=1200,900"),
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{flag}")
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    return driver
