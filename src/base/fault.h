#pragma once
/*
 * fault.h - error codes, and the error message (the fault's detail) that is recorded once, at the
 * origin.
 *
 * A function that can fail returns `fault`; OK is zero.  fault_raise() writes the detail into the
 * running coroutine's slot and returns the code; the machine changes `fault_detail_current` at each
 * switch.  Only the boundaries (client, console, log) read the detail, and before they suspend.
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

/* Size of the longest detail, NUL included; longer ones are truncated. */
#define FAULT_STORY_MAX 240

struct fault_detail {
    fault code;
    char sqlstate[6]; /* empty: the SQLSTATE of `code` */
    char text[FAULT_STORY_MAX];
};

extern _Thread_local struct fault_detail *fault_detail_current;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        fault fault_ = (call);                                                                     \
        if (UNLIKELY(fault_ != OK))                                                                \
            return fault_;                                                                         \
    } while (0)

/** Records the detail and returns `code`.  Never suspends, never allocates. */
fault fault_raise(fault code, const char *format, ...) PRINTF_LIKE(2, 3) COLD;

/** Same as fault_raise, with an explicit SQLSTATE (5 characters), e.g. one that a server sent. */
fault fault_raise_state(fault code, const char *sqlstate, const char *format, ...)
    PRINTF_LIKE(3, 4) COLD;

/** The name, SQLSTATE and text of a code in fault.def. */
const char *fault_name(fault code);
const char *fault_sqlstate(fault code);
const char *fault_text(fault code);

/** The last detail of this coroutine or thread if it has this code, else the code's text.  Valid
 *  until the next raise or suspension. */
const char *fault_detail(fault code);
/** The SQLSTATE that belongs to fault_detail(code). */
const char *fault_detail_sqlstate(fault code);

/** Saves and restores the last detail of this coroutine or thread: around a call whose own faults
 * do not matter, such as closing a connection before its detail was reported. */
struct fault_detail fault_detail_save(void);
void fault_detail_restore(const struct fault_detail *detail);
