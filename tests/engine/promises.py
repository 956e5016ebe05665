"""The guarantees of the engine, and the guard that each depends on; their tests are named after them.

G1 to G19 are about every record, tested with the list; R1 to R15 about members.
"""

PROMISES = (
    *(f"G{number}" for number in range(1, 20)),
    *(f"R{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15)),
)
# Without the guard, exactly the tests of these guarantees fail.
KEEPS = {
    "lease": frozenset({"G1", "G3", "R1"}),
    "generation": frozenset({"G4", "R5"}),
    "not_before": frozenset({"G2", "G12"}),
    "gate": frozenset({"G5", "G6"}),
    "allowance": frozenset({"R2", "R3"}),
    "brake": frozenset({"G7"}),
    "jitter": frozenset({"G14"}),
    "renewal": frozenset({"G19", "R8", "R15"}),
}
