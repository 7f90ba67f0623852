"""Does a keyed initializer run on ExecuTorch's portable runtime and draw the same as eager code?"""

import importlib.metadata
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.outcome import ulps
from tools import native
from tools.codegen.__main__ import ROOT
from torchinit import keyed

pytestmark = [
    pytest.mark.slow,
    # torch and executorch warn about each other.
    pytest.mark.filterwarnings("ignore"),
]
# Not core ATen operators, but the portable runtime has them.
SHIFTS = [
    torch.ops.aten.bitwise_left_shift.Tensor_Scalar,
    torch.ops.aten.bitwise_right_shift.Tensor,
    torch.ops.aten.bitwise_right_shift.Tensor_Scalar,
]
# The first key's counter carries into its upper 32 bits within the tensor.
KEYS = [[42, 2**32 - 7], [-1, -(2**63)], [2**63 - 1, 0]]
# Not a multiple of a block's four values.
SHAPE = (37, 11)
FULL, PART, OFFSET = [9, 7, 5], [4, 3, 5], [2, 1, 0]

Draw = Callable[[Tensor], Tensor]
EXACT: dict[str, Draw] = {
    "double": lambda key: keyed.uniform_(torch.empty(SHAPE, dtype=torch.float64), key, -1.0, 2.0),
    "piece": lambda key: keyed.uniform_(torch.empty(PART), keyed.fold_in(key, "layer.weight"), -1.0, 2.0, FULL, OFFSET),
}
# The runtime has its own log, sin and cos.
WITHIN_4_ULP: dict[str, Draw] = {
    "kaiming_normal": lambda key: keyed.kaiming_normal_(torch.empty(SHAPE), key),
    "normal_double": lambda key: keyed.normal_(torch.empty(SHAPE, dtype=torch.float64), key, 0.1, 0.02),
}
DRAWS = EXACT | WITHIN_4_ULP
# Draws that need a kernel the runtime lacks.
MISSING: dict[str, tuple[Draw, str, str]] = {
    "trunc_normal": (
        lambda key: keyed.trunc_normal_(torch.empty(SHAPE), key),
        "aten::erfinv_",
        "aten::erfinv.out",
    ),
    "orthogonal": (
        lambda key: keyed.orthogonal_(torch.empty(SHAPE), key),
        "aten::linalg_qr",
        "aten::linalg_qr.out",
    ),
    "sparse": (
        lambda key: keyed.sparse_(torch.empty(SHAPE), key, 0.5),
        "aten::sort",
        "aten::sort.values_stable",
    ),
}


class Weight(nn.Module):
    """Returns a weight drawn from its input."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, key: Tensor) -> Tensor:
        return self.draw(key)


class Everything(nn.Module):
    """Fills its buffer; returns the buffer's old and new values and every draw."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(SHAPE))

    def forward(self, key: Tensor) -> tuple[Tensor, ...]:
        before = self.weight.clone()
        after = keyed.kaiming_uniform_(self.weight, key).clone()
        return before, after, *(draw(key) for draw in DRAWS.values())


def _runtime() -> Any:
    reason = "no executorch that works with this torch, to export to and to run"
    return pytest.importorskip("executorch.runtime", reason=reason, exc_type=ImportError).Runtime.get()


def _lowered(exported: Any) -> Any:
    """Return the program of the runtime, which is lowered unless the same one was before."""
    # NB: imported here because it takes seconds.
    runtime, exir = _runtime(), importlib.import_module("executorch.exir")
    program = io.BytesIO()
    torch.export.save(exported, program)
    versions = torch.__version__, importlib.metadata.version("executorch")
    with native.folder_of(*versions, repr(SHIFTS), program.getvalue()) as folder:
        path = folder / "program.pte"
        if not path.exists():
            config = exir.EdgeCompileConfig(_core_aten_ops_exception_list=SHIFTS)
            (folder / "made.pte").write_bytes(exir.to_edge(exported, compile_config=config).to_executorch().buffer)
            (folder / "made.pte").replace(path)
        # NB: return the program; a method does not keep its constants' bytes alive.
        return runtime.load_program(path.read_bytes())


def _draws_differ(program: Any) -> list[str]:
    """List the draws of a program that are not eager's."""
    differ = []
    for words in KEYS:
        weights = program.load_method("forward").execute([torch.tensor(words)])[2:]
        for (name, draw), weight in zip(DRAWS.items(), weights, strict=True):
            expected = draw(torch.tensor(words))
            if name in EXACT:
                equal = torch.equal(weight, expected)
            elif weight.dtype == torch.float64:
                # executorch rounds a scalar operand of a float64 tensor to float32.
                equal = ulps(weight, expected) > 4 and (weight - expected).abs().max().item() < 5e-7
            else:
                equal = ulps(weight, expected) <= 4
            differ += [] if equal else [f"{name} {words}"]
    return differ


def _is_buffer_kept(program: Any) -> bool:
    """True if the buffer has its values until the next key draws others."""
    method = program.load_method("forward")
    # The format need not keep the buffer's values at export.
    method.execute([keyed.key(0)])
    held = keyed.kaiming_uniform_(torch.empty(SHAPE), keyed.key(0))
    for seed in (1, 2):
        before, after = method.execute([keyed.key(seed)])[:2]
        drawn = keyed.kaiming_uniform_(torch.empty(SHAPE), keyed.key(seed))
        if not (torch.equal(before, held) and torch.equal(after, drawn)):
            return False
        held = drawn
    return True


def test_examples_of_the_docs_run() -> None:
    _runtime()
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/guide/export.md").read_text(), re.DOTALL | re.MULTILINE
    )
    examples = [block for block in blocks if "executorch" in block]
    assert examples
    for example in examples:
        exec(example, {"__name__": "example"})


# One test, since it takes half a minute to lower the program.
def test_program_draws_eagers_weights_for_every_key_keeps_its_buffer_and_holds_no_random_operator() -> None:
    exported = torch.export.export(Everything(), (keyed.key(0),), strict=False)
    program = _lowered(exported)
    assert _draws_differ(program) == []
    assert _is_buffer_kept(program)
    # Lowering adds no random operator.
    called = [node.target for node in exported.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    assert called
    assert not [operator for operator in called if torch.Tag.nondeterministic_seeded in operator.tags]


@pytest.mark.parametrize("name", MISSING)
def test_runtime_lacks_an_operator_of_each_other_initializer(name: str) -> None:
    runtime = _runtime()
    draw, operator, kernel = MISSING[name]
    graph = torch.export.export(Weight(draw), (keyed.key(0),), strict=False).graph
    assert operator in [node.target._schema.name for node in graph.nodes if hasattr(node.target, "_schema")]
    assert kernel not in runtime.operator_registry.operator_names
