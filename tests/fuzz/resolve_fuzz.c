/* The rows with which a server's catalog answers.  A text of SQL and a NUL, then cells: a byte that
 * is the size (255: NULL), and so many bytes; six are a row.  A function is declared.  A verdict is
 * then asked for the key that a client's values give. */
#include "flight/resolve.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static const struct resolve_declared declared[] = {{.is = {SPAN("public"), SPAN("declared")}}};
static const struct resolve_rules rules = {declared, ARRAY_SIZE(declared)};

static size_t sum_of(struct span bytes)
{
    size_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++)
        sum += bytes.at[i];
    return sum;
}

/* All that a verdict points to can be read. */
static size_t check_relations(const struct verdict_relation *list, uint16_t count)
{
    size_t sum = 0;
    invariant(count <= VERDICT_RELATIONS_MAX);
    for (uint16_t i = 0; i < count; i++)
        sum += sum_of(list[i].schema) + sum_of(list[i].name);
    return sum;
}

static void check_keys(const struct verdict *verdict)
{
    static const struct verdict_value bound[] = {{.bytes = SPAN("1")}, {.bytes = SPAN("x")}};
    struct buffer bytes = BUFFER_INIT(65536);
    invariant(verdict->keys_count <= VERDICT_KEYS_MAX);
    bool has = verdict_key_bytes(verdict, bound, ARRAY_SIZE(bound), &bytes);
    invariant(!has || (verdict->keys_count > 0 && bytes.size > 0));
    for (uint16_t i = 0; i < verdict->keys_count; i++)
        (void)(sum_of(verdict->keys[i].name) + sum_of(verdict->keys[i].literal));
    buffer_fini(&bytes);
}

static void check_verdict(const struct verdict *verdict)
{
    bool allowed = verdict->reason == VERDICT_REASONS;
    invariant(verdict->reason <= VERDICT_REASONS && verdict->writes <= VERDICT_WRITES_DATABASE);
    invariant(allowed || verdict->reads_count + verdict->keys_count == 0);
    invariant(verdict->writes == VERDICT_WRITES_LISTED || verdict->written_count == 0);
    (void)(sum_of(verdict->because) + sum_of(verdict->written_because));
    (void)check_relations(verdict->reads, verdict->reads_count);
    (void)check_relations(verdict->written, verdict->written_count);
    check_keys(verdict);
}

/* False: the input has no more cells. */
static bool next_row(struct span *rest, struct span cells[RESOLVE_COLUMNS])
{
    for (size_t i = 0; i < RESOLVE_COLUMNS; i++) {
        if (rest->size == 0)
            return false;
        uint8_t size = *rest->at;
        *rest = span_skip(*rest, 1);
        cells[i] = SPAN_NONE;
        if (size == UINT8_MAX)
            continue;
        cells[i] = span_of(rest->at, MIN_OF(size, rest->size));
        *rest = span_skip(*rest, cells[i].size);
    }
    return true;
}

static void answer(const struct query_analysis *analysis, struct span rest)
{
    struct span cells[RESOLVE_COLUMNS];
    struct verdict *verdict = NULL;
    struct resolve *resolve = resolve_new(analysis, &rules);
    bool taken = resolve != NULL;
    while (taken && next_row(&rest, cells))
        taken = resolve_row(resolve, cells) == OK;
    if (taken && resolve_end(resolve, &verdict) == OK)
        check_verdict(verdict);
    verdict_unref(&verdict);
    resolve_free(&resolve);
}

/* The question is ASCII without a backslash, whatever the text is. */
static void check_question(const struct query_analysis *analysis)
{
    struct buffer sql = BUFFER_INIT(RESOLVE_QUESTION_MAX);
    resolve_question(analysis, &rules, &sql);
    for (size_t i = 0; buffer_fault(&sql) == OK && i < sql.size; i++)
        invariant(sql.at[i] != 0 && sql.at[i] < 0x80 && sql.at[i] != '\\');
    buffer_fini(&sql);
}

static void ask(const struct query_analysis *analysis, struct span rest)
{
    struct verdict *verdict = NULL;
    if (resolve_asks(analysis, false) || resolve_asks(analysis, true)) {
        check_question(analysis);
        answer(analysis, rest);
    } else if (resolve_without(analysis, &verdict) == OK) {
        check_verdict(verdict);
    }
    verdict_unref(&verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct query_analysis *analysis = NULL;
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\0', size);
    if (end == NULL)
        return 0;
    uint8_t *memory;
    struct span input = fuzz_copy(data, size, &memory);
    struct span text = span_of(input.at, (size_t)(end - data));
    if (query_analyze(text, &analysis) == OK)
        ask(analysis, span_skip(input, text.size + 1));
    query_analysis_free(&analysis);
    free(memory);
    return 0;
}
