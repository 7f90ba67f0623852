"""Measures a page in headless Chromium, where there is one."""

import html
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

# Loads the page in a frame of a given width, measures it with its details closed and open, and writes what it finds.
# The contrast is that of WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.
_WRAPPER = """<!doctype html><html><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>
<body><script>
const found = {errors: [], light: {}, dark: {}};
window.addEventListener("error", event => found.errors.push(String(event.message)));
const parse = color => color.match(/[\\d.]+/g).map(Number);
function linear(c) { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
function behind(element, view) {
  for (let e = element; e; e = e.parentElement) {
    const color = parse(view.getComputedStyle(e).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
}
function measure(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const inside = e => e.closest(".scroll") === null && e.closest("svg") === null;
  const wide = [...page.body.querySelectorAll("*")].filter(
    e => inside(e) && e.getBoundingClientRect().right > root.clientWidth + 0.5 && e.getClientRects().length);
  let contrast = 99, least = "", small = 99;
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.getClientRects().length || e.closest("svg")) continue;
    const style = view.getComputedStyle(e), a = light(parse(style.color)), b = light(behind(e, view));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < contrast) { contrast = ratio; least = e.outerHTML.slice(0, 120); }
    small = Math.min(small, parseFloat(style.fontSize));
  }
  const empty = [...page.querySelectorAll("svg")].filter(
    e => e.getClientRects().length && (e.getBoundingClientRect().width < 10 || e.getBoundingClientRect().height < 5));
  return {overflow: root.scrollWidth - root.clientWidth, wide: wide.map(e => e.outerHTML.slice(0, 120)), contrast, least,
    small, empty: empty.length, page: view.getComputedStyle(page.body).backgroundColor};
}
function jumps(frame) {
  const page = frame.contentDocument;
  return [...page.querySelectorAll("a")].filter(a => {
    const target = page.getElementById(a.hash.slice(1));
    if (target === null) return true;
    target.scrollIntoView();
    return target.getClientRects().length === 0;
  }).length;
}
async function load(width, theme) {
  const frame = document.createElement("iframe");
  // What a frame holds prefers the color scheme of the frame.
  frame.style = `width:${width}px;height:800px;border:0;color-scheme:${theme}`;
  const loaded = new Promise(resolve => frame.onload = resolve);
  frame.srcdoc = PAGE;
  document.body.append(frame);
  await loaded;
  frame.contentWindow.addEventListener("error", event => found.errors.push(String(event.message)));
  const closed = measure(frame), broken = jumps(frame);
  for (const each of frame.contentDocument.querySelectorAll("details")) each.open = true;
  found[theme][width] = {closed, open: measure(frame), broken};
}
(async () => {
  for (const width of WIDTHS) for (const theme of ["light", "dark"]) await load(width, theme);
  const shown = document.createElement("pre");
  shown.id = "found";
  shown.textContent = JSON.stringify(found);
  document.body.replaceChildren(shown);
})();
</script></body></html>"""


@cache
def chromium() -> str | None:
    """Return the path of Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = chromium()
    assert program is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command = [program, *flags, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def measured(page: str, folder: Path, widths: list[int]) -> dict[str, Any]:
    """Load a page at some widths in a light and a dark theme; return what each shows, and the errors of the console."""
    script = _WRAPPER.replace("PAGE", json.dumps(page).replace("</", "<\\/")).replace("WIDTHS", json.dumps(widths))
    wrapper = folder / "wrapper.html"
    wrapper.write_text(script)
    done = _run(folder, "--virtual-time-budget=20000", "--dump-dom", wrapper.as_uri())
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(html.unescape(match[1]))
    found["errors"] += re.findall(r"CONSOLE.*", done.stderr)
    return found


def printed(page: str, folder: Path) -> bytes:
    """Print a page to a PDF, on a system of a dark theme."""
    source, target = folder / "page.html", folder / "page.pdf"
    source.write_text(page)
    dark = "--blink-settings=preferredColorScheme=0"
    _run(folder, dark, "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri())
    return target.read_bytes()
