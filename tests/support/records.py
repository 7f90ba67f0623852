"""The record table that drives every suite: the calls and refusals of each initializer."""

from dataclasses import replace
from typing import Any

import torch

from tests.support.record import Record, Refusal
from tests.support.upstream_records import BOOL, CURRENT, INTEGER, NAN, refuse, zeros

_LACKS = "upstream has no such function"
_UNDRAWN = (
    refuse(INTEGER, NotImplementedError, differs=_LACKS),
    refuse(BOOL, NotImplementedError, differs=_LACKS),
)


def _refused(*shape: int, error: type[Exception] = ValueError, scripts: bool = True, **arguments: Any) -> Refusal:
    """Make a refusal of a function that upstream lacks, for a tensor of this shape."""
    return refuse(zeros(*shape), error, scripts, _LACKS, **arguments)


_SCALING = (
    _refused(3),
    _refused(4, 3, mode="fan"),
    _refused(4, 3, distribution="cauchy"),
    _refused(4, 3, scale=-1.0),
    _refused(4, 3, scale=NAN),
    _refused(4, 3, scale=float("inf")),
)
_KERNELS = (_refused(4, 3), _refused(4, 3, 3, 3, 3, 3))

_OWN = (
    Record(
        "trunc_normal_tf_",
        (
            {},
            {"std": 0.02},
            {"mean": 0.5, "std": 0.1, "a": -1.0, "b": 3.0, "correct_std": True},
            {"a": 3.0, "b": 5.0},
            {"mean": 2.0, "std": 0.0, "a": -float("inf"), "b": float("inf")},
        ),
        (5, 7),
        (
            *_UNDRAWN,
            _refused(4, 3, error=RuntimeError, std=-0.5),
            _refused(4, 3, error=RuntimeError, std=NAN),
            _refused(4, 3, error=RuntimeError, mean=NAN),
            _refused(4, 3, error=RuntimeError, a=2.0, b=-2.5),
            _refused(4, 3, error=RuntimeError, a=1.0, b=1.0, correct_std=True),
            _refused(4, 3, error=RuntimeError, std=1e30, a=1e30, b=2e30),
        ),
    ),
    Record(
        "variance_scaling_",
        (
            {},
            {"scale": 2.0, "mode": "FAN_AVG", "distribution": "normal"},
            {"mode": "fan_geo_avg", "distribution": "uniform", "fan_in": 30},
            {"mode": "fan_out", "fan_out": 9},
            {"mode": "fan_out"},
        ),
        (5, 7),
        (*_UNDRAWN, *_SCALING, _refused(4, 3, fan_in=0), _refused(4, 3, mode="fan_avg", fan_out=-2)),
    ),
    Record("lecun_uniform_", ({},), (5, 7), (*_UNDRAWN, _refused(3))),
    Record("lecun_normal_", ({},), (5, 7), (*_UNDRAWN, _refused(3))),
    Record(
        "sine_uniform_",
        ({}, {"omega": 2.5}, {"is_first": True}),
        (5, 7),
        (*_UNDRAWN, _refused(3), _refused(4, 3, omega=0.0), _refused(4, 3, omega=NAN)),
    ),
    Record(
        "identity_",
        ({}, {"gain": 0.3}, {"gain": -2.0, "groups": 2}),
        (6, 4, 3),
        (
            _refused(3),
            _refused(4, 3, 3, 3, 3, 3),
            _refused(4, 3, groups=3),
            _refused(4, 3, groups=0),
            refuse(zeros(4, 3, dtype=torch.int8), RuntimeError, differs=_LACKS, gain=300.0),
        ),
    ),
    Record(
        "block_orthogonal_",
        ({"blocks": 2}, {"blocks": 3, "gain": 0.3}, {"blocks": 1}),
        (6, 7),
        (
            refuse(INTEGER, NotImplementedError, differs=_LACKS, blocks=2),
            _refused(3, blocks=3),
            _refused(4, 3, blocks=3),
            _refused(4, 3, blocks=0),
        ),
    ),
    Record(
        "delta_orthogonal_",
        ({}, {"gain": 0.3}, {"groups": 2}),
        (8, 3, 3),
        (
            refuse(zeros(4, 3, 3, dtype=torch.int32), NotImplementedError, differs=_LACKS),
            *_KERNELS,
            _refused(4, 5, 3),
            _refused(4, 3, 3, groups=2),
            _refused(4, 3, 3, groups=3),
            _refused(4, 3, 3, groups=-1),
        ),
    ),
    Record(
        "bilinear_",
        ({}, {"groups": 2}, {"groups": 3}),
        (6, 4, 4, 3),
        (
            refuse(zeros(4, 3, 3, dtype=torch.int32), NotImplementedError, differs=_LACKS),
            *_KERNELS,
            _refused(4, 3, 3, groups=3),
            _refused(4, 3, 3, groups=0),
        ),
    ),
    Record(
        "icnr_",
        (
            {},
            {"upscale_factor": 3, "distribution": "truncated_normal"},
            {"scale": 0.5, "mode": "fan_avg", "distribution": "uniform"},
        ),
        (12, 7, 3),
        (
            refuse(zeros(4, 3, 3, dtype=torch.int32), NotImplementedError, differs=_LACKS),
            *_KERNELS,
            _refused(5, 3, 3),
            _refused(4, 3, 3, 3, upscale_factor=3),
            _refused(4, 3, 3, upscale_factor=0),
            _refused(4, 3, 3, mode="fan"),
            _refused(4, 3, 3, distribution="cauchy"),
            _refused(4, 3, 3, scale=-1.0),
        ),
    ),
    Record(
        "lstm_bias_",
        ({}, {"forget": 0.3}),
        (12,),
        (
            _refused(4, 3),
            _refused(6),
            refuse(zeros(4, dtype=torch.int8), RuntimeError, differs=_LACKS, forget=300.0),
        ),
    ),
    Record(
        "prior_bias_",
        ({}, {"prior": 0.3}),
        (5, 7),
        (*_UNDRAWN, _refused(4, prior=0.0), _refused(4, prior=1.0), _refused(4, prior=NAN)),
    ),
    Record(
        "rotary_inv_freq_",
        (
            {},
            {"base": 5e5, "scaling": "linear", "factor": 3.5},
            {"scaling": "dynamic", "factor": 2.5, "original_max_position_embeddings": 4096, "seq_len": 10000},
            {"scaling": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096},
            {
                **{"scaling": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
                **{"beta_fast": 16.0, "beta_slow": 2.0, "truncate": False},
            },
            {"base": 5e5, "scaling": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
            {"scaling": "longrope", "factors": [1.0 + 0.3 * index for index in range(12)]},
            {"scaling": "proportional", "factor": 8.0, "partial_rotary_factor": 0.25},
        ),
        (12,),
        (
            refuse(zeros(4, dtype=torch.int32), NotImplementedError, differs=_LACKS),
            _refused(4, 3),
            _refused(),
            _refused(4, base=-10000.0),
            _refused(4, base=1.0),
            _refused(4, base=NAN),
            _refused(4, scaling="ntk"),
            _refused(4, factor=2.0),
            _refused(4, scaling="linear", factor=0.0),
            _refused(4, scaling="linear", factor=2.0, partial_rotary_factor=0.5),
            _refused(4, scaling="proportional", partial_rotary_factor=1.5),
            _refused(4, scaling="yarn", factor=2.0),
            _refused(4, scaling="yarn", factor=2.0, original_max_position_embeddings=0),
            _refused(4, scaling="yarn", factor=2.0, original_max_position_embeddings=4096, beta_slow=-1.0),
            _refused(1, scaling="dynamic", factor=2.0, original_max_position_embeddings=4096),
            _refused(4, scaling="dynamic", factor=2.0, original_max_position_embeddings=4096, seq_len=0),
            _refused(4, scaling="llama3", original_max_position_embeddings=8192, low_freq_factor=4.0),
            _refused(4, scaling="longrope"),
            _refused(4, scaling="longrope", factors=[1.0, 2.0]),
            _refused(2, scaling="longrope", factors=[1.0, 0.0]),
            _refused(2, factors=[1.0, 2.0]),
        ),
    ),
    Record(
        "sinusoidal_",
        (
            {},
            {"layout": "sin_cos", "endpoint": True},
            {"base": 500.0, "layout": "cos_sin", "formula": "pow", "padding_idx": 1},
            {"formula": "float64", "padding_idx": -1},
        ),
        (5, 8),
        (
            refuse(zeros(4, 2, dtype=torch.int32), NotImplementedError, differs=_LACKS),
            _refused(4),
            _refused(4, 3, 2),
            _refused(4, 3),
            _refused(4, 6, base=-1.0),
            _refused(4, 6, base=NAN),
            _refused(4, 6, layout="halves"),
            _refused(4, 6, formula="float16"),
            _refused(4, 2, endpoint=True),
            _refused(4, 6, padding_idx=4),
            _refused(4, 6, padding_idx=-5),
        ),
    ),
    Record(
        "alibi_slopes_",
        ({}, {"bias_max": 5.0}, {"formula": "mpt"}, {"formula": "float64"}),
        (12,),
        (
            refuse(zeros(4, dtype=torch.int32), NotImplementedError, differs=_LACKS),
            _refused(),
            _refused(4, 3),
            _refused(4, bias_max=0.0),
            _refused(4, bias_max=NAN),
            _refused(4, formula="falcon"),
        ),
    ),
    Record("log_arange_", ({},), (5, 7), (*_UNDRAWN, _refused())),
    Record(
        "inverse_softplus_log_uniform_",
        ({}, {"low": 0.01, "high": 0.3, "floor": 0.05}, {"low": 1.5, "high": 5.0, "floor": 0.0}),
        (5, 7),
        (
            *_UNDRAWN,
            refuse(zeros(4, 3, dtype=torch.complex64), NotImplementedError, differs=_LACKS),
            _refused(4, low=0.0),
            _refused(4, low=NAN),
            _refused(4, low=0.2),
            _refused(4, high=float("inf")),
            _refused(4, floor=-1e-4),
            _refused(4, floor=NAN),
        ),
    ),
)

RECORDS = (
    *CURRENT,
    *(replace(record, name=record.row.deprecated) for record in CURRENT if record.row.deprecated),
    *_OWN,
)
UPSTREAMS = tuple(record for record in RECORDS if record.upstream)

CALLS = [(record, call) for record in RECORDS for call in record.calls + record.unmatched]
REFUSALS = [(record, refusal) for record in RECORDS for refusal in record.refusals]


def call_id(value: Any) -> str | None:
    """Return the test id of a record, of a call's arguments or of a refusal."""
    if isinstance(value, Record):
        return value.name
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    if isinstance(value, Refusal):
        return value.label
    return None
