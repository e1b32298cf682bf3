/*
 * analysis_tree.c - reads the JSON that libpg_query writes, in one pass and without recursion.
 */
#include "base/check.h"
#include "query/analysis_parts.h"

#include <stdlib.h>

static struct tree_value *tree_add(struct tree *tree, enum tree_kind kind)
{
    if (tree->count == tree->room) {
        uint32_t room = tree->room == 0 ? 256 : tree->room * 2;
        struct tree_value *values = realloc(tree->values, room * sizeof(*values));
        if (values == NULL)
            return NULL;
        tree->values = values;
        tree->room = room;
    }
    struct tree_value *value = &tree->values[tree->count++];
    *value = (struct tree_value){.kind = kind};
    return value;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char small = (char)(c | 0x20);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/* Decodes \uXXXX.  libpg_query writes only ASCII characters so. */
static int read_code(const char *at)
{
    int code = 0;
    for (unsigned i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code < 0x80 ? code : -1;
}

/* Decodes an escape at *from, behind its backslash; moves *from behind it.  -1: none known. */
static int read_escape(const char **from)
{
    static const char letters[] = "bfnrt\"\\/", values[] = "\b\f\n\r\t\"\\/";
    char letter = *(*from)++;
    if (letter == 'u') {
        int code = read_code(*from);
        *from += code < 0 ? 0 : 4;
        return code;
    }
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);
    return found == NULL ? -1 : values[found - letters];
}

/* Decodes a string in place.  `at` is behind its quote; returns the place behind the other one, or
 * NULL. */
static const char *read_string(const struct tree *tree, const char *at, uint32_t *ret_text,
                               uint32_t *ret_size)
{
    char *to = tree->json + (at - tree->json), *begin = to;
    while (*at != '"') {
        if (*at == '\0')
            return NULL;
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        at += 1;
        int c = read_escape(&at);
        if (c < 0)
            return NULL;
        *to++ = (char)c;
    }
    *ret_text = (uint32_t)(begin - tree->json);
    *ret_size = (uint32_t)(to - begin);
    return at + 1;
}

/* A number, true, false, null. */
static const char *read_other(struct tree *tree, const char *at, struct tree_value *value)
{
    const char *end = at + strcspn(at, ",]} \n\"{[:");
    value->text = (uint32_t)(at - tree->json);
    value->text_size = (uint32_t)(end - at);
    return end == at ? NULL : end;
}

/* Reads one value without its parts.  Returns the place behind it, or NULL. */
static const char *read_value(struct tree *tree, const char *at, struct span name, fault *ret)
{
    enum tree_kind kind = *at == '{'   ? TREE_OBJECT
                          : *at == '[' ? TREE_LIST
                          : *at == '"' ? TREE_STRING
                                       : TREE_OTHER;
    struct tree_value *value = tree_add(tree, kind);
    if (value == NULL) {
        *ret = FAULT_MEMORY;
        return NULL;
    }
    if (name.size > 0) {
        value->name = (uint32_t)((const char *)name.at - tree->json);
        value->name_size = (uint32_t)name.size;
    }
    if (kind == TREE_STRING)
        return read_string(tree, at + 1, &value->text, &value->text_size);
    return kind == TREE_OTHER ? read_other(tree, at, value) : at + 1;
}

/* Reads `"name":`.  Returns the place behind it, or NULL. */
static const char *read_name(const struct tree *tree, const char *at, struct span *ret)
{
    uint32_t text, size;
    if (*at != '"')
        return NULL;
    at = read_string(tree, at + 1, &text, &size);
    if (at == NULL || *at != ':')
        return NULL;
    *ret = span_of(tree->json + text, size);
    return at + 1;
}

/* Deeper JSON than any parse tree within the limit of nesting has. */
#define TREE_DEPTH_MAX (QUERY_ANALYSIS_NESTING_MAX * 16)

/* The objects and lists that are open at one place. */
struct tree_path {
    uint32_t depth;
    tree_at open[TREE_DEPTH_MAX];
};

/* Closes what ends at `at`, and passes the comma.  Returns NULL if the JSON is malformed. */
static const char *close_parts(struct tree *tree, struct tree_path *path, const char *at)
{
    while (path->depth > 0) {
        struct tree_value *whole = &tree->values[path->open[path->depth - 1]];
        if (*at == ',')
            return at + 1;
        if (*at != (whole->kind == TREE_OBJECT ? '}' : ']'))
            return NULL;
        whole->end = tree->count;
        path->depth -= 1;
        at += 1;
    }
    return at;
}

/* Reads values until all that was opened is closed. */
static fault read_parts(struct tree *tree, struct tree_path *path, const char *at)
{
    fault result = FAULT_SYNTAX;
    do {
        struct span name = SPAN_NONE;
        bool member =
            path->depth > 0 && tree->values[path->open[path->depth - 1]].kind == TREE_OBJECT;
        at = member ? read_name(tree, at, &name) : at;
        tree_at value = tree->count;
        at = at == NULL ? NULL : read_value(tree, at, name, &result);
        if (at == NULL)
            return result;
        tree->values[value].end = tree->count;
        if (tree->values[value].kind <= TREE_LIST) {
            if (path->depth == TREE_DEPTH_MAX)
                return FAULT_SYNTAX;
            path->open[path->depth++] = value;
            if (*at != '}' && *at != ']')
                continue;
        }
        at = close_parts(tree, path, at);
        if (at == NULL)
            return FAULT_SYNTAX;
    } while (path->depth > 0);
    return *at == '\0' ? OK : FAULT_SYNTAX;
}

fault analysis_tree_read(struct tree *tree, char *json)
{
    *tree = (struct tree){.json = json};
    struct tree_path *path = malloc(sizeof(*path));
    if (path == NULL)
        return FAULT_MEMORY;
    path->depth = 0;
    fault result = strlen(json) < UINT32_MAX ? FAULT_MEMORY : FAULT_SYNTAX;
    if (result == FAULT_MEMORY && tree_add(tree, TREE_OTHER) != NULL)
        result = read_parts(tree, path, json);
    free(path);
    return result;
}

void analysis_tree_fini(struct tree *tree)
{
    free(tree->values);
    tree->values = NULL;
}

struct span analysis_tree_name(const struct tree *tree, tree_at at)
{
    const struct tree_value *value = &tree->values[at];
    return span_of(tree->json + value->name, value->name_size);
}

struct span analysis_tree_text(const struct tree *tree, tree_at at)
{
    const struct tree_value *value = &tree->values[at];
    return span_of(tree->json + value->text, value->text_size);
}

tree_at analysis_tree_first(const struct tree *tree, tree_at at)
{
    bool parts = tree->values[at].kind <= TREE_LIST && tree->values[at].end > at + 1;
    return parts ? at + 1 : 0;
}

tree_at analysis_tree_next(const struct tree *tree, tree_at whole, tree_at part)
{
    tree_at next = tree->values[part].end;
    return next < tree->values[whole].end ? next : 0;
}

tree_at analysis_tree_member(const struct tree *tree, tree_at object, const char *name)
{
    for (tree_at part = analysis_tree_first(tree, object); part != 0;
         part = analysis_tree_next(tree, object, part))
        if (span_is(analysis_tree_name(tree, part), name))
            return part;
    return 0;
}

struct span analysis_tree_member_text(const struct tree *tree, tree_at object, const char *name)
{
    return analysis_tree_text(tree, analysis_tree_member(tree, object, name));
}

tree_at analysis_tree_node(const struct tree *tree, tree_at node, const char *type)
{
    tree_at object = analysis_tree_first(tree, node);
    return object != 0 && span_is(analysis_tree_name(tree, object), type) ? object : 0;
}

uint32_t analysis_tree_length(const struct tree *tree, tree_at list)
{
    uint32_t count = 0;
    for (tree_at part = analysis_tree_first(tree, list); part != 0;
         part = analysis_tree_next(tree, list, part))
        count += 1;
    return count;
}
