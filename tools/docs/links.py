"""Links the names of functions in a page's text to the reference, so that the pages themselves need not."""

import posixpath
import re
from collections.abc import Mapping

# A name in backticks, with or without arguments, that is no link already and no argument's name in a list.
_NAME = re.compile(r"(?<![\[`*])`(?:torchinit\.)?((?:keyed\.)?\w+)(?:\([^`\n]*\))?`(?![\]`])")


def link(text: str, page: str, targets: Mapping[str, str]) -> str:
    """Link each name but in headings, in code blocks and on the name's own page."""
    lines, fenced = [], False
    for line in text.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        lines.append(line if fenced or line.startswith("#") else _linked(line, page, targets))
    return "\n".join(lines)


def _linked(line: str, page: str, targets: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        target = targets.get(match[1])
        if target is None or target.partition("#")[0] == page:
            return match[0]
        return f"[{match[0]}]({posixpath.relpath(target, posixpath.dirname(page) or '.')})"

    return _NAME.sub(replace, line)
