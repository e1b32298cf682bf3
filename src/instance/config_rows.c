/*
 * config_rows.c - the rows of SHOW CONFIG: every setting of a version with its value, built once
 * at the load.
 */
#include "instance/config_reader.h"

/* Maximum of bytes of a key or value; longer ones (a hundred hosts) are cut. */
#define CELL_MAX ((size_t)16 * 1024)

/* State of the two passes over the settings: the first counts, the second fills. */
struct row_maker {
    struct config_reader *reader;
    struct config_row *rows; /* NULL in the first pass */
    size_t count;
};

static const char *cell_keep(struct row_maker *maker, const struct buffer *cell)
{
    return config_arena_text(maker->reader->arena, buffer_span(cell));
}

static void value_print(const struct setting *setting, const void *object, struct buffer *out)
{
    if (setting_is_number(setting)) {
        setting_print(setting, setting_load(setting, object), out);
        return;
    }
    if (setting->kind == SETTING_SPECIAL) {
        setting->special->print(setting, object, out);
        return;
    }
    const char *text = *(const char *const *)((const char *)object + setting->at);
    if (text == NULL)
        buffer_append_text(out, setting->kind == SETTING_PATTERN ? "*" : "");
    else
        buffer_append_text(out, setting->kind == SETTING_SECRET ? "********" : text);
}

/* Prints the default in the form of values: 120s as 2min. */
static void preset_print(const struct setting *setting, struct buffer *out)
{
    int64_t value;
    if (setting_is_number(setting) && setting_read(setting, span_text(setting->preset), &value))
        setting_print(setting, value, out);
    else
        buffer_append_span(out, span_text(setting->preset));
}

static void row_make(struct row_maker *maker, const struct setting *setting,
                     const struct config_key *key, const void *object)
{
    if (maker->rows == NULL) {
        maker->count++;
        return;
    }
    struct config_row *row = &maker->rows[maker->count++];
    struct buffer cell = BUFFER_INIT(CELL_MAX);
    config_key_print(key, &cell);
    row->key = cell_keep(maker, &cell);
    buffer_clear(&cell);
    value_print(setting, object, &cell);
    row->value = cell_keep(maker, &cell);
    buffer_clear(&cell);
    preset_print(setting, &cell);
    row->preset = cell_keep(maker, &cell);
    row->reloadable = setting->reloadable;
    buffer_fini(&cell);
}

static void rows_walk(struct row_maker *maker, const struct setting *rows,
                      const struct config_key *up, const void *object);

static void elements_walk(struct row_maker *maker, const struct setting *setting,
                          const struct config_key *up, const void *object)
{
    const char *elements = *(const char *const *)((const char *)object + setting->at);
    size_t count = *(const size_t *)((const char *)object + setting->count_at);
    for (size_t i = 0; i < count; i++) {
        const char *element = elements + i * setting->size;
        struct config_key key = {.up = up, .index = i};
        if (setting->kind == SETTING_NAMED)
            key.name = *(const char *const *)element;
        rows_walk(maker, setting->rows, &key, element);
    }
}

static void rows_walk(struct row_maker *maker, const struct setting *rows,
                      const struct config_key *up, const void *object)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        struct config_key key = {.up = up, .name = row->name};
        if (row->kind == SETTING_GROUP)
            rows_walk(maker, row->rows, &key, (const char *)object + row->at);
        else if (row->kind == SETTING_LIST || row->kind == SETTING_NAMED)
            elements_walk(maker, row, &key, object);
        else
            row_make(maker, row, &key, object);
    }
}

void config_make_rows(struct config_reader *reader)
{
    struct config *config = reader->config;
    struct row_maker maker = {.reader = reader};
    rows_walk(&maker, config_settings, NULL, config);
    size_t count = maker.count;
    maker.rows = config_arena_array(reader->arena, count, sizeof(struct config_row));
    maker.count = 0;
    if (maker.rows == NULL)
        return;
    rows_walk(&maker, config_settings, NULL, config);
    invariant(maker.count == count);
    config->rows = maker.rows;
    config->row_count = count;
}
