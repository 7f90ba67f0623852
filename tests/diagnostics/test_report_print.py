"""Does a report print whole, and say which tensors its numbers count?"""

import re
import zlib
from pathlib import Path

import pytest
import torch
from torch import nn

import torchinit
from tests.support.browser import chromium, measured, printed
from torchinit import recipes
from torchinit.diagnostics import report

in_browser = pytest.mark.skipif(chromium() is None, reason="there is no Chromium")


def _model() -> nn.Module:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)) for _ in range(3)]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(48, 5))
    model.register_parameter("a_parameter_whose_name_is_rather_long_" * 3, nn.Parameter(torch.randn(40, 40)))
    return model


def _tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    return model


def _page() -> str:
    return report(_model(), recipes.xavier(), torchinit.record(_model), torch.randn(4, 3, 4, 4)).html


def test_numbers_of_tensors_say_what_they_count() -> None:
    page = re.sub(r"<[^>]*>", " ", _page())
    assert re.search(r"Tensors\s+12\s+parameters, \d+ kinds", page)
    assert "What the recorded code makes of each parameter and buffer;" in page
    assert "12 parameters and 9 buffers: 21 tensors, " in page
    tied = report(_tied(), recording=torchinit.record(_tied)).html
    assert re.search(r">1 parameter: 1 tensor, 16 values, .*1 tied\.<", tied)
    only = report(nn.Linear(2, 2), recording=torchinit.record(lambda: nn.Linear(2, 2))).html
    assert "2 parameters: 2 tensors, 6 values, 2 draws." in only


def test_a_plan_counts_parameters_and_buffers() -> None:
    recipe = recipes.Recipe([recipes.Rule("normal_", name="*.weight"), recipes.Rule("keep")])
    assert (
        " of 21 parameters and buffers have no rule, or one that keeps them as they are."
        in report(_model(), recipe).html
    )


@pytest.mark.slow
@in_browser
def test_paper_is_white_and_no_table_is_wider(tmp_path: Path) -> None:
    # The rules of paper on a screen of its width, which can be measured; the scheme of the system is dark.
    page = _page().replace("@media print{", "@media all{")
    found = measured(page, tmp_path, [718])["dark"]["718"]["open"]
    assert (found["overflow"], found["wide"], found["page"]) == (0, [], "rgb(255, 255, 255)")


@pytest.mark.slow
@in_browser
def test_pdf_has_no_color_of_the_dark_theme(tmp_path: Path) -> None:
    dark = re.search(r"prefers-color-scheme:dark\)\{:root\{--page:(#\w+)", _page())
    assert dark is not None
    channels = [int(dark[1][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    file = printed(_page(), tmp_path)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", file, re.DOTALL)
    drawn = b"".join(zlib.decompress(each) for each in streams if each[:1] == b"x")
    colors = {tuple(map(float, each.split())) for each in re.findall(rb"([\d.]+ [\d.]+ [\d.]+) rg\b", drawn)}
    assert len(colors) >= 3
    assert all(max(abs(a - b) for a, b in zip(each, channels, strict=True)) > 0.01 for each in colors)
