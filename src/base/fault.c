#include "base/fault.h"

#include <stdarg.h>
#include <stdio.h>

struct fault_row {
    const char *name;
    const char *sqlstate;
    const char *text;
};

static const struct fault_row fault_rows[] = {
    {"OK", "00000", "success"},
#define FAULT(name, state, text) {#name, state, text},
#include "base/fault.def"
#undef FAULT
};
static_assert(ARRAY_SIZE(fault_rows) == FAULTS, "every fault has a row");

/* The slot of threads that run no coroutine (offload, start-up). */
static _Thread_local struct fault_detail fault_detail_thread;
_Thread_local struct fault_detail *fault_detail_current;

static struct fault_detail *fault_slot(void)
{
    return fault_detail_current != NULL ? fault_detail_current : &fault_detail_thread;
}

static void fault_tell(fault code, const char *sqlstate, const char *format, va_list values)
{
    /* Formatted into a copy: `values` may point into the detail that is overwritten. */
    char text[FAULT_STORY_MAX];
    struct fault_detail *detail = fault_slot();
    vsnprintf(text, sizeof(text), format, values);
    memcpy(detail->text, text, sizeof(text));
    detail->code = code;
    snprintf(detail->sqlstate, sizeof(detail->sqlstate), "%s", sqlstate);
}

fault fault_raise(fault code, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fault_tell(code, "", format, values);
    va_end(values);
    return code;
}

fault fault_raise_state(fault code, const char *sqlstate, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fault_tell(code, sqlstate, format, values);
    va_end(values);
    return code;
}

const char *fault_name(fault code)
{
    return (unsigned)code < FAULTS ? fault_rows[code].name : "?";
}

const char *fault_sqlstate(fault code)
{
    return (unsigned)code < FAULTS ? fault_rows[code].sqlstate : "XX000";
}

const char *fault_text(fault code)
{
    return (unsigned)code < FAULTS ? fault_rows[code].text : "unknown fault";
}

const char *fault_detail(fault code)
{
    const struct fault_detail *detail = fault_slot();
    return detail->code == code && detail->text[0] != '\0' ? detail->text : fault_text(code);
}

const char *fault_detail_sqlstate(fault code)
{
    const struct fault_detail *detail = fault_slot();
    return detail->code == code && detail->sqlstate[0] != '\0' ? detail->sqlstate
                                                               : fault_sqlstate(code);
}

struct fault_detail fault_detail_save(void)
{
    return *fault_slot();
}

void fault_detail_restore(const struct fault_detail *detail)
{
    *fault_slot() = *detail;
}
