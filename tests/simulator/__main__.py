"""``python -m tests.simulator SEED [-v] [--broken MUTANT]``: one schedule again, or in words."""

import argparse

from tests.simulator.mutants import MUTANTS
from tests.simulator.processes import WHOLE
from tests.simulator.simulator import Simulator, quiet

parser = argparse.ArgumentParser("python -m tests.simulator")
parser.add_argument("seed", type=int)
parser.add_argument("-v", "--verbose", action="store_true", help="print the schedule")
parser.add_argument("--broken", choices=MUTANTS, help="with a part broken on purpose")
options = parser.parse_args()

parts = MUTANTS[options.broken] if options.broken else WHOLE
simulator = Simulator(options.seed, parts, loud=options.verbose)
with quiet():
    simulator.run()
print(f"holds: {simulator.events} events, {simulator.steps} steps")
