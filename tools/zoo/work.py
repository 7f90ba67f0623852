"""The work of one process; must be imported before anything imports transformers or timm."""

import os

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

from tests.support.model_libraries import add_model_libraries
from tools.zoo import timm_models, transformers_models
from tools.zoo.check import Result, check, describe

add_model_libraries()

LIBRARIES = {"transformers": transformers_models, "timm": timm_models}


def run(work: tuple[str, str]) -> Result:
    """Check one model of a library."""
    library, name = work
    torch.set_num_threads(1)
    try:
        return check(*LIBRARIES[library].task(name))
    except Exception as error:
        return Result(library, name, "", error=describe(error))
