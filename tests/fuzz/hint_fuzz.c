/* Hints in the comments of a statement. */
#include "base/check.h"
#include "config/cache_rules.h"
#include "fuzz.h"
#include "query/hint.h"

#include <stdlib.h>

static void check_words(struct span hint, const uint8_t *end)
{
    struct span word;
    invariant(hint.at + hint.size <= end);
    while (query_hint_word(&hint, &word))
        invariant(word.size > 0 && word.at + word.size <= end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span hints[QUERY_HINTS_MAX];
    struct cache_rule rule = {.mode = CACHE_DEDUPE, .ttl = sec(1)};
    uint8_t *memory;
    struct span input = fuzz_copy(data, size, &memory);
    size_t count = query_hints(input, hints);
    invariant(count <= QUERY_HINTS_MAX);
    for (size_t i = 0; i < count; i++)
        check_words(hints[i], input.at + size);
    cache_rules_hint(input, &rule);
    invariant(rule.mode <= CACHE_TTL && rule.ttl.us > 0);
    invariant(count > 0 || rule.mode == CACHE_DEDUPE);
    free(memory);
    return 0;
}
