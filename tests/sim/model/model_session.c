/* model_session.c - one session: its messages, its waits, its errors, its end. */
#include "model_inside.h"

#include <stdio.h>

#define READ_SIZE   4096
#define SMALL_MAX   10000u
#define MESSAGE_MAX (256u << 20)

/* --- whether it may go on --------------------------------------------------------------------- */

static fault end_now(struct model_session *session)
{
    if (session->end == END_CRASHED)
        return fault_raise(FAULT_CLOSED, "crashed");
    return model_raise_fatal(session, "57P01",
                             "terminating connection due to administrator command");
}

fault model_check(struct model_session *session)
{
    if (co_cancelled())
        return FAULT_CANCELLED;
    if (session->end != END_NOT)
        return end_now(session);
    if (session->cancel) {
        session->cancel = false;
        return model_raise(session, "57014", "canceling statement due to user request");
    }
    if (session->statement_end.us != INT64_MAX && now().us >= session->statement_end.us)
        return model_raise(session, "57014", "canceling statement due to statement timeout");
    return OK;
}

fault model_wait(struct model_session *session, deadline by)
{
    TRY(model_check(session));
    fault waited = co_wait(earlier_of(by, session->statement_end));
    if (waited == FAULT_CANCELLED)
        return waited;
    return model_check(session);
}

static fault dawdle(struct model_session *session, uint32_t chances)
{
    struct model *model = session->model;
    if (!model_chance(model, chances))
        return OK;
    uint64_t max = (uint64_t)model->options.faults.slow_max.us;
    deadline by = after((duration){.us = (int64_t)model_draw(model, max + 1)});
    while (now().us < by.us)
        TRY(model_wait(session, by));
    return OK;
}

fault model_dawdle(struct model_session *session)
{
    return dawdle(session, session->model->options.faults.slow);
}

fault model_linger(struct model_session *session)
{
    return dawdle(session, session->model->options.faults.linger);
}

#define CONFLICT_AFTER_US 2000

fault model_conflict(struct model_session *session, uint32_t rarer)
{
    struct model *model = session->model;
    if (!model_is_standby(session) || !model_chance(model, model->options.faults.conflict * rarer))
        return OK;
    TRY(model_flush(session));
    deadline by = after((duration){.us = (int64_t)model_draw(model, CONFLICT_AFTER_US)});
    while (rarer > 1 && now().us < by.us) /* the rows so far have reached the client */
        TRY(model_wait(session, by));
    if (model_draw(model, 4) == 0)
        return model_raise_fatal(session, "40001",
                                 "terminating connection due to conflict with recovery");
    return model_raise(session, "40001", "canceling statement due to conflict with recovery");
}

/* --- reading ---------------------------------------------------------------------------------- */

/* An idle session: what makes it speak, or end, by itself. */
static fault look_around(struct model_session *session)
{
    if (session->end != END_NOT)
        return end_now(session);
    if (now().us >= session->idle_end.us)
        return session->tx.block == TX_NONE
                   ? model_raise_fatal(session, "57P05",
                                       "terminating connection due to idle-session timeout")
                   : model_raise_fatal(session, "25P03",
                                       "terminating connection due to idle-in-transaction timeout");
    if (session->tx.block != TX_NONE || list_empty(&session->incoming_notifications))
        return OK;
    model_notify_deliver(session);
    return model_flush(session);
}

static fault await_bytes(struct model_session *session, bool copying, deadline by)
{
    fault flushed = stream_flush_some(&session->stream);
    if (flushed != OK && flushed != FAULT_AGAIN)
        return flushed;
    if (!copying)
        TRY(look_around(session));
    /* Something may have come while that was written. */
    if (stream_may_read(&session->stream))
        return OK;
    session->idle = !copying;
    session->stream.waker = co_waker(session->co);
    fault waited = co_wait(copying ? by : session->idle_end);
    session->stream.waker = NULL;
    session->idle = false;
    if (waited == FAULT_CANCELLED)
        return waited;
    return copying && session->end != END_NOT ? end_now(session) : OK;
}

/* More bytes behind those that are there; AGAIN: `by` has passed without any. */
static fault read_more(struct model_session *session, bool copying, deadline by)
{
    struct model *model = session->model;
    if (session->in_at == session->in.size) {
        buffer_clear(&session->in);
        session->in_at = 0;
    } else if (session->in_at > READ_SIZE) {
        buffer_consume(&session->in, session->in_at);
        session->in_at = 0;
    }
    uint8_t *room = buffer_room(&session->in, READ_SIZE);
    if (room == NULL)
        return buffer_fault(&session->in);
    for (;;) {
        size_t got = 0;
        fault read = stream_read_some(&session->stream, room, READ_SIZE, &got);
        if (read == FAULT_AGAIN) {
            if (now().us >= by.us || session->nudged)
                return FAULT_AGAIN;
            TRY(await_bytes(session, copying, by));
            continue;
        }
        TRY(read);
        session->in.size += got;
        if (!session->ready || !model_chance(model, model->options.faults.crash))
            return OK;
        model->counts.crashes += 1;
        return fault_raise(FAULT_CLOSED, "crashed while it was reading");
    }
}

/* How long a message of this type may be; 0: there is no such type. */
static uint32_t size_max(uint8_t type, bool login)
{
    if (login)
        return type == WIRE_PASSWORD ? 65535 : 0;
    if (strchr("QFBPd", type) != NULL && type != 0)
        return MESSAGE_MAX;
    return strchr("EDCHSXcf", type) != NULL && type != 0 ? SMALL_MAX : 0;
}

static bool belongs_to_copy(uint8_t type)
{
    return type == WIRE_COPY_DATA || type == WIRE_COPY_DONE || type == WIRE_COPY_FAIL ||
           type == WIRE_FLUSH || type == WIRE_SYNC;
}

fault model_read(struct model_session *session, bool copying, struct wire_frame *ret)
{
    for (;;) {
        struct span rest = span_skip(buffer_span(&session->in), session->in_at);
        uint32_t max = rest.size == 0 ? 0 : size_max(rest.at[0], !session->ready);
        /* The type alone is enough for it. */
        if (copying && session->ready && rest.size > 0 && !belongs_to_copy(rest.at[0])) {
            session->protocol_lost = true;
            return model_raise(session, "08P01",
                               "unexpected message type 0x%02X during COPY from stdin", rest.at[0]);
        }
        if (rest.size > 0 && max == 0)
            return model_raise_fatal(session, "08P01", "invalid frontend message type %u",
                                     rest.at[0]);
        fault framed = rest.size == 0 ? FAULT_AGAIN : wire_next_frame(&rest, max, ret);
        if (framed == OK) {
            session->in_at = session->in.size - rest.size;
            session->cancel = session->cancel && copying;
            return co_cancelled() ? FAULT_CANCELLED : OK;
        }
        if (framed != FAULT_AGAIN)
            return fault_raise(FAULT_CLOSED, "a message of a length that can't be");
        TRY(read_more(session, copying, NEVER));
    }
}

fault model_read_by(struct model_session *session, deadline by, struct wire_frame *ret)
{
    for (;;) {
        struct span rest = span_skip(buffer_span(&session->in), session->in_at);
        fault framed = rest.size == 0 ? FAULT_AGAIN : wire_next_frame(&rest, MESSAGE_MAX, ret);
        if (framed == OK) {
            session->in_at = session->in.size - rest.size;
            return co_cancelled() ? FAULT_CANCELLED : OK;
        }
        if (framed != FAULT_AGAIN)
            return fault_raise(FAULT_CLOSED, "a message of a length that can't be");
        TRY(read_more(session, true, by));
    }
}

/* --- messages --------------------------------------------------------------------------------- */

static fault simple_query(struct model_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    struct span text;
    session->ready_due = true;
    TRY(model_get_string(session, &in, &text));
    TRY(model_get_end(session, &in));
    return session->replication == WIRE_REPLICATION_NONE ? model_query(session, text)
                                                         : model_replication_command(session, text);
}

static fault function_call(struct model_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    session->ready_due = true;
    tx_start(session);
    if (tx_is_failed(session))
        return tx_refuse_failed(session);
    return model_raise(session, "42883", "function with OID %u does not exist", wire_get_u32(&in));
}

static fault synchronise(struct model_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    session->skipping = false;
    session->extended = false;
    session->ready_due = true;
    TRY(model_get_end(session, &in));
    tx_finish(session);
    return OK;
}

static fault flush(struct model_session *session, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    TRY(model_get_end(session, &in));
    return model_flush(session);
}

/* A connection for replication takes no batches. */
static fault refuse_extended(struct model_session *session, uint8_t type)
{
    const char *what =
        type == WIRE_FUNCTION_CALL ? "fastpath function calls" : "extended query protocol";
    session->ready_due = type == WIRE_FUNCTION_CALL;
    return model_raise(session, "08P01", "%s not supported in a replication connection", what);
}

static bool is_extended(uint8_t type)
{
    return type == WIRE_PARSE || type == WIRE_BIND || type == WIRE_DESCRIBE ||
           type == WIRE_EXECUTE || type == WIRE_CLOSE || type == WIRE_FLUSH;
}

static fault take_message(struct model_session *session, const struct wire_frame *frame)
{
    if (frame->type == WIRE_TERMINATE)
        return fault_raise(FAULT_CLOSED, "the client has said goodbye");
    session->extended = is_extended(frame->type);
    if (frame->type == WIRE_SYNC)
        return synchronise(session, frame->body);
    if (session->skipping)
        return OK;
    if (session->replication != WIRE_REPLICATION_NONE && frame->type != WIRE_FLUSH &&
        (session->extended || frame->type == WIRE_FUNCTION_CALL))
        return refuse_extended(session, frame->type);
    switch (frame->type) {
    case WIRE_QUERY:
        return simple_query(session, frame->body);
    case WIRE_FUNCTION_CALL:
        return function_call(session, frame->body);
    case WIRE_PARSE:
        return model_parse(session, frame->body);
    case WIRE_BIND:
        return model_bind(session, frame->body);
    case WIRE_DESCRIBE:
        return model_describe(session, frame->body);
    case WIRE_EXECUTE:
        return model_execute(session, frame->body);
    case WIRE_CLOSE:
        return model_close(session, frame->body);
    case WIRE_FLUSH:
        return flush(session, frame->body);
    default: /* what is left of a COPY that failed */
        return OK;
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static enum wire_transaction status_of(const struct model_session *session)
{
    switch (session->tx.block) {
    case TX_OPEN:
        return WIRE_TX_ACTIVE;
    case TX_FAILED:
        return WIRE_TX_FAILED;
    default:
        return WIRE_TX_IDLE;
    }
}

static void put_ready(struct model_session *session)
{
    const struct model_watch *watch = &session->model->options.watch;
    const char *timeout = session->tx.block == TX_NONE ? "idle_session_timeout"
                                                       : "idle_in_transaction_session_timeout";
    int64_t limit = model_guc_number(session, timeout);
    session->ready_due = false;
    session->idle_end = limit > 0 ? after(ms(limit)) : NEVER;
    if (session->tx.block == TX_NONE)
        model_notify_deliver(session);
    model_gucs_report(session, false);
    if (watch->ready != NULL) {
        struct model_session_view view = model_session_look(session);
        watch->ready(watch->argument, &view);
    }
    wire_put_ready(&session->out, status_of(session));
}

/* The end of the login, and what may follow it in the same piece. */
static fault greet(struct model_session *session)
{
    struct model *model = session->model;
    const struct model_faults *faults = &model->options.faults;
    put_ready(session);
    size_t start = session->out.size;
    if (model_chance(model, faults->notice)) {
        wire_put_report(&session->out,
                        &(struct wire_report){.severity = "NOTICE",
                                              .sqlstate = "00000",
                                              .message = "the model greets its client"});
        model_tells(session, start);
    }
    if (model_chance(model, faults->parameter))
        model_gucs_repeat(session);
    if (model_chance(model, faults->dismiss))
        return model_raise_fatal(session, "57P01",
                                 "terminating connection due to administrator command");
    return model_flush(session);
}

/* An error was raised.  False: the session ends of it. */
static bool recover(struct model_session *session)
{
    model_statement_ends(session, session->error.sqlstate);
    model_put_error(session);
    bool fatal = session->error.fatal;
    if (session->protocol_lost && !fatal) {
        (void)model_raise_fatal(session, "08P01",
                                "terminating connection because protocol "
                                "synchronization was lost");
        model_put_error(session);
        fatal = true;
    }
    if (model_flush(session) != OK || fatal)
        return false;
    tx_abort(session);
    session->skipping = session->extended;
    session->ready_due = !session->skipping;
    return true;
}

/* A fault that comes between messages, from nobody's statement. */
static fault administrator(struct model_session *session)
{
    struct model *model = session->model;
    if (!model_chance(model, model->options.faults.terminate))
        return OK;
    return model_raise_fatal(session, "57P01",
                             "terminating connection due to administrator command");
}

static fault serve(struct model_session *session)
{
    struct wire_frame frame = {0};
    if (session->ready_due) {
        put_ready(session);
        TRY(model_flush(session));
    }
    TRY(model_read(session, false, &frame));
    session->idle_end = NEVER;
    TRY(administrator(session));
    TRY(take_message(session, &frame));
    if (model_chance(session->model, session->model->options.faults.flush_oddly))
        return model_flush(session);
    return OK;
}

void model_session_run(struct model_session *session)
{
    fault served = greet(session);
    while (served == OK || (served == FAULT_UPSTREAM && recover(session)))
        served = serve(session);
}
