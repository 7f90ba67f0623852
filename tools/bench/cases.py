"""The rows of the table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import torchinit
from tools.bench.parameters import LARGE_MODELS, MODELS
from torchinit import keyed

Fill = Callable[[list[Tensor]], object]


@dataclass(frozen=True)
class Case:
    """A row: the targets, how each side fills them, and the least ratio (theirs / ours) that it should show.

    ``least_of_all`` is that for all threads, if it is another than for one, and ``most`` a bound on the ratio. ``busy`` rows are measured while another
    process keeps a core busy.
    """

    function: str
    shape: str
    dtype: str
    targets: Callable[[], list[Tensor]]
    theirs: Fill
    ours: Fill
    against: str = "torch.nn.init"
    least: float = 1.0
    least_of_all: float | None = None
    most: float | None = None
    busy: bool = False

    def least_with(self, threads: int) -> float:
        return self.least if threads == 1 or self.least_of_all is None else self.least_of_all


_SMALL = (4, 4)
_NAMES = [name for name in torchinit.__all__ if name.endswith("_") and hasattr(torch.nn.init, name)]
# The shapes of functions that do not take the default ones, and the arguments that a function needs.
_SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "dirac_": ((4, 4, 3, 3), (512, 512, 3, 3), (2048, 2048, 3, 3)),
    "orthogonal_": (_SMALL, (512, 512), (2048, 2048), (4096, 1024), (1024, 4096)),
    "sparse_": (_SMALL, (512, 512), (1024, 8192)),
}
_ARGUMENTS: dict[str, dict[str, Any]] = {"constant_": {"val": 0.1}, "sparse_": {"sparsity": 0.9}}
_LEAST = {
    **dict.fromkeys(("uniform_", "normal_", "zeros_", "ones_", "constant_", "eye_"), 1 / 0.75),
    **dict.fromkeys(("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"), 1 / 0.75),
    **dict.fromkeys(("trunc_normal_", "dirac_", "sparse_"), 1 / 0.75),
}
_LARGE_LEAST: dict[tuple[str, tuple[int, ...]], float] = {
    ("trunc_normal_", (4096, 4096)): 12.0,
    ("sparse_", (1024, 8192)): 1.3,
}
# What no implementation with upstream's bits can exceed: the random permutations of sparse_ alone take half of its time.
_MOST: dict[tuple[str, tuple[int, ...]], float] = {("sparse_", (1024, 8192)): 1.9}


def _parameter(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> Callable[[], list[Tensor]]:
    return lambda: [torch.nn.Parameter(torch.zeros(shape, dtype=dtype, device=device))]


def _label(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _case(
    name: str,
    shape: tuple[int, ...],
    device: str,
    least: float = 1.0,
    dtype: torch.dtype = torch.float32,
    theirs: Callable[..., object] | None = None,
    ours: Callable[..., object] | None = None,
    against: str = "torch.nn.init",
    label: str = "",
    least_of_all: float | None = None,
    **arguments: Any,
) -> Case:
    upstream = theirs or getattr(torch.nn.init, name)
    function = ours or getattr(torchinit, name)
    return Case(
        function=label or name,
        shape=_label(shape),
        dtype=str(dtype).removeprefix("torch."),
        targets=_parameter(shape, dtype, device),
        theirs=(lambda t: upstream(t[0])) if theirs else (lambda t: upstream(t[0], **arguments)),
        ours=lambda t: function(t[0], **arguments),
        against=against,
        least=least,
        least_of_all=least_of_all,
        most=_MOST.get((label or name, shape)),
    )


def _functions(device: str) -> Iterator[Case]:
    for name in _NAMES:
        for shape in _SHAPES.get(name, (_SMALL, (512, 512), (4096, 4096))):
            small = max(shape) <= 4
            least = _LEAST.get(name, 1.0) if small else _LARGE_LEAST.get((name, shape), 1.0)
            yield _case(name, shape, device, least, **_ARGUMENTS.get(name, {}))


def of_sides(device: str, sides: Sequence[int]) -> list[Case]:
    """Make a row for each function of ``torch.nn.init`` at each side of a square matrix, the slowest functions last."""
    names = sorted(_NAMES, key=lambda name: name in ("orthogonal_", "sparse_"))
    return [
        _case(name, (side, side, 1) if name == "dirac_" else (side, side), device, **_ARGUMENTS.get(name, {}))
        for side in sides
        for name in names
    ]


def _named_rows(device: str) -> Iterator[Case]:
    big = (4096, 4096)
    yield _case("trunc_normal_", big, device, 8.0, torch.bfloat16)
    for a, b in ((1.0, 3.0), (3.0, 10.0)):
        yield _case("trunc_normal_", big, device, 50.0, label=f"trunc_normal_ [{a:g}, {b:g}]", a=a, b=b)
    yield _case(
        "trunc_normal_",
        big,
        device,
        1 / 1.1,
        theirs=lambda t: t.detach().normal_(),
        against="Tensor.normal_",
    )
    yield _case(
        "dirac_",
        (2048, 2048, 3, 3),
        device,
        1 / 1.15,
        theirs=lambda t: t.detach().zero_(),
        against="Tensor.zero_",
    )
    yield _case("dirac_", (512, 1, 3, 3), device, 30.0, label="dirac_ groups=512", groups=512)


def _models(device: str) -> Iterator[Case]:
    for name, parameters in MODELS.items():
        rows = list(parameters())

        def fill(init: Any, targets: list[Tensor], rows: list[Any] = rows) -> None:
            for target, (function, arguments, _) in zip(targets, rows, strict=True):
                getattr(init, function)(target, **arguments)

        yield Case(
            function=name,
            shape="all parameters",
            dtype="float32",
            targets=lambda rows=rows: [torch.zeros(shape, device=device) for _, _, shape in rows],  # type: ignore[misc]
            theirs=lambda targets, fill=fill: fill(torch.nn.init, targets),  # type: ignore[misc]
            ours=lambda targets, fill=fill: fill(torchinit, targets),  # type: ignore[misc]
        )


def _scripted(device: str) -> Iterator[Case]:
    for name in ("uniform_", "kaiming_uniform_", "trunc_normal_"):
        for shape in (_SMALL, (512, 512)):
            yield _case(name, shape, device, ours=torch.jit.script(getattr(torchinit, name)), label=f"{name} scripted")


def _keyed(device: str) -> Iterator[Case]:
    """Fills by key against the generator's own draw."""
    # A key on the CPU would be copied at each call, which waits for the GPU.
    key = keyed.key(0).to(device)
    native = hasattr(torch.ops.aten, "_philox_randint_")
    # Least ratios on one thread; drawing by key gains more from several.
    bounds = {"uniform_": 1.0 if native else 1 / 4, "normal_": 1 / 4.5}
    for name, least in bounds.items():
        own, drawn = getattr(keyed, name), getattr(Tensor, name)
        for shape in (_SMALL, (31, 32), (512, 512), (4096, 4096)):
            yield _case(
                name,
                shape,
                device,
                least if max(shape) > 512 else 0.0,
                theirs=lambda t, drawn=drawn: drawn(t.detach()),
                ours=lambda t, own=own: own(t, key),
                against=f"Tensor.{name}",
                label=f"keyed.{name}",
            )
    for name, shape in (("trunc_normal_", (4096, 4096)), ("kaiming_uniform_", (4096, 4096)), ("sparse_", (1024, 8192))):
        own, arguments = getattr(keyed, name), _ARGUMENTS.get(name, {})
        yield _case(
            name,
            shape,
            device,
            0.0,
            ours=lambda t, own=own, arguments=arguments: own(t, key, **arguments),
            theirs=lambda t, name=name, arguments=arguments: getattr(torchinit, name)(t, **arguments),
            against=f"torchinit.{name}",
            label=f"keyed.{name}",
        )


def _in_kernels(own: Callable[..., object], key: Tensor) -> Callable[[Tensor], object]:
    def fill(target: Tensor, **arguments: Any) -> None:
        with keyed.compiled():
            own(target, key, **arguments)

    return fill


def _compiled(device: str) -> Iterator[Case]:
    """Fills by key in compiled kernels, without the time to compile: single tensors, and whole models."""
    key = keyed.key(0).to(device)
    # Least ratios on one thread and on all.
    bounds = {"uniform_": (1 / 0.85, 1 / 0.42), "normal_": (1 / 1.05, 1 / 0.52), "trunc_normal_": (1.0, 1 / 0.6)}
    for name, (least, least_of_all) in bounds.items():
        drawn = getattr(torchinit if name == "trunc_normal_" else Tensor, name)
        yield _case(
            name,
            (4096, 4096),
            device,
            least,
            theirs=lambda t, drawn=drawn: drawn(t.detach()),
            ours=_in_kernels(getattr(keyed, name), key),
            against=f"{'torchinit' if name == 'trunc_normal_' else 'Tensor'}.{name}",
            label=f"keyed.{name} compiled",
            least_of_all=least_of_all,
        )
    whole = {name: list(parameters()) for name, parameters in MODELS.items()}
    whole["Llama-1B"] = list(LARGE_MODELS["Llama-1B"]().values())
    for name, rows in whole.items():
        dtype = torch.bfloat16 if name == "Llama-1B" else torch.float32

        def fill(init: Any, targets: list[Tensor], rows: list[Any] = rows) -> None:
            for target, (function, arguments, _) in zip(targets, rows, strict=True):
                getattr(init, function)(target, **arguments)

        def fill_by_key(targets: list[Tensor], rows: list[Any] = rows) -> None:
            with keyed.compiled():
                for target, (function, arguments, _) in zip(targets, rows, strict=True):
                    if function in ("ones_", "zeros_"):
                        getattr(torchinit, function)(target)
                    else:
                        getattr(keyed, function)(target, keyed.fold_in(key, len(arguments)), **arguments)

        yield Case(
            function=f"{name} by key",
            shape="all parameters",
            dtype=str(dtype).removeprefix("torch."),
            targets=lambda rows=rows, dtype=dtype: [  # type: ignore[misc]
                torch.zeros(shape, device=device, dtype=dtype) for _, _, shape in rows
            ],
            theirs=lambda targets, fill=fill: fill(torch.nn.init, targets),  # type: ignore[misc]
            ours=fill_by_key,
            least=0.0,
            least_of_all=1 / (0.5 if name == "Llama-1B" else 0.6),
        )


def _busy(device: str) -> Iterator[Case]:
    """Fills by all threads, against one thread, while another process keeps a core busy."""
    key = keyed.key(0)

    def one_thread(fill: Fill, targets: list[Tensor]) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            fill(targets)
        finally:
            torch.set_num_threads(threads)

    def fill_first(own: Callable[..., object], *arguments: Tensor) -> Fill:
        return lambda targets: own(targets[0], *arguments)

    fills = {"trunc_normal_": fill_first(torchinit.trunc_normal_)}
    for name in ("uniform_", "normal_", "trunc_normal_"):
        fills[f"keyed.{name}"] = fill_first(getattr(keyed, name), key)
    for name in ("uniform_", "normal_"):
        fills[f"keyed.{name} compiled"] = fill_first(_in_kernels(getattr(keyed, name), key))
    for label, fill in fills.items():
        yield Case(
            function=f"{label}, busy",
            shape="4096x4096",
            dtype="float32",
            targets=_parameter((4096, 4096), torch.float32, device),
            theirs=lambda targets, fill=fill: one_thread(fill, targets),  # type: ignore[misc]
            ours=fill,
            against="one thread",
            least=0.0,
            least_of_all=1 / 1.5,
            busy=True,
        )


def cases(device: str) -> list[Case]:
    """Make every row for a device."""
    rows = [*_functions(device), *_named_rows(device), *_models(device), *_scripted(device)]
    rows += [*_keyed(device), *_compiled(device)]
    return [*rows, *_busy(device)] if device == "cpu" else rows
