#pragma once
/*
 * proof.h - what must hold in a run, and what is said of it.
 *
 * PROVE ends the run: with the seed, the place and the story.  say() is the readable history, which
 * is printed with --trace only.
 */
#include "base/compiler.h"

#define PROVE(fact, ...)                                                                           \
    (LIKELY(fact) ? (void)0 : proof_fails(__FILE__, __LINE__, #fact, " " __VA_ARGS__))

/** Ends the run, and the process. */
void proof_fails(const char *file, int line, const char *fact, const char *format,
                 ...) NORETURN COLD PRINTF_LIKE(4, 5);
/** How a run's failure is told: on stderr, unless the farm wants to keep it. */
void proof_tell_with(void (*tell)(const char *place, const char *text));

/** A line of the history, by somebody with a number. */
void say(const char *who, uint32_t number, const char *format, ...) PRINTF_LIKE(3, 4);
/** Whether say() prints. */
void say_aloud(bool aloud);
