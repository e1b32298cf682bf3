#pragma once
/*
 * check.h - CHECK, the assertion of the simulator, and the trace.
 *
 * CHECK ends the run with its place and a message.  trace() writes a line of the readable history,
 * which is printed with --trace only.
 */
#include "base/compiler.h"

#define CHECK(fact, ...)                                                                           \
    (LIKELY(fact) ? (void)0 : sim_check_failed(__FILE__, __LINE__, #fact, " " __VA_ARGS__))

/** Ends the run, and the process. */
void sim_check_failed(const char *file, int line, const char *fact, const char *format,
                      ...) NORETURN COLD PRINTF_LIKE(4, 5);
/** Sets the receiver of a failure; default: stderr. */
void sim_check_report_by(void (*report)(const char *place, const char *text));

/** Writes a line of the history, of a client or another part with a number. */
void trace(const char *who, uint32_t number, const char *format, ...) PRINTF_LIKE(3, 4);
/** Sets whether trace() prints. */
void trace_enable(bool aloud);
