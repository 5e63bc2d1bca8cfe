"""`thrones`, measuring for a moment only and accepting any spread: a busy machine must not fail a test.

Plans that ask for whole passes over the test set make one: the tests' images are few.
"""

from dataclasses import replace

from edge.measuring.plan import PLANS
from search.candidate import calibration
from search.cli.app import main

HASTY = {
    name: replace(plan, warmup_s=0.0, windows=5, window_s=0.05, passes=min(plan.passes, 1), max_spread=1e6)
    for name, plan in PLANS.items()
}

ANY_SPEED = 1e3
"""How far apart the speed of the base may be between two starts: tests share studies on a busy machine."""

if __name__ == "__main__":
    PLANS.update(HASTY)
    calibration.TOLERANCE = ANY_SPEED
    main()
