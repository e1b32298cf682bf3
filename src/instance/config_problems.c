#include "instance/config_problems.h"

#include "base/buffer.h"

#include <stdlib.h>

void config_key_print(const struct config_key *key, struct buffer *out)
{
    if (key == NULL)
        return;
    config_key_print(key->up, out);
    if (key->name == NULL)
        buffer_printf(out, "[%zu]", key->index);
    else
        buffer_printf(out, "%s%s", key->up != NULL ? "." : "", key->name);
}

static void place_print(const struct config_place *place, struct buffer *out)
{
    buffer_append_text(out, place->file);
    if (place->line > 0)
        buffer_printf(out, ":%u", place->line);
    if (place->column > 0)
        buffer_printf(out, ":%u", place->column);
    buffer_append_text(out, ": ");
}

/* Files are printed in the order of their first problem. */
static uint32_t file_rank(const struct config_problems *problems, const char *file)
{
    uint32_t rank = 0;
    for (size_t i = 0; i < problems->count; i++) {
        if (strcmp(problems->list[i].place.file, file) == 0)
            return problems->list[i].file_rank;
        rank = MAX_OF(rank, problems->list[i].file_rank + 1);
    }
    return rank;
}

void config_problems_add(struct config_problems *problems, enum config_severity severity,
                         struct config_place place, const struct config_key *key, const char *text)
{
    if (severity == CONFIG_ERROR)
        problems->errors += 1;
    else
        problems->warnings += 1;
    invariant(problems->count < problems->errors + problems->warnings);
    if (problems->count == CONFIG_PROBLEMS_MAX)
        return;

    struct buffer line = BUFFER_INIT(CONFIG_PROBLEM_TEXT);
    place_print(&place, &line);
    if (severity == CONFIG_WARNING)
        buffer_append_text(&line, "warning: ");
    config_key_print(key, &line);
    if (key != NULL)
        buffer_append_text(&line, ": ");
    size_t room = line.max - line.size;
    buffer_append(&line, text, MIN_OF(strlen(text), room));
    struct config_problem *problem = &problems->list[problems->count];
    *problem = (struct config_problem){
        .place = place,
        .number = (uint32_t)problems->count,
        .text = config_arena_text(problems->arena, buffer_span(&line)),
    };
    problem->file_rank = file_rank(problems, place.file);
    buffer_fini(&line);
    if (problem->text != NULL)
        problems->count += 1;
}

/* A total order: no two problems have the same number. */
static int problem_order(const void *a, const void *b)
{
    const struct config_problem *x = a, *y = b;
    if (x->file_rank != y->file_rank)
        return x->file_rank < y->file_rank ? -1 : 1;
    if (x->place.line != y->place.line)
        return x->place.line < y->place.line ? -1 : 1;
    if (x->place.column != y->place.column)
        return x->place.column < y->place.column ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

void config_problems_print(struct config_problems *problems, struct buffer *out)
{
    invariant(problems->count <= problems->errors + problems->warnings);
    qsort(problems->list, problems->count, sizeof(problems->list[0]), problem_order);
    for (size_t i = 0; i < problems->count; i++)
        buffer_printf(out, "%s\n", problems->list[i].text);
    invariant(problems->count <= CONFIG_PROBLEMS_MAX);
    size_t left_out = problems->errors + problems->warnings - problems->count;
    if (left_out > 0)
        buffer_printf(out, "... and %zu more\n", left_out);
}
