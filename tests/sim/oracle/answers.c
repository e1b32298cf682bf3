#include "oracle/answers.h"

#include "clients/client.h"
#include "model/model.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

/* Values that one register has had. */
#define SEEN_MAX 4096u

const char *const answers_mode_names[ANSWERS_MODES] = {"own", "dedupe", "ttl", "strict"};

struct seen_value {
    moment since;
    uint32_t value;
};

struct answers_register {
    struct seen_value seen[SEEN_MAX]; /* since when each could be read */
    uint32_t count;
    uint32_t acknowledged;
};

static struct answers {
    bool exist;
    uint32_t sent[MODEL_REGISTERS]; /* the latest value that was drawn */
    struct answers_register of[MODEL_REGISTERS][ANSWERS_KEYS];
} answers;

/* --- what can be seen ------------------------------------------------------------------------- */

void answers_init(void)
{
    memset(&answers, 0, sizeof(answers));
    answers.exist = scenario_has(KIND_flight);
}

bool answers_exist(void)
{
    return answers.exist;
}

/* Odd values of the second table are no numbers. */
static void print_value(uint32_t table, uint32_t value, char text[ANSWERS_VALUE])
{
    snprintf(text, ANSWERS_VALUE, "%08u%s", value, table == 1 && value % 2 == 1 ? "!" : "");
}

static uint32_t read_value(struct span text, size_t *ret_size)
{
    uint32_t value = 0;
    size_t at = 0;
    while (at < text.size && text.at[at] >= '0' && text.at[at] <= '9')
        value = value * 10 + (uint32_t)(text.at[at++] - '0');
    *ret_size = at;
    return value;
}

static void note(uint32_t table, uint32_t key, uint32_t value)
{
    struct answers_register *it = &answers.of[table][key - 1];
    if (it->count > 0 && it->seen[it->count - 1].value == value)
        return;
    CHECK(it->count < SEEN_MAX);
    CHECK(it->count == 0 || it->seen[it->count - 1].value < value, "row %u of %s goes back to %u",
          key, model_register_names[table], value);
    it->seen[it->count++] = (struct seen_value){now(), value};
}

void answers_look(const struct model *model)
{
    for (uint32_t i = 0; answers.exist && i < MODEL_REGISTERS * ANSWERS_KEYS; i++) {
        uint32_t table = i / ANSWERS_KEYS, key = 1 + i % ANSWERS_KEYS;
        struct span text;
        size_t size;
        CHECK(model_register_read(model, table, (int32_t)key, &text));
        note(table, key, read_value(text, &size));
    }
}

void answers_begin(struct model *model)
{
    for (uint32_t i = 0; answers.exist && i < MODEL_REGISTERS * ANSWERS_KEYS; i++) {
        char text[ANSWERS_VALUE];
        print_value(i / ANSWERS_KEYS, 0, text);
        CHECK(model_register_put(model, i / ANSWERS_KEYS, (int32_t)(1 + i % ANSWERS_KEYS),
                                 span_text(text)) == OK);
    }
    answers_look(model);
}

/* --- writes ----------------------------------------------------------------------------------- */

uint32_t answers_next(uint32_t table, char text[ANSWERS_VALUE])
{
    print_value(table, ++answers.sent[table], text);
    return answers.sent[table];
}

void answers_acknowledged(uint32_t table, uint32_t key, uint32_t value)
{
    uint32_t *latest = &answers.of[table][key - 1].acknowledged;
    *latest = MAX_OF(*latest, value);
}

/* --- reads ------------------------------------------------------------------------------------ */

/* The value that could be read at that time. */
static uint32_t value_at(const struct answers_register *it, moment at)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < it->count && it->seen[i].since.us <= at.us; i++)
        value = it->seen[i].value;
    return value;
}

static uint32_t least_of(const struct answers_register *it, enum answers_mode mode)
{
    moment old = {.us = now().us - ANSWERS_TTL.us - ANSWERS_STALE.us};
    switch (mode) {
    case ANSWERS_DEDUPE:
        return it->acknowledged;
    case ANSWERS_TTL_OF:
        return value_at(it, old);
    default:
        return value_at(it, now());
    }
}

/* The greatest over the rows that are read. */
static uint32_t over_rows(const struct answers_read *read, enum answers_mode mode)
{
    uint32_t greatest = 0;
    for (uint32_t key = 1; key <= ANSWERS_KEYS; key++) {
        uint32_t value = least_of(&answers.of[read->table][key - 1], mode);
        if (read->key == 0 || read->key == key)
            greatest = MAX_OF(greatest, value);
    }
    return greatest;
}

void answers_ask(struct answers_read *read)
{
    /* Errors are shared while the statement runs, and never stored. */
    enum answers_mode of_error = read->mode == ANSWERS_TTL_OF ? ANSWERS_DEDUPE : read->mode;
    read->changes = model_context(scenario.model);
    read->least = over_rows(read, read->mode);
    read->least_of_error = over_rows(read, of_error);
}

static void check_value(const struct sim_client *client, const struct answers_read *read,
                        uint32_t value, uint32_t least)
{
    const char *table = model_register_names[read->table];
    const char *mode = answers_mode_names[read->mode];
    CHECK(read->own == 0 || value == read->own,
          "client %u reads %u in row %u of %s, and its transaction has written %u", client->number,
          value, read->key, table, read->own);
    CHECK(value >= least, "client %u reads %u in row %u of %s (%s), where %u must be seen",
          client->number, value, read->key, table, mode, least);
    CHECK(read->own != 0 || value <= over_rows(read, ANSWERS_OWN),
          "client %u reads %u in row %u of %s (%s), which is not committed", client->number, value,
          read->key, table, mode);
}

/* How often roles and the view were changed, behind the context; nothing: never.  False: it is
 * something else. */
static bool check_changes(const struct sim_client *client, const struct answers_read *read,
                          struct span text)
{
    size_t size = 0;
    bool any = text.size > 0;
    uint32_t changes = any ? read_value(span_skip(text, 1), &size) : 0;
    if (any && (text.at[0] != ' ' || size + 1 != text.size))
        return false;
    bool fresh = read->mode == ANSWERS_STRICT || read->mode == ANSWERS_OWN;
    CHECK(!fresh || changes >= read->changes,
          "client %u reads of change %u of roles and views (%s), where %u must be seen",
          client->number, changes, answers_mode_names[read->mode], read->changes);
    CHECK(changes <= model_context(scenario.model),
          "client %u reads of change %u of roles and views", client->number, changes);
    return true;
}

void answers_check(const struct sim_client *client, const struct answers_read *read,
                   struct span text)
{
    size_t size;
    uint32_t value = read_value(text, &size);
    struct span rest = span_skip(text, size);
    bool marked = read->table == 1 && value % 2 == 1;
    CHECK(!(marked && read->number), "client %u reads '%.*s' as a number", client->number,
          SPAN_ARG(text));
    if (marked && rest.size > 0 && rest.at[0] == '!')
        rest = span_skip(rest, 1);
    struct span context = span_text(read->context == NULL ? "" : read->context);
    bool same = span_starts(rest, context);
    rest = span_skip(rest, same ? context.size : 0);
    if (same && read->context != NULL)
        same = check_changes(client, read, rest);
    CHECK(same && (read->context != NULL || rest.size == 0),
          "client %u is given '%.*s', of another session than one like '%s'", client->number,
          SPAN_ARG(text), read->context == NULL ? "" : read->context);
    check_value(client, read, value, read->least);
}

bool answers_check_error(const struct sim_client *client, const struct answers_read *read,
                         struct span sqlstate, struct span message)
{
    static const char begins[] = "invalid input syntax for type integer: \"";
    if (!read->number || !span_is(sqlstate, "22P02") || !span_starts(message, span_text(begins)))
        return false;
    size_t size;
    uint32_t value = read_value(span_skip(message, sizeof(begins) - 1), &size);
    check_value(client, read, value, read->least_of_error);
    return true;
}
