/*
 * analysis_result.c - the verdict, and the copy of an analysis in one allocation: the struct, its
 * lists, their strings.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

#include <stdlib.h>

/* --- the verdict ------------------------------------------------------------------------------ */

void analysis_because(struct analysis *analysis, enum query_reason reason)
{
    analysis->done.reasons |= UINT32_C(1) << reason;
    if (reason == QUERY_REASON_SYNTAX)
        analysis_extends(analysis, QUERY_WRITES_UNKNOWN);
}

void analysis_extends(struct analysis *analysis, enum query_extent extent)
{
    if (extent > analysis->done.extent)
        analysis->done.extent = extent;
}

/* The free part of the allocation: lists from the front, strings behind all lists. */
struct room {
    uint8_t *list;
    uint8_t *string;
};

/* --- sizes ------------------------------------------------------------------------------------ */

static size_t object_bytes(const struct query_object *object)
{
    return object->schema.size + object->name.size;
}

static size_t string_bytes(const struct analysis *analysis)
{
    const struct query_analysis *done = &analysis->done;
    size_t bytes = done->gid.size;
    for (uint16_t i = 0; i < done->reads_count; i++)
        bytes += object_bytes(&analysis->reads[i].is);
    for (uint16_t i = 0; i < done->writes_count; i++)
        bytes += object_bytes(&analysis->writes[i].is);
    for (uint16_t i = 0; i < done->functions_count; i++)
        bytes += object_bytes(&analysis->functions[i].is);
    for (uint16_t i = 0; i < done->operators_count; i++)
        bytes += object_bytes(&analysis->operators[i]);
    for (uint16_t i = 0; i < done->types_count; i++)
        bytes += object_bytes(&analysis->types[i].is);
    for (uint16_t i = 0; i < done->collations_count; i++)
        bytes += object_bytes(&analysis->collations[i]);
    for (uint16_t i = 0; i < done->keys_count; i++)
        bytes += analysis->keys[i].column.size + analysis->keys[i].literal.size +
                 object_bytes(&analysis->keys[i].type);
    for (uint16_t i = 0; i < done->named_count; i++)
        bytes += object_bytes(&analysis->named[i].is);
    return bytes;
}

static size_t list_bytes(const struct query_analysis *done)
{
    return done->reads_count * sizeof(*done->reads) + done->writes_count * sizeof(*done->writes) +
           done->functions_count * sizeof(*done->functions) +
           done->operators_count * sizeof(*done->operators) +
           done->types_count * sizeof(*done->types) +
           done->collations_count * sizeof(*done->collations) +
           done->keys_count * sizeof(*done->keys) + done->named_count * sizeof(*done->named);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void move_span(struct room *room, struct span *span)
{
    if (span->size == 0) {
        *span = SPAN_NONE;
        return;
    }
    memcpy(room->string, span->at, span->size);
    span->at = room->string;
    room->string += span->size;
}

static void move_object(struct room *room, struct query_object *object)
{
    move_span(room, &object->schema);
    move_span(room, &object->name);
}

/* Copies a list; returns NULL for an empty one. */
static void *copy_list(struct room *room, const void *list, size_t count, size_t size)
{
    void *copy = count == 0 ? NULL : room->list;
    if (copy != NULL)
        memcpy(copy, list, count * size);
    room->list += count * size;
    return copy;
}

static struct query_relation *copy_relations(struct room *room, const struct query_relation *list,
                                             uint16_t count)
{
    struct query_relation *copy = copy_list(room, list, count, sizeof(*copy));
    for (uint16_t i = 0; i < count; i++)
        move_object(room, &copy[i].is);
    return copy;
}

static struct query_object *copy_objects(struct room *room, const struct query_object *list,
                                         uint16_t count)
{
    struct query_object *copy = copy_list(room, list, count, sizeof(*copy));
    for (uint16_t i = 0; i < count; i++)
        move_object(room, &copy[i]);
    return copy;
}

static struct query_function *copy_functions(struct room *room, const struct analysis *analysis)
{
    uint16_t count = analysis->done.functions_count;
    struct query_function *copy = copy_list(room, analysis->functions, count, sizeof(*copy));
    for (uint16_t i = 0; i < count; i++)
        move_object(room, &copy[i].is);
    return copy;
}

static struct query_type *copy_types(struct room *room, const struct analysis *analysis)
{
    uint16_t count = analysis->done.types_count;
    struct query_type *copy = copy_list(room, analysis->types, count, sizeof(*copy));
    for (uint16_t i = 0; i < count; i++)
        move_object(room, &copy[i].is);
    return copy;
}

static struct query_key *copy_keys(struct room *room, const struct analysis *analysis)
{
    uint16_t count = analysis->done.keys_count;
    struct query_key *copy = copy_list(room, analysis->keys, count, sizeof(*copy));
    for (uint16_t i = 0; i < count; i++) {
        move_span(room, &copy[i].column);
        move_span(room, &copy[i].literal);
        move_object(room, &copy[i].type);
    }
    return copy;
}

static struct query_named *copy_named(struct room *room, const struct analysis *analysis)
{
    uint16_t count = analysis->done.named_count;
    struct query_named *copy = copy_list(room, analysis->named, count, sizeof(*copy));
    for (uint16_t i = 0; i < count; i++)
        move_object(room, &copy[i].is);
    return copy;
}

fault analysis_finish(const struct analysis *analysis, struct query_analysis **ret)
{
    size_t lists = list_bytes(&analysis->done), strings = string_bytes(analysis);
    struct query_analysis *done = malloc(sizeof(*done) + lists + strings);
    if (done == NULL)
        return FAULT_MEMORY;
    struct room room = {.list = (uint8_t *)(done + 1)};
    room.string = room.list + lists;
    *done = analysis->done;
    move_span(&room, &done->gid);
    done->reads = copy_relations(&room, analysis->reads, done->reads_count);
    done->writes = copy_relations(&room, analysis->writes, done->writes_count);
    done->functions = copy_functions(&room, analysis);
    done->operators = copy_objects(&room, analysis->operators, done->operators_count);
    done->types = copy_types(&room, analysis);
    done->collations = copy_objects(&room, analysis->collations, done->collations_count);
    done->keys = copy_keys(&room, analysis);
    done->named = copy_named(&room, analysis);
    invariant(room.list == (uint8_t *)(done + 1) + lists && room.string == room.list + strings);
    *ret = done;
    return OK;
}
