"""Swaps ``torch.nn.init``'s functions for this package's, for model code whose imports cannot change."""

from threading import RLock
from types import FunctionType, ModuleType, TracebackType
from typing import Any

import torch
from torch.nn.modules import activation, transformer

from torchinit._core import functions

_UPSTREAM = vars(torch.nn.init)

# Our function for each name of torch.nn.init.
_OURS_BY_NAME = {
    name: function for name, function in vars(functions).items() if type(function) is FunctionType and name in _UPSTREAM
}
# The same by upstream's function; other namespaces may hold it under any name.
_OURS_BY_UPSTREAM = {_UPSTREAM[name]: function for name, function in _OURS_BY_NAME.items()}


class _Swap:
    """A swapped entry of a namespace: the value found, ours, and the number of patches that hold it."""

    def __init__(self, namespace: dict[Any, Any], key: Any, ours: Any) -> None:
        self.namespace, self.key, self.found, self.ours, self.patches = namespace, key, namespace[key], ours, 0
        # The value that a later swap has put back, if it is not ours.
        self.put_back = ours

    def undo(self) -> None:
        """Put back the value found, unless other code has put one in place meanwhile."""
        value = self.namespace.get(self.key)
        upstreams = type(value) is FunctionType and value in _OURS_BY_UPSTREAM
        if value is self.ours or (value is self.put_back and not upstreams):
            self.namespace[self.key] = self.found


# By id of the namespace, which its swaps keep alive, and key. All patches share one swap of a key, unless other code
# replaced the value in between.
_swaps: dict[tuple[int, Any], list[_Swap]] = {}
_lock = RLock()  # reentrant: a finalizer or a signal handler may restore a patch while its thread holds the lock


class Patch:
    """The swaps of one call of :func:`patch_torch`; a context manager that undoes them."""

    def __init__(self) -> None:
        self._mine: list[_Swap] = []
        self._entered = False

    def _swap(self, namespace: dict[Any, Any]) -> None:
        for key, value in list(namespace.items()):
            swaps = _swaps.get((id(namespace), key), [])
            if not swaps or swaps[-1].ours is not value:
                if namespace is _UPSTREAM:
                    ours = _OURS_BY_NAME.get(key)
                else:
                    ours = _OURS_BY_UPSTREAM.get(value) if type(value) is FunctionType else None
                if ours is None:
                    continue
                swap = _Swap(namespace, key, ours)
                namespace[key] = ours
                swaps.append(swap)
                _swaps[id(namespace), key] = swaps
            swaps[-1].patches += 1
            self._mine.append(swaps[-1])

    def restore(self) -> None:
        """Undo the swaps of this call that no other patch holds; a second call does nothing."""
        with _lock:
            while self._mine:
                swap = self._mine.pop()
                swap.patches -= 1
                if swap.patches == 0:
                    swaps = _swaps[id(swap.namespace), swap.key]
                    if swaps[-1] is swap:
                        swap.undo()
                        if len(swaps) > 1:
                            swaps[-2].put_back = swap.found
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
    r"""Swap ``torch.nn.init``'s functions for torchinit's until the patch is restored.

    For models whose imports you cannot change. ``with torchinit.patch_torch():`` restores the originals at the end of
    the block, also after an error. Without ``with``, call ``restore()`` of the returned patch.

    The patch holds for the whole process, in all threads. It touches:

    - the attributes of ``torch.nn.init``: the 26 public functions, and the private ones that torchinit has too;
    - the names under which ``torch.nn.modules.activation`` and ``torch.nn.modules.transformer`` import some of them, so
      that constructing or resetting any layer calls torchinit;
    - every name or key in a namespace of ``also`` that holds one of upstream's functions.

    Code that ran ``from torch.nn.init import trunc_normal_`` keeps upstream's function, with upstream's checks, unless
    its namespace is in ``also``; the private functions that it calls, such as ``_no_grad_trunc_normal_``, are
    torchinit's. Code that runs such an import while patched keeps torchinit's function: import first, then patch.
    For transformers, pass its dict ``transformers.initialization.TORCH_INIT_FUNCTIONS`` as ``also``.

    Patches nest, and overlap in any order and from any thread; the last one to end restores the originals. A mock that
    other code put in place is swapped and restored too, unless that code has removed it by then; a mock put in place
    while patched must be removed while patched, and after any patch made over it. ``__torch_function__`` overrides
    still receive upstream's functions, compiled code follows the patch, and scripted code does not change. While
    patched, ``pickle`` refuses upstream's functions, whose names lead here.

    Args:
        also: further modules or dicts that hold upstream's functions

    Returns:
        the patch: a context manager to enter once, with a method ``restore()`` that may be called again

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
                # torchinit itself holds some of upstream's functions, for overrides.
                if not getattr(namespace, "__name__", "").startswith("torchinit."):
                    patch._swap(vars(namespace) if isinstance(namespace, ModuleType) else namespace)
        except BaseException:
            patch.restore()
            raise
    return patch
