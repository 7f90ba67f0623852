"""The only code that writes files: a writer, and a checker with the same interface."""

import difflib
from pathlib import Path

from tools.files import write_whole


class Writer:
    """Writes each rendered file whole, or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.messages: list[str] = []

    def put(self, path: str, text: str) -> None:
        target = self.root / path
        if target.exists() and target.read_text() == text:
            return
        write_whole(target, text)
        self.messages.append(f"wrote {path}\n")

    @property
    def failed(self) -> bool:
        return False


class Checker(Writer):
    """Records how each file on disk differs from its rendering."""

    def put(self, path: str, text: str) -> None:
        target = self.root / path
        current = target.read_text() if target.exists() else ""
        diff = difflib.unified_diff(
            current.splitlines(keepends=True), text.splitlines(keepends=True), path, f"{path} (rendered)"
        )
        self.messages.extend(diff)

    @property
    def failed(self) -> bool:
        return bool(self.messages)
