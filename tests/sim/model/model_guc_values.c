/* model_guc_values.c - values of settings: read, refused, and shown as the server shows them. */
#include "model_inside.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static fault invalid_value(struct model_session *session, const struct guc_row *row,
                           const char *value)
{
    return model_raise(session, "22023", "invalid value for parameter \"%s\": \"%s\"", row->asked,
                       value);
}

/* --- booleans and words ----------------------------------------------------------------------- */

/* What a check of its own refuses is told by the setting's own name. */
static fault refused_value(struct model_session *session, const struct guc_row *row,
                           const char *value)
{
    return model_raise(session, "22023", "invalid value for parameter \"%s\": \"%s\"", row->name,
                       value);
}

static fault canon_bool(struct model_session *session, const struct guc_row *row, const char *value,
                        const char **ret)
{
    static const char *const words[] = {"true", "false", "yes", "no", "1", "0", "on", "off"};
    size_t size = strlen(value);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        bool ambiguous = size < 2 && words[i][0] == 'o';
        if (size == 0 || ambiguous || size > strlen(words[i]) ||
            strncasecmp(value, words[i], size) != 0)
            continue;
        *ret = i % 2 == 0 ? "on" : "off";
        return OK;
    }
    return model_raise(session, "22023", "parameter \"%s\" requires a Boolean value", row->asked);
}

static fault canon_enum(struct model_session *session, const struct guc_row *row, const char *value,
                        const char **ret)
{
    char list[200] = "";
    size_t size = 0;
    for (size_t i = 0; row->words[i] != NULL; i++) {
        bool hidden = strcmp(row->words[i], "debug") == 0 || strcmp(row->words[i], "info") == 0;
        if (strcasecmp(value, row->words[i]) == 0) {
            *ret = row->words[i];
            return OK;
        }
        if (!hidden)
            size += (size_t)snprintf(list + size, sizeof(list) - size, "%s%s", size > 0 ? ", " : "",
                                     row->words[i]);
    }
    (void)invalid_value(session, row, value);
    model_hint(session, "Available values: %s.", list);
    return FAULT_UPSTREAM;
}

/* --- numbers with units ----------------------------------------------------------------------- */

static const struct guc_measure {
    enum guc_unit unit;
    const char *word;
    double factor;
} measures[] = {
    {GUC_MS, "us", 0.001},
    {GUC_MS, "ms", 1},
    {GUC_MS, "s", 1000},
    {GUC_MS, "min", 60000},
    {GUC_MS, "h", 3600000},
    {GUC_MS, "d", 86400000},
    {GUC_KB, "B", 1.0 / 1024},
    {GUC_KB, "kB", 1},
    {GUC_KB, "MB", 1024},
    {GUC_KB, "GB", 1024.0 * 1024},
    {GUC_KB, "TB", 1024.0 * 1024 * 1024},
};

static bool find_factor(const struct guc_row *row, const char *word, double *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(measures); i++) {
        if (measures[i].unit != row->unit || strcmp(measures[i].word, word) != 0)
            continue;
        *ret = measures[i].factor;
        return true;
    }
    return false;
}

static const char *unit_word(const struct guc_row *row)
{
    return row->unit == GUC_MS ? " ms" : row->unit == GUC_KB ? " kB" : "";
}

static fault canon_int(struct model_session *session, const struct guc_row *row, const char *value,
                       struct sql_arena *arena, const char **ret)
{
    char *end, word[8] = "";
    double factor = 1;
    errno = 0;
    double number = strtod(value, &end);
    bool read = end != value && errno == 0;
    while (isspace((uint8_t)*end))
        end++;
    size_t size = strcspn(end, " \t\n");
    snprintf(word, sizeof(word), "%.*s", (int)MIN_OF(size, sizeof(word) - 1), end);
    if (read && word[0] != '\0' && !find_factor(row, word, &factor)) {
        (void)invalid_value(session, row, value);
        if (row->unit == GUC_MS)
            model_hint(session, "Valid units for this parameter are \"us\", \"ms\", \"s\", "
                                "\"min\", \"h\", and \"d\".");
        if (row->unit == GUC_KB)
            model_hint(session, "Valid units for this parameter are \"B\", \"kB\", \"MB\", "
                                "\"GB\", and \"TB\".");
        return FAULT_UPSTREAM;
    }
    if (!read)
        return invalid_value(session, row, value);
    number *= factor;
    if (number > INT32_MAX || number < INT32_MIN) {
        (void)invalid_value(session, row, value);
        model_hint(session, "Value exceeds integer range.");
        return FAULT_UPSTREAM;
    }
    int64_t whole = (int64_t)(number < 0 ? number - 0.5 : number + 0.5);
    if (whole < row->min || whole > row->max)
        return model_raise(session, "22023",
                           "%" PRId64 "%s is outside the valid range for parameter \"%s\" (%" PRId64
                           " .. %" PRId64 ")",
                           whole, unit_word(row), row->asked, row->min, row->max);
    *ret = (const char *)sql_printf(arena, "%" PRId64, whole).at;
    return OK;
}

const char *model_guc_display(const struct guc_row *row, const char *value, struct sql_arena *arena)
{
    int64_t number = row->kind == GUC_INT ? strtoll(value, NULL, 10) : 0;
    if (row->unit == GUC_NO_UNIT || number <= 0)
        return value;
    for (size_t i = ARRAY_SIZE(measures); i-- > 0;) {
        int64_t factor = (int64_t)measures[i].factor;
        if (measures[i].unit == row->unit && factor >= 1 && number % factor == 0)
            return (const char *)sql_printf(arena, "%" PRId64 "%s", number / factor,
                                            measures[i].word)
                .at;
    }
    return value;
}

/* --- dates, encodings, zones ------------------------------------------------------------------ */

/* "German", "SQL, DMY", ...: what is not said stays. */
static fault canon_datestyle(struct model_session *session, const struct guc_row *row,
                             const char *value, struct sql_arena *arena, const char **ret)
{
    static const char *const styles[] = {"ISO", "SQL", "Postgres", "German"};
    static const char *const orders[] = {"MDY", "DMY", "YMD"};
    static const char *const synonyms[][2] = {
        {"US", "MDY"}, {"NONEURO", "MDY"}, {"EURO", "DMY"}, {"EUROPEAN", "DMY"}};
    const char *style = NULL, *order = NULL, *old = model_guc_value(session, row->name);
    char copy[64], *rest = copy, *word;
    snprintf(copy, sizeof(copy), "%s", value);
    while ((word = strsep(&rest, ", ")) != NULL) {
        bool known = word[0] == '\0' || strcasecmp(word, "default") == 0;
        for (size_t i = 0; i < ARRAY_SIZE(synonyms); i++)
            if (strcasecmp(word, synonyms[i][0]) == 0)
                word = (char *)(uintptr_t)synonyms[i][1];
        for (size_t i = 0; i < ARRAY_SIZE(styles); i++) {
            bool is = strcasecmp(word, styles[i]) == 0;
            style = is ? styles[i] : style;
            known = known || is;
        }
        for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
            bool is = strcasecmp(word, orders[i]) == 0;
            order = is ? orders[i] : order;
            known = known || is;
        }
        if (!known) {
            (void)refused_value(session, row, value);
            model_detail(session, "Unrecognized key word: \"%s\".", word);
            return FAULT_UPSTREAM;
        }
    }
    if (order == NULL && style != NULL && strcmp(style, "German") == 0)
        order = "DMY";
    const char *comma = strchr(old, ',');
    *ret = (const char *)sql_printf(arena, "%.*s, %s",
                                    style != NULL ? (int)strlen(style) : (int)(comma - old),
                                    style != NULL ? style : old, order != NULL ? order : comma + 2)
               .at;
    return OK;
}

static fault canon_encoding(struct model_session *session, const struct guc_row *row,
                            const char *value, const char **ret)
{
    static const char *const names[][2] = {{"utf8", "UTF8"},       {"unicode", "UTF8"},
                                           {"latin1", "LATIN1"},   {"iso88591", "LATIN1"},
                                           {"latin9", "LATIN9"},   {"sqlascii", "SQL_ASCII"},
                                           {"win1252", "WIN1252"}, {"windows1252", "WIN1252"}};
    char bare[32];
    size_t size = 0;
    for (const char *it = value; *it != '\0' && size + 1 < sizeof(bare); it++)
        if (isalnum((uint8_t)*it))
            bare[size++] = (char)tolower((uint8_t)*it);
    bare[size] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(bare, names[i][0]) != 0)
            continue;
        *ret = names[i][1];
        return OK;
    }
    return refused_value(session, row, value);
}

static fault canon_zone(struct model_session *session, const struct guc_row *row, const char *value,
                        const char **ret)
{
    static const char *const zones[] = {"UTC",           "GMT",           "Etc/UTC",
                                        "Europe/Berlin", "Europe/London", "America/New_York",
                                        "Asia/Tokyo"};
    for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
        if (strcasecmp(value, zones[i]) != 0)
            continue;
        *ret = zones[i];
        return OK;
    }
    return refused_value(session, row, value);
}

static const struct model_user *find_user(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->options.user_count; i++)
        if (strcmp(model->options.users[i].name, name) == 0)
            return &model->options.users[i];
    return NULL;
}

static fault canon_role(struct model_session *session, const struct guc_row *row, const char *value,
                        const char **ret)
{
    const struct model_user *login = find_user(session->model, session->user);
    bool may = login != NULL && login->superuser;
    bool role = strcmp(row->name, "role") == 0;
    *ret = value;
    if (role && strcmp(value, "none") == 0)
        return OK;
    if (find_user(session->model, value) == NULL)
        return model_raise(session, "22023", "role \"%s\" does not exist", value);
    if (may || strcmp(value, session->user) == 0)
        return OK;
    if (role)
        return model_raise(session, "42501", "permission denied to set role \"%s\"", value);
    return model_raise(session, "42501", "permission denied to set session authorization \"%s\"",
                       value);
}

/* Whatever is not plain ASCII is a question mark. */
static const char *clean(struct sql_arena *arena, const char *value)
{
    struct span copy = sql_copy(arena, span_text(value));
    for (size_t i = 0; i < copy.size; i++)
        if (copy.at[i] < 32 || copy.at[i] > 126)
            ((uint8_t *)(uintptr_t)copy.at)[i] = '?';
    return (const char *)copy.at;
}

fault model_guc_canon(struct model_session *session, const struct guc_row *row, const char *value,
                      struct sql_arena *arena, const char **ret)
{
    switch (row->kind) {
    case GUC_BOOL:
        return canon_bool(session, row, value, ret);
    case GUC_ENUM:
    case GUC_ISOLATION:
        return canon_enum(session, row, value, ret);
    case GUC_INT:
        return canon_int(session, row, value, arena, ret);
    case GUC_DATESTYLE:
        return canon_datestyle(session, row, value, arena, ret);
    case GUC_ENCODING:
        return canon_encoding(session, row, value, ret);
    case GUC_ZONE:
        return canon_zone(session, row, value, ret);
    case GUC_ROLE:
        return canon_role(session, row, value, ret);
    default:
        *ret = strcmp(row->name, "application_name") == 0 ? clean(arena, value) : value;
        return OK;
    }
}
