#pragma once
/*
 * analysis_view.h - writes an analysis as one line, for tests: kind, extent, then each list that is
 * not empty, then the reasons.
 *
 *   reads nothing reads(t s.u) calls(lower/1) ops(=) types(date!) keys(id=$1 a='x') params(1)
 */
#include "base/check.h"
#include "query/analysis.h"

#include <stdarg.h>
#include <stdio.h>

struct view {
    char *at;
    size_t room;
};

static void view_put(struct view *view, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(view->at, view->room, format, arguments);
    va_end(arguments);
    size_t used = size < 0 ? 0 : (size_t)size < view->room ? (size_t)size : view->room - 1;
    view->at += used;
    view->room -= used;
}

static void view_object(struct view *view, const struct query_object *object)
{
    if (object->schema.size > 0)
        view_put(view, "%.*s.", SPAN_ARG(object->schema));
    view_put(view, "%.*s", SPAN_ARG(object->name));
}

static void view_key(struct view *view, const struct query_key *key)
{
    const char *quote = key->quoted ? "'" : "";
    view_put(view, "%.*s=", SPAN_ARG(key->column));
    if (key->parameter > 0)
        view_put(view, "$%u", key->parameter);
    else
        view_put(view, "%s%.*s%s", quote, SPAN_ARG(key->literal), quote);
    if (key->type.name.size > 0)
        view_put(view, "::");
    view_object(view, &key->type);
}

/* Writes ` NAME(item item)`, if there are any. */
#define VIEW_LIST(view, name, count, item)                                                         \
    do {                                                                                           \
        for (uint16_t i = 0; i < (count); i++) {                                                   \
            view_put(view, "%s", i == 0 ? " " name "(" : " ");                                     \
            item;                                                                                  \
        }                                                                                          \
        if ((count) > 0)                                                                           \
            view_put(view, ")");                                                                   \
    } while (0)

static void view_writes(struct view *view, const struct query_relation *relation)
{
    static const char *const names[] = {"read",  "insert",   "update", "delete",
                                        "merge", "truncate", "copy",   "refresh"};
    view_put(view, "%s:", names[relation->access]);
    view_object(view, &relation->is);
}

static void view_calls(struct view *view, const struct query_function *function)
{
    view_put(view, "%s", function->attribute ? "." : "");
    view_object(view, &function->is);
    if (!function->attribute)
        view_put(view, "/%u%s", function->arguments, function->variadic ? "+" : "");
}

static void view_types(struct view *view, const struct query_type *type)
{
    view_object(view, &type->is);
    view_put(view, "%s", type->computed ? "!" : "");
}

static void view_lists(struct view *view, const struct query_analysis *done)
{
    VIEW_LIST(view, "reads", done->reads_count, view_object(view, &done->reads[i].is));
    VIEW_LIST(view, "writes", done->writes_count, view_writes(view, &done->writes[i]));
    VIEW_LIST(view, "calls", done->functions_count, view_calls(view, &done->functions[i]));
    VIEW_LIST(view, "ops", done->operators_count, view_object(view, &done->operators[i]));
    VIEW_LIST(view, "types", done->types_count, view_types(view, &done->types[i]));
    VIEW_LIST(view, "collations", done->collations_count, view_object(view, &done->collations[i]));
    VIEW_LIST(view, "keys", done->keys_count, view_key(view, &done->keys[i]));
}

static void view_analysis(const struct query_analysis *done, char *line, size_t size)
{
    static const char *const kinds[] = {"none",    "reads",   "writes",
                                        "utility", "several", "unparsed"};
    static const char *const extents[] = {"nothing", "listed", "database", "unknown"};
    struct view view = {line, size};
    view_put(&view, "%s %s", kinds[done->statement], extents[done->extent]);
    view_lists(&view, done);
    if (done->gid.size > 0)
        view_put(&view, " gid(%.*s)", SPAN_ARG(done->gid));
    if (done->parameters > 0)
        view_put(&view, " params(%u)", done->parameters);
    if (done->compares)
        view_put(&view, " compares");
    for (unsigned i = 0; i < QUERY_REASONS; i++)
        if ((done->reasons & UINT32_C(1) << i) != 0)
            view_put(&view, " -%s", query_reason_word((enum query_reason)i));
}
