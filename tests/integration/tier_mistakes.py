"""Mistakes planted in the second tier of the cache, for a run by hand: which test notices each?

    nice python3 tests/integration/tier_mistakes.py [NAME...]

Each is one replacement in a copy of the tree, which is built in build/tier-mistakes.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
COPY = TOP / "build" / "tier-mistakes"

# name: (file, what stands there, what the mistake puts there, a test of test_tier.py or of FILE::)
MISTAKES = {
    "the-whole-key-is-not-compared": (
        "src/flight/l2_value.c", "if (!span_equal(span_of(rest.at, key_size), key))", "if (false)",
        "test_equal_digests_of_two_statements_mix_no_answers"),
    "the-checksum-is-not-compared": (
        "src/flight/l2_value.c", "if (read_u64(bytes.at + CHECKSUM_AT) != checksum(bytes))", "if (false)",
        "test_a_changed_value_is_not_used"),
    "the-epoch-is-not-compared": (
        "src/flight/l2.c", "bool old = value.epoch != found->epoch ||", "bool old =",
        "test_a_flush_ends_the_answers_of_all_daemons_in_redis"),
    "a-missing-epoch-is-made-as-1": (
        "src/flight/l2_shared.c", "snprintf(text, L2_EPOCH_SIZE, \"%016\" PRIx64, random);",
        "snprintf(text, L2_EPOCH_SIZE, \"%016\" PRIx64, random & 0);",
        "test_a_lost_epoch_ends_all_answers"),
    "an-answer-of-the-future-is-taken": (
        "src/flight/l2.c", "age < 0 ||\n               ", "", "test_an_answer_of_another_time_is_not_used"),
    "an-answer-of-any-age-is-taken": (
        "src/flight/l2.c", "age >= wanted->ttl.us", "false", "test_an_answer_of_another_time_is_not_used"),
    "an-answer-is-new-when-it-comes": (
        "src/relay/flight/flight_runner.c", "found->asked.us - found->age.us", "found->asked.us",
        "test_an_answer_is_not_younger_for_having_been_stored"),
    "the-server-is-not-in-the-key": (
        "src/relay/flight/flight_tier.c", "    put_u64(ret, of->server.instance);\n", "",
        "test_another_server_shares_nothing"),
    "the-server-that-was-known-is-named": (
        "src/relay/flight/flight_tier.c",
        "use->server = (struct flight_tier_server){check->server, check->version};",
        "use->server = known_at(relay->flight_tier, use->database)->server;",
        "test_the_server_that_executes_is_the_one_that_is_named"),
    "another-ttl-waits-for-the-same-flight": (
        "src/relay/flight/flight_key.c", "buffer_append(key, &rule->ttl, sizeof(rule->ttl));", "",
        "test_rules_with_another_age_share_nothing"),
    "who-has-left-loses-its-place": (
        "src/flight/l2_link.c", "        ask->asker = NULL; /* freed when its replies have come */\n",
        "        ask->asker = NULL;\n        ask_end(link, ask, true);\n",
        "test_a_reply_that_comes_too_late_is_given_to_nobody_else"),
    "a-flush-that-redis-was-not-told-is-forgotten": (
        "src/flight/l2.c", "if (!is_flushed(l2, flushes) &&", "if (false && !is_flushed(l2, flushes) &&",
        "test_a_flush_that_redis_was_not_told_is_told_before_its_next_answer"),
    "another-master-keeps-its-epoch": (
        "src/flight/l2_link.c", "    if (another) {", "    if (another && false) {",
        "test_tier_sentinel.py::test_the_master_is_found_and_followed"),
    "the-first-sentinel-only": (
        "src/flight/l2_sentinel.c", "asked == OK || asked == FAULT_CANCELLED", "true",
        "test_tier_sentinel.py::test_the_master_is_found_and_followed"),
    "what-is-compressed-is-not-said": (
        "src/flight/l2_value.c", "wire_store_u32(out->at + start + PLAIN_AT, compress(out, messages));",
        "(void)compress(out, messages);", "test_a_long_answer_lies_compressed_in_redis"),
    "failures-are-not-counted": (
        "src/flight/l2_breaker.c", "if (breaker->failures < L2_FAILURES_MAX)", "if (true)",
        "test_redis_that_stands_still_costs_the_budget_and_then_nothing"),
    "an-error-reply-goes-on": (
        "src/flight/l2_link.c", "else if (reply->type == L2_REPLY_ERROR && !is_full(reply))",
        "else if (false && !is_full(reply))", "test_a_replica_is_left"),
    "a-full-redis-is-left": (
        "src/flight/l2_link.c", "else if (reply->type == L2_REPLY_ERROR && !is_full(reply))",
        "else if (reply->type == L2_REPLY_ERROR && (!is_full(reply) || true))", "test_a_full_redis_still_answers"),
}


def run(*command, **options):
    return subprocess.run(command, cwd=COPY, capture_output=True, text=True, **options)


def prepare():
    COPY.mkdir(parents=True, exist_ok=True)
    for name in "src", "tests", "meson.build", "meson_options.txt", "docs", "packaging", "examples", "bench", "tools":
        source = TOP / name
        if source.is_dir():
            shutil.copytree(source, COPY / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, COPY / name)
    if not (COPY / "built" / "build.ninja").exists():
        made = run("meson", "setup", "built")
        assert made.returncode == 0, made.stdout + made.stderr


def build():
    made = run("ninja", "-C", "built", "trunkline")
    assert made.returncode == 0, made.stdout[-3000:]


def notices(test):
    environment = {**os.environ, "TRUNKLINE_BUILD": str(COPY / "built")}
    done = run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x",
               f"tests/integration/{test if '::' in test else f'test_tier.py::{test}'}", env=environment)
    assert "no tests ran" not in done.stdout and "error" not in done.stdout.splitlines()[-1], done.stdout
    return done.returncode != 0


def main(names):
    prepare()
    left = []
    for name in names or MISTAKES:
        path, here, there, test = MISTAKES[name]
        file = COPY / path
        text = file.read_text()
        assert text.count(here) == 1, f"{name}: {text.count(here)} times in {path}"
        file.write_text(text.replace(here, there))
        build()
        noticed = notices(test)
        file.write_text(text)
        print(f"{name}: {'noticed' if noticed else 'NOT NOTICED'} by {test}", flush=True)
        left += [] if noticed else [name]
    sys.exit(f"not noticed: {' '.join(left)}" if left else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
