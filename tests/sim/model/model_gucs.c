/*
 * model_gucs.c - the settings of a session, and what transactions do to them.
 *
 * A slot without a value has what the startup packet said, else the server's default.  What a
 * transaction changes is stacked by the level of its savepoints, as in PostgreSQL's guc.c.
 */
#include "model_inside.h"

#include <ctype.h>
#include <stdio.h>

static const char *const words_messages[] = {"debug5", "debug4",  "debug3", "debug2",
                                             "debug1", "debug",   "log",    "info",
                                             "notice", "warning", "error",  NULL};
static const char *const words_isolation[] = {"serializable", "repeatable read", "read committed",
                                              "read uncommitted", NULL};
static const char *const words_interval[] = {"postgres", "postgres_verbose", "sql_standard",
                                             "iso_8601", NULL};
static const char *const words_bytea[] = {"escape", "hex", NULL};
static const char *const words_log[] = {"none", "ddl", "mod", "all", NULL};
static const char *const words_commit[] = {"local", "remote_write", "remote_apply",
                                           "on",    "off",          NULL};
static const char *const words_plan[] = {"auto", "force_generic_plan", "force_custom_plan", NULL};

#define TIMEOUT_ROW(name_)                                                                         \
    {                                                                                              \
        .name = name_, .kind = GUC_INT, .preset = "0", .unit = GUC_MS, .max = INT32_MAX            \
    }

/* In the order in which the server reports them: by name, whatever the case. */
const struct guc_row guc_rows[] = {
    {.name = "application_name", .kind = GUC_TEXT, .preset = "", .reported = true},
    {.name = "autovacuum", .kind = GUC_BOOL, .preset = "off", .context = GUC_RELOAD},
    {.name = "bytea_output", .kind = GUC_ENUM, .preset = "hex", .words = words_bytea},
    {.name = "client_encoding", .kind = GUC_ENCODING, .preset = "UTF8", .reported = true},
    {.name = "client_min_messages", .kind = GUC_ENUM, .preset = "notice", .words = words_messages},
    {.name = "DateStyle", .kind = GUC_DATESTYLE, .preset = "ISO, MDY", .reported = true},
    {.name = "default_transaction_isolation",
     .kind = GUC_ENUM,
     .preset = "read committed",
     .words = words_isolation},
    {.name = "default_transaction_read_only", .kind = GUC_BOOL, .preset = "off", .reported = true},
    {.name = "enable_seqscan", .kind = GUC_BOOL, .preset = "on"},
    {.name = "extra_float_digits", .kind = GUC_INT, .preset = "1", .min = -15, .max = 3},
    TIMEOUT_ROW("idle_in_transaction_session_timeout"),
    TIMEOUT_ROW("idle_session_timeout"),
    {.name = "in_hot_standby",
     .kind = GUC_BOOL,
     .preset = "off",
     .reported = true,
     .context = GUC_FIXED},
    {.name = "integer_datetimes",
     .kind = GUC_BOOL,
     .preset = "on",
     .reported = true,
     .context = GUC_FIXED},
    {.name = "IntervalStyle",
     .kind = GUC_ENUM,
     .preset = "postgres",
     .reported = true,
     .words = words_interval},
    {.name = "is_superuser",
     .kind = GUC_BOOL,
     .preset = "off",
     .reported = true,
     .context = GUC_FIXED},
    {.name = "jit", .kind = GUC_BOOL, .preset = "on"},
    TIMEOUT_ROW("lock_timeout"),
    {.name = "log_statement",
     .kind = GUC_ENUM,
     .preset = "none",
     .context = GUC_SUPERUSER,
     .words = words_log},
    {.name = "max_connections",
     .kind = GUC_INT,
     .preset = "100",
     .context = GUC_RESTART,
     .min = 1,
     .max = 262143},
    {.name = "plan_cache_mode", .kind = GUC_ENUM, .preset = "auto", .words = words_plan},
    {.name = "quote_all_identifiers", .kind = GUC_BOOL, .preset = "off"},
    {.name = "role", .kind = GUC_ROLE, .preset = "none"},
    {.name = "row_security", .kind = GUC_BOOL, .preset = "on"},
    {.name = "search_path", .kind = GUC_TEXT, .preset = "\"$user\", public"},
    {.name = "server_encoding",
     .kind = GUC_TEXT,
     .preset = "UTF8",
     .reported = true,
     .context = GUC_FIXED},
    {.name = "server_version",
     .kind = GUC_TEXT,
     .preset = "15.20",
     .reported = true,
     .context = GUC_FIXED},
    {.name = "session_authorization", .kind = GUC_ROLE, .preset = "", .reported = true},
    {.name = "standard_conforming_strings", .kind = GUC_BOOL, .preset = "on", .reported = true},
    TIMEOUT_ROW("statement_timeout"),
    {.name = "synchronous_commit", .kind = GUC_ENUM, .preset = "on", .words = words_commit},
    {.name = "TimeZone", .kind = GUC_ZONE, .preset = "Etc/UTC", .reported = true},
    {.name = "transaction_isolation", .kind = GUC_ISOLATION, .words = words_isolation},
    {.name = "transaction_read_only", .kind = GUC_BOOL},
    {.name = "wal_sender_timeout",
     .kind = GUC_INT,
     .preset = "60000",
     .unit = GUC_MS,
     .max = INT32_MAX},
    {.name = "work_mem",
     .kind = GUC_INT,
     .preset = "4096",
     .unit = GUC_KB,
     .min = 64,
     .max = INT32_MAX},
};
const size_t guc_row_count = ARRAY_SIZE(guc_rows);
static_assert(ARRAY_SIZE(guc_rows) <= GUC_COUNT_MAX, "a slot for each row");

/* --- finding ---------------------------------------------------------------------------------- */

static size_t find_row(struct span name)
{
    for (size_t i = 0; i < guc_row_count; i++)
        if (name.size > 0 && span_is_nocase(name, guc_rows[i].name))
            return i;
    return guc_row_count;
}

static struct guc_slot *find_custom(const struct model_session *session, struct span name)
{
    LIST_EACH (&session->gucs.custom, it) {
        struct guc_custom *custom = LIST_ENTRY(it, struct guc_custom, node);
        if (span_is_nocase(name, custom->name))
            return &custom->slot;
    }
    return NULL;
}

static const char *user_of(const struct model_session *session)
{
    const struct guc_slot *slot = &session->gucs.slots[find_row(SPAN("session_authorization"))];
    return slot->value != NULL ? slot->value : session->user;
}

static bool is_superuser(const struct model_session *session, const char *name)
{
    const struct model_options *options = &session->model->options;
    for (size_t i = 0; i < options->user_count; i++)
        if (strcmp(options->users[i].name, name) == 0)
            return options->users[i].superuser;
    return false;
}

static bool row_is(const struct guc_row *row, const char *name)
{
    return strcmp(row->name, name) == 0;
}

/* What the server itself decides; NULL: it does not. */
static const char *own_value(const struct model_session *session, const struct guc_row *row)
{
    const struct model *model = session->model;
    if (row_is(row, "in_hot_standby"))
        return model_is_standby(session) ? "on" : "off";
    if (row_is(row, "is_superuser"))
        return is_superuser(session, user_of(session)) ? "on" : "off";
    if (row_is(row, "session_authorization"))
        return session->user;
    if (row_is(row, "server_version") && model->options.version != NULL)
        return model->options.version;
    bool begun = session->tx.block != TX_NONE;
    if (row_is(row, "transaction_isolation"))
        return begun ? session->tx.isolation
                     : model_guc_value(session, "default_transaction_isolation");
    if (row_is(row, "transaction_read_only") && model_is_standby(session))
        return "on";
    if (row_is(row, "transaction_read_only"))
        return begun ? session->tx.read_only
                     : model_guc_value(session, "default_transaction_read_only");
    return NULL;
}

static const char *row_value(const struct model_session *session, size_t number)
{
    const struct guc_slot *slot = &session->gucs.slots[number];
    if (slot->value != NULL)
        return slot->value;
    if (slot->reset != NULL)
        return slot->reset;
    const char *own = own_value(session, &guc_rows[number]);
    if (own != NULL)
        return own;
    const char *other = session->model->defaults[number];
    return other != NULL ? other : guc_rows[number].preset;
}

const char *model_guc_value(const struct model_session *session, const char *name)
{
    size_t number = find_row(span_text(name));
    invariant(number < guc_row_count);
    return row_value(session, number);
}

const char *model_guc_word(const char *isolation)
{
    size_t i = 0;
    while (words_isolation[i + 1] != NULL && strcmp(words_isolation[i], isolation) != 0)
        i++;
    return words_isolation[i];
}

int64_t model_guc_number(const struct model_session *session, const char *name)
{
    return strtoll(model_guc_value(session, name), NULL, 10);
}

const char *model_guc_show(const struct model_session *session, struct span name,
                           struct sql_arena *arena, const char **ret_spelled)
{
    size_t number = find_row(name);
    if (number < guc_row_count) {
        *ret_spelled = guc_rows[number].name;
        return model_guc_display(&guc_rows[number], row_value(session, number), arena);
    }
    struct guc_slot *slot = find_custom(session, name);
    if (slot == NULL)
        return NULL;
    *ret_spelled = (const char *)sql_copy(arena, name).at;
    return slot->value == NULL ? "" : slot->value;
}

struct span model_session_setting(const struct model_session *session, const char *name)
{
    size_t number = find_row(span_text(name));
    if (number < guc_row_count)
        return span_text(row_value(session, number));
    struct guc_slot *slot = find_custom(session, span_text(name));
    return slot == NULL || slot->value == NULL ? SPAN_NONE : span_text(slot->value);
}

fault model_guc_unknown(struct model_session *session, struct span name)
{
    return model_raise(session, "42704", "unrecognized configuration parameter \"%.*s\"",
                       SPAN_ARG(name));
}

/* --- changing --------------------------------------------------------------------------------- */

static char *copy_of(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    invariant(text == NULL || copy != NULL);
    return copy;
}

static void put_value(char **into, const char *value)
{
    char *copy = copy_of(value);
    free(*into);
    *into = copy;
}

static void move_value(char **into, char **from)
{
    free(*into);
    *into = TAKE(*from);
}

/* Before a change: what is there comes back if the level ends badly. */
static void remember(struct model_session *session, struct guc_slot *slot, bool local)
{
    struct guc_stack *top = slot->stack;
    uint32_t level = session->tx.level + 1;
    if (session->tx.block == TX_NONE)
        return;
    session->gucs.any_stack = true;
    if (top != NULL && top->level >= level) {
        if (local && top->state == GUC_SET) {
            top->masked = copy_of(slot->value);
            top->state = GUC_SET_LOCAL;
        } else if (!local) {
            put_value(&top->masked, NULL);
            top->state = GUC_SET;
        }
        return;
    }
    struct guc_stack *entry = calloc(1, sizeof(*entry));
    invariant(entry != NULL);
    *entry = (struct guc_stack){.below = top,
                                .level = level,
                                .state = local ? GUC_LOCAL : GUC_SET,
                                .prior = copy_of(slot->value)};
    slot->stack = entry;
}

/* name.name, each an identifier. */
static bool is_custom_name(struct span name)
{
    bool dot = false, begins = true;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.at[i];
        bool letter = isalpha(byte) || byte == '_' || byte >= 0x80;
        if (byte == '.' ? begins : !letter && (begins || (!isdigit(byte) && byte != '$')))
            return false;
        dot = dot || byte == '.';
        begins = byte == '.';
    }
    return dot && !begins;
}

static fault find_or_make_custom(struct model_session *session, struct span name,
                                 struct guc_slot **ret)
{
    *ret = find_custom(session, name);
    if (*ret != NULL)
        return OK;
    if (memchr(name.at, '.', name.size) == NULL)
        return model_guc_unknown(session, name);
    if (!is_custom_name(name)) {
        (void)model_raise(session, "42602", "invalid configuration parameter name \"%.*s\"",
                          SPAN_ARG(name));
        model_detail(session, "Custom parameter names must be two or more simple identifiers "
                              "separated by dots.");
        return FAULT_UPSTREAM;
    }
    struct guc_custom *custom = calloc(1, sizeof(*custom));
    invariant(custom != NULL);
    custom->name = strndup((const char *)name.at, name.size);
    list_push(&session->gucs.custom, &custom->node);
    *ret = &custom->slot;
    return OK;
}

static fault may_change(struct model_session *session, const struct guc_row *row)
{
    const char *why = "cannot be changed without restarting the server";
    if (row->context == GUC_FIXED)
        why = "cannot be changed";
    if (row->context == GUC_RELOAD)
        why = "cannot be changed now";
    if (row->context == GUC_SUPERUSER && !is_superuser(session, user_of(session)))
        return model_raise(session, "42501", "permission denied to set parameter \"%s\"",
                           row->asked);
    if (row->context == GUC_USER || row->context == GUC_SUPERUSER)
        return OK;
    return model_raise(session, "55P02", "parameter \"%s\" %s", row->asked, why);
}

/* A transaction's own modes are fixed by its first query. */
static fault check_modes(struct model_session *session, const struct guc_row *row,
                         const char *value)
{
    const struct model_tx *tx = &session->tx;
    const char *old = model_guc_value(session, row->name);
    if (strcmp(old, value) == 0)
        return OK;
    if (row->kind == GUC_ISOLATION && tx->snapshot_taken)
        return model_raise(session, "25001",
                           "SET TRANSACTION ISOLATION LEVEL must be called before any query");
    if (row->kind == GUC_ISOLATION && tx->level > 0)
        return model_raise(session, "25001",
                           "SET TRANSACTION ISOLATION LEVEL must not be called "
                           "in a subtransaction");
    if (row->kind == GUC_ISOLATION && strcmp(value, "serializable") == 0 &&
        model_is_standby(session)) {
        (void)model_raise(session, "0A000", "cannot use serializable mode in a hot standby");
        model_hint(session, "You can use REPEATABLE READ instead.");
        return FAULT_UPSTREAM;
    }
    if (row->kind == GUC_ISOLATION || strcmp(value, "off") != 0)
        return OK;
    if (tx->level > 0)
        return model_raise(session, "25001",
                           "cannot set transaction read-write mode inside a "
                           "read-only transaction");
    if (tx->snapshot_taken)
        return model_raise(session, "25001",
                           "transaction read-write mode must be set before any query");
    if (model_is_standby(session))
        return model_raise(session, "0A000",
                           "cannot set transaction read-write mode during recovery");
    return OK;
}

static fault set_row(struct model_session *session, struct span name, const char *value, bool local,
                     struct sql_arena *arena)
{
    const struct guc_row *row = &guc_rows[find_row(name)];
    struct guc_slot *slot = &session->gucs.slots[row - guc_rows];
    bool mode = row->kind == GUC_ISOLATION || row_is(row, "transaction_read_only");
    const char *canon = NULL;
    struct guc_row spelled = *row;
    spelled.asked = (const char *)sql_copy(arena, name).at;
    TRY(may_change(session, &spelled));
    if (value != NULL)
        TRY(model_guc_canon(session, &spelled, value, arena, &canon));
    if (mode && canon != NULL)
        TRY(check_modes(session, row, canon));
    remember(session, slot, local || mode);
    put_value(&slot->value, canon);
    return OK;
}

bool model_guc_is_set(const struct model_session *session, struct span name)
{
    static const char *const identities[] = {"role", "session_authorization"};
    size_t number = find_row(name);
    for (size_t i = 0; i < ARRAY_SIZE(identities); i++)
        if (span_is_nocase(name, identities[i]))
            return strcmp(row_value(session, number), "none") != 0;
    if (number < guc_row_count)
        return session->gucs.slots[number].value != NULL;
    const struct guc_slot *slot = find_custom(session, name);
    return slot != NULL && slot->value != NULL && slot->value[0] != '\0';
}

fault model_guc_set(struct model_session *session, struct span name, const char *value, bool local)
{
    size_t number = find_row(name);
    if (number < guc_row_count) {
        struct sql_arena arena = {0};
        fault set = set_row(session, name, value, local, &arena);
        sql_arena_fini(&arena);
        return set;
    }
    struct guc_slot *slot;
    TRY(find_or_make_custom(session, name, &slot));
    remember(session, slot, local);
    put_value(&slot->value, value);
    return OK;
}

fault model_guc_begin(struct model_session *session, struct span name, struct span value)
{
    size_t number = find_row(name);
    char text[1024];
    snprintf(text, sizeof(text), "%.*s", SPAN_ARG(value));
    TRY(model_guc_set(session, name, text, false));
    struct guc_slot *slot =
        number < guc_row_count ? &session->gucs.slots[number] : find_custom(session, name);
    if (number < guc_row_count)
        move_value(&slot->reset, &slot->value);
    return OK;
}

static bool survives_reset(const struct guc_row *row)
{
    return row->kind == GUC_ROLE || row->kind == GUC_ISOLATION ||
           row_is(row, "transaction_read_only");
}

void model_guc_reset_all(struct model_session *session)
{
    for (size_t i = 0; i < guc_row_count; i++) {
        struct guc_slot *slot = &session->gucs.slots[i];
        if (slot->value == NULL || survives_reset(&guc_rows[i]))
            continue;
        remember(session, slot, false);
        put_value(&slot->value, NULL);
    }
    LIST_EACH (&session->gucs.custom, it) {
        struct guc_slot *slot = &LIST_ENTRY(it, struct guc_custom, node)->slot;
        if (slot->value == NULL)
            continue;
        remember(session, slot, false);
        put_value(&slot->value, NULL);
    }
}

/* --- the end of a transaction, or of a savepoint ---------------------------------------------- */

static void pop(struct guc_slot *slot)
{
    struct guc_stack *gone = slot->stack;
    slot->stack = gone->below;
    free(gone->prior);
    free(gone->masked);
    free(gone);
}

/* A level ends well: what it did is now its parent's doing. */
static void merge(struct guc_slot *slot)
{
    struct guc_stack *top = slot->stack, *below = top->below;
    if (below == NULL || below->level < top->level - 1) {
        top->level -= 1;
        return;
    }
    if (top->state == GUC_SET) {
        put_value(&below->masked, NULL);
        below->state = GUC_SET;
    } else if (top->state == GUC_LOCAL && below->state == GUC_SET) {
        move_value(&below->masked, &top->prior);
        below->state = GUC_SET_LOCAL;
    } else if (top->state == GUC_SET_LOCAL) {
        move_value(&below->masked, &top->masked);
        below->state = GUC_SET_LOCAL;
    }
    pop(slot);
}

static void end_slot(struct guc_slot *slot, bool commit, uint32_t level)
{
    while (slot->stack != NULL && slot->stack->level >= level) {
        struct guc_stack *top = slot->stack;
        if (commit && top->level > 1) {
            merge(slot);
            continue;
        }
        if (!commit || top->state == GUC_LOCAL || top->state == GUC_SAVE)
            move_value(&slot->value, &top->prior);
        else if (top->state == GUC_SET_LOCAL)
            move_value(&slot->value, &top->masked);
        pop(slot);
    }
}

void model_gucs_end(struct model_session *session, bool commit, uint32_t level)
{
    if (!session->gucs.any_stack)
        return;
    for (size_t i = 0; i < guc_row_count; i++)
        end_slot(&session->gucs.slots[i], commit, level);
    LIST_EACH (&session->gucs.custom, it)
        end_slot(&LIST_ENTRY(it, struct guc_custom, node)->slot, commit, level);
    session->gucs.any_stack = level > 1;
}

/* --- telling ---------------------------------------------------------------------------------- */

void model_gucs_report(struct model_session *session, bool all)
{
    for (size_t i = 0; i < guc_row_count; i++) {
        struct guc_slot *slot = &session->gucs.slots[i];
        if (!guc_rows[i].reported)
            continue;
        const char *value = row_value(session, i);
        if (!all && slot->reported != NULL && strcmp(slot->reported, value) == 0)
            continue;
        put_value(&slot->reported, value);
        size_t start = session->out.size;
        wire_put_parameter_status(&session->out, span_text(guc_rows[i].name), span_text(value));
        model_tells(session, start);
    }
}

void model_gucs_repeat(struct model_session *session)
{
    size_t number = (size_t)model_draw(session->model, guc_row_count);
    const struct guc_slot *slot = &session->gucs.slots[number];
    if (slot->reported == NULL)
        return;
    size_t start = session->out.size;
    wire_put_parameter_status(&session->out, span_text(guc_rows[number].name),
                              span_text(slot->reported));
    model_tells(session, start);
}

bool model_guc_default(struct model *model, const char *name, const char *value)
{
    size_t number = find_row(span_text(name));
    if (number == guc_row_count)
        return false;
    put_value(&model->defaults[number], value);
    return true;
}

void model_gucs_init(struct model_session *session)
{
    list_init(&session->gucs.custom);
}

static void slot_fini(struct guc_slot *slot)
{
    while (slot->stack != NULL)
        pop(slot);
    free(slot->value);
    free(slot->reported);
    free(slot->reset);
}

void model_gucs_fini(struct model_session *session)
{
    for (size_t i = 0; i < guc_row_count; i++)
        slot_fini(&session->gucs.slots[i]);
    while (!list_empty(&session->gucs.custom)) {
        struct guc_custom *custom =
            LIST_ENTRY(list_pop(&session->gucs.custom), struct guc_custom, node);
        slot_fini(&custom->slot);
        free(custom->name);
        free(custom);
    }
}
