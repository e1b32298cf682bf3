/* model_server.c - the server: its listener, its sessions, its life and its accidents. */
#include "model_inside.h"

#include <stdio.h>

#define OUT_MAX (256u << 20)
#define BACKLOG 128

/* --- chance ----------------------------------------------------------------------------------- */

uint64_t model_draw(struct model *model, uint64_t limit)
{
    model->chance = model->chance * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = model->chance ^ model->chance >> 29;
    return limit == 0 ? 0 : (bits * 0x9e3779b97f4a7c15u >> 16) % limit;
}

bool model_chance(struct model *model, uint32_t chances)
{
    return chances > 0 && model_draw(model, chances) == 0;
}

/* --- a model ---------------------------------------------------------------------------------- */

fault model_new(const struct model_options *options, struct model **ret)
{
    struct model *model = calloc(1, sizeof(*model));
    if (model == NULL)
        return FAULT_MEMORY;
    model->options = *options;
    model->chance = options->seed;
    model->standby = options->standby;
    model->next_oid = 16384;
    model->pid = 1000;
    model->log_end = MODEL_LOG_BEGINS + MODEL_LOG_AT_FIRST;
    if (model->options.connections_max == 0)
        model->options.connections_max = 100;
    for (size_t i = 0; i < sizeof(model->mock_secret); i++)
        model->mock_secret[i] = (uint8_t)model_draw(model, 256);
    model->listener.address = options->address;
    list_init(&model->sessions);
    list_init(&model->waiting);
    list_init(&model->locks);
    model_log_init(model);
    co_group_init(&model->coroutines);
    co_group_init(&model->acceptors);
    model_table_init(&model->kv, model, "kv");
    model->kv.has_key = true;
    model_table_init(&model->guarded, model, "guarded");
    model->guarded.has_key = true;
    for (size_t i = 0; i < MODEL_REGISTERS; i++) {
        model_table_init(&model->registers[i], model, model_register_names[i]);
        model->registers[i].has_key = true;
    }
    *ret = model;
    return OK;
}

void model_free(struct model **model)
{
    struct model *gone = TAKE(*model);
    if (gone == NULL)
        return;
    invariant(!gone->listening && list_empty(&gone->sessions) && list_empty(&gone->locks));
    model_table_fini(&gone->kv);
    model_table_fini(&gone->guarded);
    model_log_fini(gone);
    for (size_t i = 0; i < MODEL_REGISTERS; i++)
        model_table_fini(&gone->registers[i]);
    for (size_t i = 0; i < GUC_COUNT_MAX; i++)
        free(gone->defaults[i]);
    free(gone);
}

/* --- sessions --------------------------------------------------------------------------------- */

static struct model_session *session_new(struct model *model)
{
    struct model_session *session = calloc(1, sizeof(*session));
    invariant(session != NULL);
    session->model = model;
    session->stream = STREAM_INIT;
    session->in = BUFFER_INIT(OUT_MAX);
    session->out = BUFFER_INIT(OUT_MAX);
    session->query_text = BUFFER_INIT(OUT_MAX);
    session->told = BUFFER_INIT(OUT_MAX);
    session->pid = ++model->pid;
    session->secret = (uint32_t)model_draw(model, UINT32_MAX);
    session->statement_end = session->idle_end = NEVER;
    session->statements = MAP_INIT(UINT32_MAX);
    session->portals = MAP_INIT(UINT32_MAX);
    list_init(&session->temporary);
    list_init(&session->channels);
    list_init(&session->pending_notifications);
    list_init(&session->incoming_notifications);
    list_init(&session->pending_channels);
    model_gucs_init(session);
    return session;
}

static void tell(const struct model_session *session,
                 void (*what)(void *argument, const struct model_session_view *session))
{
    if (what == NULL || !session->ready)
        return;
    struct model_session_view view = model_session_look(session);
    what(session->model->options.watch.argument, &view);
}

static void session_free(struct model_session *session)
{
    struct model *model = session->model;
    model_portals_close_all(session);
    model_temporary_fini(session);
    model_unlock_all(session, true);
    model_unlock_all(session, false);
    model_notify_gone(session);
    model_statements_remove_all(session);
    model_plan_unref(&session->unnamed.plan);
    LIST_EACH (&model->waiting, it) {
        struct model_session *waiting = LIST_ENTRY(it, struct model_session, waiting_node);
        if (waiting->waits_for == session)
            waiting->waits_for = NULL;
    }
    map_fini(&session->statements);
    map_fini(&session->portals);
    model_gucs_fini(session);
    buffer_fini(&session->in);
    buffer_fini(&session->out);
    buffer_fini(&session->query_text);
    buffer_fini(&session->told);
    free(session);
}

static void session_end(struct model_session *session)
{
    struct model *model = session->model;
    if (session->running)
        model_statement_ends(session, "08006");
    tx_gone(session);
    tell(session, model->options.watch.session_ended);
    if (node_linked(&session->node))
        list_remove(&model->sessions, &session->node);
    model->counts.sessions = model->sessions.count;
    stream_close(&session->stream);
    session_free(session);
}

static void session_main(void *argument)
{
    struct model_session *session = argument;
    struct model *model = session->model;
    session->co = co_self();
    fault login = model_login(session);
    if (login == OK) {
        session->ready = session->ready_due = true;
        session->began_standby = model_is_standby(session);
        session->number = ++model->counts.logins;
        model->counts.sessions = model->sessions.count;
        if (model->counts.sessions_max < model->sessions.count)
            model->counts.sessions_max = model->sessions.count;
        tell(session, model->options.watch.session_began);
        model_session_run(session);
    } else if (login == FAULT_UPSTREAM) {
        model->counts.refused += 1;
        model_put_error(session);
        (void)!model_flush(session);
    }
    session_end(session);
}

static void acceptor_main(void *argument)
{
    struct model *model = argument;
    /* As with tcp_keepalives_idle and its like set: clients that have gone are found out. */
    static const struct socket_options options = {
        .nodelay = true, .keepalive = true, .keep_idle = 10, .keep_interval = 5, .keep_count = 4};
    int handle;
    struct address peer;
    for (;;) {
        fault accepted = listener_accept(&model->listener, &handle, &peer, NEVER);
        if (accepted == FAULT_SYSTEM)
            continue;
        if (accepted != OK)
            return;
        struct model_session *session = session_new(model);
        session->accepted = now();
        model->counts.connections += 1;
        if (stream_adopt(&session->stream, handle, peer.family == ADDRESS_UNIX) != OK ||
            stream_local(&session->stream, &session->local) != OK ||
            co_group_start(&model->coroutines, session_main, session, CO_LARGE) != OK)
            session_end(session);
        else
            stream_set_options(&session->stream, &options);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

fault model_start(struct model *model)
{
    struct address at = model->listener.address;
    invariant(!model->listening);
    TRY(listener_open(&model->listener, &at, BACKLOG, 0777));
    model->state = MODEL_READY;
    model->listening = true;
    return co_group_start(&model->acceptors, acceptor_main, model, CO_SMALL);
}

static void stop_listening(struct model *model)
{
    if (!model->listening)
        return;
    co_group_cancel(&model->acceptors);
    co_group_join(&model->acceptors);
    struct address at = model->listener.address;
    listener_close(&model->listener);
    model->listener.address = at;
    model->listening = false;
}

static void ask_to_end(struct model_session *session, enum model_end end)
{
    session->end = end;
    if (session->co != NULL)
        co_wake(session->co);
}

void model_stop(struct model *model, deadline by)
{
    model->state = MODEL_SHUTTING_DOWN;
    LIST_EACH (&model->sessions, it)
        ask_to_end(LIST_ENTRY(it, struct model_session, node), END_SHUTDOWN);
    while (!list_empty(&model->coroutines.members))
        if (co_group_wait_any(&model->coroutines, by) != OK)
            break;
    model_kill(model);
}

void model_kill(struct model *model)
{
    stop_listening(model);
    co_group_cancel(&model->coroutines);
    co_group_join(&model->coroutines);
}

void model_crash(struct model *model)
{
    model->state = MODEL_RECOVERING;
    model->counts.crashes += 1;
    co_group_cancel(&model->coroutines);
}

void model_crash_at(struct model *model, const struct address *address)
{
    LIST_EACH (&model->sessions, it) {
        struct model_session *session = LIST_ENTRY(it, struct model_session, node);
        if (address_equal(&session->local, address))
            co_cancel(session->co);
    }
    model->counts.crashes += 1;
}

void model_set_state(struct model *model, enum model_state state)
{
    model->state = state;
}

void model_promote(struct model *model)
{
    model->standby = false;
}

static const struct model_node *node_find(const struct model *model, const struct address *address)
{
    for (uint32_t i = 0; i < model->node_count; i++)
        if (address_equal(&model->nodes[i].address, address))
            return &model->nodes[i];
    return NULL;
}

static struct model_node *node_make(struct model *model, const struct address *address)
{
    const struct model_node *found = node_find(model, address);
    if (found != NULL)
        return &model->nodes[found - model->nodes];
    invariant(model->node_count < MODEL_NODES);
    struct model_node *node = &model->nodes[model->node_count++];
    *node = (struct model_node){.address = *address, .timeline = 1};
    return node;
}

void model_set_standby(struct model *model, const struct address *address, bool is_standby)
{
    struct model_node *node = node_make(model, address);
    node->is_standby = is_standby;
    if (!is_standby) /* it replays all that it has received before it is promoted */
        node->stopped = 0;
}

void model_set_timeline(struct model *model, const struct address *address, uint32_t timeline)
{
    node_make(model, address)->timeline = timeline;
}

/* When servers were started: each address with a role is a server of its own. */
#define STARTED 1000000u

/* Each commit takes some bytes of the log. */
#define COMMIT_SIZE 64u

static uint64_t model_written(const struct model *model)
{
    return MODEL_LOG_BEGINS + MODEL_LOG_AT_FIRST + model->order * COMMIT_SIZE;
}

void model_set_behind(struct model *model, const struct address *address, bool is_behind)
{
    node_make(model, address)->stopped = is_behind ? model_written(model) : 0;
}

bool model_is_behind(const struct model *model, const struct address *address)
{
    const struct model_node *node = node_find(model, address);
    return node != NULL && node->is_standby && node->stopped > 0 &&
           node->stopped < model_written(model);
}

bool model_is_standby(const struct model_session *session)
{
    const struct model_node *node = node_find(session->model, &session->local);
    return session->model->standby || (node != NULL && node->is_standby);
}

uint32_t model_timeline(const struct model_session *session)
{
    const struct model_node *node = node_find(session->model, &session->local);
    return node == NULL ? 1 : node->timeline;
}

uint32_t model_started(const struct model_session *session)
{
    const struct model_node *node = node_find(session->model, &session->local);
    return STARTED + (node == NULL ? 0 : 1 + (uint32_t)(node - session->model->nodes));
}

uint64_t model_place(const struct model_session *session)
{
    const struct model_node *node = node_find(session->model, &session->local);
    bool stopped = node != NULL && node->is_standby && node->stopped > 0;
    return stopped ? node->stopped : model_written(session->model);
}

uint64_t model_replayed(const struct model_session *session)
{
    return (model_place(session) - MODEL_LOG_BEGINS - MODEL_LOG_AT_FIRST) / COMMIT_SIZE;
}

bool model_any_behind(const struct model *model)
{
    for (uint32_t i = 0; i < model->node_count; i++)
        if (model->nodes[i].stopped > 0)
            return true;
    return false;
}

void model_set_connections(struct model *model, uint32_t max)
{
    model->options.connections_max = max;
}

bool model_set_default(struct model *model, const char *name, const char *value)
{
    return model_guc_default(model, name, value);
}

void model_set_faults(struct model *model, const struct model_faults *faults)
{
    model->options.faults = *faults;
}

void model_end_faults(struct model *model)
{
    model->options.faults = (struct model_faults){0};
}

/* --- single sessions -------------------------------------------------------------------------- */

struct model_session *model_session_by_pid(const struct model *model, uint32_t pid)
{
    LIST_EACH (&model->sessions, it) {
        struct model_session *session = LIST_ENTRY(it, struct model_session, node);
        if (session->pid == pid && session->ready)
            return session;
    }
    return NULL;
}

bool model_terminate(struct model *model, uint32_t pid)
{
    struct model_session *session = model_session_by_pid(model, pid);
    if (session != NULL)
        ask_to_end(session, END_TERMINATED);
    return session != NULL;
}

bool model_crash_session(struct model *model, uint32_t pid)
{
    struct model_session *session = model_session_by_pid(model, pid);
    if (session == NULL)
        return false;
    model->counts.crashes += 1;
    co_cancel(session->co);
    return true;
}

bool model_cancel(struct model *model, uint32_t pid)
{
    struct model_session *session = model_session_by_pid(model, pid);
    const struct model_watch *watch = &model->options.watch;
    if (session == NULL)
        return false;
    session->cancel = !session->idle;
    if (watch->cancelled != NULL) {
        struct model_session_view view = model_session_look(session);
        watch->cancelled(watch->argument, &view, session->running ? session->query : SPAN_NONE);
    }
    if (session->cancel)
        co_wake(session->co);
    return true;
}

void model_cancel_request(struct model *model, const struct wire_cancel *cancel)
{
    const struct model_faults *faults = &model->options.faults;
    if (model_chance(model, faults->cancel_late) &&
        co_sleep((duration){.us = (int64_t)model_draw(model, (uint64_t)faults->late_max.us + 1)}) !=
            OK)
        return;
    const struct model_session *session = model_session_by_pid(model, cancel->pid);
    if (session == NULL || cancel->secret.size != 4 ||
        wire_u32(cancel->secret.at) != session->secret)
        return;
    model->counts.cancels += 1;
    (void)model_cancel(model, cancel->pid);
}

/* --- looking in ------------------------------------------------------------------------------- */

struct address model_address(const struct model *model)
{
    return model->listener.address;
}

struct model_counts model_counts(const struct model *model)
{
    return model->counts;
}

const struct model_session *model_session_next(const struct model *model,
                                               const struct model_session *after)
{
    const struct node *it = after == NULL ? model->sessions.head.next : after->node.next;
    return it == &model->sessions.head ? NULL : LIST_ENTRY(it, struct model_session, node);
}

const struct model_session *model_session_find(const struct model *model, uint32_t pid)
{
    return model_session_by_pid(model, pid);
}

struct model_session_view model_session_look(const struct model_session *session)
{
    enum tx_block block = session->tx.block;
    return (struct model_session_view){
        .pid = session->pid,
        .number = session->number,
        .user = span_text(session->user),
        .database = span_text(session->database),
        .application_name = model_session_setting(session, "application_name"),
        .status = block == TX_FAILED ? WIRE_TX_FAILED
                  : block == TX_NONE ? WIRE_TX_IDLE
                                     : WIRE_TX_ACTIVE,
        .running = session->running,
        .gone = stream_hung_up(&session->stream),
        .ready = session->ready,
        .replicates = session->replication != WIRE_REPLICATION_NONE,
        .query = session->query,
        .statements = session->statements.count,
        .portals = session->portals.count,
        .locks = model_locks_held(session),
        .channels = session->channels.count,
        .temporary = session->temporary.count,
        .local = session->local,
        .accepted = session->accepted,
        .standby = model_is_standby(session),
        .began_standby = session->began_standby,
        .in_block = block == TX_OPEN || block == TX_FAILED,
        .timeline = model_timeline(session),
        .place = model_place(session),
        .stream = &session->stream,
    };
}
