"""Does a browser show a report on a phone, on a desk and on paper, light and dark?"""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.browser import chromium, measured, printed
from torchinit import recipes
from torchinit.diagnostics import report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium"),
]

WIDTHS = [390, 1280]
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])


class Block(nn.Module):
    """A branch whose layer has a long name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.a_layer_whose_name_is_very_long_without_any_place_to_break_it = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.a_layer_whose_name_is_very_long_without_any_place_to_break_it(self.norm(x))
        return x + y


def _broken() -> nn.Module:
    """Build a model with tensors of each kind that a report shows: drawn, constant, marked, unlike what was meant."""
    blocks = nn.Sequential(nn.Linear(16, 48), *[Block(48) for _ in range(30)], nn.Linear(48, 4))
    with torch.no_grad():
        layers = [x for x in blocks.modules() if isinstance(x, nn.Linear)]
        layers[3].weight[::2] = 0.0
        layers[5].weight.fill_(0.1)
        layers[7].weight.mul_(100)
        layers[9].weight[1, 2] = math.nan
    blocks.register_parameter("y" * 200, nn.Parameter(torch.randn(40, 40)))
    return blocks


def _page() -> str:
    torch.manual_seed(0)
    model = _broken()
    recording = torchinit.record(_broken)
    title = "a_title_of_a_model_that_is_so_long_that_it_must_be_broken_somewhere_on_a_phone.safetensors"
    inputs = torch.ones(4, 16)
    return report(model, recipes.xavier(), recording, inputs, title=title, measure_time=True).html


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with torch.random.fork_rng():
        return measured(_page(), tmp_path_factory.mktemp("browser"), WIDTHS)


@THEMES
def test_nothing_is_wider_than_the_screen(shown: dict[str, Any], theme: str) -> None:
    for width in map(str, WIDTHS):
        for state in ("closed", "open"):
            found = shown[theme][width][state]
            assert (found["overflow"], found["wide"]) == (0, []), (width, state)


def test_console_has_no_error(shown: dict[str, Any]) -> None:
    assert shown["errors"] == []


@THEMES
def test_links_lead_to_what_is_shown(shown: dict[str, Any], theme: str) -> None:
    assert [shown[theme][str(width)]["broken"] for width in WIDTHS] == [0, 0]


@THEMES
def test_text_can_be_read(shown: dict[str, Any], theme: str) -> None:
    for width in map(str, WIDTHS):
        found = shown[theme][width]["open"]
        assert found["contrast"] >= 4.5, found["least"]
        assert found["small"] >= 11.5
        assert found["empty"] == 0


def test_theme_follows_the_system(shown: dict[str, Any]) -> None:
    light, dark = (
        sum(map(int, re.findall(r"\d+", shown[theme]["390"]["closed"]["page"]))) for theme in ("light", "dark")
    )
    assert light == 3 * 255
    assert dark < 150


def test_report_prints_on_paper(tmp_path: Path) -> None:
    pages = re.findall(rb"/Type\s*/Page\b", printed(report(nn.Linear(30, 40)).html, tmp_path))
    assert 1 <= len(pages) <= 2
