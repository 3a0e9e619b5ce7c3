"""A real browser for the tests: Chromium, found or installed, driven by Playwright.

`python -m tests.browser ensure` finds or installs it ahead of a test run. `MILEPOST_TEST_BROWSER=/path/to/chromium`
names one to use instead.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

EXTERNAL = "MILEPOST_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ON_A_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


class BrowserError(Exception):
    """No browser could be had; the message says what to do."""


def ensure() -> Path:
    """The browser's program, installed first where there is none.

    Raises:
        BrowserError: there is none and none could be installed; the message has the command to run.
    """
    found = installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stderr.write("Installing Chromium with apt-get.\n")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
            subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=False)
        found = installed()
    if found is None:
        command_to_run = "brew install --cask chromium" if sys.platform == "darwin" else "sudo apt-get install chromium"
        raise BrowserError(f"The tests need Chromium. Run: {command_to_run}")
    return found


def installed() -> Path | None:
    """The program of an installed browser."""
    named = os.environ.get(EXTERNAL)
    paths = [named] if named else [shutil.which(name) for name in NAMES]
    return next((Path(path) for path in paths if path), ON_A_MAC if ON_A_MAC.exists() else None)


@contextmanager
def running() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        # Chromium refuses to put its processes into a sandbox for the superuser; the pages are the tests' own.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=ensure(), args=options)
        yield browser
        browser.close()


def main() -> None:
    """The command `python -m tests.browser ensure`."""
    if sys.argv[1:] != ["ensure"]:
        sys.exit("usage: python -m tests.browser ensure")
    try:
        where = ensure()
    except BrowserError as error:
        sys.exit(str(error))
    sys.stdout.write(f"Browser for the tests: {where}\n")


if __name__ == "__main__":
    main()
