"""Takes docs/report.png, the picture of a report of GPT-2, with headless Chromium; `make picture`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from torchinit import cli

_REPORT = ["report", "hf:gpt2", "--input", "2x16:1000"]
_WIDTH, _HEIGHT = 1120, 2000
# The picture shows the report's head, four histograms and the signal.
_STYLE = """<style>main{padding:1.25rem}nav,footer,section:has(>#marked,>#meant,>#overwritten,>#memory),.panel:nth-child(n+5),
.panels~*{display:none}h2{margin-top:2rem}</style></head>"""


def save_trimmed(path: Path, target: Path) -> None:
    """Save a picture without the blank rows at its end, but for a margin."""
    picture = Image.open(path).convert("RGB")
    blank = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))
    box = ImageChops.difference(picture, blank).getbbox()
    last = picture.height if box is None else min(box[3] + 20, picture.height)
    picture.crop((0, 0, picture.width, last)).save(target, optimize=True)


def main(target: Path) -> int:
    """Write the picture; return 1 without Chromium."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.stderr.write("tools.docs.screenshot: needs Chromium or Chrome, got neither\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder, "page.html"), Path(folder, "page.png")
        if cli.main([*_REPORT, "-o", str(page)]):
            return 1
        page.write_text(page.read_text().replace("</head>", _STYLE, 1))
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        flags += [f"--window-size={_WIDTH},{_HEIGHT}", "--blink-settings=preferredColorScheme=1"]
        command = [browser, *flags, f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        save_trimmed(picture, target)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path("docs", "report.png")))
