/* SQL: tokens, what the statements of a text may do to their session, what is proven to read. */
#include "base/check.h"
#include "fuzz.h"
#include "query/effects.h"
#include "query/reads.h"
#include "query/scan_parts.h"

#include <stdlib.h>

static void check_tokens(struct span input)
{
    struct query_scan scan;
    query_scan_init(&scan, input);
    const uint8_t *before = scan.at;
    for (;;) {
        struct query_token token = query_scan_next(&scan);
        if (token.kind == QUERY_TOKEN_END)
            break;
        invariant(scan.at > before && scan.at <= scan.end);
        invariant(token.text.at >= before && token.text.at + token.text.size <= scan.end);
        before = scan.at;
    }
}

/* A hint may make a read of more texts, and of none that is not one statement. */
static void check_reads(struct span input)
{
    static const struct span names[] = {SPAN("f"), SPAN("a.f")};
    const struct query_read_rules plain = {.declared = names, .count = 2};
    const struct query_read_rules hinted = {.declared = names, .count = 2, .hints = true};
    struct query_proof proof, other;
    query_prove_reads(input, &plain, &proof);
    query_prove_reads(input, &hinted, &other);
    invariant(proof.reads <= QUERY_BEGINS_TO_READ && other.reads <= QUERY_BEGINS_TO_READ);
    invariant(proof.fingerprint == other.fingerprint && proof.hint == QUERY_NO_HINT);
    invariant(proof.reads == other.reads || other.hint != QUERY_NO_HINT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct query_effects effects;
    uint8_t *memory;
    struct span input = fuzz_copy(data, size, &memory);
    check_tokens(input);
    bool found = query_read_effects(input, &effects);
    invariant(found == (effects.count > 0 || effects.more != 0 || effects.unsure != 0 ||
                        effects.path || effects.makes || effects.resets));
    invariant(((effects.unsure | effects.creates | effects.more) & ~QUERY_ALL_KINDS) == 0);
    invariant(effects.count <= QUERY_EFFECTS_MAX);
    for (unsigned i = 0; i < effects.count; i++)
        invariant(effects.all[i].kind < QUERY_KINDS &&
                  memchr(effects.all[i].name, '\0', QUERY_NAME_SIZE) != NULL);
    check_reads(input);
    (void)query_may_have_effects(input);
    (void)query_part_may_have_effects(input);
    free(memory);
    return 0;
}
