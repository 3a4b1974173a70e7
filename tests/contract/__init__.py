"""What every public class of su_models promises, whatever its mathematics.

`CASES` holds one entry a public name; tests/test_contract.py asserts that it
misses none, and runs the check of its room on each. A fault found in one
class becomes a line in a check, so that it is looked for in all.
"""

from tests.contract.base import JIT, arguments, integers, normal, to_numpy
from tests.contract.cases import CASES, Case

__all__ = [
    "CASES",
    "JIT",
    "Case",
    "arguments",
    "integers",
    "normal",
    "to_numpy",
]
