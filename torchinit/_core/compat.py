"""Every private name of torch, and of the libraries around it, that this package uses.

A new release of torch can break only these. An entry says which releases have it and what the others do; without a
note, all supported releases (2.6 to 2.15) have it.
"""

import ctypes
import functools
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor as FakeTensor,
    FakeTensorMode as FakeTensorMode,
    UnsupportedOperatorException,
    unset_fake_temporarily as unset_fake_temporarily,
)
from torch.multiprocessing.reductions import StorageWeakRef as StorageWeakRef
from torch.nn.utils import parametrizations, parametrize
from torch.utils._python_dispatch import _disable_current_modes

# A fake tensor was asked for its values, or for a shape that follows from them.
fake_errors = (DataDependentOutputException, DynamicOutputShapeException)
# An operator cannot say what it makes of fake tensors.
unsupported_errors = (UnsupportedOperatorException, NotImplementedError)

# The torch.jit.trace, the torch.func transforms and the dispatch modes that are active in this thread.
is_tracing = torch._C._is_tracing
are_transforms_active = torch._C._are_functorch_transforms_active
dispatch_modes = torch._C._len_torch_dispatch_stack
# A context manager without them.
no_dispatch_modes = _disable_current_modes


@contextmanager
def plain_eager() -> Iterator[None]:
    """Run a block as plain eager code: outside the modes, default devices, transforms and traces around it."""
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    trace = torch._C._get_tracing_state()
    with torch._C.DisableTorchFunction(), temporarily_clear_interpreter_stack(), no_dispatch_modes():
        torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch._C._set_tracing_state(trace)  # type: ignore[attr-defined]


# The functions of torch.serialization that torch.load calls to make tensors.
loaders = ("_load", "_legacy_load")
# True for the tensor that a torch.func transform shows to the code inside; it has no storage.
is_transformed = torch._C._functorch.is_functorch_wrapped_tensor


def vmap_levels(tensor: Tensor) -> set[int]:
    """Return the levels of the vmaps that map over a tensor."""
    levels = set()
    while is_transformed(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            levels.add(torch._C._functorch.maybe_get_level(tensor))
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return levels


# torch 2.6 cannot tell export from compile.
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def is_symbolic(number: Any) -> bool:
    """True for a symbolic number, which no kernel takes as an argument."""
    # Imported late: it loads sympy.
    from torch.fx.experimental import symbolic_shapes

    # From torch 2.7 on. In 2.6 the size becomes a constant of the graph.
    return hasattr(symbolic_shapes, "has_static_value") and not symbolic_shapes.has_static_value(number)


def partitioned_shape(parameter: Tensor) -> tuple[str, str]:
    """Return the partitioner that may have emptied a parameter, and the original shape; empty strings if none has."""
    # DeepSpeed's ZeRO stage 3 records the whole shape.
    if hasattr(parameter, "ds_shape"):
        return ("", "") if 0 in parameter.ds_shape else ("ZeRO stage 3 (DeepSpeed)", str(list(parameter.ds_shape)))
    if getattr(parameter, "_fsdp_flattened", False) and parameter.dim() == 1:
        return "FullyShardedDataParallel", "its own"
    return "", ""


def mark_to_keep(tensor: Tensor) -> str:
    """Return the mark by which other code asks to leave a tensor as it is; empty without one."""
    # transformers sets it on what it has loaded from a file.
    if getattr(tensor, "_is_hf_initialized", False):
        return "loaded"
    # mamba_ssm and its descendants set it on what the constructor has computed.
    return "_no_reinit" if getattr(tensor, "_no_reinit", False) else ""


# The types that the functions of torch.nn.utils.parametrizations register. A spectral norm has no vectors for a weight
# of one dimension.
WeightNorm, SpectralNorm = parametrizations._WeightNorm, parametrizations._SpectralNorm
Orthogonal = parametrizations._Orthogonal
SINGULAR_VECTORS = ("_u", "_v")


def forget_cached(module: torch.nn.Module, name: str) -> None:
    """Drop the value of a parametrized tensor that ``parametrize.cached()`` has kept."""
    parametrize._cache.pop((id(module), name), None)


def storage_id(tensor: Tensor) -> int:
    """Return an id of the tensor's storage that works on the meta device, where all data pointers are 0."""
    address: int = tensor.untyped_storage()._cdata
    return address


def forget_fakes(mode: Any) -> None:
    """Drop a mode's weak references to fake tensors, for which torch.utils.swap_tensors refuses them."""
    mode.fake_tensor_converter.meta_converter.tensor_memo.clear()


@functools.cache
def _fake_attributes() -> frozenset[str]:
    """Return the names of the attributes that a fake tensor has for itself."""
    with no_dispatch_modes():
        return frozenset(vars(FakeTensorMode().from_tensor(torch.empty(0, device="cpu")))) | {"_is_param"}


def attributes(tensor: Tensor) -> dict[str, Any]:
    """Return the attributes that code has set on a tensor."""
    ignored = _fake_attributes() if isinstance(tensor, FakeTensor) else ()
    return {name: value for name, value in vars(tensor).items() if name not in ignored}


def mesh_order(tensor: Any, dim: int) -> Any:
    """List the mesh dimensions that shard a dimension of a DTensor, in the order of the splits."""
    # Only newer releases have the attribute; without it, the order is that of the mesh.
    orders = {entry.tensor_dim: entry.mesh_dims for entry in getattr(tensor._spec, "shard_order", None) or ()}
    return orders.get(dim, range(tensor.device_mesh.ndim))


def split_indices(placement: Any, indices: Tensor, parts: int) -> list[Tensor]:
    """Split indices as a placement (a shard, strided or not) splits its dimension."""
    strided = {"split_factor": placement.split_factor} if hasattr(placement, "split_factor") else {}
    chunks: list[Tensor] = type(placement)(0, **strided)._split_tensor(indices, parts, with_padding=False)[0]
    return chunks


@contextmanager
def plain_state(device_type: str) -> Iterator[None]:
    """Run a block without autocast and __torch_function__, for either of which Dynamo compiles anew."""
    with torch.autocast(device_type, enabled=False), torch._C.DisableTorchFunction():
        yield


@functools.cache
def _set_thread_counts() -> tuple[Any, Any]:
    """Find the functions that set the calling thread's count, of OpenMP and of MKL, which only x86 builds have."""
    library = ctypes.CDLL(torch._C.__file__)
    return getattr(library, "omp_set_num_threads", None), getattr(library, "MKL_Set_Num_Threads_Local", None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the operators of a block in the calling thread alone, if torch is built with OpenMP.

    NB: torch.set_num_threads() would also set the threads of MKL everywhere, and of threads that begin meanwhile.
    """
    (set_threads, set_mkl_threads), threads = _set_thread_counts(), torch.get_num_threads()
    # MKL's own function returns the number before; 0 stands for that of all threads.
    before = 0
    try:
        if set_threads is not None:
            set_threads(1)
        if set_mkl_threads is not None:
            before = set_mkl_threads(1)
        yield
    finally:
        if set_threads is not None:
            set_threads(threads)
        if set_mkl_threads is not None:
            set_mkl_threads(before)


def mark_dynamic(tensor: Tensor, dim: int) -> None:
    """Tell torch.compile to take a dimension of any size."""
    # Imported late: it loads sympy.
    from torch._dynamo import mark_dynamic as mark

    mark(tensor, dim)


# The native Philox kernel, from torch 2.14 on; without it the integer operators of keyed draw the same values.
has_philox_kernel = hasattr(torch.ops.aten, "_philox_uniform_")


def philox_uniform_(values: Tensor, key: Tensor, low: float, high: float) -> Tensor:
    filled: Tensor = torch.ops.aten._philox_uniform_(values, key.view(torch.uint64), low, high)
    return filled


def qualified_type(module: torch.jit.ScriptModule) -> str:
    """Return the qualified name of the class that a TorchScript module was made from."""
    return str(module._c._type().qualified_name()).removeprefix("__torch__.")


def forward_operators(module: torch.jit.ScriptModule, kind: str) -> Iterator[tuple[Any, list[str]]]:
    """Find the operators of a kind in a module's own forward graph, each with the names of its arguments."""
    if module._c._has_method("forward"):
        for node in module._c._get_method("forward").graph.findAllNodes(kind):
            yield node, [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]


def define(module: torch.jit.ScriptModule, source: str, names: Mapping[str, Any]) -> None:
    """Compile methods from their source, which may call the functions in ``names``.

    NB: modules scripted from one class share a type, so all of them get the methods.
    """
    module._c._define(module._concrete_type, source, names.get)


def add_attribute(module: torch.jit.ScriptModule, name: str, kind: Any, value: Any) -> None:
    """Add an attribute of a type such as ``list[int]`` to a module; methods defined later can read it."""
    module._c._register_attribute(name, torch.jit.annotations.ann_to_type(kind, None), value)  # type: ignore[no-untyped-call]


def save_mobile(module: torch.jit.ScriptModule, extra_files: Mapping[str, bytes] | None = None) -> bytes:
    """Save a module for the mobile (lite) interpreter."""
    contents: bytes = module._save_to_buffer_for_lite_interpreter(_extra_files=dict(extra_files or {}))
    return contents


def load_mobile(contents: bytes) -> Any:
    """Load a module into the mobile (lite) interpreter."""
    from torch.jit.mobile import _load_for_lite_interpreter

    return _load_for_lite_interpreter(io.BytesIO(contents))  # type: ignore[no-untyped-call]


def forget_optimized_forward(module: torch.jit.ScriptModule) -> None:
    """Drop the optimized plan of ``forward``, which computes gradients outside autograd's graph."""
    if module._c._has_method("forward"):
        # The legacy executor has no such plan and raises.
        with suppress(RuntimeError):
            module._c._get_method("forward")._debug_flush_compilation_cache()
