/* SQL: what a text reads, writes and calls, and its outline. */
#include "base/check.h"
#include "fuzz.h"
#include "query/outline.h"

#include <stdlib.h>

static size_t bytes_of(const struct query_object *object)
{
    size_t bytes = 0;
    for (size_t i = 0; i < object->schema.size; i++)
        bytes += object->schema.at[i] != 0;
    for (size_t i = 0; i < object->name.size; i++)
        bytes += object->name.at[i] != 0;
    return bytes;
}

/* Names have bytes of the allocation, none of them 0. */
static void check_objects(const struct query_analysis *done)
{
    for (uint16_t i = 0; i < done->reads_count; i++)
        invariant(bytes_of(&done->reads[i].is) > 0 && done->reads[i].access == QUERY_ACCESS_READ);
    for (uint16_t i = 0; i < done->writes_count; i++)
        invariant(bytes_of(&done->writes[i].is) > 0 && done->writes[i].access != QUERY_ACCESS_READ);
    for (uint16_t i = 0; i < done->functions_count; i++)
        invariant(bytes_of(&done->functions[i].is) > 0);
    for (uint16_t i = 0; i < done->operators_count; i++)
        invariant(bytes_of(&done->operators[i]) > 0);
    for (uint16_t i = 0; i < done->types_count; i++)
        invariant(bytes_of(&done->types[i].is) > 0);
    for (uint16_t i = 0; i < done->collations_count; i++)
        invariant(bytes_of(&done->collations[i]) > 0);
    for (uint16_t i = 0; i < done->keys_count; i++)
        invariant(done->keys[i].column.size > 0 && done->keys[i].parameter <= done->parameters);
}

static void check_verdict(const struct query_analysis *done)
{
    invariant(done->statement <= QUERY_STATEMENT_UNPARSED && done->extent <= QUERY_WRITES_UNKNOWN);
    invariant((done->reasons == 0) == (query_analysis_reason(done) == QUERY_REASONS));
    invariant(done->writes_count == 0 || done->extent >= QUERY_WRITES_LISTED);
    if (done->statement == QUERY_STATEMENT_UNPARSED)
        invariant(done->extent == QUERY_WRITES_UNKNOWN && done->reads_count == 0);
    if (done->reasons == 0)
        invariant(done->statement == QUERY_STATEMENT_READS &&
                  done->extent == QUERY_WRITES_NOTHING && done->fingerprint != 0);
}

/* The outline says the same, with all names of the analysis; nothing that is shown is a string. */
static void check_outline(const struct query_outline *outline, const struct query_analysis *done)
{
    uint32_t named = done->reads_count + done->writes_count + done->named_count;
    invariant(outline->parsed == (done->statement != QUERY_STATEMENT_UNPARSED));
    invariant(outline->verbs == done->verbs && outline->statements == done->statements);
    invariant(outline->relations_count + outline->functions_count <= named + done->functions_count);
    invariant(outline->shown.size <= QUERY_SHOWN_MAX);
    for (uint16_t i = 0; i < outline->relations_count; i++)
        invariant(bytes_of(&outline->relations[i].is) > 0);
    for (uint16_t i = 0; i < outline->functions_count; i++)
        invariant(bytes_of(&outline->functions[i]) > 0);
    bool quoted = false;
    for (size_t i = 0; i < outline->shown.size; i++) {
        quoted = quoted != (outline->shown.at[i] == '"');
        invariant(quoted || outline->shown.at[i] != '\'');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct query_analysis *done = NULL;
    uint8_t *memory;
    struct span text = fuzz_copy(data, size, &memory);
    invariant(query_analysis_stack(text) <= QUERY_ANALYSIS_STACK);
    (void)query_is_time_word(text);
    struct query_outline *outline = NULL;
    fault result = query_analyze(text, &done);
    if (result == OK && query_outline_new(text, &outline) == OK)
        check_outline(outline, done);
    query_outline_unref(&outline);
    free(memory);
    if (result != OK)
        return 0;
    check_objects(done);
    check_verdict(done);
    query_analysis_free(&done);
    return 0;
}
