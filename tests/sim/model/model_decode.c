/*
 * model_decode.c - the log as logical decoding reads it: ids of transactions, positions, what
 * test_decoding tells of each commit.
 *
 * A commit is four things, in this order: its record is inserted, it is flushed (at once, or later
 * if it is asynchronous), it is decoded, and others see it.  The last two may come in either order:
 * a commit that waits for a synchronous standby is decoded while others still read the old rows.
 *
 * Positions are those of a log with pages: the insert position behind a full page is past the
 * header of the next one.
 */
#include "model_inside.h"

#include <inttypes.h>

#define PAGE           8192u
#define SEGMENT        16777216u
#define PAGE_HEADER    24u
#define SEGMENT_HEADER 40u
#define RECORD_BYTES   64u
#define FULL_PAGE      8  /* commits: one of them ends with its page */
#define SWITCH         40 /* the same with its segment */
#define XID_FIRST      3u

/* What a transaction has told, each text with its NUL. */
struct model_record {
    struct node node; /* of model->log */
    uint64_t begin, end;
    uint32_t xid;
    char database[MODEL_NAME];
    size_t size;
    char texts[];
};

void model_log_init(struct model *model)
{
    list_init(&model->log);
    model->inserted = model->flushed = MODEL_LOG_BEGINS;
    model->flush_due = NEVER;
    /* Some begin shortly before the lower half of the ids comes round. */
    model->xid = model->options.seed % 2 == 0 ? 700 : (UINT64_C(1) << 32) - 20;
    model->completed = model->xid;
}

void model_log_fini(struct model *model)
{
    for (struct node *node; (node = list_pop(&model->log)) != NULL;)
        free(LIST_ENTRY(node, struct model_record, node));
}

/* --- transactions ----------------------------------------------------------------------------- */

void model_log_xid(struct model_session *session)
{
    struct model *model = session->model;
    if (session->tx.xid != 0)
        return;
    model->xid += 1;
    if ((uint32_t)model->xid < XID_FIRST)
        model->xid += XID_FIRST - (uint32_t)model->xid;
    session->tx.xid = model->xid;
}

void model_log_completed(struct model_session *session)
{
    struct model *model = session->model;
    model->completed = MAX_OF(model->completed, session->tx.xid);
}

/* The least id of a running transaction, if that is below `limit`. */
static uint64_t least_running(const struct model *model, uint64_t limit)
{
    uint64_t least = limit;
    LIST_EACH (&model->sessions, it) {
        const struct model_session *session = LIST_ENTRY(it, struct model_session, node);
        if (session->tx.xid != 0)
            least = MIN_OF(least, session->tx.xid);
    }
    return least;
}

/* The least id behind this one; 0: none. */
static uint64_t next_running(const struct model *model, uint64_t behind)
{
    uint64_t next = 0;
    LIST_EACH (&model->sessions, it) {
        const struct model_session *session = LIST_ENTRY(it, struct model_session, node);
        uint64_t xid = session->tx.xid;
        if (xid > behind && (next == 0 || xid < next))
            next = xid;
    }
    return next;
}

struct span model_log_snapshot(struct model_session *session, struct sql_arena *arena)
{
    const struct model *model = session->model;
    /* It ends behind the latest transaction that is over, whatever runs with a later id. */
    uint64_t limit = model->completed + 1;
    struct span text =
        sql_printf(arena, "%" PRIu64 ":%" PRIu64 ":", least_running(model, limit), limit);
    const char *comma = "";
    for (uint64_t xid = 0; (xid = next_running(model, xid)) != 0 && xid < limit; comma = ",")
        text = sql_printf(arena, "%.*s%s%" PRIu64, SPAN_ARG(text), comma, xid);
    return text;
}

fault model_log_await_running(struct model_session *session)
{
    uint64_t last = session->model->xid;
    while (least_running(session->model, last + 1) <= last)
        TRY(model_wait(session, after(ms(2))));
    return OK;
}

/* --- what is told ----------------------------------------------------------------------------- */

void model_log_tell(struct model_session *session, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    if (!session->model->options.decodes)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    buffer_append(&session->told, text, strlen(text) + 1);
}

/* " k[integer]:1 v[text]:'it''s'" */
static void print_row(char text[800], int32_t key, const struct sql_value *value)
{
    int used = snprintf(text, 800, " k[integer]:%d v[text]:", (int)key);
    if (value->null) {
        snprintf(text + used, (size_t)(800 - used), "null");
        return;
    }
    text[used++] = '\'';
    for (size_t i = 0; i < value->text.size && used < 780; i++) {
        if (value->text.at[i] == '\'')
            text[used++] = '\'';
        text[used++] = (char)value->text.at[i];
    }
    text[used++] = '\'';
    text[used] = '\0';
}

void model_log_row(struct model_session *session, const struct model_table *table,
                   enum model_change change, int32_t old, const struct sql_value row[2])
{
    char text[800] = "", key[64] = "";
    if (!session->model->options.decodes || table->temporary || session->untold)
        return;
    if (change != MODEL_DELETES)
        print_row(text, (int32_t)row[0].number, &row[1]);
    if (change == MODEL_UPDATES && old != (int32_t)row[0].number)
        snprintf(key, sizeof(key), " old-key: k[integer]:%d new-tuple:", (int)old);
    static const char *const words[] = {
        [MODEL_INSERTS] = "INSERT", [MODEL_UPDATES] = "UPDATE", [MODEL_DELETES] = "DELETE"};
    if (change == MODEL_DELETES)
        snprintf(key, sizeof(key), " k[integer]:%d", (int)old);
    model_log_tell(session, "table public.%s: %s:%s%s", table->name, words[change], key, text);
}

/* --- positions -------------------------------------------------------------------------------- */

static uint64_t behind_header(uint64_t at)
{
    if (at % PAGE != 0)
        return at;
    return at + (at % SEGMENT == 0 ? SEGMENT_HEADER : PAGE_HEADER);
}

uint64_t model_log_inserted(struct model *model)
{
    return behind_header(model->inserted);
}

static uint64_t round_up(uint64_t at, uint64_t to)
{
    return (at + to - 1) / to * to;
}

/* The end of a record of this size.  Some fill their page, as a switch to the next segment does. */
static uint64_t record_end(struct model *model, uint64_t begin, size_t size)
{
    uint64_t end = round_up(begin + RECORD_BYTES + size, 8);
    if (end / PAGE != begin / PAGE && end % PAGE != 0)
        end += SEGMENT_HEADER;
    if (model_chance(model, SWITCH))
        return round_up(end, SEGMENT);
    return model_chance(model, FULL_PAGE) ? round_up(end, PAGE) : end;
}

static void nudge(struct model *model)
{
    LIST_EACH (&model->sessions, it) {
        struct model_session *session = LIST_ENTRY(it, struct model_session, node);
        if (!session->decodes || session->nudged)
            continue;
        session->nudged = true;
        co_wake(session->co);
    }
}

static void flush_log(struct model *model)
{
    model->flushed = model->inserted;
    model->flush_due = NEVER;
    nudge(model);
}

uint64_t model_log_flushed(struct model *model)
{
    if (now().us >= model->flush_due.us)
        flush_log(model);
    return model->flushed;
}

/* --- commits ---------------------------------------------------------------------------------- */

static void insert_record(struct model_session *session)
{
    struct model *model = session->model;
    const struct buffer *told = &session->told;
    struct model_record *record = calloc(1, sizeof(*record) + told->size + 1);
    invariant(record != NULL);
    record->begin = behind_header(model->inserted);
    record->end = record_end(model, record->begin, told->size);
    record->xid = (uint32_t)session->tx.xid;
    record->size = told->size;
    memcpy(record->database, session->database, sizeof(record->database));
    if (told->size > 0)
        memcpy(record->texts, told->at, told->size);
    model->inserted = record->end;
    list_push(&model->log, &record->node);
}

/* Until the standby has answered, or the server has crashed. */
static void await_standby(struct model_session *session)
{
    uint64_t max = (uint64_t)session->model->options.faults.standby_max.us;
    deadline by = after((duration){.us = (int64_t)model_draw(session->model, max + 1)});
    while (now().us < by.us && session->end != END_CRASHED)
        if (co_wait(by) == FAULT_CANCELLED)
            return;
}

void model_log_commit(struct model_session *session)
{
    struct model *model = session->model;
    const struct model_faults *faults = &model->options.faults;
    if (!model->options.decodes)
        return;
    bool local = strcmp(model_guc_value(session, "synchronous_commit"), "local") == 0;
    insert_record(session);
    if (local || !model_chance(model, faults->asynchronous))
        flush_log(model);
    else
        model->flush_due = earlier_of(
            model->flush_due, after((duration){.us = 1 + (int64_t)model_draw(model, 400000)}));
    if (!local && model_chance(model, faults->standby))
        await_standby(session);
}

void model_log_forget(struct model_session *session, size_t from)
{
    if (session->told.size > from)
        session->told.size = from;
}

/* --- the sender ------------------------------------------------------------------------------- */

static void put_u64(struct buffer *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)(value >> 32));
    wire_put_u32(out, (uint32_t)value);
}

static void put_text(struct model_session *session, uint64_t position, struct span text)
{
    struct buffer *out = &session->out;
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    wire_put_u8(out, 'w');
    put_u64(out, position);
    put_u64(out, position);
    put_u64(out, (uint64_t)now().us);
    wire_put_bytes(out, text);
    wire_end(out, start);
}

/* A transaction that has told nothing is left out, as one that has written no relation is. */
static fault put_record(struct model_session *session, const struct model_record *record)
{
    struct sql_arena arena = {0};
    struct span rest = span_of(record->texts, record->size);
    if (record->size == 0 || strcmp(record->database, session->database) != 0)
        return OK;
    put_text(session, record->begin, sql_printf(&arena, "BEGIN %" PRIu32, record->xid));
    while (rest.size > 0) {
        size_t size = strlen((const char *)rest.at);
        put_text(session, record->begin, span_of(rest.at, size));
        rest = span_skip(rest, size + 1);
    }
    put_text(session, record->end, sql_printf(&arena, "COMMIT %" PRIu32, record->xid));
    sql_arena_fini(&arena);
    return model_flush(session);
}

void model_decode_begin(struct model_session *session)
{
    session->decoded = list_last(&session->model->log);
    session->decoded_to = session->model->inserted;
    session->decodes = true;
}

static struct node *next_record(const struct model_session *session)
{
    const struct list *log = &session->model->log;
    if (session->decoded == NULL)
        return list_first(log);
    return session->decoded->next == &log->head ? NULL : session->decoded->next;
}

fault model_decode_some(struct model_session *session)
{
    struct model *model = session->model;
    for (struct node *node; (node = next_record(session)) != NULL;) {
        const struct model_record *record = LIST_ENTRY(node, struct model_record, node);
        if (record->end > model_log_flushed(model))
            return OK;
        TRY(model_dawdle(session));
        TRY(put_record(session, record));
        session->decoded = node;
        session->decoded_to = record->end;
    }
    session->decoded_to = MAX_OF(session->decoded_to, model_log_flushed(model));
    return OK;
}

deadline model_decode_due(const struct model_session *session)
{
    return earlier_of(session->model->flush_due, after(ms(200)));
}
