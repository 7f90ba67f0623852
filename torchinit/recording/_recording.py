"""A recording: what fills a model's tensors, to be read, replayed and turned into other forms."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from torchinit._core.groups import together
from torchinit._core.messages import warn_user
from torchinit._core.writes import Done, ignore
from torchinit.keyed import compiled
from torchinit.recipes import Recipe
from torchinit.recording._attach import attach
from torchinit.recording._audit import audit
from torchinit.recording._describe import Description
from torchinit.recording._findings import Findings
from torchinit.recording._keyed import fill_by_key, key_words
from torchinit.recording._keyed_program import KeyedProgram, keyed_program
from torchinit.recording._program import Entry, Program, Ref
from torchinit.recording._recipe import recipe_of
from torchinit.recording._skeleton import real_copy
from torchinit.recording._targets import fill_in_order, match, writable

_Module = TypeVar("_Module", bound=nn.Module)
_Find = Callable[[Tensor], Ref | None]


class Recording:
    """How a model's own code fills its parameters and buffers; made by :func:`torchinit.record`.

    Args:
        program: the operators that fill them
        skeleton: the model with fake tensors, or None
        find: returns which part of the program's memory a tensor of the skeleton is, or None
    """

    def __init__(self, program: Program, skeleton: nn.Module | None = None, find: _Find = lambda tensor: None) -> None:
        self.program, self._skeleton, self._find = program, skeleton, find

    @cached_property
    def _description(self) -> Description:
        return Description(self.program)

    def __repr__(self) -> str:
        return f"<Recording of {self._description.summary}>"

    def __str__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> str:
        return self._description._repr_html_()

    def describe(self, width: int | None = None) -> str:
        """Say what fills each parameter and buffer, as a table; ``print(recording)`` shows it.

        The tensors of repeated layers that are filled alike are one line. Words are those of the function that the
        model's code called, with the arguments that differ from its defaults, after the name of the library if the
        function is its own: ``kaiming_uniform_(a=2.236)``, ``timm trunc_normal_(std=0.02)``. Without a function they
        are those of the operators: ``normal_(0, 0.02)``, ``fill 1``. A comma means "then", and ``x`` stands for the
        values so far: ``arange(0, 128, 2) / 128, 10000 ** x``. ``row 0 zero`` is a write to a part. ``as`` names a tied
        tensor, ``copy of`` one with the same draws, ``view of`` one whose memory it shares. A number in brackets points
        to the draws that were overwritten. The last line counts; a draw is dropped if its tensor is not the model's.

        Args:
            width: characters in a line, at least 40 (default: those of the terminal)

        Returns:
            the table

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> def build():
            ...     model = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, 4), nn.Linear(4, 4))
            ...     for layer in model[1:]:
            ...         nn.init.normal_(layer.weight, std=0.02)
            ...     return model
            >>> print(torchinit.record(build).describe(80))
            tensor            shape  filled by
            0.weight          9x4    normal_(0, 1), row 0 zero
            {1,2}.weight  x2  4x4    normal_(0, 0.02) [1]
            {1,2}.bias    x2  4      uniform_(-0.5, 0.5)
            <BLANKLINE>
            [1] overwritten: kaiming_uniform_(a=2.236)
            5 tensors, 76 values, 7 draws, 2 overwritten
        """
        return self._description.table(width)

    def to_json(self) -> str:
        """Say the same for programs: a JSON object whose keys stay.

        It has ``version`` (1), ``summary`` (the counts of the last line of :meth:`describe`) and ``tensors``: a list in
        the model's order, with no layers grouped. A tensor has

        - ``name``, ``shape``, ``dtype``, ``kind`` (``"parameter"`` or ``"buffer"``), ``persistent`` and ``module`` (the
          type that owns it);
        - ``words``, as in :meth:`describe`;
        - ``writes``: the writes that are left, in order; none for a tied tensor;
        - ``overwritten``: the draws of which nothing is left, in the form of writes;
        - ``tied``, ``copy_of`` and ``view_of``: the other tensor, or null.

        A write has ``part`` (which part of the tensor, or null for all of it), ``words``, ``draws`` (true or false) and
        ``steps``. A step has a ``place``, the line of code, and one of three forms: ``function`` with ``package``
        (``"torch"`` for those of ``torch.nn.init``) and ``args``; ``operator`` with ``args`` and ``kwargs``, and
        ``seed`` if the model's code seeds its generator; ``constant`` with its values, if they are few, and ``numel``.
        Other steps have the key ``unwritten``, ``given``, ``so_far``, ``part`` or ``join``. Among arguments, ``{"step":
        0}`` is what the first step of the write makes.

        Returns:
            the JSON text

        Examples:
            >>> import json
            >>> import torchinit
            >>> recording = torchinit.record(lambda: torch.nn.Linear(3, 4))
            >>> weight = json.loads(recording.to_json())["tensors"][0]
            >>> weight["name"], weight["words"]
            ('weight', 'kaiming_uniform_(a=2.236)')
            >>> weight["writes"][0]["steps"][0]["function"]
            'kaiming_uniform_'
        """
        return self._description.to_json()

    def materialize_(
        self,
        model: _Module,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        key: Tensor | None = None,
        strict: bool = True,
        compile: bool = False,
    ) -> _Module:
        """Fill a model's parameters and buffers as the recorded code fills them.

        The model may be sharded (``fully_shard``, ``parallelize_module``, or both), on any device, or a copy of another
        dtype: each rank computes on the CPU, and keeps its part of the values that one process has. Nothing is
        communicated. Tensors on the meta device are left alone, so call ``to_empty`` before.

        With a seed or a generator, every draw is made, in the code's order, so that the values and the generator's state
        afterwards are those of running the code under :func:`torchinit.patch_torch`. Each rank computes all tensors, one at
        a time.

        With a key, only the draws count that reach a tensor. Each has a key of its own, ``fold_in(key, name)``, where the
        name is that of the first tensor that it feeds; the i-th draw of a name after the first has ``fold_in`` of that
        key and i. A rank computes the parts that it holds and allocates a few tiles of 1.5 MB, if all operators that fill
        a tensor are elementwise; other tensors are computed whole and then cut, for example orthogonal ones. Draws from
        a generator that the code makes and seeds itself keep their values, and seeds for the default one do not matter.

        Args:
            model: a model with the recorded names and shapes
            seed: seed of a new generator to draw from
            generator: CPU generator to draw from (default: the default one); the ranks of a job need equal states
            key: key to draw from, of shape (2,), see :func:`torchinit.keyed.key`
            strict: whether the model's names must be the recording's; otherwise only the names that both have are filled
            compile: whether to draw from the key by compiled kernels, see :func:`torchinit.keyed.compiled`; on a CPU at
                most three are compiled for a model of any size

        Returns:
            ``model``

        Raises:
            ValueError: if names are missing on either side and ``strict`` is set (the message lists them), a shape or the
                kind of number differs, ``key`` is not one key, more than one origin of the draws is given, or ``compile``
                is set without a key
            RuntimeError: if a tensor cannot be written, the generator is not on the CPU, or a draw is made by an operator
                that no key gives, such as ``multinomial``

        If it raises, nothing is written.

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> from torchinit import keyed
            >>> recording = torchinit.record(lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
            >>> model = recording.materialize_(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), key=keyed.key(0))
            >>> key = keyed.fold_in(keyed.key(0), "1.weight")
            >>> torch.equal(model[1].weight, keyed.kaiming_uniform_(torch.empty(2, 4), key, a=5**0.5))
            True
            >>> half = recording.materialize_(nn.Sequential(nn.Linear(3, 4)).bfloat16(), seed=0, strict=False)
            >>> torch.equal(half[0].weight, recording.build(seed=0)[0].weight.bfloat16())
            True
        """
        return self._filled(model, [], seed, generator, key, strict, compile)

    def _filled(
        self,
        model: _Module,
        others: list[tuple[Entry, Tensor]],
        seed: int | None = None,
        generator: torch.Generator | None = None,
        key: Tensor | None = None,
        strict: bool = True,
        compile: bool = False,
        done: Done = ignore,
    ) -> _Module:
        """Fill a model, and tensors of it that are neither parameters nor buffers; call ``done`` after each tensor."""
        origins = {"seed": seed, "generator": generator, "key": key}
        given = [name for name, origin in origins.items() if origin is not None]
        if len(given) > 1:
            raise ValueError(f"the draws come from a seed, a generator or a key, got {' and '.join(given)}")
        if compile and key is None:
            raise ValueError("compile=True draws from a key, got none")
        if generator is not None and generator.device.type != "cpu":
            raise RuntimeError(f"a recording draws on the CPU, got a generator on {generator.device}")
        words = None if key is None else key_words(key)
        pairs = [(entry, tensor) for entry, tensor in match(self.program.entries, model, strict) if not tensor.is_meta]
        targets = writable([*pairs, *others])
        if words is not None:
            more = tuple(entry for entry, _ in others)
            whole = replace(self.program, entries=self.program.entries + more)
            with compiled() if compile else nullcontext():
                fill_by_key(keyed_program(whole) if more else self.keyed_program, targets, words, done)
            return model
        drawn = generator if seed is None else torch.Generator().manual_seed(seed)
        fill_in_order(self.program, targets, drawn, done)
        return model

    @cached_property
    def keyed_program(self) -> KeyedProgram:
        """What fills the tensors from a key."""
        return keyed_program(self.program)

    def recipe(self) -> Recipe:
        """Say the recording as a recipe: as few ordered rules as give each parameter the same distribution.

        Parameters that no rule can say, such as a table or a sum of draws, get ``"keep"`` rules; they and the buffers
        stay in the recording. Layers with torch's own initialization get ``"default"``, but only in a recording that
        :func:`torchinit.record` returned: one that was loaded does not have the layers. Standard deviations that follow
        from the fans become one ``variance_scaling_``.

        Returns:
            the recipe, whose plan for the recorded model has the recorded means and standard deviations

        Warns:
            UserWarning: with the names of the tensors that stay in the recording

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> def build():
            ...     model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2))
            ...     for layer in (model[0], model[2]):
            ...         nn.init.normal_(layer.weight, std=0.02)
            ...         nn.init.zeros_(layer.bias)
            ...     return model
            >>> torchinit.record(build).recipe()
            Recipe([
                Rule('normal_', module='Linear', name='*.weight', args={'std': 0.02}),
                Rule('zeros_', module='Linear'),
                Rule('default'),
            ], name='recorded')
        """
        recipe, left = recipe_of(self.keyed_program, self._skeleton)
        if left:
            names = ", ".join(together(left))
            warn_user(f"a recipe has a rule for each tensor that one rule can say, got others: {names}")
        return recipe

    def build(self, device: torch.device | str | None = None, **kwargs: Any) -> nn.Module:
        """Build the recorded model, and fill it as :meth:`materialize_` does.

        Args:
            device: device of the model's tensors (default: those of the code); on the meta device none is filled
            kwargs: ``seed``, ``generator`` or ``key``, and ``compile``, see :meth:`materialize_`

        Returns:
            the model

        Raises:
            RuntimeError: if the recording was read from a file, or is of a model that exists
            ValueError: as :meth:`materialize_`

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> from torchinit import keyed
            >>> recording = torchinit.record(lambda: nn.Linear(3, 4))
            >>> a, b = recording.build(key=keyed.key(0)), recording.build(key=keyed.key(0))
            >>> torch.equal(a.weight, b.weight)
            True
        """
        if self._skeleton is None:
            raise RuntimeError(
                "build() needs the module, which only the recording has that record() returned, got one without;"
                " build the model, and fill it with materialize_()"
            )
        model, others = real_copy(self.program, self._skeleton, self._find, device)
        return self._filled(model, others, **kwargs)

    def attach(self, scripted: torch.jit.ScriptModule, mobile: bool = False) -> torch.jit.ScriptModule:
        """Give a TorchScript module methods that do what :meth:`materialize_` does.

        The saved file then resets itself as the recorded code does, without Python, torchinit and that code. It has
        ``reset_parameters(generator=None)``, or for the mobile interpreter ``reset_parameters(seed=None)``, where a
        seed stands for a CPU generator made with it. Both also have ``reset_parameters_keyed(seed)``, which does
        ``materialize_(module, key=keyed.key(seed))``. Values that depend on no draw, such as a table of
        positions, are stored in the file. As in a replay, the numbers are drawn on the CPU and copied to the module's
        device and dtype.

        Args:
            scripted: a scripted, traced or loaded module, whose tensors have the recorded names; a buffer that it lacks
                is skipped, because tracing may make it a constant. It is left as it is
            mobile: whether ``reset_parameters`` takes a seed; the mobile interpreter takes no generator

        Returns:
            a copy of the module with the methods

        Raises:
            TypeError: if the module is not TorchScript
            ValueError: if the names or shapes of its tensors are not the recorded ones
            RuntimeError: if the module has a method of one of these names, or no parameters, like a frozen one; or if
                an operator of the recording cannot be drawn in TorchScript

        Examples:
            >>> import torchinit
            >>> from torch import nn
            >>> build = lambda: nn.LSTM(3, 4, num_layers=2)
            >>> net = torchinit.record(build).attach(torch.jit.script(build()))
            >>> net.reset_parameters(torch.Generator().manual_seed(0))
            >>> same = torch.manual_seed(0) and build()
            >>> torch.equal(net.weight_hh_l1, same.weight_hh_l1)
            True
        """
        return attach(self.program, self.keyed_program, scripted, mobile)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the recording to a text file, from which :func:`load` replays it without the model's code.

        The file holds operators, names, shapes, values from outside torch, and the paths of the lines of code.

        Args:
            path: the file to write, ending in ``.init``; it is written whole or not at all
            overwrite: whether to overwrite a file that exists

        Raises:
            FileExistsError: if the file exists and ``overwrite`` is not set
            OSError: if the file cannot be written; an existing file is still whole
            RecordError: if a tensor needs an operator that is not one of torch's own that only compute; it is named
            ValueError: if the name of the file does not end in ``.init``

        Examples:
            >>> import os, tempfile, torchinit
            >>> from torch import nn
            >>> path = os.path.join(tempfile.mkdtemp(), "norm.init")
            >>> torchinit.record(lambda: nn.LayerNorm(4)).save(path)
            >>> torchinit.recording.load(path).materialize_(nn.LayerNorm(4)).weight
            Parameter containing:
            tensor([1., 1., 1., 1.], requires_grad=True)
        """
        # The reader makes a Recording.
        from torchinit.recording._file import save

        save(self, path, overwrite)

    def audit(self, again: "Recording | None" = None) -> Findings:
        """Find what people cannot see: tensors without values, wrong laws and fans, copies and wasted draws.

        A finding of severity ``"fault"`` is what nobody wants:

        - ``"unwritten"``: a tensor that holds memory as it came;
        - ``"lost"``: a tensor that ``to_empty()`` loses and that no method of the model restores. This is tried: the
          model without its values runs ``reset_parameters``, ``init_weights`` and the like, of it and its layers;
        - ``"law"``: values that do not have the law of the function's name, such as a ``trunc_normal_`` that truncates
          nothing, or a library's ``lecun_normal_`` with another standard deviation than torchinit's, by over 2 %;
        - ``"fans"``: a stack of matrices, such as the weights of experts, whose fans are taken as a convolution's, or
          packed matrices whose ``fan_out`` is that of all;
        - ``"outside"``: values that torch does not decide, such as numpy's draws.

        One of severity ``"fact"`` may be meant: draws that are thrown away (``"overwritten"``), copies of a draw that
        are not tied (``"copied"``), files that were read (``"outside"``), and the packed weights of torch's own layers.

        Args:
            again: another recording of the same code; then tensors that the two fill in different ways are found too

        Returns:
            the findings, faults first; ``print`` shows each as a paragraph, and how many there are

        Examples:
            >>> import torch, torchinit
            >>> class Head(torch.nn.Linear):
            ...     def reset_parameters(self):
            ...         torch.nn.init.trunc_normal_(self.weight, std=0.02)
            >>> for finding in torchinit.record(lambda: Head(16, 4)).audit():
            ...     print(finding.severity, finding.kind, finding.tensor, finding.what, sep=", ")
            fault, unwritten, bias, nothing writes it, so it holds memory as it came
            fault, law, weight, trunc_normal_(mean=0, std=0.02, a=-2, b=2) truncates nothing, since its bounds are 100 standard deviations away
        """
        # Imported late: recording makes a Recording.
        from torchinit.recording._record import record

        return audit(
            self.program, self._skeleton, None if again is None else again.program, lambda build: record(build).program
        )
