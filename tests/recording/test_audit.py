"""Does an audit find no fault in torch's own layers and in healthy models, and print in one line what it finds?"""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import torchinit
from tests.support.audited import Build, Part, Rotary, found
from tests.support.recorded_models import ResNet
from torchinit.recording import Finding, Findings
from torchinit.recording._findings import listed

# No false alarm.

LAYERS: dict[str, Build] = {
    "Linear": lambda: nn.Linear(3, 4),
    "Bilinear": lambda: nn.Bilinear(3, 4, 5),
    "LazyLinear": lambda: nn.Sequential(nn.LazyLinear(4)),
    "Embedding": lambda: nn.Embedding(10, 4, padding_idx=1),
    "EmbeddingBag": lambda: nn.EmbeddingBag(10, 4),
    "Conv1d": lambda: nn.Conv1d(4, 8, 3),
    "Conv2d": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "Conv3d": lambda: nn.Conv3d(4, 8, 3),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(4, 8, 3),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 8, 3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(4),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "RMSNorm": lambda: nn.RMSNorm(4),
    "PReLU": lambda: nn.PReLU(4),
    "RNN": lambda: nn.RNN(3, 4, 2),
    "LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
    "GRU": lambda: nn.GRU(3, 4),
    "LSTMCell": lambda: nn.LSTMCell(3, 4),
    "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=3),
    "TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False
    ),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2),
    "Transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "AdaptiveLogSoftmaxWithLoss": lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3]),
}


def test_every_layer_of_torch_is_tried() -> None:
    lazy = nn.modules.lazy.LazyModuleMixin
    stateful = set()
    for name in dir(nn.modules):
        kind = getattr(nn.modules, name)
        if inspect.isclass(kind) and "reset_parameters" in vars(kind) and not issubclass(kind, lazy):
            stateful.add(name)
    same = {"SyncBatchNorm", "RNNBase", "RNNCellBase"}
    assert stateful - same <= LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_torchs_layers_have_no_fault(name: str) -> None:
    assert [str(finding) for finding in found(LAYERS[name])] == []


def test_a_residual_network_has_no_fault() -> None:
    assert [str(finding) for finding in found(ResNet)] == []


def test_gpt2_of_transformers_has_no_fault() -> None:
    config = GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=100, n_positions=16)
    assert [str(finding) for finding in found(lambda: GPT2LMHeadModel(config))] == []


# The findings.


def test_faults_come_first(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "table.pt")

    def build() -> nn.Module:
        return nn.Sequential(Part(lambda: torch.load(tmp_path / "table.pt")), Rotary())

    assert [(x.severity, x.kind) for x in torchinit.record(build).audit()] == [("fault", "lost"), ("fact", "outside")]


def test_a_finding_without_tensor_and_place_is_printed_without() -> None:
    assert str(Finding("outside", "fact", "", "it rains", "", "take an umbrella")) == "fact: it rains; take an umbrella"


def test_a_place_in_a_package_is_printed_from_the_package() -> None:
    finding = Finding("law", "fault", "a", "b", "/usr/lib/python3/site-packages/timm/models/vit.py:7", "c")
    assert str(finding) == "fault: a: b (timm/models/vit.py:7); c"


def test_many_names_are_counted() -> None:
    assert listed("aabc") == "a, b, c"
    assert listed(["a.0.w", "b", "a.1.w", "a.2.w"]) == "a.{0..2}.w, b"
    assert listed("abcde") == "a, b, c and 2 more"


def test_findings_are_paragraphs_that_fit_or_lines() -> None:
    found = Findings(
        [
            Finding("law", "fault", "a.weight", "words " * 20, "net.py:7", "do better"),
            Finding("copied", "fact", "b.weight", "as it is", "", "leave it"),
        ]
    )
    lines = found.table(60).splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.startswith("    ") for line in lines] == [False, True, True, False, False, False]
    assert found.table(wide=True).splitlines() == [*map(str, found), "", "1 fault, 1 fact"]
    assert found.table(wide=True, bad=True).splitlines() == [str(found[0]), "", "1 fault, 1 fact"]
    colored = found.table(60, color=True).splitlines()
    assert ["\033" in line for line in colored] == [True, True, True, False, False, False]
    assert "&#9888; fault" in found._repr_html_()
    assert str(Findings()) == "the audit found nothing"
    assert found == list(found)
