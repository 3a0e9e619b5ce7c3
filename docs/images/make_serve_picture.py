"""Draws docs/images/serve.svg: what `make serve` prints on a terminal when it first starts, from a real run.

`.venv/bin/python docs/images/make_serve_picture.py` draws it anew after the greeting has changed.
"""

import fcntl
import io
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("serve.svg")
COLUMNS = 110
QUIET = 4
"""Seconds without a word after which the greeting is over."""

TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
FONT = "ui-monospace, Menlo, 'DejaVu Sans Mono'"


def greeting() -> str:
    """What a first `milepost serve --demo` writes to its terminal."""
    terminal, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "milepost", "serve", "--demo"],
            cwd=folder,
            env=settings | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        written = b""
        while not written or select.select([terminal], [], [], QUIET)[0]:
            written += os.read(terminal, 65536)
        server.send_signal(signal.SIGTERM)
        server.wait()
    return written.decode().replace("\r\n", "\n")


def draw(text: str) -> None:
    """Draw it. A token is shortened: it is the first thing on the screen and the last that one reads."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), "make serve"))
    for line in text.rstrip().split("\n"):
        whole = shortened(Text.from_ansi(line))
        for part in whole.divide(range(COLUMNS, len(whole), COLUMNS)):  # where a terminal breaks a line
            console.print(part, soft_wrap=True)
    console.print()
    svg = console.export_svg(title="Milepost", unique_id="serve")
    # The font that Rich would fetch from elsewhere: a picture must not call anyone.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", FONT)
    PICTURE.write_text(svg)


def shortened(line: Text) -> Text:
    for match in reversed(list(TOKEN.finditer(line.plain))):
        line = Text.assemble(line[: match.start() + 12], "…", line[match.end() - 6 :])
    return line


if __name__ == "__main__":
    draw(greeting())
