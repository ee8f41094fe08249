"""How the tests and another library's process pass tensors: files in a folder, in one layout for all.

The folder holds `cases.json` ({case: {"kind": …, settings…}}) and `given.safetensors` (x (n, d); W_enc (d, F), b_enc
(F,), W_dec (F, d), b_dec (d,), threshold, b_gate, b_mag, r_mag (F,)). The setting `dead` says how many of the last
latents have long been silent. For each case the process writes `<case>.safetensors`: `code`, `reconstruction`, `loss`,
`terms/<name>` and `gradients/<weight>`.

This runs in the environment of the other library, which has no ae_lightning.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Tensors = dict[str, Tensor]
#: Answers what a case computes, from its settings and what is given.
Compute = Callable[[dict[str, Any], Tensors], Tensors]


def answer(kinds: dict[str, Compute]) -> None:
    """Compute every case of the folder that the command line names."""
    folder = Path(sys.argv[1])
    given = load_file(folder / "given.safetensors")
    for name, settings in json.loads((folder / "cases.json").read_text(encoding="utf-8")).items():
        tensors = kinds[settings.pop("kind")](settings, {key: value.clone() for key, value in given.items()})
        save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")


@torch.no_grad()
def copy(parameters: dict[str, nn.Parameter], given: Tensors, transposed: tuple[str, ...] = ()) -> None:
    """Put the weights that are given into a model's parameters, by our names of them."""
    for name, parameter in parameters.items():
        parameter.copy_(given[name].T if name in transposed else given[name])


def dead_among(latents: int, settings: dict[str, Any]) -> Tensor:
    """Which latents have long been silent: the last ones, as many as the settings say."""
    return torch.arange(latents) >= latents - settings.pop("dead", 0)


def outcome(
    code: Tensor,
    reconstruction: Tensor,
    loss: Tensor,
    terms: Tensors,
    parameters: dict[str, nn.Parameter],
    transposed: tuple[str, ...] = (),
) -> Tensors:
    """What a case answers; the loss is differentiated by all parameters."""
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    return {
        "code": code,
        "reconstruction": reconstruction,
        "loss": loss,
        **{f"terms/{name}": term for name, term in terms.items()},
        **{f"gradients/{name}": value.T if name in transposed else value for name, value in gradients.items()},
    }
