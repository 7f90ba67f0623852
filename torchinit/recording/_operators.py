"""The operators that a recording's file may hold, and what their arguments may be.

A file is untrusted: whoever wrote it chooses the operators, and everything that they are called with.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from torchinit.recording._program import Operation, RecordError, Ref
from torchinit.recording._replay import check_made, find_operator

# Overloads of aten that only compute values from values, without "aten." and ".default". They are what the models of
# torch.nn, transformers and timm use, with their relatives. None reads or writes a file, keeps an address, or resizes a
# tensor; none trusts sizes or indices in its arguments (batch_norm, lu_solve and the raw FFTs do, and read past the
# end), but for those that ``_trusting`` knows.
_NAMES = """
    _adaptive_avg_pool2d _conj_physical _linalg_det _linalg_eigh _linalg_slogdet _linalg_solve_ex _linalg_svd
    _log_softmax _sample_dirichlet _softmax _standard_gamma _to_copy _unique _unique2 _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa _weight_norm_interface abs abs_ acos acos_ acosh acosh_ add.Scalar add.Tensor
    add_.Scalar add_.Tensor addbmm addcdiv addcdiv_ addcmul addcmul_ addmm addmm_ addmv addr all all.dim all.dims
    amax amin angle any any.dim any.dims arange arange.start arange.start_step argmax argmin asin asin_ asinh asinh_
    atan atan2 atan2_ atan_ atanh atanh_ avg_pool2d baddbmm bartlett_window bartlett_window.periodic bernoulli
    bernoulli.p bernoulli_.Tensor bernoulli_.float binomial bitwise_and.Scalar bitwise_and.Scalar_Tensor
    bitwise_and.Tensor bitwise_and_.Scalar bitwise_and_.Tensor bitwise_left_shift.Scalar_Tensor
    bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_left_shift_.Tensor
    bitwise_left_shift_.Tensor_Scalar bitwise_not bitwise_not_ bitwise_or.Scalar bitwise_or.Scalar_Tensor
    bitwise_or.Tensor bitwise_or_.Scalar bitwise_or_.Tensor bitwise_right_shift.Scalar_Tensor
    bitwise_right_shift.Tensor bitwise_right_shift.Tensor_Scalar bitwise_right_shift_.Tensor
    bitwise_right_shift_.Tensor_Scalar bitwise_xor.Scalar bitwise_xor.Scalar_Tensor bitwise_xor.Tensor
    bitwise_xor_.Scalar bitwise_xor_.Tensor blackman_window blackman_window.periodic block_diag bmm bucketize.Scalar
    bucketize.Tensor cat cauchy_ ceil ceil_ celu celu_ clamp clamp.Tensor clamp_ clamp_.Tensor clamp_max
    clamp_max.Tensor clamp_max_ clamp_max_.Tensor clamp_min clamp_min.Tensor clamp_min_ clamp_min_.Tensor clone
    complex conj_physical_ constant_pad_nd convolution copy copy_ copysign.Scalar copysign.Tensor cos cos_ cosh
    cosh_ count_nonzero count_nonzero.dim_IntList cummax cummin cumprod cumprod_ cumsum cumsum_ deg2rad deg2rad_
    detach diag_embed diagonal_scatter digamma digamma_ div.Scalar div.Scalar_mode div.Tensor div.Tensor_mode
    div_.Scalar div_.Scalar_mode div_.Tensor div_.Tensor_mode dot elu elu_ embedding eq.Scalar eq.Tensor eq_.Scalar
    eq_.Tensor erf erf_ erfc erfc_ erfinv erfinv_ exp exp2 exp2_ exp_ expm1 expm1_ exponential_ eye eye.m
    fft_fftfreq fill.Scalar fill.Tensor fill_.Scalar fill_.Tensor flip floor floor_ floor_divide floor_divide.Scalar
    floor_divide_.Scalar floor_divide_.Tensor fmax fmin fmod.Scalar fmod.Tensor fmod_.Scalar fmod_.Tensor frac frac_
    full full_like gather ge.Scalar ge.Tensor ge_.Scalar ge_.Tensor gelu gelu_ geometric_ glu gt.Scalar gt.Tensor
    gt_.Scalar gt_.Tensor hamming_window hamming_window.periodic hamming_window.periodic_alpha
    hamming_window.periodic_alpha_beta hann_window hann_window.periodic hardshrink hardsigmoid hardsigmoid_ hardtanh
    hardtanh_ i0 i0_ index.Tensor index_add index_add_ index_copy index_copy_ index_fill.int_Scalar
    index_fill.int_Tensor index_fill_.int_Scalar index_fill_.int_Tensor index_put index_put_ index_reduce
    index_reduce_ index_select isin.Tensor_Scalar isin.Tensor_Tensor isinf isnan isneginf isposinf kaiser_window
    kaiser_window.beta kaiser_window.periodic le.Scalar le.Tensor le_.Scalar le_.Tensor leaky_relu leaky_relu_
    lerp.Scalar lerp.Tensor lerp_.Scalar lerp_.Tensor lgamma lgamma_ linalg_cholesky_ex linalg_cross
    linalg_householder_product linalg_inv_ex linalg_matrix_exp linalg_qr linalg_vector_norm linspace
    linspace.Scalar_Tensor linspace.Tensor_Scalar linspace.Tensor_Tensor log log10 log10_ log1p log1p_ log2 log2_
    log_ log_normal_ logaddexp logaddexp2 logcumsumexp logical_and logical_and_ logical_not logical_not_ logical_or
    logical_or_ logical_xor logical_xor_ logspace logsumexp lt.Scalar lt.Tensor lt_.Scalar lt_.Tensor
    masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar masked_fill_.Tensor masked_scatter masked_scatter_
    masked_select max max.dim max_pool2d_with_indices maximum mean mean.dim min min.dim minimum mish mm mul.Scalar
    mul.Tensor mul_.Scalar mul_.Tensor multinomial mv nan_to_num nan_to_num_ nansum native_dropout native_layer_norm
    ne.Scalar ne.Tensor ne_.Scalar ne_.Tensor neg neg_ new_full new_ones new_zeros nonzero norm.Scalar
    norm.ScalarOpt_dim norm.ScalarOpt_dim_dtype norm.ScalarOpt_dtype normal.Tensor_Tensor normal.Tensor_float
    normal.float_Tensor normal.float_float normal_ ones ones_like poisson polar pow.Scalar pow.Tensor_Scalar
    pow.Tensor_Tensor pow_.Scalar pow_.Tensor prod prod.dim_int rad2deg rad2deg_ rand rand.generator rand_like
    randint randint.generator randint.low randint.low_generator randint_like randint_like.low_dtype randn
    randn.generator randn_like random_ random_.from random_.to randperm randperm.generator reciprocal reciprocal_
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu_ remainder.Scalar remainder.Scalar_Tensor
    remainder.Tensor remainder_.Scalar remainder_.Tensor repeat repeat_interleave.Tensor replication_pad2d
    replication_pad3d roll round round.decimals round_ round_.decimals rsqrt rsqrt_ rsub.Scalar rsub.Tensor
    scalar_tensor scatter.src scatter.value scatter_.reduce scatter_.src scatter_.value scatter_.value_reduce
    scatter_add scatter_add_ scatter_reduce.two scatter_reduce_.two searchsorted.Scalar searchsorted.Tensor
    select_scatter sgn sgn_ sigmoid sigmoid_ sign sign_ signbit silu silu_ sin sin_ sinc sinc_ sinh sinh_
    slice_scatter softplus softshrink sort sort.stable split_with_sizes_copy sqrt sqrt_ squeeze_ squeeze_.dim stack
    std.correction std_mean.correction sub.Scalar sub.Tensor sub_.Scalar sub_.Tensor sum sum.dim_IntList t_ take tan
    tan_ tanh tanh_ threshold topk trace transpose_ tril tril_ tril_indices triu triu_ triu_indices trunc trunc_
    uniform_ unique_consecutive unsqueeze_ upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d var.correction var_mean.correction where.self xlogy.Scalar_Other
    xlogy.Scalar_Self xlogy.Tensor xlogy_.Scalar_Other xlogy_.Tensor zero zero_ zeros zeros_like
"""
ALLOWED = frozenset(f"aten.{name}" if "." in name else f"aten.{name}.default" for name in _NAMES.split())


_PLAIN: dict[str, tuple[type, ...]] = {
    "number": (bool, int, float, complex),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "ScalarType": (torch.dtype,),
    "MemoryFormat": (torch.memory_format,),
    "Layout": (torch.layout,),
    # A number stands for a tensor of no dimensions.
    "Tensor": (Ref, bool, int, float, complex),
}


def _fits(value: Any, type_name: str) -> bool:
    """True if an argument has the type that a schema names."""
    if type_name.startswith("Optional["):
        return value is None or _fits(value, type_name[9:-1])
    if type_name.startswith("List["):
        return isinstance(value, list) and all(_fits(x, type_name[5:-1]) for x in value)
    # Devices and generators are never recorded.
    return type(value) in _PLAIN.get(type_name, ())


@lru_cache
def _parameters(name: str) -> tuple[tuple[str, str, bool, bool, bool], ...]:
    """Return name, type, keyword-only, required and written of each parameter of an operator."""
    return tuple(
        (
            argument.name,
            str(argument.real_type),
            argument.kwarg_only,
            not argument.has_default_value() and argument.name != "generator",
            argument.alias_info is not None and argument.alias_info.is_write,
        )
        for argument in find_operator(name)._schema.arguments
    )


def _bound(operation: Operation) -> Iterator[tuple[str, str, bool, Any]]:
    """Yield name, type, written and value of each argument that is given."""
    kwargs = dict(operation.kwargs)
    positional = list(operation.args)
    for name, type_name, keyword_only, required, written in _parameters(operation.name):
        if positional and not keyword_only:
            yield name, type_name, written, positional.pop(0)
        elif name in kwargs:
            yield name, type_name, written, kwargs.pop(name)
        elif required:
            raise RecordError(f"{operation.name} must have its argument {name}, got none")
    if positional or kwargs:
        raise RecordError(
            f"{operation.name} must have only arguments that it takes, got {len(positional + [*kwargs])} more"
        )


def is_allowed(name: str) -> bool:
    """True for an operator of the list that the installed torch has."""
    if name not in ALLOWED:
        return False
    try:
        find_operator(name)
    except AttributeError:
        return False
    return True


def written_by(operation: Operation) -> tuple[Ref, ...]:
    """Return the tensors that an operator writes to.

    Raises:
        RecordError: if an argument is missing, unknown, or of another type than the operator takes
    """
    writes: list[Ref] = []
    for name, type_name, written, value in _bound(operation):
        refs = [x for x in tree_flatten(value)[0] if isinstance(x, Ref)]
        if not _fits(value, type_name) or (written and not refs):
            raise RecordError(
                f"the argument {name} of {operation.name} must be {type_name}, got {type(value).__name__}"
            )
        if written:
            writes += refs
    if operation.generator is not None and not any(p[0] == "generator" for p in _parameters(operation.name)):
        raise RecordError(f"an operator with a generator must take one, got {operation.name}")
    return tuple(writes)


@lru_cache
def is_random(name: str) -> bool:
    """True if an operator draws."""
    return torch.Tag.nondeterministic_seeded in find_operator(name).tags


@lru_cache
def results(name: str) -> int:
    """The number of values that an operator returns."""
    return len(find_operator(name)._schema.returns)


def _check_trusting(operation: Operation) -> None:
    """Check what an operator itself does not."""
    if operation.name == "aten._weight_norm_interface.default":
        # NB: torch reads past the end of a shorter g.
        given = {name: value for name, _, _, value in _bound(operation)}
        v, g, dim = given["v"], given["g"], given.get("dim", 0)
        wanted = [n if i == dim else 1 for i, n in enumerate(v.size)] if isinstance(v, Ref) else None
        if not isinstance(g, Ref) or list(g.size) != wanted or g.dtype != v.dtype:
            raise RecordError(f"g of {operation.name} must have one element for each slice of v, got {g}")


def _stand_in(ref: Ref) -> Tensor:
    """Return a tensor without memory for a tensor of a program."""
    tensor = torch.empty_strided(ref.size, ref.stride, dtype=ref.dtype, device="meta")
    return tensor.conj() if ref.conj else tensor


def check_results(operation: Operation) -> None:
    """Check the sizes of an operator's arguments and results on tensors without memory.

    Raises:
        RecordError: if the operator refuses its arguments, or makes other tensors than recorded
    """
    _check_trusting(operation)
    args, kwargs = operation.given(_stand_in)
    names = {parameter[0] for parameter in _parameters(operation.name)}
    if "device" in names:
        kwargs["device"] = "meta"
    if operation.name.endswith("generator"):
        kwargs["generator"] = None
    try:
        out = find_operator(operation.name)(*args, **kwargs)
    except NotImplementedError:
        # The sizes depend on values; the replay checks them.
        return
    except Exception as error:
        raise RecordError(f"{operation.name} must take its arguments, got {type(error).__name__}: {error}") from None
    made = tree_flatten(out)[0]
    if len(made) != len(operation.fresh):
        raise RecordError(f"{operation.name} makes {len(made)} tensors, got {len(operation.fresh)}")
    for ref, tensor in zip(operation.fresh, made):
        if ref is not None:
            check_made(ref, tensor)
