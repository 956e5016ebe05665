"""The guarantees of the engine, and the guard that each depends on; their tests are named after them.

G1 to G19 are about every record, tested with the list; R1 to R15 about members and the other resources. R13 is what
they say about lists, for every resource.
"""

PROMISES = (
    *(f"G{number}" for number in range(1, 20)),
    *(f"R{number}" for number in range(1, 16)),
)
# Without the guard, exactly the tests of these guarantees fail.
KEEPS = {
    "lease": frozenset({"G1", "G3", "R1", "R13"}),
    "generation": frozenset({"G4", "R5", "R13"}),
    "not_before": frozenset({"G2", "G12", "R13"}),
    "gate": frozenset({"G5", "G6"}),
    "allowance": frozenset({"R2", "R3"}),
    "brake": frozenset({"G7"}),
    "jitter": frozenset({"G14"}),
    "renewal": frozenset({"G19", "R8", "R15"}),
    "news": frozenset({"R12"}),
    "look": frozenset({"R14"}),
}
