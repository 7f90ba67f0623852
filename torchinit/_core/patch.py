"""Swapping ``torch.nn.init``'s functions for this package's, for model code that cannot change its import line."""

from threading import RLock
from types import FunctionType, ModuleType, TracebackType
from typing import Any

import torch
from torch.nn.modules import activation, transformer

from torchinit._core import deprecated, distributions, fans, gains, structured, variance_scaling, writes

_UPSTREAM = vars(torch.nn.init)

_FAMILIES = (distributions, deprecated, fans, gains, writes, variance_scaling, structured)

# What torch.nn.init holds under a name, here.
_OURS = {
    name: function
    for family in _FAMILIES
    for name, function in vars(family).items()
    if type(function) is FunctionType and function.__module__ == family.__name__ and name in _UPSTREAM
}
# The same by upstream's function, as others hold it under any name.
_INSTEAD = {_UPSTREAM[name]: function for name, function in _OURS.items()}


class _Swap:
    """What a key of a namespace held, what it holds now, and for how many patches."""

    def __init__(self, namespace: dict[Any, Any], key: Any, ours: Any) -> None:
        self.namespace, self.key, self.found, self.ours, self.patches = namespace, key, namespace[key], ours, 0


# By id of the namespace, which its swaps keep alive, and key. One swap of a key serves all patches; there are more
# where somebody else swapped it in between.
_swaps: dict[tuple[int, Any], list[_Swap]] = {}
_lock = RLock()  # reentrant, so that a finalizer or a signal handler that restores a patch does not wait for itself


class Patch:
    """What one call of :func:`patch_torch` swapped; a context manager that puts it back."""

    def __init__(self) -> None:
        self._mine: list[_Swap] = []
        self._entered = False

    def _swap(self, namespace: dict[Any, Any]) -> None:
        for key, value in list(namespace.items()):
            swaps = _swaps.get((id(namespace), key), [])
            if not swaps or swaps[-1].ours is not value:
                if namespace is _UPSTREAM:
                    ours = _OURS.get(key)
                else:
                    ours = _INSTEAD.get(value) if type(value) is FunctionType else None
                if ours is None:
                    continue
                swap = _Swap(namespace, key, ours)
                namespace[key] = ours
                swaps.append(swap)
                _swaps[id(namespace), key] = swaps
            swaps[-1].patches += 1
            self._mine.append(swaps[-1])

    def restore(self) -> None:
        """Put back what this call swapped and no other needs; after the first time do nothing."""
        with _lock:
            while self._mine:
                swap = self._mine.pop()
                swap.patches -= 1
                if swap.patches == 0:
                    swaps = _swaps[id(swap.namespace), swap.key]
                    if swaps[-1] is swap:
                        swap.namespace[swap.key] = swap.found
                    swaps.remove(swap)
                    if not swaps:
                        del _swaps[id(swap.namespace), swap.key]

    def __enter__(self) -> "Patch":
        if self._entered or not self._mine:
            raise RuntimeError("patch_torch is called anew for every with, got a patch that was entered or restored")
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()


def patch_torch(*also: ModuleType | dict[Any, Any]) -> Patch:
    r"""Swap ``torch.nn.init``'s functions for torchinit's, and put exactly the originals back.

    For models whose import lines are not yours. Nothing is patched before a call. ``with torchinit.patch_torch():``
    puts back at the end of the block, also after an error; without ``with``, the ``restore()`` of what the call returns
    does.

    The patch holds for the whole process, in all threads. It touches:

    - the attributes of ``torch.nn.init``: the 26 public functions, and the private ones that torchinit has too;
    - the names under which ``torch.nn.modules.activation`` and ``torch.nn.modules.transformer`` keep some of them, so
      that the ``reset_parameters`` of every layer calls torchinit, and so does every layer that is constructed;
    - in each namespace of ``also`` every name or key under which it keeps one of upstream's functions.

    Code that ran ``from torch.nn.init import trunc_normal_`` keeps upstream's function, with upstream's checks, unless
    its namespace is in ``also``; but the private steps that it goes through, ``_no_grad_trunc_normal_`` for one, are
    torchinit's. Code that runs such a line while patched keeps torchinit's for good: import first, then patch.
    transformers has a dict of its own, ``transformers.initialization.TORCH_INIT_FUNCTIONS``, which ``also`` takes.

    Patches nest, and overlap in any order and from any thread: what a name held before the first comes back with the
    end of the last. What somebody else put there, such as a mock, is swapped and comes back just so; what they put
    there while patched they must take away while patched. ``__torch_function__`` overrides go on receiving upstream's
    functions, compiled code follows the patch, and scripted code stays as it was scripted. ``pickle`` refuses a
    function of upstream's that an object keeps, while its name leads here.

    Args:
        also: further modules or dicts that keep upstream's functions

    Returns:
        the patch: a context manager, to be entered once, with a method ``restore()``, which may be called again

    Raises:
        TypeError: if one of ``also`` is neither a module nor a dict; nothing is patched then

    Examples:
        >>> upstream = torch.nn.init.trunc_normal_
        >>> with torchinit.patch_torch():
        ...     torch.nn.init.trunc_normal_ is torchinit.trunc_normal_
        True
        >>> torch.nn.init.trunc_normal_ is upstream
        True
        >>> theirs = {"init": upstream}
        >>> patch = torchinit.patch_torch(theirs)
        >>> theirs["init"] is torchinit.trunc_normal_
        True
        >>> patch.restore()
        >>> theirs["init"] is upstream
        True
    """
    for namespace in also:
        if not isinstance(namespace, (ModuleType, dict)):
            raise TypeError(f"patch_torch takes modules and dicts, got {type(namespace).__name__}")
    patch = Patch()
    with _lock:
        try:
            for namespace in (torch.nn.init, activation, transformer, *also):
                # torchinit keeps some of upstream's for overrides.
                if namespace not in _FAMILIES:
                    patch._swap(vars(namespace) if isinstance(namespace, ModuleType) else namespace)
        except BaseException:
            patch.restore()
            raise
    return patch
