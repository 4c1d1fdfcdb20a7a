"""What a use of soft labels that cannot be vouched for gets."""


class SoftTargetError(RuntimeError):
    """Soft labels were used in a way that is not known to be right.

    Not a TypeError: inside an operator that would turn into Python's ``False``.
    """


WAYS_OUT = (
    'Ways out: labels="sample" on the mixing trick gives plain labels, right in expectation for any loss; '
    "soft_labels(y, num_classes) gives plain probabilities; "
    "mixed_loss(criterion, logits, y) applies a criterion to each label and weighs the results. "
    'With LabelSmoothing or Distillation neither labels="sample" nor mixed_loss is one: leave them out, or use '
    "F.cross_entropy."
)

METRIC_WAYS_OUT = (
    "Way out: metric(logits.detach(), y.hard), which sees the dominant labels. A metric that you have written, or that "
    "could be a loss, gets no soft labels."
)


def refusal(
    operation: str, reason: str = "is not known to be right for soft labels", *, ways_out: str = WAYS_OUT
) -> SoftTargetError:
    """Returns the error that names the operation, the reason and the ways out."""
    return SoftTargetError(f"`{operation}` {reason} (its target is a SoftTarget). {ways_out}")
