"""AdaBound: Adam whose step sizes converge to those of SGD."""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from lightning_tricks.functional.checks import check_flag, check_number


class AdaBound(Optimizer):
    r"""Adam with a per-coordinate rate that is clipped between two bounds, which meet at ``final_lr``.

    With m and v Adam's moving averages of the gradient and of its square, and t counted from 1,

    .. math::
        p \leftarrow p - \mathrm{clip}\Big(\frac{\eta\sqrt{1-\beta_2^t}/(1-\beta_1^t)}{\sqrt v+\epsilon},
        \; f\,(1-\tfrac{1}{\gamma t+1}), \; f\,(1+\tfrac{1}{\gamma t})\Big) \cdot m,
        \qquad f = \mathrm{final\_lr}\cdot\eta/\eta_0

    where η is the group's ``lr`` and η₀ its ``base_lr``, the ``lr`` that the group was added with: a schedule moves the
    bounds too. A small γ stays close to Adam for long; with γ near 1 the step is soon SGD's, ``final_lr``·m.

    Args:
        params: parameters, named parameters or groups of them, as torch's optimizers take them.
        lr: η, above 0. A tensor of one element avoids recompilation of a compiled step when it changes.
        betas: β₁ and β₂, each in [0, 1).
        final_lr: the final rate, above 0.
        gamma: γ, how fast the bounds converge, in (0, 1).
        eps: ε, added to √v, at least 0.
        weight_decay: L2 penalty, this times the parameter is added to its gradient; at least 0.
        amsbound: use the running maximum of v instead of v (AMSBound).
        foreach: update all parameters of a device together, by torch's multi-tensor operations; ``None`` does so if
            all of them are on CUDA. A compiled step ignores it: the compiler fuses the loop.
        maximize: ascend the gradient.

    Raises:
        TypeError: at construction and in ``add_param_group``, for a value of the wrong type and for complex parameters.
        ValueError: at the same places, for a value out of range and for a tensor ``lr`` of several elements.
        RuntimeError: in ``step``, for sparse gradients.

    Example:
        >>> import torch
        >>> from lightning_tricks import AdaBound
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = AdaBound([weight], lr=0.1, final_lr=0.5)
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> weight.detach()
        tensor([0.9000, 0.9000])

    References:
        Luo et al., Adaptive Gradient Methods with Dynamic Bound of Learning Rate, arXiv 1902.09843. As in the authors'
        code, and unlike the paper's listing, the rate is not divided by √t. Unlike their code, η₀ is part of the group,
        so that it is saved with the state and a group that is added later trains.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        final_lr: float = 0.1,
        gamma: float = 1e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsbound: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "final_lr": final_lr,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsbound": amsbound,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; missing values are the optimizer's defaults, and ``base_lr`` is the group's ``lr``."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_group(group)
        except (TypeError, ValueError):
            self.param_groups.pop()  # a refused group must not train
            raise
        group.setdefault("base_lr", float(group["lr"]))

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Updates every parameter that has a gradient.

        Args:
            closure: recomputes the loss and the gradients.

        Returns:
            What the closure returned, or ``None``.

        Raises:
            RuntimeError: for a sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
            self._init_group(group, *lists)
            foreach = group["foreach"] if group["foreach"] is not None else all(p.is_cuda for p in lists[0])
            update = _multi_tensor if foreach and not torch.compiler.is_compiling() else _single_tensor
            update(*lists, group=group)
        return loss

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        steps: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        maxima: list[Tensor],
    ) -> None:
        """Fills the lists, and empty states; the compiler does not trace a method of this name and signature."""
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.is_sparse:
                raise RuntimeError("AdaBound does not support sparse gradients; torch.optim.SparseAdam does.")
            state = self.state[p]
            if not state:
                # On the host, so that reading it never waits for the device.
                state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
                state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            if group["amsbound"]:
                if "max_exp_avg_sq" not in state:
                    state["max_exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                maxima.append(state["max_exp_avg_sq"])
            params.append(p)
            grads.append(p.grad)
            steps.append(state["step"])
            exp_avgs.append(state["exp_avg"])
            exp_avg_sqs.append(state["exp_avg_sq"])


def _check_group(group: dict[str, Any]) -> None:
    owner = "AdaBound"
    lr = group["lr"]
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise ValueError(f"{owner} needs a tensor lr to have one element, but got shape {tuple(lr.shape)}.")
        lr = lr.item()
    check_number(owner, "lr", lr, above=0)  # the bounds scale with lr / base_lr
    if not isinstance(group["betas"], tuple | list) or len(group["betas"]) != 2:
        raise TypeError(f"{owner} needs betas to be a pair of numbers, but got {group['betas']!r}.")
    for i, beta in enumerate(group["betas"]):
        check_number(owner, f"betas[{i}]", beta, low=0, below=1)
    check_number(owner, "final_lr", group["final_lr"], above=0)
    check_number(owner, "gamma", group["gamma"], above=0, below=1)
    check_number(owner, "eps", group["eps"], low=0)
    check_number(owner, "weight_decay", group["weight_decay"], low=0)
    check_flag(owner, "amsbound", group["amsbound"])
    check_flag(owner, "maximize", group["maximize"])
    if group["foreach"] is not None:
        check_flag(owner, "foreach", group["foreach"])
    for p in group["params"]:
        if p.is_complex():
            raise TypeError(f"{owner} needs real parameters, but got a complex one of shape {tuple(p.shape)}.")


def _scalars(step: Any, lr: Any, group: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The step size and the two ends that √v + ε is clipped to.

    The rate clip(s/d, f·r, f/r) with d = √v + ε and r = γt/(γt+1) is s / clip(d, c·r, c/r) with c = s/f. The lr cancels
    in c, so that an lr of 0 is no division by 0, and the tensors are passed over once less.
    """
    beta1, beta2 = group["betas"]
    correction = (1 - _power(beta2, step)) ** 0.5 / (1 - _power(beta1, step))
    center = correction * (group["base_lr"] / group["final_lr"])
    ratio = group["gamma"] * step / (group["gamma"] * step + 1)
    return lr * correction, center * ratio, center / ratio


def _power(beta: float, step: Any) -> Any:
    """beta**step; of a tensor in the one form that inductor computes once, and not again for every vector of a loop."""
    return beta**step if not isinstance(step, Tensor) or beta == 0 else (step.double() * math.log(beta)).exp()


def _number(value: Any) -> Any:
    """A Python number where the step runs eagerly; a compiled step keeps the tensor, and one graph."""
    return value.item() if isinstance(value, Tensor) and not torch.compiler.is_compiling() else value


def _single_tensor(
    params: list[Tensor],
    grads: list[Tensor],
    steps: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    maxima: list[Tensor],
    *,
    group: dict[str, Any],
) -> None:
    beta1, beta2 = group["betas"]
    lr = _number(group["lr"])
    for i, p in enumerate(params):
        grad = -grads[i] if group["maximize"] else grads[i]
        if group["weight_decay"] != 0:
            grad = grad.add(p, alpha=group["weight_decay"])
        steps[i] += 1
        exp_avgs[i].lerp_(grad, 1 - beta1)
        second = exp_avg_sqs[i].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if group["amsbound"]:
            second = torch.maximum(maxima[i], second, out=maxima[i])
        step_size, low, high = _scalars(_number(steps[i]), lr, group)
        denominator = second.sqrt().add_(group["eps"]).clamp_(low, high)
        p.addcdiv_(exp_avgs[i], denominator, value=-step_size)


def _multi_tensor(*lists: list[Tensor], group: dict[str, Any]) -> None:
    beta1, beta2 = group["betas"]
    lr = _number(group["lr"])
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, p in enumerate(lists[0]):
        kinds.setdefault((p.device, p.dtype), []).append(i)
    for indices in kinds.values():
        of_kind: list[Any] = [[tensors[i] for i in indices] if tensors else [] for tensors in lists]
        params, grads, steps, exp_avgs, seconds, maxima = of_kind
        if group["maximize"]:
            grads = torch._foreach_neg(grads)
        if group["weight_decay"] != 0:
            grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, grads, grads, 1 - beta2)
        if group["amsbound"]:
            torch._foreach_maximum_(maxima, seconds)
            seconds = maxima
        step_sizes, lows, highs = zip(*(_scalars(step.item(), lr, group) for step in steps), strict=True)
        denominators = torch._foreach_sqrt(seconds)
        torch._foreach_add_(denominators, group["eps"])
        if params[0].is_cpu:  # each multi-tensor operation is a loop there, and torch has none that clamps both ends
            for denominator, low, high in zip(denominators, lows, highs, strict=True):
                denominator.clamp_(low, high)
        else:
            torch._foreach_clamp_min_(denominators, lows)
            torch._foreach_clamp_max_(denominators, highs)
        torch._foreach_addcdiv_(params, exp_avgs, denominators, [-size for size in step_sizes])
