"""How long a job may take before it counts as hung: for the device that runs it and the host that waits."""

from edge.measuring.plan import MeasurePlan

START_ALLOWANCE_S = 60.0
"""Python and the runtime start in 1 s on a laptop and in 10 s on a Pi with a slow card; the rest is for a busy one."""
MAX_IMAGE_S = 0.25
"""The unpruned net takes about 0.1 s an image on a Pi 3B+; a candidate that is 2.5 times slower is no candidate."""
MAX_COOLING_S = 300.0


def measuring_limit_s(
    plan: MeasurePlan, images: int, start_allowance_s: float = START_ALLOWANCE_S, models: int = 1
) -> float:
    """Return the seconds after which a measuring child counts as hung.

    start allowance + models x (warm-up + windows x (window_s + MAX_IMAGE_S) + passes x images x MAX_IMAGE_S).
    """
    timed_s = plan.windows * (plan.window_s + MAX_IMAGE_S) + plan.passes * images * MAX_IMAGE_S
    return start_allowance_s + models * (plan.warmup_s + MAX_IMAGE_S + timed_s)


def predicting_limit_s(images: int, start_allowance_s: float = START_ALLOWANCE_S) -> float:
    """Return the seconds after which a predicting child counts as hung."""
    return start_allowance_s + images * MAX_IMAGE_S
