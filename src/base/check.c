#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void invariant_failed(const char *fact, const char *file, int line, const char *function)
{
    char text[512];
    int size = snprintf(text, sizeof(text), "trunkline: %s:%d: %s: invariant does not hold: %s\n",
                        file, line, function, fact);
    if (size > (int)sizeof(text) - 1)
        size = sizeof(text) - 1;
    if (write(STDERR_FILENO, text, (size_t)size) < 0)
        abort();
    abort();
}
