"""The learning rates of one optimizer, scaled for exactly the arithmetic of its ``step``."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.optim import Optimizer

from lightning_tricks.engine.method_patch import MethodPatch


def optimizers_inside(optimizer: Optimizer) -> list[Optimizer]:
    """Returns the optimizers that a wrapper holds, at any depth; none for an optimizer that wraps nothing."""
    if any(base.__name__ == "ZeroRedundancyOptimizer" for base in type(optimizer).__mro__):
        return []  # before each step it copies the values of its groups into those of the one inside
    found = [optimizer]
    for holder in found:  # grows while it is read
        for value in vars(holder).values():
            values = value.values() if isinstance(value, dict) else value
            for held in values if isinstance(value, dict | list | tuple) else [value]:
                if isinstance(held, Optimizer) and not any(held is known for known in found):
                    found.append(held)
    return found[1:]


def check_groups(optimizer: Optimizer, inside: list[Optimizer]) -> None:
    """Refuses groups without a learning rate, and those through which no learning rate reaches the arithmetic.

    Raises:
        MisconfigurationException: a group has no ``lr``, ``param_groups`` makes new groups whenever it is read, or the
            optimizer inside a wrapper has groups of its own.
    """
    name = type(optimizer).__name__
    groups = optimizer.param_groups
    for index, group in enumerate(groups):
        if group.get("lr") is None:
            raise MisconfigurationException(
                "The learning-rate tricks need an optimizer with a learning rate, "
                f"but parameter group {index} of {name} has none"
            )
    if any(group is not again for group, again in zip(groups, optimizer.param_groups, strict=False)):
        raise MisconfigurationException(
            f"The learning-rate tricks need parameter groups that can be written to, but {name} makes new ones "
            "whenever param_groups is read; let it return the groups themselves"
        )
    shared = {id(group) for group in groups}
    for held in inside:
        if any(id(group) not in shared for group in held.param_groups):
            raise MisconfigurationException(
                f"The learning-rate tricks need a wrapper that shares the parameter groups of the optimizer inside, "
                f"but {type(held).__name__} inside {name} has groups of its own, which no scheduler of {name} reaches "
                f"either; let the param_groups of {name} be those of {type(held).__name__}, or return "
                f"{type(held).__name__} from configure_optimizers"
            )


class _Scaled(NamedTuple):
    group: dict[str, Any]
    shown: Any
    nominal: Any
    version: int


class ScaledStep:
    """Multiplies an optimizer's learning rates by ``factor(count)`` while it computes, and counts its steps.

    Inside a closure that is passed to ``step`` the rates are nominal, since there Lightning runs the training step and
    the hooks around it. They are scaled already when ``step`` begins, for LBFGS reads its rate before it calls the
    closure. A rate that is not the one we set when the step is over has been set by somebody else: it stays.

    Of a wrapper, the optimizers inside are hooked too, for its user may step them without it, as the two halves of SAM
    do. A step inside another one is a part of it.

    Args:
        optimizer: the optimizer; its step is hooked at once, unless it is refused.
        count: the steps that it has made.
        factor: what the rates are multiplied by at the step of that number.
        is_active: asked at the beginning of each step; where it says no, the step is left alone and not counted.
    """

    def __init__(
        self, optimizer: Optimizer, *, count: int, factor: Callable[[int], float], is_active: Callable[[], bool]
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise MisconfigurationException(
                f"The learning-rate tricks need a torch.optim.Optimizer, but got {type(optimizer).__name__}"
            )
        inside = optimizers_inside(optimizer)
        check_groups(optimizer, inside)
        self.optimizer = optimizer
        self.count = count
        self._factor = factor
        self._is_active = is_active
        self._factor_now = 1.0
        self._depth = 0
        self._scaled: list[_Scaled] = []
        self._shown: list[_Scaled] = []
        # Of several inside, each steps once when the wrapper does, so that one of them tells the count.
        self._counted = (optimizer, *inside[:1])
        self._handles: list[Any] = []
        for one in (optimizer, *inside):
            self._hook(one)

    def detach(self) -> None:
        """Makes every rate nominal and removes the hooks."""
        self.abandon()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def abandon(self) -> None:
        """Forgets a step that an exception has ended; without one there is nothing to forget."""
        self.hide()
        self._restore()
        self._depth = 0

    def show(self) -> None:
        """Makes the rates those of the next step, for somebody who only looks at them."""
        self.hide()
        factor = self._factor(self.count)
        for group in self.optimizer.param_groups:
            nominal = group["lr"]
            # A new object even where it is a tensor: whoever looks may keep it.
            group["lr"] = nominal * factor
            self._shown.append(_Scaled(group, group["lr"], nominal, 0))

    def hide(self) -> None:
        """Ends :meth:`show`."""
        for group, shown, nominal, _ in self._shown:
            if group["lr"] is shown:
                group["lr"] = nominal
        self._shown.clear()

    def _hook(self, optimizer: Optimizer) -> None:
        own = vars(optimizer)
        if getattr(type(optimizer).step, "hooked", False) and "_optimizer_step_pre_hooks" in own:
            self._handles += [
                optimizer.register_step_pre_hook(self._before),
                optimizer.register_step_post_hook(self._after),
            ]
        else:
            # A wrapper that has not called the constructor of Optimizer: torch runs no hook at its step.
            patch = MethodPatch(optimizer, "step", partial(self._around, optimizer))
            if hasattr(patch.original, "_wrapped_by_lr_sched"):
                vars(patch)["_wrapped_by_lr_sched"] = True  # torch's schedulers warn of a step that lacks it
            patch.install()
            self._handles.append(patch)
        if "_optimizer_state_dict_post_hooks" in own:
            self._handles.append(optimizer.register_state_dict_post_hook(self._write_nominal))

    def _around(self, optimizer: Optimizer, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        args = (optimizer, *args)
        args, kwargs = self._before(optimizer, args, kwargs) or (args, kwargs)
        result = step(*args[1:], **kwargs)
        self._after(optimizer, args, kwargs)
        return result

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._depth == 0:
            if not self._is_active():
                return None
            self._factor_now = self._factor(self.count)
            self._scale()
        # An optimizer whose step calls its parent's comes here a second time before the first step is over.
        self._depth += 1
        if kwargs.get("closure") is not None:
            return args, kwargs | {"closure": self._at_nominal(kwargs["closure"])}
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._at_nominal(args[1]), *args[2:]), kwargs
        return None

    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
            self._restore()
            self.count += any(optimizer is counted for counted in self._counted)

    def _at_nominal(self, closure: Callable[..., Any]) -> Callable[..., Any]:
        def closure_at_nominal(*args: Any, **kwargs: Any) -> Any:
            was_scaled = bool(self._scaled)
            self._restore()
            try:
                result = closure(*args, **kwargs)
            except BaseException:
                self._depth = 0  # the step ends here too; whoever catches this may step again
                raise
            if was_scaled:
                self._scale()
            return result

        return closure_at_nominal

    # `no_grad` is entered for tensor rates only: for floats it would dominate the cost.
    def _scale(self) -> None:
        factor = self._factor_now
        nominal_tensors: dict[int, Tensor] = {}
        for group in self.optimizer.param_groups:
            lr = group["lr"]
            if not isinstance(lr, Tensor):
                group["lr"] = lr * factor
                self._scaled.append(_Scaled(group, group["lr"], lr, 0))
                continue
            # A compiled or captured step reads this very tensor, so it is written to; groups may share it.
            if id(lr) not in nominal_tensors:
                with torch.no_grad():
                    nominal_tensors[id(lr)] = lr.clone()
                    lr.mul_(factor)
            self._scaled.append(_Scaled(group, lr, nominal_tensors[id(lr)], lr._version))

    def _restore(self) -> None:
        for group, shown, nominal, version in self._scaled:
            if isinstance(shown, Tensor):
                # The version says whether somebody has written to it, without reading it back from the device.
                if shown._version == version:
                    with torch.no_grad():
                        shown.copy_(nominal)
            elif not isinstance(group["lr"], Tensor) and group["lr"] == shown:
                group["lr"] = nominal
        self._scaled.clear()

    def _write_nominal(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        nominal = {id(scaled.group): scaled.nominal for scaled in self._scaled or self._shown}
        for packed, group in zip(state_dict["param_groups"], optimizer.param_groups, strict=False):
            if id(group) in nominal:
                packed["lr"] = nominal[id(group)]
