"""Does a recording of a library's model give the bits of building it? `make zoo` tries all of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchinit
from tests.support.model_libraries import add_model_libraries
from tests.support.recorded import assert_recorded
from tests.support.transformers_models import TINY

pytestmark = pytest.mark.filterwarnings("ignore")

_VISION = {name: TINY[name] for name in TINY if name != "vocab_size"} | {"image_size": 32, "patch_size": 8}
_SPEECH = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
_TEXT_TOWER = {name: TINY[name] for name in TINY} | {"projection_dim": 16}
# The arguments of a configuration, by model type.
_CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "llama": {**TINY, "num_key_value_heads": 1, "pad_token_id": 4},
    "gpt2": {"n_embd": 16, "n_positions": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0},
    "bert": TINY,
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 50},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 50, "state_size": 4},
    "swin": {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    "mixtral": {**TINY, "num_key_value_heads": 1, "num_local_experts": 4},
    "clip": {"text_config": _TEXT_TOWER, "vision_config": {**_VISION, "projection_dim": 16}, "projection_dim": 16},
    "wav2vec2": {**TINY, "conv_dim": [8] * 3, "conv_stride": [2] * 3, "conv_kernel": [3] * 3, "num_feat_extract_layers": 3,
                 "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    "whisper": {**_SPEECH, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 50,
                "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1},
    "vit": _VISION,
    "audio-spectrogram-transformer": {**{k: _VISION[k] for k in _VISION if k != "image_size"}, "max_length": 64,
                                      "num_mel_bins": 32},
}  # fmt: skip


@pytest.fixture(scope="module")
def transformers() -> Any:
    add_model_libraries()
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("name", _CONFIGURATIONS)
def test_a_model_of_transformers_has_the_bits_of_building_it(name: str, transformers: Any) -> None:
    if name not in transformers.CONFIG_MAPPING:
        pytest.skip("this release of transformers lacks the model")
    config = transformers.AutoConfig.for_model(name, **_CONFIGURATIONS[name])
    recording, _, _ = assert_recorded(lambda: transformers.AutoModel.from_config(config))
    assert sum(entry.ref.numel for entry in recording.program.entries) < 200_000


def _timm(name: str) -> Callable[[], nn.Module]:
    add_model_libraries()
    timm = pytest.importorskip("timm", exc_type=ImportError)
    return lambda: timm.create_model(name)


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "test_convnext", "test_efficientnet", "test_mambaout"])
def test_a_model_of_timm_has_the_bits_of_building_it(name: str) -> None:
    assert_recorded(_timm(name))


@pytest.mark.parametrize("how", [True, "gaussian", "orthogonal"], ids=str)
def test_lora_of_peft_has_the_bits_of_building_it(how: Any) -> None:
    add_model_libraries()
    peft = pytest.importorskip("peft", exc_type=ImportError)
    config = peft.LoraConfig(target_modules=["0", "2"], r=4, init_lora_weights=how)

    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(30, 300), nn.ReLU(), nn.Linear(300, 300))
        return peft.get_peft_model(model, config)

    recording, _, _ = assert_recorded(build)
    assert any("lora_A" in entry.name for entry in recording.program.entries)


def test_recording_a_large_llama_makes_no_large_tensor(transformers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8}
    config = transformers.LlamaConfig(**sizes, num_hidden_layers=4, vocab_size=128256)
    real: list[int] = []
    add = torchinit.recording._storages.Storages._add

    def counted(self: Any, tensor: torch.Tensor, number: int) -> int:
        if type(tensor) in (torch.Tensor, nn.Parameter):
            real.append(tensor.untyped_storage().nbytes())
        return add(self, tensor, number)

    monkeypatch.setattr(torchinit.recording._storages.Storages, "_add", counted)
    recording = torchinit.record(lambda: transformers.LlamaForCausalLM(config))
    assert sum(entry.ref.numel for entry in recording.program.entries) > 5e9
    assert sum(real) < 1e6
