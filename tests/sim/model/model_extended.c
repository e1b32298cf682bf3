/* model_extended.c - the messages of both query protocols. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

/* Fields of messages: what is missing is told as the server tells it. */

fault model_get_string(struct model_session *session, struct wire_reader *in, struct span *ret)
{
    *ret = wire_get_string(in);
    if (in->failed)
        return model_raise(session, "08P01", "invalid string in message");
    return model_check_text(session, *ret);
}

static fault get_number(struct model_session *session, struct wire_reader *in, int bytes,
                        uint32_t *ret)
{
    *ret = bytes == 1 ? wire_get_u8(in) : bytes == 2 ? wire_get_u16(in) : wire_get_u32(in);
    if (!in->failed)
        return OK;
    return model_raise(session, "08P01", "%s data left in message",
                       bytes == 1 ? "no" : "insufficient");
}

fault model_get_end(struct model_session *session, const struct wire_reader *in)
{
    return wire_done(in) == OK ? OK : model_raise(session, "08P01", "invalid message format");
}

/* --- statements that run ---------------------------------------------------------------------- */

static bool begins_with_word(struct span text, const char *word)
{
    return text.size >= strlen(word) && strncasecmp((const char *)text.at, word, strlen(word)) == 0;
}

/* Settings take no memory to speak of: these are SET, RESET, and the pooler's question about them.
 */
static bool is_setting(struct span text)
{
    return begins_with_word(text, "SET ") || begins_with_word(text, "RESET ") ||
           begins_with_word(text, "SELECT pg_catalog.set_config(");
}

/* What may go wrong or odd in any statement. */
static fault suffer(struct model_session *session)
{
    struct model *model = session->model;
    const struct model_faults *faults = &model->options.faults;
    if (model_chance(model, faults->notice))
        TRY(model_warn(session, "NOTICE", "00000", "the model has something to say: %u",
                       ++model->notices));
    if (model_chance(model, faults->parameter))
        model_gucs_repeat(session);
    TRY(model_dawdle(session));
    if (!is_setting(session->query) && model_chance(model, faults->fail))
        return model_raise(session, "53200", "out of memory");
    return OK;
}

fault model_statement_begins(struct model_session *session, struct span text)
{
    const struct model_watch *watch = &session->model->options.watch;
    int64_t timeout = model_guc_number(session, "statement_timeout");
    session->statement_end = timeout > 0 ? after(ms(timeout)) : NEVER;
    session->lock_end = (deadline){0};
    session->running = true;
    session->model->counts.statements += 1;
    buffer_clear(&session->query_text);
    buffer_append_span(&session->query_text, span_of(text.at, MIN_OF(text.size, (size_t)4000)));
    session->query = buffer_span(&session->query_text);
    if (watch->statement != NULL) {
        struct model_session_view view = model_session_look(session);
        watch->statement(watch->argument, &view, text);
    }
    TRY(model_check(session));
    return suffer(session);
}

void model_statement_ends(struct model_session *session, const char *sqlstate)
{
    const struct model_watch *watch = &session->model->options.watch;
    bool ran = session->running;
    session->running = false;
    session->statement_end = NEVER;
    if (!ran || watch->finished == NULL)
        return;
    struct model_session_view view = model_session_look(session);
    watch->finished(watch->argument, &view, sqlstate);
}

/* --- Query ------------------------------------------------------------------------------------ */

/* The portal of a statement that went wrong stays in its transaction, and can only be refused. */
static void leave_portal(struct model_session *session, const struct sql_stmt *stmt)
{
    static const struct sql_stmt with_rows = {.kind = SQL_SELECT}, without = {.kind = SQL_SET};
    struct model_portal *portal = model_portal_new(session, SPAN(""));
    portal->stmt = model_shape(session, stmt) != NULL ? &with_rows : &without;
}

static fault run_simple(struct model_session *session, struct sql_arena *arena,
                        struct sql_stmt *stmt, char tag[48])
{
    struct sql_params none = {0};
    struct model_portal portal = {.stmt = stmt, .stored = BUFFER_INIT(64u << 20)};
    bool suspended;
    TRY(sql_analyse(session, arena, stmt, &none));
    fault done = model_run_begin(session, &portal);
    if (done == OK) {
        struct model_portal *unnamed = model_portal_find(session, SPAN(""));
        model_portal_remove(session, &unnamed);
        done = model_run(session, &portal, UINT64_MAX, true, &suspended, tag);
        if (done != OK)
            leave_portal(session, stmt);
    }
    model_portal_fini(&portal);
    return done;
}

static fault run_statements(struct model_session *session, struct sql_arena *arena,
                            struct sql_stmt *first)
{
    bool several = first->next != NULL;
    for (struct sql_stmt *stmt = first; stmt != NULL; stmt = stmt->next) {
        char tag[48] = "";
        if (tx_is_failed(session) && !tx_is_exit(stmt))
            return tx_refuse_failed(session);
        tx_start(session);
        if (several)
            tx_implicit_begin(session);
        TRY(model_statement_begins(session, stmt->text));
        TRY(run_simple(session, arena, stmt, tag));
        if (stmt->next == NULL && several)
            tx_implicit_end(session);
        if (stmt->next == NULL || tx_is_transaction(stmt))
            tx_finish(session);
        model_statement_ends(session, NULL);
        wire_put_command_complete(&session->out, tag);
    }
    return OK;
}

fault model_query(struct model_session *session, struct span text)
{
    struct sql_arena arena = {0};
    struct sql_stmt *first;
    tx_start(session);
    model_statement_remove(session, SPAN(""));
    /* A COPY reads more into the buffer where the text lies. */
    text = sql_copy(&arena, text);
    fault done = sql_parse(session, &arena, text, &first);
    if (done == OK && first != NULL) {
        done = run_statements(session, &arena, first);
    } else if (done == OK) {
        tx_finish(session);
        wire_put_empty(&session->out, WIRE_EMPTY_QUERY);
    }
    sql_arena_fini(&arena);
    return done;
}

/* --- Parse ------------------------------------------------------------------------------------ */

static fault read_types(struct model_session *session, struct wire_reader *in,
                        struct sql_params *params)
{
    params->open = true;
    TRY(get_number(session, in, 2, &params->count));
    if (params->count > SQL_PARAMS_MAX)
        return model_raise(session, "54000", "the model knows %d parameters", SQL_PARAMS_MAX);
    for (uint32_t i = 0; i < params->count; i++) {
        uint32_t oid;
        TRY(get_number(session, in, 4, &oid));
        params->types[i] = oid == 0 || oid == 705 ? SQL_UNKNOWN : sql_type_by_oid(oid);
        if (params->types[i] == SQL_TYPES)
            return model_raise(session, "XX000", "cache lookup failed for type %u", oid);
    }
    return model_get_end(session, in);
}

fault model_parse(struct model_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    struct span name, text;
    struct sql_params params = {0};
    struct model_plan *plan;
    TRY(model_get_string(session, &in, &name));
    TRY(model_get_string(session, &in, &text));
    TRY(read_types(session, &in, &params));
    tx_start(session);
    if (name.size == 0)
        model_statement_remove(session, SPAN(""));
    TRY(model_plan_new(session, text, &params, &plan));
    TRY(model_statement_add(session, name, plan));
    wire_put_empty(&session->out, WIRE_PARSE_COMPLETE);
    return OK;
}

/* --- Bind ------------------------------------------------------------------------------------- */

struct binding {
    struct model_session *session;
    struct wire_reader in;
    struct model_plan *plan;
    struct model_portal *portal;
    const uint8_t *formats; /* of the parameters, where they lie */
    uint16_t format_count;
};

static fault bind_value(struct binding *binding, uint32_t number, struct sql_value *ret)
{
    struct model_session *session = binding->session;
    enum sql_type type = binding->plan->params.types[number];
    uint32_t size;
    uint16_t format = 0;
    *ret = (struct sql_value){.null = true};
    TRY(get_number(session, &binding->in, 4, &size));
    if (binding->format_count > 0)
        format = wire_u16(binding->formats + (binding->format_count == 1 ? 0 : 2 * (size_t)number));
    if (size == UINT32_MAX)
        return OK;
    struct span bytes = wire_get_bytes(&binding->in, size);
    if (binding->in.failed)
        return model_raise(session, "08P01", "insufficient data left in message");
    bytes = sql_copy(&binding->portal->arena, bytes);
    if (format == 0 || type == SQL_TEXT)
        TRY(model_check_text(session, bytes));
    if (format == 0)
        return sql_value_read(session, type, bytes, ret);
    if (format != 1)
        return model_raise(session, "22023", "unsupported format code: %u", format);
    if (sql_value_receive(type, bytes, ret))
        return OK;
    if (bytes.size < (size_t)sql_types[type].size)
        return model_raise(session, "08P01", "insufficient data left in message");
    return model_raise(session, "22P03", "incorrect binary data format in bind parameter %u",
                       number + 1);
}

static fault bind_values(struct binding *binding, uint32_t count)
{
    struct model_portal *portal = binding->portal;
    struct sql_value *values = sql_take(&portal->arena, (count + 1) * sizeof(*values));
    for (uint32_t i = 0; i < count; i++)
        TRY(bind_value(binding, i, &values[i]));
    portal->params = values;
    uint32_t formats, format;
    TRY(get_number(binding->session, &binding->in, 2, &formats));
    portal->format_count = (uint16_t)formats;
    portal->formats = sql_take(&portal->arena, (formats + 1) * sizeof(uint16_t));
    for (uint32_t i = 0; i < formats; i++) {
        TRY(get_number(binding->session, &binding->in, 2, &format));
        portal->formats[i] = (uint16_t)format;
    }
    return model_get_end(binding->session, &binding->in);
}

/* What the plan and the message say of each other. */
static fault bind_check(struct binding *binding, struct span name, uint32_t count)
{
    struct model_session *session = binding->session;
    const struct sql_stmt *stmt = binding->plan->stmt;
    if (binding->format_count > 1 && binding->format_count != count)
        return model_raise(session, "08P01",
                           "bind message has %u parameter formats but %u parameters",
                           binding->format_count, count);
    if (count != binding->plan->params.count)
        return model_raise(session, "08P01",
                           "bind message supplies %u parameters, but prepared statement \"%.*s\" "
                           "requires %u",
                           count, SPAN_ARG(name), binding->plan->params.count);
    if (tx_is_failed(session) && (stmt == NULL || !tx_is_exit(stmt) || count > 0))
        return tx_refuse_failed(session);
    return OK;
}

static fault bind_portal(struct binding *binding, struct span name)
{
    struct model_session *session = binding->session;
    struct model_portal *old = model_portal_find(session, name);
    if (old != NULL && name.size > 0)
        return model_raise(session, "42P03", "cursor \"%.*s\" already exists", SPAN_ARG(name));
    model_portal_remove(session, &old);
    binding->portal = model_portal_new(session, name);
    return OK;
}

static fault bind_formats(struct binding *binding)
{
    struct model_portal *portal = binding->portal;
    const struct sql_stmt *shape =
        portal->stmt == NULL ? NULL : model_shape(binding->session, portal->stmt);
    if (shape == NULL || portal->format_count <= 1 ||
        portal->format_count == model_target_count(shape))
        return OK;
    return model_raise(binding->session, "08P01",
                       "bind message has %u result formats but query has %u columns",
                       portal->format_count, model_target_count(shape));
}

fault model_bind(struct model_session *session, struct span body)
{
    struct binding binding = {.session = session, .in = wire_reader_over(body)};
    struct span portal, name;
    uint32_t count;
    TRY(model_get_string(session, &binding.in, &portal));
    TRY(model_get_string(session, &binding.in, &name));
    tx_start(session);
    struct model_statement *statement = model_statement_find(session, name);
    if (statement == NULL)
        return model_statement_missing(session, name);
    binding.plan = statement->plan;
    TRY(get_number(session, &binding.in, 2, &count));
    binding.format_count = (uint16_t)count;
    binding.formats = wire_get_bytes(&binding.in, 2 * (size_t)count).at;
    TRY(get_number(session, &binding.in, 2, &count));
    TRY(bind_check(&binding, name, count));
    if (count > 0)
        (void)model_snapshot(session);
    TRY(bind_portal(&binding, portal));
    binding.portal->plan = model_plan_ref(binding.plan);
    TRY(bind_values(&binding, count));
    binding.portal->stmt = binding.plan->stmt;
    fault begun = model_run_begin(session, binding.portal);
    if (begun != OK)
        binding.portal->stmt = NULL; /* a portal without a plan is as good as an empty one */
    TRY(begun);
    TRY(bind_formats(&binding));
    wire_put_empty(&session->out, WIRE_BIND_COMPLETE);
    return OK;
}

/* --- Describe, Execute, Close ----------------------------------------------------------------- */

static fault put_shape(struct model_session *session, const struct sql_stmt *shape,
                       const struct model_portal *portal)
{
    if (shape != NULL && tx_is_failed(session))
        return tx_refuse_failed(session);
    if (shape != NULL)
        model_put_row_description(session, shape, portal);
    else
        wire_put_empty(&session->out, WIRE_NO_DATA);
    return OK;
}

static fault describe_statement(struct model_session *session, struct span name)
{
    struct model_statement *statement = model_statement_find(session, name);
    if (statement == NULL)
        return model_statement_missing(session, name);
    const struct sql_params *params = &statement->plan->params;
    if (statement->plan->shape != NULL && tx_is_failed(session))
        return tx_refuse_failed(session);
    size_t start = wire_begin(&session->out, WIRE_PARAMETER_DESCRIPTION);
    wire_put_u16(&session->out, (uint16_t)params->count);
    for (uint32_t i = 0; i < params->count; i++)
        wire_put_u32(&session->out, sql_types[params->types[i]].oid);
    wire_end(&session->out, start);
    return put_shape(session, statement->plan->shape, NULL);
}

struct target {
    uint32_t kind;
    struct span name;
};

static fault get_target(struct model_session *session, struct span body, struct target *ret)
{
    struct wire_reader in = wire_reader_over(body);
    TRY(get_number(session, &in, 1, &ret->kind));
    TRY(model_get_string(session, &in, &ret->name));
    return model_get_end(session, &in);
}

fault model_describe(struct model_session *session, struct span body)
{
    struct target target;
    TRY(get_target(session, body, &target));
    tx_start(session);
    if (target.kind == 'S')
        return describe_statement(session, target.name);
    if (target.kind != 'P')
        return model_raise(session, "08P01", "invalid DESCRIBE message subtype %u", target.kind);
    struct model_portal *portal = model_portal_find(session, target.name);
    if (portal == NULL)
        return model_portal_missing(session, target.name);
    return put_shape(session, portal->stmt == NULL ? NULL : model_shape(session, portal->stmt),
                     portal);
}

static fault run_portal(struct model_session *session, struct model_portal *portal, uint64_t max,
                        bool *suspended, char tag[48])
{
    if (tx_is_failed(session) && !tx_is_exit(portal->stmt))
        return tx_refuse_failed(session);
    TRY(model_statement_begins(session,
                               portal->plan != NULL ? portal->plan->text : portal->stmt->text));
    portal->active = true;
    fault done = model_run(session, portal, max, false, suspended, tag);
    portal->active = false;
    if (done != OK)
        portal->state = PORTAL_FAILED;
    return done;
}

fault model_execute(struct model_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    struct span name;
    uint32_t rows;
    bool suspended = false;
    char tag[48] = "";
    TRY(model_get_string(session, &in, &name));
    TRY(get_number(session, &in, 4, &rows));
    TRY(model_get_end(session, &in));
    struct model_portal *portal = model_portal_find(session, name);
    if (portal == NULL)
        return model_portal_missing(session, name);
    if (portal->stmt == NULL) {
        wire_put_empty(&session->out, WIRE_EMPTY_QUERY);
        return OK;
    }
    tx_start(session);
    bool transaction = tx_is_transaction(portal->stmt);
    uint64_t max = (int32_t)rows <= 0 ? UINT64_MAX : rows;
    TRY(run_portal(session, portal, max, &suspended, tag));
    if (!suspended && (transaction || session->tx.commit_soon))
        tx_finish(session);
    else
        session->tx.pipelining = true;
    model_statement_ends(session, NULL);
    if (suspended)
        wire_put_empty(&session->out, WIRE_PORTAL_SUSPENDED);
    else
        wire_put_command_complete(&session->out, tag);
    return OK;
}

fault model_close(struct model_session *session, struct span body)
{
    struct target target;
    TRY(get_target(session, body, &target));
    struct model_portal *portal = model_portal_find(session, target.name);
    if (target.kind == 'S')
        model_statement_remove(session, target.name);
    else if (target.kind != 'P')
        return model_raise(session, "08P01", "invalid CLOSE message subtype %u", target.kind);
    else
        model_portal_remove(session, &portal);
    wire_put_empty(&session->out, WIRE_CLOSE_COMPLETE);
    return OK;
}
