"""Are freshly built models of timm and transformers left unmarked?"""

import pytest

from tests.support.fresh_models import report, statistics_of


def test_at_most_one_percent_of_fresh_tensors_is_marked() -> None:
    pytest.importorskip("transformers")
    counts = {name: counted for name, *counted in report()}
    print("\n".join(f"{name:20} {tensors:4} tensors, {marked} marked" for name, (tensors, marked) in counts.items()))
    assert len(counts) >= 20
    assert sum(marked for _, marked in counts.values()) <= 0.01 * sum(tensors for tensors, _ in counts.values())


@pytest.mark.parametrize(
    ("model", "name", "said"),
    [
        ("GPT-2", "transformer.h.1.attn.c_proj.weight", "normal, std 0.00816 = 0.02 / sqrt(6)"),
        ("GPT-2", "transformer.h.1.attn.c_attn.weight", "normal, std 0.02"),
        ("T5", "encoder.block.0.layer.0.SelfAttention.q.weight", "normal, std 0.0156 = 1 / sqrt(4096)"),
        ("T5", "encoder.block.0.layer.1.DenseReluDense.wo.weight", "normal, std 0.0625 = LeCun"),
        ("T5", "shared.weight", "normal, std 1"),
        ("CLIP", "text_model.encoder.layers.0.self_attn.out_proj.weight", "normal, std 0.0884 = Xavier or LeCun"),
        ("Mixtral", "model.layers.0.mlp.experts.gate_up_proj", "normal, std 0.02"),
        ("Mamba", "backbone.layers.0.mixer.A_log", None),
        ("Mamba", "backbone.layers.0.mixer.out_proj.weight", "uniform, bound 0.0625 = torch's default"),
        ("resnet10t", "layer1.0.conv1.weight", "normal, std 0.0589 = He"),
        ("resnet10t", "layer4.0.bn2.weight", "constant 0"),
        ("vit", "cls_token", "normal, std 1.08e-06"),
        ("mixer", "blocks.0.mlp_channels.fc1.weight", "uniform, bound 0.0968 = Xavier"),
        ("mixer", "stem.proj.weight", "truncated normal, std 0.0361 = LeCun, cut at 2 std"),
        ("efficientnet", "blocks.3.0.conv_pw.weight", "normal, std 0.125 = He (fan_out)"),
    ],
)
def test_parameter_of_a_fresh_model_is_named(model: str, name: str, said: str | None) -> None:
    pytest.importorskip("transformers")
    rows = {row.name: row for row in statistics_of(model)}
    assert (rows[name].verdict, rows[name].bad) == (said, False)
