#pragma once
/* ledger_play.h - what the tests of the ledger owe, and what they hear from the server. */
#include "session/ledger.h"
#include "unit.h"
#include "wire/message.h"

#include <string.h>

/* What was settled, in order: a letter of `what` and how. */
static char settled[256];

static void note(void *owner, const struct owed *owed, enum owed_end end)
{
    ck_assert_ptr_eq(owner, settled);
    size_t size = strlen(settled);
    ck_assert_uint_lt(size + 2, sizeof(settled));
    settled[size] = *(const char *)owed->what;
    settled[size + 1] = end == OWED_ANSWERED ? '+' : '-';
}

static struct ledger ledger;

static void begin(void)
{
    memset(settled, 0, sizeof(settled));
    ledger_init(&ledger, note, settled);
}

static void owe_about(enum owed_kind kind, enum owed_fate fate, const char *what)
{
    ck_assert(ledger_has_room(&ledger, 1));
    ledger_owe(&ledger, (struct owed){.kind = (uint8_t)kind,
                                      .fate = (uint8_t)fate,
                                      .about = what != NULL ? ABOUT_PARSE : ABOUT_NOTHING,
                                      .what = (void *)what});
}

static void owe(enum owed_kind kind)
{
    owe_about(kind, FATE_FORWARD, NULL);
}

/* The server says these types; each is for the client. */
static void hears(const char *types)
{
    for (; *types != '\0'; types++)
        ck_assert_msg(ledger_take(&ledger, (uint8_t)*types) == VERDICT_FORWARD, "at '%s'", types);
}

static void swallows(const char *types)
{
    for (; *types != '\0'; types++)
        ck_assert_msg(ledger_take(&ledger, (uint8_t)*types) == VERDICT_SWALLOW, "at '%s'", types);
}

static void is_breached_by(uint8_t type)
{
    ck_assert_int_eq(ledger_take(&ledger, type), VERDICT_BREACH);
}

static void is_even(void)
{
    ck_assert(ledger_empty(&ledger));
    ck_assert_ptr_null(ledger_head(&ledger));
    ck_assert(!ledger_needs_sync(&ledger) || ledger.skipping);
    ledger_fini(&ledger);
}
