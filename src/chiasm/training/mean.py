"""The running mean of a stage's weights: what the stage ends with.

Weights wander about the bottom of a valley while the rate is high; their mean lies in it, so that a stage is
good whenever it is stopped (Polyak & Juditsky 1992; Izmailov et al. 2018).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from chiasm.training.start import trained_state


class RunningMean:
    """Mean of all that ``module`` trains, running statistics included.

    A step counts for ``decay`` of the step after it; in the beginning for less, so that the first weights are
    soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float = 0.9995) -> None:
        self._module = module
        self._decay = decay
        self.values = {name: value.detach().clone() for name, value in trained_state(module).items()}

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Go on from what ``values`` were."""
        for name, value in self.values.items():
            value.copy_(values[name])

    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        self._move(trained_state(self._module), 1 - min(self._decay, step / (step + 9)))

    def mix(self, others: Mapping[str, Tensor], share: float) -> None:
        """Give ``others`` that share: weights in between can beat both ends (Wortsman et al. 2022)."""
        self._move(others, share)

    def _move(self, towards: Mapping[str, Tensor], share: float) -> None:
        for name, value in self.values.items():
            other = towards[name].detach().to(value.device)
            if value.is_floating_point():
                value.lerp_(other.to(value.dtype), share)
            else:
                value.copy_(other)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the module has the mean's weights."""
        kept = {name: value.detach().clone() for name, value in trained_state(self._module).items()}
        self._module.load_state_dict(self.values, strict=False)
        try:
            yield
        finally:
            self._module.load_state_dict(kept, strict=False)
