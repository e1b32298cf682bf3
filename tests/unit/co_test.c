#include "machine/clock.h"
#include "machine/co.h"
#include "machine_body.h"
#include "unit.h"

#include <alloca.h>
#include <fcntl.h>
#include <fenv.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- waking ----------------------------------------------------------------------------------- */

BODY(a_wake_up_that_comes_before_the_wait_is_remembered)
{
    co_wake(co_self());
    ck_assert_int_eq(co_wait(NEVER), OK);
    ck_assert_int_eq(co_wait(after(ms(1))), FAULT_TIMEOUT);
    machine_stop();
}

struct baton {
    struct co *holder;
    int passed;
};

static void wakes_the_holder(void *argument)
{
    struct baton *baton = argument;
    baton->passed += 1;
    co_wake(baton->holder);
    co_wake(baton->holder);
}

BODY(a_waiting_coroutine_goes_on_when_another_wakes_it)
{
    struct baton baton = {.holder = co_self()};
    ck_assert_int_eq(co_start(wakes_the_holder, &baton, CO_SMALL), OK);
    ck_assert_int_eq(baton.passed, 0);
    ck_assert_int_eq(co_wait(NEVER), OK);
    ck_assert_int_eq(baton.passed, 1);
    ck_assert_int_eq(co_wait(after(ms(1))), FAULT_TIMEOUT);
    machine_stop();
}

BODY(a_wait_ends_at_its_deadline_and_not_before)
{
    deadline by = after(ms(5));
    ck_assert_int_eq(co_wait(by), FAULT_TIMEOUT);
    ck_assert_int_ge(now_exact().us, by.us);
    ck_assert_int_eq(co_wait((deadline){1}), FAULT_TIMEOUT);
    machine_stop();
}

static void wakes_at_once(void *argument)
{
    co_wake(argument);
}

BODY(a_wake_up_does_not_end_a_sleep_and_is_not_lost_in_it)
{
    deadline by = after(ms(3));
    ck_assert_int_eq(co_start(wakes_at_once, co_self(), CO_SMALL), OK);
    ck_assert_int_eq(co_sleep(ms(3)), OK);
    ck_assert_int_ge(now().us, by.us);
    ck_assert_int_eq(co_wait(NEVER), OK);
    machine_stop();
}

static void counts_and_yields(void *argument)
{
    int *count = argument;
    for (int i = 0; i < 3; i++) {
        *count += 1;
        co_yield ();
    }
}

BODY(a_yield_lets_the_others_run_once)
{
    int count = 0;
    ck_assert_int_eq(co_start(counts_and_yields, &count, CO_SMALL), OK);
    ck_assert_int_eq(co_start(counts_and_yields, &count, CO_SMALL), OK);
    co_yield ();
    ck_assert_int_eq(count, 2);
    co_yield ();
    ck_assert_int_eq(count, 4);
    machine_stop();
}

/* --- cancelling ------------------------------------------------------------------------------- */

struct patient {
    struct co *co;
    fault first;
    fault second;
    bool unwound;
};

static void notes_that_it_unwound(struct patient **patient)
{
    (*patient)->unwound = true;
}

static void waits_twice(void *argument)
{
    struct patient *patient __attribute__((cleanup(notes_that_it_unwound))) = argument;
    patient->co = co_self();
    patient->first = co_wait(NEVER);
    patient->second = co_sleep(sec(100));
}

BODY(a_cancelled_coroutine_unwinds_itself_through_every_wait)
{
    struct patient patient = {0};
    ck_assert_int_eq(co_start(waits_twice, &patient, CO_SMALL), OK);
    co_yield ();
    ck_assert_ptr_nonnull(patient.co);
    co_cancel(patient.co);
    co_cancel(patient.co);
    ck_assert(!patient.unwound);
    co_yield ();
    ck_assert_int_eq(patient.first, FAULT_CANCELLED);
    ck_assert_int_eq(patient.second, FAULT_CANCELLED);
    ck_assert(patient.unwound);
    ck_assert(!co_cancelled());
    machine_stop();
}

static void waits_through(void *argument)
{
    struct patient *patient = argument;
    patient->co = co_self();
    patient->first = co_wait(NEVER);
    co_wait_through(NEVER);
    patient->unwound = true;
}

BODY(what_must_not_be_left_waits_for_its_wake_up_though_cancelled)
{
    struct patient patient = {0};
    ck_assert_int_eq(co_start(waits_through, &patient, CO_SMALL), OK);
    co_yield ();
    co_cancel(patient.co);
    for (int i = 0; i < 5; i++)
        co_yield ();
    ck_assert_int_eq(patient.first, FAULT_CANCELLED);
    ck_assert(!patient.unwound);
    co_wake(patient.co);
    co_yield ();
    ck_assert(patient.unwound);
    machine_stop();
}

/* --- groups ----------------------------------------------------------------------------------- */

static void sleeps_for(void *argument)
{
    duration *wait = argument;
    fault end = co_sleep(*wait);
    wait->us = end == OK ? 0 : -1;
}

BODY(a_group_is_joined_before_its_scope_ends)
{
    duration waits[] = {ms(1), sec(100), sec(200)};
    struct co_group group;
    co_group_init(&group);
    for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
        ck_assert_int_eq(co_group_start(&group, sleeps_for, &waits[i], CO_SMALL), OK);
    ck_assert_int_eq(co_group_wait_any(&group, NEVER), OK);
    ck_assert_int_eq(waits[0].us, 0);
    ck_assert_uint_eq(group.members.count, 2);
    ck_assert_int_eq(co_group_wait_any(&group, after(ms(1))), FAULT_TIMEOUT);
    co_group_cancel(&group);
    co_group_join(&group);
    ck_assert_int_eq(waits[1].us, -1);
    ck_assert_int_eq(waits[2].us, -1);
    ck_assert_int_eq(co_group_wait_any(&group, NEVER), OK);
    machine_stop();
}

static void joins_a_group(void *argument)
{
    struct patient *patient = argument;
    duration wait = ms(3);
    struct co_group group;
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, sleeps_for, &wait, CO_SMALL), OK);
    patient->co = co_self();
    patient->first = co_group_wait_any(&group, NEVER);
    co_group_join(&group);
    ck_assert_int_eq(wait.us, 0);
    patient->unwound = true;
}

BODY(a_cancelled_owner_still_joins_its_group)
{
    struct patient patient = {0};
    ck_assert_int_eq(co_start(joins_a_group, &patient, CO_SMALL), OK);
    co_yield ();
    co_cancel(patient.co);
    co_yield ();
    ck_assert_int_eq(patient.first, FAULT_CANCELLED);
    ck_assert(!patient.unwound);
    while (!patient.unwound)
        ck_assert_int_eq(co_sleep(ms(1)), OK);
    machine_stop();
}

/* --- what belongs to a coroutine -------------------------------------------------------------- */

static void raises_and_yields(void *argument)
{
    const char *who = argument;
    fault_raise(FAULT_CONFIG, "the story of %s", who);
    co_yield ();
    char expected[64];
    snprintf(expected, sizeof(expected), "the story of %s", who);
    ck_assert_str_eq(fault_detail(FAULT_CONFIG), expected);
}

BODY(each_coroutine_keeps_its_own_story)
{
    struct co_group group;
    co_group_init(&group);
    fault_raise(FAULT_CONFIG, "mine");
    ck_assert_int_eq(co_group_start(&group, raises_and_yields, "one", CO_SMALL), OK);
    ck_assert_int_eq(co_group_start(&group, raises_and_yields, "two", CO_LARGE), OK);
    co_group_join(&group);
    ck_assert_str_eq(fault_detail(FAULT_CONFIG), "mine");
    /* A stack that is used again does not tell its former tenant's detail. */
    while (co_wait((deadline){1}) == OK)
        continue;
    ck_assert_str_eq(fault_detail(FAULT_TIMEOUT), fault_text(FAULT_TIMEOUT));
    machine_stop();
}

static void rounds_upwards(void *argument)
{
    int *mode = argument;
    fesetround(FE_UPWARD);
    co_yield ();
    *mode = fegetround();
}

BODY(a_switch_keeps_the_rounding_mode_of_each_side)
{
    int mode = -1;
    ck_assert_int_eq(co_start(rounds_upwards, &mode, CO_SMALL), OK);
    co_yield ();
    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    co_yield ();
    ck_assert_int_eq(mode, FE_UPWARD);
    machine_stop();
}

static void fills_its_stack(void *argument)
{
    size_t *size = argument;
    volatile char *bytes = alloca(*size);
    memset((char *)bytes, 0x5a, *size);
    co_yield ();
    for (size_t i = 0; i < *size; i++)
        ck_assert_int_eq(bytes[i], 0x5a);
}

BODY(a_stack_can_be_used_to_its_stated_size)
{
    size_t small = 32768 - 2048;
    size_t large = 262144 - 2048;
    struct co_group group;
    co_group_init(&group);
    ck_assert_int_eq(co_group_start(&group, fills_its_stack, &small, CO_SMALL), OK);
    ck_assert_int_eq(co_group_start(&group, fills_its_stack, &large, CO_LARGE), OK);
    co_group_join(&group);
    machine_stop();
}

static void waits_for_cancel(void *argument UNUSED)
{
    ck_assert_int_eq(co_wait(NEVER), FAULT_CANCELLED);
}

BODY(stacks_are_used_again_and_the_surplus_is_unmapped)
{
    struct co_group group;
    co_group_init(&group);
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(co_group_start(&group, waits_for_cancel, NULL, CO_SMALL), OK);
    co_yield ();
    ck_assert_uint_eq(machine_stats(machine_self()).stacks, 301);
    ck_assert_uint_eq(machine_stats(machine_self()).coroutines, 301);
    co_group_cancel(&group);
    co_group_join(&group);
    ck_assert_uint_eq(machine_stats(machine_self()).coroutines, 1);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(co_group_start(&group, waits_for_cancel, NULL, CO_SMALL), OK);
    ck_assert_uint_eq(machine_stats(machine_self()).stacks, 301);
    co_group_cancel(&group);
    co_group_join(&group);
    deadline patience = after(sec(20));
    while (machine_stats(machine_self()).stacks > 100 && now().us < patience.us)
        ck_assert_int_eq(co_sleep(ms(50)), OK);
    ck_assert_uint_le(machine_stats(machine_self()).stacks, 100);
    machine_stop();
}

/* --- proofs ----------------------------------------------------------------------------------- */

/* Whether a machine with this body takes its process down.  What it says goes nowhere. */
static bool dies(void (*body)(void *argument))
{
    int status = child_status(body);
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

static void stays_alive(void *argument UNUSED)
{
    machine_stop();
}

static void suspends_where_it_must_not(void *argument UNUSED)
{
    machine_stop();
    NO_SUSPEND();
    co_yield ();
}

TEST(a_block_that_must_not_suspend_aborts_when_it_does)
{
    ck_assert(!dies(stays_alive));
    ck_assert(dies(suspends_where_it_must_not));
}
END_TEST

static void overflows(void *argument);
static void (*volatile overflows_again)(void *argument) = overflows;
static void overflows(void *argument)
{
    volatile char frame[1024];
    memset((char *)frame, 1, sizeof(frame));
    overflows_again(argument);
    frame[0] = 2;
}

TEST(an_overflowing_stack_hits_its_guard_page)
{
    ck_assert(dies(overflows));
}
END_TEST

TESTS("co", a_wake_up_that_comes_before_the_wait_is_remembered,
      a_waiting_coroutine_goes_on_when_another_wakes_it, a_wait_ends_at_its_deadline_and_not_before,
      a_wake_up_does_not_end_a_sleep_and_is_not_lost_in_it, a_yield_lets_the_others_run_once,
      a_cancelled_coroutine_unwinds_itself_through_every_wait,
      what_must_not_be_left_waits_for_its_wake_up_though_cancelled,
      a_group_is_joined_before_its_scope_ends, a_cancelled_owner_still_joins_its_group,
      each_coroutine_keeps_its_own_story, a_switch_keeps_the_rounding_mode_of_each_side,
      a_stack_can_be_used_to_its_stated_size, stacks_are_used_again_and_the_surplus_is_unmapped,
      a_block_that_must_not_suspend_aborts_when_it_does, an_overflowing_stack_hits_its_guard_page)
