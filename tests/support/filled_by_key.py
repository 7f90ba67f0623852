"""Fills a model by the key of a recording, whole tensor by whole tensor: the steps as they are written."""

import torch
from torch import nn

from tests.support.built import tensors_of
from torchinit import keyed
from torchinit.recipes._keyed_apply import KEYED
from torchinit.recording import Recording
from torchinit.recording._keyed_draws import Draw
from torchinit.recording._keyed_program import keyed_program
from torchinit.recording._replay import Memory, States, run


def fill_by_key_(model: nn.Module, recording: Recording, seed: int) -> None:
    """Run the keyed program of a recording on a model's tensors."""
    program, tensors = keyed_program(recording.program), tensors_of(model)
    for entry in program.program.entries:
        memory, states = Memory(program.program), States()
        for step in program.steps_of([entry.name]):
            if isinstance(step, Draw):
                key = keyed.fold_in(keyed.key(seed), step.name)
                key = keyed.fold_in(key, step.index) if step.index else key
                KEYED[step.initializer](memory.tensor(step.target), key, **step.args)
            elif step.operation.is_state:
                states.apply(step.operation)
            else:
                own = step.operation.generator
                run(step.operation, memory, None if own is None else states.own[own])
        with torch.no_grad():
            tensors[entry.name].copy_(memory.tensor(entry.ref))
