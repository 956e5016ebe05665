"""The guarantees of the engine, and the guard that each depends on; their tests are named after them.

G1 to G19 are about every record, tested with the list; R1 to R15 about members and the other resources. R13 is a
guarantee of each resource: what G1 to G18 say, for its records.
"""

# The resources whose records no other guarantee is about.
PROMISED_ONCE = ("directory", "bot_guilds")
R13 = tuple(f"R13 {resource}" for resource in ("guild_list", "member", *PROMISED_ONCE))
PROMISES = (
    *(f"G{number}" for number in range(1, 20)),
    *(f"R{number}" for number in range(1, 13)),
    *R13,
    *("R14", "R15"),
)
# Without the guard, exactly the tests of these guarantees fail.
KEEPS = {
    "lease": frozenset({"G1", "G3", "R1", *R13}),
    "generation": frozenset({"G4", "R5", *R13}),
    "not_before": frozenset({"G2", "G12", *R13}),
    # G13 is about the last block that ends: without the gate or the brake, there is none to be told about.
    "gate": frozenset({"G5", "G6", "G13"}),
    "allowance": frozenset({"R2", "R3"}),
    "brake": frozenset({"G7", "G13"}),
    "jitter": frozenset({"G14"}),
    "renewal": frozenset({"G19", "R8", "R15"}),
    "news": frozenset({"R12"}),
    "look": frozenset({"R14"}),
    # The same guards for the records of one resource.
    **{
        f"{guard}.{resource}": frozenset({f"R13 {resource}"})
        for guard in ("lease", "generation", "not_before")
        for resource in PROMISED_ONCE
    },
}
