"""Do the HTML and the JSON of a recording say what its table says?"""

import json
import re
from typing import Any

import torch
from expecttest import assert_expected_inline
from torch import nn

import torchinit
from tests.support.described_models import Holder, Llama, Tied, recorded


def test_repr_is_one_line() -> None:
    assert_expected_inline(
        repr(torchinit.record(Tied)), """<Recording of 1 tensor, 36 values, 2 draws, 1 dropped, 1 tied>"""
    )


class Named(nn.Module):
    """A parameter whose name is HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("<script>&", nn.Parameter(torch.zeros(2)))


def test_html_is_one_escaped_element() -> None:
    assert_expected_inline(
        torchinit.record(Named)._repr_html_(),
        """<div><p><b>1 tensor, 2 values</b></p><div style="overflow-x: auto"><table><thead><tr><th style="text-align: left">tensor</th><th style="text-align: left">shape</th><th style="text-align: left">filled by</th></tr></thead><tbody><tr><td style="text-align: left">&lt;script&gt;&amp;</td><td style="text-align: left">2</td><td style="text-align: left">zero</td></tr></tbody></table></div></div>""",
    )


def test_html_shows_what_was_overwritten() -> None:
    page = recorded(Llama)._repr_html_()
    (row,) = (row for row in page.split("</tr>") if "up_proj" in row)
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row) == [
        "layers.{0..31}.mlp.up_proj.weight",
        "x32",
        "11008x4096",
        "normal_(0, 0.02)",
        "kaiming_uniform_(a=2.236)",
    ]


def without_place(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_place(each) for name, each in value.items() if name != "place"}
    return [without_place(each) for each in value] if isinstance(value, list) else value


def test_json_of_a_tensor() -> None:
    def build() -> nn.Module:
        layer = nn.Linear(2, 2, bias=False)
        nn.init.normal_(layer.weight, std=0.02)
        layer.weight.data[0].mul_(2.0)
        return layer

    (tensor,) = json.loads(torchinit.record(build).to_json())["tensors"]
    assert tensor["writes"][0]["steps"][0]["place"].startswith(f"{__file__}:")
    assert_expected_inline(
        json.dumps(without_place(tensor), indent=1),
        """\
{
 "name": "weight",
 "shape": [
  2,
  2
 ],
 "dtype": "float32",
 "kind": "parameter",
 "persistent": true,
 "module": "torch.nn.modules.linear.Linear",
 "words": "normal_(0, 0.02), row 0 * 2",
 "writes": [
  {
   "part": null,
   "words": "normal_(0, 0.02)",
   "draws": true,
   "steps": [
    {
     "function": "normal_",
     "package": "torch",
     "args": {
      "mean": 0.0,
      "std": 0.02
     }
    }
   ]
  },
  {
   "part": "row 0",
   "words": "* 2",
   "draws": false,
   "steps": [
    {
     "so_far": []
    },
    {
     "operator": "aten.mul_.Tensor",
     "args": [
      {
       "step": 0
      },
      2.0
     ],
     "kwargs": {}
    }
   ]
  }
 ],
 "overwritten": [
  {
   "part": null,
   "words": "kaiming_uniform_(a=2.236)",
   "draws": true,
   "steps": [
    {
     "function": "kaiming_uniform_",
     "package": "torch",
     "args": {
      "a": 2.23606797749979,
      "mode": "fan_in",
      "nonlinearity": "leaky_relu"
     }
    }
   ]
  }
 ],
 "tied": null,
 "copy_of": null,
 "view_of": null
}""",
    )


def test_json_names_relations_and_counts() -> None:
    found = json.loads(torchinit.record(Tied).to_json())
    assert (found["version"], found["summary"]["tensors"], found["summary"]["tied"]) == (1, 1, 1)
    assert [(x["name"], x["tied"], x["writes"] == []) for x in found["tensors"]] == [
        ("embed.weight", None, False),
        ("head.weight", "embed.weight", True),
    ]


def test_json_says_no_draw_of_a_tensor_that_has_another_ones_shape_alone() -> None:
    recording = torchinit.record(lambda: Holder(zeros=torch.zeros_like(torch.rand(4)), drawn=torch.rand(4)))
    found = json.loads(recording.to_json())["tensors"]
    assert [(x["name"], x["writes"][0]["draws"]) for x in found] == [("zeros", False), ("drawn", True)]


def test_json_has_all_steps_and_is_strict() -> None:
    def build() -> nn.Module:
        mask = torch.full((2, 2), float("-inf")).triu(1)
        return Holder(
            mask=mask, one=torch.tensor(1.5), seeded=torch.rand(2, generator=torch.Generator().manual_seed(7))
        )

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(torchinit.record(build).to_json(), parse_constant=refused)["tensors"]
    assert_expected_inline(
        json.dumps([without_place(x["writes"][0]["steps"]) for x in found], indent=1),
        """\
[
 [
  {
   "operator": "aten.full.default",
   "args": [
    [
     2,
     2
    ],
    "-inf"
   ],
   "kwargs": {}
  },
  {
   "operator": "aten.triu.default",
   "args": [
    {
     "step": 0
    },
    1
   ],
   "kwargs": {}
  }
 ],
 [
  {
   "constant": 1.5,
   "numel": 1
  }
 ],
 [
  {
   "operator": "aten.rand.generator",
   "args": [
    [
     2
    ]
   ],
   "kwargs": {},
   "seed": 7
  }
 ]
]""",
    )
