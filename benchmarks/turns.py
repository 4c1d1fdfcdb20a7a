"""Times contenders in turns, so that other load on the machine affects all of them equally."""

import random
import time

import torch


def times_in_turns(calls, rounds, *, untimed=1, device="cpu", before_round=lambda number: None):
    """Returns the seconds of each call, round by round; each runs once per round, in a new order.

    Args:
        calls: the contenders by name.
        rounds: how many times each is timed.
        untimed: rounds before these.
        device: what is waited for after each call.
        before_round: called with the number of each timed round.
    """
    times = {name: [] for name in calls}
    order = list(calls)
    for number in range(-untimed, rounds):
        if number >= 0:
            before_round(number)
        random.Random(number).shuffle(order)
        for name in order:
            start = time.perf_counter()
            result = calls[name]()
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize(device)
            if number >= 0:
                times[name].append(time.perf_counter() - start)
            del result
    return times
