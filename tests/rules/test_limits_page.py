"""Every limit of docs/LIMITS.md has a test that meets it: at the limit all is well, beyond it what is written happens.

A row is known by its names (settings or constants).
"""
import re

import pytest
from tree import TOP

PAGE = TOP / "docs/LIMITS.md"
LIMITS = "integration/test_limits.py"
TIMEOUTS = "integration/test_timeouts.py"
PUNCTUAL = "sim/clients/behave_limits.c"  # the simulation, in runs without delays

# name -> the test, as FILE:FUNCTION below tests/
TESTS = {
    "clients": f"{LIMITS}:test_the_limit_of_all_clients_is_exact_and_lets_go",
    "routes[].client_limit": f"{LIMITS}:test_the_limit_of_one_pools_clients_is_exact_when_many_come_at_once",
    "database_clients": f"{LIMITS}:test_clients_of_a_database_or_a_user_are_counted_over_all_pools",
    "user_clients": f"{LIMITS}:test_clients_of_a_database_or_a_user_are_counted_over_all_pools",
    "databases.NAME.client_limit": f"{LIMITS}:test_clients_of_a_database_or_a_user_are_counted_over_all_pools",
    "users.NAME.client_limit": f"{LIMITS}:test_clients_of_a_database_or_a_user_are_counted_over_all_pools",
    "routes[].pool_size": f"{LIMITS}:test_a_pool_never_has_more_servers_than_its_size",
    "routes[].replication_limit": "integration/test_replication.py:test_replication_can_be_limited_and_forbidden",
    "routes[].pool_reserve": "integration/test_server_care.py:test_the_reserve_is_used_after_reserve_after",
    "database_servers": f"{LIMITS}:test_servers_are_counted_over_pools_and_all_pools_are_served",
    "user_servers": f"{LIMITS}:test_servers_are_counted_over_pools_and_all_pools_are_served",
    "servers": f"{LIMITS}:test_servers_are_counted_over_pools_and_all_pools_are_served",
    "databases.NAME.server_limit": f"{LIMITS}:test_servers_are_counted_over_pools_and_all_pools_are_served",
    "users.NAME.server_limit": f"{LIMITS}:test_servers_are_counted_over_pools_and_all_pools_are_served",
    "routes[].claim_timeout": "sim/clients/batch.c:error_is_in_time",
    "overtake_limit": "integration/test_fairness.py:test_no_claim_is_overtaken_from_another_relay_by_much",
    "services.NAME.connection_limit": f"{LIMITS}:test_the_limit_of_connections_to_one_server_counts_all_pools",
    "services.NAME.connect_timeout": "integration/test_restart.py:test_a_server_that_is_away_for_too_long_is_an_error_at_the_deadline",
    "services.NAME.switchover_timeout": "integration/test_failover.py:test_a_switchover_ends_by_itself_after_its_timeout",
    "login_timeout": f"{PUNCTUAL}:behave_login_limit",
    "auth_query.pool_size": "integration/test_auth_query.py:test_many_logins_share_the_connections_of_auth_query",
    "failed_logins.limit": "integration/test_auth_limits.py:test_guesses_beyond_the_limit_are_answered_late_and_others_at_once",
    "routes[].client_idle_timeout": f"{PUNCTUAL}:behave_idle_limit",
    "routes[].query_timeout": f"{PUNCTUAL}:behave_query_limit",
    "routes[].transaction_timeout": f"{PUNCTUAL}:behave_transaction_limit",
    "routes[].idle_transaction_timeout": f"{PUNCTUAL}:behave_idle_limit",
    "routes[].claim_notice": "integration/test_server_care.py:test_a_client_that_waits_gets_one_notice",
    "routes[].server_check_timeout": "integration/test_server_care.py:test_a_server_that_rested_and_does_not_answer_is_replaced",
    "routes[].idle_timeout": f"{LIMITS}:test_an_idle_server_is_closed_after_its_time",
    "routes[].server_lifetime": f"{LIMITS}:test_an_old_server_is_replaced",
    "statements_limit": "integration/test_statement_counts.py:test_the_one_counted_longest_ago_is_forgotten",
    "message_limit": f"{LIMITS}:test_a_message_beyond_message_limit_affects_no_other_client",
    "memory_limit": "integration/test_memory.py:test_the_largest_request_for_memory_is_refused",
    "chunk_size": "integration/test_large.py:test_a_message_of_just_the_size_of_a_buffer_passes",
    "routes[].session_state.pin_share": "unit/turn_told_test.c:pin_share_is_met_exactly",
    "shutdown_timeout": "integration/test_shutdown.py:test_unfinished_sessions_are_closed_at_shutdown_timeout",
    "descriptors": "integration/test_life_privileges.py:test_too_few_descriptors_are_told_with_every_number_and_budgeted",
    "drain_timeout": "integration/test_drain.py:test_a_client_is_ended_by_a_drain_in_the_middle_of",
    "WIRE_STARTUP_MAX": "unit/wire_startup_test.c:a_first_length_is_taken_only_between_eight_and_the_limit",
    "AUTH_PASSWORD_MAX": "integration/test_protocol_modes.py:test_a_password_may_be_long",
    "SCRAM_MESSAGE_MAX": "unit/wire_scram_test.c:a_malformed_first_message_is_refused",
    "SCRAM_NONCE_MAX": "unit/wire_scram_test.c:a_malformed_first_message_is_refused",
    "SCRAM_SALT_MAX": "unit/wire_scram_test.c:a_verifier_with_the_largest_salt_goes_through_its_text",
    "SCRAM_ITERATIONS_MAX": "unit/wire_scram_test.c:a_malformed_verifier_is_refused",
    "ACCEPTED_MAX": "unit/accepted_test.c:what_does_not_fit_is_forgotten_with_all_the_others",
    "ACCEPTED_SHARED_MAX": "unit/accepted_test.c:shared_values_are_dropped_when_there_is_no_room",
    "PARAMS_MAX": "unit/params_test.c:more_parameters_than_the_limit_are_refused",
    "PARAMS_SIZE_MAX": "unit/params_test.c:more_bytes_than_the_limit_are_refused",
    "LOGIN_PARAMETERS_MAX": "unit/link_test.c:parameters_without_end_are_refused",
    "CLIENT_STATEMENTS_MAX": "unit/statements_test.c:a_client_has_no_more_names_than_the_limit",
    "QUERY_EFFECTS_MAX": "unit/query_test.c:too_many_effects_are_told_by_kind",
    "QUERY_HINTS_MAX": "unit/cache_rules_test.c:further_hints_mean_nothing",
    "FLIGHT_RULE_TEXTS": "integration/test_cache_rules.py:test_more_texts_than_are_remembered_have_their_rules",
    "LEDGER_MAX": "unit/ledger_test.c:the_ring_grows_in_order_up_to_its_ceiling",
    "RELAYS_MAX": "unit/limits_test.c:there_are_as_many_relays_as_there_may_be",
    "SERVICE_BACKENDS_MAX": "unit/fleet_test.c:too_many_addresses_are_refused_and_change_nothing",
    "CONFIG_FILES_MAX": "unit/config_include_test.c:files_and_bytes_have_a_limit",
    "INCLUDE_DEPTH_MAX": "unit/config_include_test.c:a_file_is_included_once",
    "INCLUDE_PATHS_MAX": "unit/config_include_test.c:files_and_bytes_have_a_limit",
    "CONFIG_FILE_MAX": "unit/limits_test.c:a_configuration_file_is_as_long_as_it_may_be",
    "HBA_FILE_MAX": "unit/limits_test.c:an_hba_file_is_as_long_as_it_may_be",
    "HBA_DEPTH_MAX": "unit/limits_test.c:hba_files_nest_as_deep_as_they_may",
    "HBA_RULES_MAX": "unit/limits_test.c:an_hba_file_has_as_many_rules_as_it_may",
    "HBA_TOKENS_MAX": "unit/limits_test.c:a_line_of_an_hba_file_has_as_many_words_as_it_may",
    "CONFIG_PROBLEMS_MAX": "unit/config_test.c:problems_beyond_the_most_that_are_told_are_counted",
    "CONFIG_SECRET_MAX": "unit/secrets_test.c:names_and_secrets_in_the_auth_file_have_a_longest",
    "LOG_LINE_MAX": "unit/log_test.c:a_line_that_is_too_long_is_cut_and_still_closed",
    "FAULT_STORY_MAX": "unit/limits_test.c:a_story_is_as_long_as_it_may_be_and_cut_beyond_that",
    "CONSOLE_ROWS_MAX": "unit/console_test.c:an_answer_beyond_its_ceiling_is_a_limit",
    "unauthenticated_limit": "integration/test_silence.py:test_the_oldest_that_said_nothing_goes_first",
    "unauthenticated_source_limit": "integration/test_silence.py:test_a_source_has_a_limit_of_its_own",
    "PARAMS_STARTUP": "integration/test_parameters.py:test_more_startup_parameters_than_the_limit_are_refused_at_login",
    "PARAMS_REPORTED": "integration/test_parameters.py:test_there_is_room_for_all_that_servers_report_beside_the_startup_parameters",
    "SILENT_MIN": "integration/test_silence.py:test_the_oldest_that_said_nothing_goes_first",
    "SPOKEN_MIN": "integration/test_silence.py:test_a_storm_of_logins_is_let_in",
    "ADMISSION_WAIT_MAX": "integration/test_silence.py:test_a_source_has_a_limit_of_its_own",
    "UNAUTHENTICATED_MIN": "integration/test_silence.py:test_a_thousand_silent_sockets_stop_no_other_client",
    "ENTRIES_AT_A_TIME": "integration/test_memory_of_clients.py:test_entries_that_wait_for_an_answer",
    "CONSOLE_GROUPS_MAX": "unit/console_test.c:more_rows_than_fit_are_a_limit",
    "hot_relay": "unit/load_test.c:a_relay_is_hot_beyond_the_setting_and_not_at_it",
    "services.NAME.login_limit": "unit/fleet_test.c:no_more_logins_than_permits_are_under_way_at_one_backend",
    "auth_query.timeout": "sim/limits_test.c:a_question_about_a_user_that_is_not_answered_in_time_is_an_error",
    "routes[].prepared_statements": "integration/test_limits_sessions.py:test_a_server_keeps_as_many_prepared_statements_as_it_may",
    "cancel_limit": "sim/limits_test.c:so_many_cancel_requests_are_under_way_and_one_more_does_nothing",
    "cancel_timeout": "sim/limits_test.c:a_cancel_request_that_takes_too_long_is_given_up",
    "reset_timeout": "sim/limits_test.c:a_server_that_is_not_cleaned_in_time_is_closed",
    "shutdown_rate": "sim/limits_test.c:so_many_clients_are_told_to_leave_in_a_second",
    "CLIENT_UNNAMED_MAX": "integration/test_limits_sessions.py:test_an_unnamed_statement_that_is_not_too_long_follows_its_client",
    "STATEMENTS_MAX": "sim/limits_many_test.c:as_many_texts_of_statements_are_known_as_may_be",
    "NAMES_MAX": "integration/test_limits_sessions.py:test_so_many_names_of_state_are_told_apart",
    "MOVE_STATE_MAX": "sim/limits_many_test.c:a_client_with_more_than_that_stays",
    "MOVED_MAX": "sim/limits_many_test.c:an_order_moves_so_many_clients_a_few_at_a_time",
    "MOVED_AT_A_TIME": "sim/limits_many_test.c:an_order_moves_so_many_clients_a_few_at_a_time",
    "LISTENERS_MAX": "sim/limits_many_test.c:with_one_listener_more_nothing_starts",
    "INHERITED_MAX": "integration/test_systemd.py:test_so_many_sockets_are_taken_and_the_rest_is_left_alone",
    "DNS_ADDRESSES_MAX": "unit/dns_test.c:a_name_has_as_many_addresses_as_it_may_and_the_rest_is_left_out",
    "PROBE_MESSAGE_MAX": "integration/test_probes.py:test_an_answer_that_is_too_long_is_a_failed_probe",
    "LOST_MAX": "integration/test_flights.py:test_a_server_that_is_killed_again_and_again_is_an_error",
    "STUCK_BYTES": "integration/test_flights.py:test_answers_under_way_are_bounded",
    "STUCK_AFTER": "integration/test_flights.py:test_answers_under_way_are_bounded",
    "PATRONI_ANSWER_MAX": "integration/test_patroni_rest.py:test_an_answer_is_as_long_as_it_may_be",
    "PATRONI_HEAD_MAX": "integration/test_patroni_rest.py:test_an_answer_is_as_long_as_it_may_be",
    "PRIMARY_DENIALS_MAX": "unit/fleet_arbiter_test.c:the_elected_one_is_given_up_after_three_denials_in_a_row",
    "FLEET_LAG_POSITIONS": "unit/fleet_role_test.c:lag_is_the_age_of_the_oldest_position_that_was_not_replayed",
    "BACKENDS_FOUND_MAX": "unit/resolver_test.c:of_more_addresses_than_a_service_may_have_the_rest_is_left_out",
    "NAME_SERVERS_MAX": "unit/resolver_test.c:of_more_name_servers_than_fit_the_rest_is_not_asked",
    "QUERIES_MAX": "unit/resolver_test.c:no_more_queries_are_under_way_than_allowed",
    "CONFIG_AUTH_MAX": "unit/limits_test.c:an_auth_file_is_as_long_as_it_may_be",
    "AUTH_ANSWERS_MAX": "sim/limits_test.c:so_many_answers_about_users_are_kept_and_then_all_are_forgotten",
    "OFFLOAD_JOBS_MAX": "unit/offload_test.c:as_many_jobs_wait_as_may_and_one_more_is_refused",
    "COMMAND_TIMEOUT": "unit/limits_test.c:a_command_that_gives_a_secret_has_its_time",
    "PASSWORD_COMMAND_TIMEOUT": "sim/limits_test.c:a_command_that_takes_longer_is_ended_and_the_login_fails",
    "LOG_VALUE_MAX": "unit/log_test.c:a_value_is_as_long_as_it_may_be_and_cut_beyond_that",
    "RECLAIM_POOLS_MAX": "sim/limits_many_test.c:those_behind_them_have_the_next_reclaim",
    "ASIDE_MAX": "sim/limits_many_test.c:the_pool_behind_them_has_its_turn_when_it_asks_again",
    "GROUPS_MAX": "sim/limits_many_test.c:there_are_as_many_groups_of_pools_as_there_may_be",
    "SHED_TRIES": "sim/limits_test.c:who_wants_memory_waits_for_so_long_until_somebody_gives_it_up",
    "LOOKED_AT_A_TIME": "sim/limits_test.c:so_many_clients_are_looked_at_in_one_go",
    "PROBE_CONNECTION_MAX": "integration/test_failover_one_address.py:test_a_probe_makes_a_new_connection_when_its_own_is_old",
    "CLOSING_MAX": "sim/limits_test.c:the_slot_of_a_server_that_does_not_end_is_free_after_its_time",
    "CONSOLE_MESSAGE_MAX": "integration/test_limits_console.py:test_a_message_is_as_long_as_it_may_be",
    "OVERRIDES_MAX": "integration/test_limits_console.py:test_as_much_is_set_as_may_be_until_a_reload",
    "ORDER_MARKS_MAX": "sim/limits_many_test.c:as_many_databases_are_paused_as_may_be",
    "CONSOLE_NAMES_MAX": "integration/test_limits_console.py:test_a_session_has_as_many_statements_as_it_may",
    "STATS_DEPARTED_MAX": "unit/limits_test.c:the_pools_of_so_many_databases_are_remembered",
}


def limits():
    """The names of each row, in the order of the page."""
    names = []
    for cell in re.findall(r"^\|[^|]*\|([^|]*)\|", PAGE.read_text(), re.M):
        found = re.findall(r"`([\w.\[\]]+)`", cell)
        names += found or ([cell.strip()] if "process's hard limit" in cell else [])
    return ["descriptors" if "hard limit" in name else name for name in names]


def test_every_limit_has_a_test():
    without = [name for name in limits() if name not in TESTS]
    assert not without, "a limit is met from both sides by a test, which stands in TESTS"


def test_no_test_is_for_a_limit_that_is_gone():
    assert not set(TESTS) - set(limits())


@pytest.mark.parametrize("name", sorted(TESTS))
def test_the_test_of_a_limit_is_there(name):
    file, _, function = TESTS[name].partition(":")
    text = (TOP / "tests" / file).read_text()
    assert re.search(rf"\b{function}\b", text), f"{file} has no {function}"
