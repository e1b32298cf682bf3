#include "query/outline.h"

#include "base/buffer.h"
#include "base/check.h"
#include "query/outline_parts.h"

#include <stdlib.h>

/* What malloc adds to a block. */
#define BLOCK_EXTRA 16u

/* --- sizes ------------------------------------------------------------------------------------ */

/* A function that is most probably a column is none here. */
static bool counts(const struct query_function *function)
{
    return !function->attribute && !function->field;
}

static size_t object_bytes(const struct query_object *object)
{
    return object->schema.size + object->name.size;
}

/* Counts the objects of each list, and returns the bytes of lists and names. */
static size_t measure(const struct query_analysis *analysis, struct query_outline *draft)
{
    size_t names = 0;
    uint32_t relations = analysis->reads_count + analysis->writes_count, functions = 0;
    for (uint16_t i = 0; i < analysis->reads_count; i++)
        names += object_bytes(&analysis->reads[i].is);
    for (uint16_t i = 0; i < analysis->writes_count; i++)
        names += object_bytes(&analysis->writes[i].is);
    for (uint16_t i = 0; i < analysis->functions_count; i++) {
        functions += counts(&analysis->functions[i]);
        names += counts(&analysis->functions[i]) ? object_bytes(&analysis->functions[i].is) : 0;
    }
    for (uint16_t i = 0; i < analysis->named_count; i++) {
        functions += analysis->named[i].function;
        relations += !analysis->named[i].function;
        names += object_bytes(&analysis->named[i].is);
    }
    static_assert(4 * QUERY_ANALYSIS_ITEMS_MAX < UINT16_MAX, "the counts have 16 bits");
    draft->relations_count = (uint16_t)relations;
    draft->functions_count = (uint16_t)functions;
    return names + relations * sizeof(struct query_relation) +
           functions * sizeof(struct query_object);
}

/* --- the copy --------------------------------------------------------------------------------- */

/* The free part of the allocation: lists from the front, names behind them. */
struct room {
    struct query_relation *relation;
    struct query_object *function;
    uint8_t *name;
};

static struct span copy_name(struct room *room, struct span name)
{
    if (name.size == 0)
        return SPAN_NONE;
    memcpy(room->name, name.at, name.size);
    room->name += name.size;
    return span_of(room->name - name.size, name.size);
}

static struct query_object copy_object(struct room *room, struct query_object object)
{
    struct query_object copy = {.schema = copy_name(room, object.schema)};
    copy.name = copy_name(room, object.name);
    return copy;
}

static void copy_relation(struct room *room, struct query_object is, enum query_access access)
{
    *room->relation++ = (struct query_relation){copy_object(room, is), access};
}

static void copy_lists(struct room *room, const struct query_analysis *analysis)
{
    for (uint16_t i = 0; i < analysis->reads_count; i++)
        copy_relation(room, analysis->reads[i].is, analysis->reads[i].access);
    for (uint16_t i = 0; i < analysis->writes_count; i++)
        copy_relation(room, analysis->writes[i].is, analysis->writes[i].access);
    for (uint16_t i = 0; i < analysis->functions_count; i++)
        if (counts(&analysis->functions[i]))
            *room->function++ = copy_object(room, analysis->functions[i].is);
    for (uint16_t i = 0; i < analysis->named_count; i++) {
        if (analysis->named[i].function)
            *room->function++ = copy_object(room, analysis->named[i].is);
        else
            copy_relation(room, analysis->named[i].is, QUERY_ACCESS_NAMED);
    }
}

static fault outline_of(const struct query_analysis *analysis, struct span shown,
                        struct query_outline **ret)
{
    struct query_outline draft = {
        .references = 1,
        .fingerprint = analysis->fingerprint,
        .verbs = analysis->verbs,
        .statements = analysis->statements,
        .parsed = analysis->statement != QUERY_STATEMENT_UNPARSED,
        .partial = analysis->partial,
        .unbounded = analysis->unbounded,
    };
    if (!draft.parsed)
        draft.fingerprint = 0;
    size_t size = sizeof(draft) + measure(analysis, &draft) + shown.size;
    struct query_outline *outline = malloc(size);
    if (outline == NULL)
        return FAULT_MEMORY;
    draft.bytes = (uint32_t)(size + BLOCK_EXTRA);
    *outline = draft;
    struct room room = {.relation = (struct query_relation *)(outline + 1)};
    outline->relations = room.relation;
    room.function = (struct query_object *)(room.relation + draft.relations_count);
    outline->functions = room.function;
    room.name = (uint8_t *)(room.function + draft.functions_count);
    copy_lists(&room, analysis);
    outline->shown = copy_name(&room, shown);
    invariant(room.name == (uint8_t *)outline + size);
    *ret = outline;
    return OK;
}

/* --- interface -------------------------------------------------------------------------------- */

fault query_outline_new(struct span text, struct query_outline **ret)
{
    struct query_analysis *analysis = NULL;
    struct buffer shown = BUFFER_INIT(QUERY_SHOWN_MAX);
    TRY(query_analyze(text, &analysis));
    fault made = query_show_text(text, analysis, &shown);
    if (made == OK)
        made = outline_of(analysis, buffer_span(&shown), ret);
    buffer_fini(&shown);
    query_analysis_free(&analysis);
    return made;
}

struct query_outline *query_outline_unparsed(void)
{
    static struct query_outline unparsed = {.references = 1, .bytes = sizeof(unparsed)};
    return query_outline_ref(&unparsed);
}

struct query_outline *query_outline_ref(struct query_outline *outline)
{
    __atomic_fetch_add(&outline->references, 1, __ATOMIC_RELAXED);
    return outline;
}

void query_outline_unref(struct query_outline **outline)
{
    struct query_outline *mine = *outline;
    *outline = NULL;
    if (mine != NULL && __atomic_fetch_sub(&mine->references, 1, __ATOMIC_ACQ_REL) == 1)
        free(mine);
}
