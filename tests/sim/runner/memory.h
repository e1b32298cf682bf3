#pragma once
/*
 * memory.h - what a run takes from the heap must be back at its end.
 *
 * The program is linked so that malloc and its like come by here (the linker's --wrap), for our own
 * code and not for libraries.  Builds with a sanitizer leave that to it.
 */
#include "base/compiler.h"

/** From now on blocks are remembered until they are freed. */
void memory_watch(void);
/** Proves that none is left. */
void memory_prove_all_back(void);
