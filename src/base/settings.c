#include "base/settings.h"

#include <inttypes.h>

/* Longer names are not compared for "did you mean". */
#define NAME_BYTES_MAX 48

struct unit {
    const char *name;
    int64_t size;
};

/* PostgreSQL's unit names, smallest first. */
static const struct unit time_units[] = {
    {"us", 1},
    {"ms", 1000},
    {"s", 1000000},
    {"min", 60 * INT64_C(1000000)},
    {"h", 3600 * INT64_C(1000000)},
    {"d", 86400 * INT64_C(1000000)},
    {NULL, 0},
};
static const struct unit byte_units[] = {
    {"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", INT64_C(1024) * 1024 * 1024}, {NULL, 0},
};
static const struct setting_choice switch_words[] = {
    {"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}, {"on", 1}, {"off", 0}, {NULL, 0},
};

bool setting_is_number(const struct setting *setting)
{
    return setting->kind <= SETTING_CHOICE;
}

bool setting_is_text(const struct setting *setting)
{
    return setting->kind >= SETTING_TEXT && setting->kind <= SETTING_SECRET;
}

static const struct unit *setting_units(const struct setting *setting)
{
    switch (setting->kind) {
    case SETTING_BYTES:
        return byte_units;
    case SETTING_DURATION:
    case SETTING_SECONDS:
    case SETTING_MILLISECONDS:
        return time_units;
    default:
        return NULL;
    }
}

/* Base units per unit of the stored field. */
static int64_t setting_scale(const struct setting *setting)
{
    if (setting->kind == SETTING_SECONDS)
        return 1000000;
    return setting->kind == SETTING_MILLISECONDS ? 1000 : 1;
}

/* Reads the digits at the start of `text` in `base`; false without a digit or on overflow. */
static bool digits_read(struct span *text, int base, int64_t *ret)
{
    int64_t value = 0;
    size_t used = 0;
    while (used < text->size && text->at[used] >= '0' && text->at[used] < '0' + base) {
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, text->at[used] - '0', &value))
            return false;
        used++;
    }
    if (used == 0)
        return false;
    *text = span_skip(*text, used);
    *ret = value;
    return true;
}

static bool amount_read(const struct unit *units, struct span text, int64_t *ret)
{
    int64_t count;
    if (!digits_read(&text, 10, &count))
        return false;
    while (text.size > 0 && text.at[0] == ' ')
        text = span_skip(text, 1);
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (span_is(text, unit->name))
            return !__builtin_mul_overflow(count, unit->size, ret);
    return false;
}

static bool word_read(const struct setting_choice *words, struct span text, int64_t *ret)
{
    for (; words->word != NULL; words++) {
        if (!span_is_nocase(text, words->word))
            continue;
        *ret = words->value;
        return true;
    }
    return false;
}

bool setting_read(const struct setting *setting, struct span text, int64_t *ret)
{
    invariant(setting_is_number(setting));
    int64_t value;
    if (setting->word != NULL && span_is(text, setting->word)) {
        *ret = setting->word_value;
        return true;
    }
    if (setting->kind == SETTING_SWITCH)
        return word_read(switch_words, text, ret);
    if (setting->choices != NULL && word_read(setting->choices, text, ret))
        return true;
    if (setting->kind == SETTING_CHOICE)
        return false;

    const struct unit *units = setting_units(setting);
    if (units != NULL) {
        if (!amount_read(units, text, &value))
            return false;
    } else if (!digits_read(&text, setting->kind == SETTING_PERMISSIONS ? 8 : 10, &value) ||
               text.size > 0) {
        return false;
    }
    int64_t scale = setting_scale(setting);
    if (value < setting->min || value > setting->max || value % scale != 0)
        return false;
    *ret = value / scale;
    return true;
}

void setting_store(const struct setting *setting, void *object, int64_t value)
{
    invariant(setting_is_number(setting));
    uint8_t *field = (uint8_t *)object + setting->at;
    switch (setting->size) {
    case 1:
        invariant(value >= 0 && value <= 1);
        *(bool *)field = value != 0;
        return;
    case 2:
        invariant(value >= 0 && value <= UINT16_MAX);
        *(uint16_t *)field = (uint16_t)value;
        return;
    case 4:
        invariant(value >= 0 && value <= UINT32_MAX);
        *(uint32_t *)field = (uint32_t)value;
        return;
    default:
        invariant(setting->size == 8);
        *(int64_t *)field = value;
    }
}

int64_t setting_load(const struct setting *setting, const void *object)
{
    invariant(setting_is_number(setting));
    const uint8_t *field = (const uint8_t *)object + setting->at;
    switch (setting->size) {
    case 1:
        return *(const bool *)field;
    case 2:
        return *(const uint16_t *)field;
    case 4:
        return *(const uint32_t *)field;
    default:
        invariant(setting->size == 8);
        return *(const int64_t *)field;
    }
}

static void amount_print(const struct unit *units, int64_t value, struct buffer *out)
{
    const struct unit *best = units;
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (value != 0 && value % unit->size == 0)
            best = unit;
    buffer_printf(out, "%" PRId64 "%s", value / best->size, best->name);
}

void setting_print(const struct setting *setting, int64_t value, struct buffer *out)
{
    invariant(setting_is_number(setting));
    if (setting->word != NULL && value == setting->word_value) {
        buffer_append_text(out, setting->word);
        return;
    }
    const struct setting_choice *words =
        setting->kind == SETTING_SWITCH ? switch_words : setting->choices;
    if (words != NULL) {
        while (words->word != NULL && words->value != value)
            words++;
        if (words->word != NULL || setting->kind != SETTING_COUNT) {
            buffer_append_text(out, words->word != NULL ? words->word : "?");
            return;
        }
    }
    const struct unit *units = setting_units(setting);
    if (units != NULL)
        amount_print(units, value * setting_scale(setting), out);
    else
        buffer_printf(out, setting->kind == SETTING_PERMISSIONS ? "%04" PRIo64 : "%" PRId64, value);
}

static void choices_print(const struct setting_choice *choices, struct buffer *out)
{
    for (const struct setting_choice *choice = choices; choice->word != NULL; choice++) {
        if (choice != choices)
            buffer_append_text(out, choice[1].word == NULL ? " or " : ", ");
        buffer_append_text(out, choice->word);
    }
}

void setting_print_range(const struct setting *setting, struct buffer *out)
{
    const struct unit *units = setting_units(setting);
    invariant(units != NULL);
    buffer_append_text(out, " from ");
    amount_print(units, setting->min, out);
    buffer_append_text(out, " to ");
    amount_print(units, setting->max, out);
}

/* Writes what settings of this kind accept, without the words of the one setting. */
static void setting_accepts_kind(const struct setting *setting, struct buffer *out)
{
    switch (setting->kind) {
    case SETTING_COUNT:
        buffer_printf(out, "a whole number from %" PRId64 " to %" PRId64, setting->min,
                      setting->max);
        break;
    case SETTING_BYTES:
        buffer_append_text(out, "a size with its unit (B, KiB, MiB, GiB)");
        setting_print_range(setting, out);
        break;
    case SETTING_DURATION:
    case SETTING_MILLISECONDS:
        buffer_append_text(out, "a duration with its unit (us, ms, s, min, h, d)");
        setting_print_range(setting, out);
        break;
    case SETTING_SECONDS:
        buffer_append_text(out, "a duration of whole seconds with its unit (s, min, h, d)");
        setting_print_range(setting, out);
        break;
    case SETTING_PERMISSIONS:
        buffer_printf(out, "permission bits in octal from %04" PRIo64 " to %04" PRIo64,
                      setting->min, setting->max);
        break;
    case SETTING_SWITCH:
        buffer_append_text(out, "yes or no");
        break;
    case SETTING_CHOICE:
        choices_print(setting->choices, out);
        break;
    case SETTING_SECRET:
        buffer_printf(out,
                      "a text of 1 to %" PRId64 " bytes, {env: NAME}, {file: PATH} or "
                      "{command: TEXT or WORDS}",
                      setting->max);
        break;
    case SETTING_TEXT:
        buffer_printf(out, "a text of 1 to %" PRId64 " bytes", setting->max);
        break;
    case SETTING_PATTERN:
        buffer_printf(out, "a name of 1 to %" PRId64 " bytes, or \"*\" for any", setting->max);
        break;
    case SETTING_PATH:
        buffer_append_text(out, "a path, relative to this file unless it begins with a slash");
        break;
    case SETTING_GROUP:
    case SETTING_NAMED:
        buffer_append_text(out, "a mapping");
        break;
    case SETTING_LIST:
        buffer_append_text(out, "a list of mappings");
        break;
    case SETTING_SPECIAL:
        buffer_append_text(out, setting->unit);
        break;
    }
}

void setting_accepts(const struct setting *setting, struct buffer *out)
{
    setting_accepts_kind(setting, out);
    if (setting->word != NULL)
        buffer_printf(out, ", or %s", setting->word);
    if (setting->kind != SETTING_CHOICE && setting->choices != NULL) {
        buffer_append_text(out, ", ");
        choices_print(setting->choices, out);
    }
}

const struct setting *settings_find(const struct setting *rows, struct span name)
{
    for (; rows->name != NULL; rows++)
        if (span_is(name, rows->name))
            return rows;
    return NULL;
}

unsigned setting_distance(struct span a, struct span b, unsigned max)
{
    if (a.size > NAME_BYTES_MAX || b.size > NAME_BYTES_MAX)
        return max + 1;
    /* The Damerau-Levenshtein table needs three rows: the current one and the two before it. */
    unsigned rows[3][NAME_BYTES_MAX + 1];
    for (size_t j = 0; j <= b.size; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.size; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *last = rows[(i - 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.size; j++) {
            unsigned replaced = last[j - 1] + (a.at[i - 1] == b.at[j - 1] ? 0 : 1);
            now[j] = MIN_OF(MIN_OF(last[j], now[j - 1]) + 1, replaced);
            if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
                now[j] = MIN_OF(now[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return MIN_OF(rows[a.size % 3][b.size], max + 1);
}

const char *settings_nearest(const struct setting *rows, struct span name)
{
    const char *nearest = NULL;
    const char *begun = NULL; /* the shortest name that starts with `name`: pool -> pool_size */
    unsigned best = name.size < 4 ? 2 : 3;
    for (; rows->name != NULL; rows++) {
        struct span known = span_text(rows->name);
        unsigned distance = setting_distance(name, known, best);
        if (name.size >= 4 && span_starts(known, name) &&
            (begun == NULL || known.size < strlen(begun)))
            begun = rows->name;
        if (distance < best) {
            best = distance;
            nearest = rows->name;
        }
    }
    return nearest != NULL ? nearest : begun;
}
