"""The promises of the engine, and the guard that each leans on; their tests are named after them."""

PROMISES = tuple(f"G{number}" for number in range(1, 20))
# Exactly the tests of these fail without the guard.
KEEPS = {
    "lease": frozenset({"G1", "G3"}),
    "generation": frozenset({"G4"}),
    "not_before": frozenset({"G2", "G12"}),
    "gate": frozenset({"G5", "G6"}),
    "brake": frozenset({"G7"}),
    "jitter": frozenset({"G14"}),
    "renewal": frozenset({"G19"}),
}
