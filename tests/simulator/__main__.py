"""``python -m tests.simulator SEED [-v] [--distributed] [--broken MUTANT]``: one schedule again, or
in words."""

import argparse

from tests.simulator import distributed_mutants, mutants
from tests.simulator.distributed import Distributed
from tests.simulator.processes import WHOLE
from tests.simulator.simulator import Simulator, quiet

parser = argparse.ArgumentParser("python -m tests.simulator")
parser.add_argument("seed", type=int)
parser.add_argument("-v", "--verbose", action="store_true", help="print the schedule")
parser.add_argument("-d", "--distributed", action="store_true", help="with a relay in between")
parser.add_argument("--broken", metavar="MUTANT", help="with a part broken on purpose")
options = parser.parse_args()

kind, broken = Simulator, mutants.MUTANTS
if options.distributed:
    kind, broken = Distributed, distributed_mutants.MUTANTS
if options.broken not in (None, *broken):
    parser.error(f"the mutants are {', '.join(broken)}")

simulator = kind(options.seed, broken.get(options.broken, WHOLE), loud=options.verbose)
with quiet():
    simulator.run()
print(f"holds: {simulator.events} events, {simulator.steps} steps")
