#pragma once
/*
 * fault.h - what went wrong: a code to return, and a story told once, at the origin.
 *
 * A function that can fail returns `fault`; OK is zero.  fault_raise() writes the story into the
 * running coroutine's slot (the machine swaps `fault_story_current` at each switch) and returns the
 * code; only the boundaries (client, console, log) read it, at once, before they suspend.
 * Pure parsers return the code alone.
 */
#include "base/compiler.h"
#include "base/span.h"

typedef enum {
    OK = 0,
#define FAULT(name, state, text) FAULT_##name,
#include "base/fault.def"
#undef FAULT
    FAULTS
} fault;

/* Longest story, NUL included; longer ones are cut. */
#define FAULT_STORY_MAX 240

struct fault_story {
    fault code;
    char sqlstate[6]; /* empty: the code's own */
    char text[FAULT_STORY_MAX];
};

extern _Thread_local struct fault_story *fault_story_current;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        fault fault_ = (call);                                                                     \
        if (UNLIKELY(fault_ != OK))                                                                \
            return fault_;                                                                         \
    } while (0)

/** Records the story and returns `code`.  Never suspends, never allocates. */
fault fault_raise(fault code, const char *format, ...) PRINTF_LIKE(2, 3) COLD;

/** As fault_raise, with an SQLSTATE of its own (5 characters), e.g. one that a server sent. */
fault fault_raise_state(fault code, const char *sqlstate, const char *format, ...)
    PRINTF_LIKE(3, 4) COLD;

/** The table's name, SQLSTATE and text of a code. */
const char *fault_name(fault code);
const char *fault_sqlstate(fault code);
const char *fault_text(fault code);

/** The story last raised with this code here, or the code's own text.  Valid until the next raise
 *  or suspension. */
const char *fault_story(fault code);
/** The SQLSTATE of that story. */
const char *fault_story_sqlstate(fault code);

/** The story last raised here, and that it is so again: around a call whose own faults do not
 *  matter, such as closing a connection while its story is still to be told. */
struct fault_story fault_story_save(void);
void fault_story_restore(const struct fault_story *story);
