"""Checks whether a run kept the guarantees: pure functions over requests, row histories and readers' responses.

Each check is named after its guarantee and returns how many facts it checked and which broke it. Requests and responses
just before a process was stopped break no guarantee; `Run.looked_at` and `WIRE` bound that.
"""

from collections.abc import Callable

from bench.chaos import limits, lists, members
from bench.chaos.known import Finding, Run

CHECKS: tuple[Callable[[Run], Finding], ...] = (
    lists.g1_one_attempt_at_a_time,
    lists.g2_an_attempt_is_one_request_and_its_retries,
    lists.g2_failing_people_are_asked_once_in_30_seconds,
    lists.g2_nobody_is_asked_before_not_before,
    lists.g2_what_discord_told_to_wait_is_waited,
    lists.g3_an_abandoned_list_is_taken_over,
    lists.g3_stored_lists_are_served,
    lists.g4_lists_change_only_with_their_generation,
    lists.g4_stored_is_what_discord_sent,
    limits.g5_nothing_passes_a_shut_gate,
    limits.g5_every_request_passed_the_gate,
    limits.g5_a_limit_for_all_shuts_the_gate,
    limits.g7_the_brake_holds,
    limits.g7_every_refusal_is_counted,
    limits.g8_a_dead_token_is_sent_at_most_twice,
    lists.g9_no_list_is_a_day_old_and_its_age_is_true,
    lists.g9_nothing_fresh_is_asked_for,
    lists.g11_only_ones_own_attempt_sets_ones_wait,
    lists.g13_a_refusal_says_truly_how_long,
    members.r2_five_requests_in_a_window,
    members.r2_each_request_was_taken,
    members.r3_a_wait_closes_the_allowance,
    members.r5_members_change_only_with_their_generation,
    members.r9_members_are_true_and_less_than_a_day_old,
)


def check(run: Run) -> list[Finding]:
    return [promise(run) for promise in CHECKS]
