#pragma once
/*
 * sim_postgres.h - a model of PostgreSQL for the simulated world, which knows what must not happen.
 *
 * Each query says who asks it ("ASK 12 3": client 12, its third); the model holds that against what
 * it knows of its sessions, and sends it back in the row together with the session's
 * application_name. One coroutine a connection, all on the pooler's machine.
 */
#include "pooler_world.h"

#include <stdio.h>

#define RELAYS    2
#define POOL_SIZE 3
#define DIALERS   2
#define CLIENTS   6 /* on each of them */
#define ROUNDS    14
#define SEEDS     60
#define PEOPLE    4096 /* logins of clients, in all */
#define PREPARED  16   /* statements that one session of the model keeps */
#define TEXT      64

enum verb { ASK, FAIL, BEGIN, COMMIT, SETS, LONG };
static const char *const verbs[] = {"ASK", "FAIL", "BEGIN", "COMMIT", "SETS", "LONG"};

struct prepared {
    char name[TEXT];
    char text[TEXT];
};

/* One backend process of the model. */
struct session {
    struct node node;
    struct talk talk;
    struct co *co;
    bool is_session; /* of the session pool */
    uint32_t pid;
    uint32_t owner; /* since its last ReadyForQuery, or of the session; 0: nobody */
    uint32_t asker; /* whose query runs; 0: none */
    bool cancelled;
    bool skipping;
    bool in_transaction;
    bool failed;     /* the transaction */
    char name[TEXT]; /* application_name */
    char portal[TEXT];
    struct prepared prepared[PREPARED];
};

static struct sim {
    struct world world;
    uint64_t chance;
    bool crashes;     /* servers end now and then */
    bool evicts;      /* a server keeps one statement only */
    bool crowded;     /* the backend has no room for both pools at their size */
    bool capped;      /* nor has the limit of all servers */
    bool rests;       /* servers that have rested are asked whether they answer */
    bool once;        /* servers are used once */
    uint32_t clients; /* on each dialer; a few come and go in haste, and leave nothing behind */
    uint32_t reserve;
    bool moves;     /* clients move from relay to relay */
    uint64_t moved; /* how many did, as far as is known */
    struct machine *home;
    struct co *main;
    struct machine *dialers[DIALERS];
    struct mail done[DIALERS * CLIENTS];
    uint32_t finished;
    struct co_group sessions;
    struct list alive;
    uint32_t pid;
    uint32_t people;
    bool wants_cancel[PEOPLE];
    uint32_t answered; /* queries, for the test of the test */
    uint32_t cancelled;
    uint32_t lost;
} sim;

static uint32_t draw(uint64_t *chance, uint32_t limit)
{
    *chance = *chance * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*chance >> 33) % limit;
}

/* --- the model: one session
 * ------------------------------------------------------------------------------ */

static void put_error(struct talk *talk, const char *severity, const char *sqlstate,
                      const char *text)
{
    wire_put_report(&talk->out, &(struct wire_report){severity, sqlstate, text, NULL, NULL});
}

static void put_row(struct session *session, const char *text)
{
    char row[2 * TEXT + 8];
    int size = snprintf(row, sizeof(row), "%s|%s", text, session->name);
    size_t start = wire_begin(&session->talk.out, WIRE_DATA_ROW);
    wire_put_u16(&session->talk.out, 1);
    wire_put_u32(&session->talk.out, (uint32_t)size);
    wire_put_bytes(&session->talk.out, span_of(row, (size_t)size));
    wire_end(&session->talk.out, start);
}

static void put_ready(struct session *session)
{
    wire_put_ready(&session->talk.out, !session->in_transaction ? WIRE_TX_IDLE
                                       : session->failed        ? WIRE_TX_FAILED
                                                                : WIRE_TX_ACTIVE);
    if (!session->in_transaction && !session->is_session)
        session->owner = 0;
}

static void session_fails(struct session *session, const char *sqlstate, const char *text)
{
    put_error(&session->talk, "ERROR", sqlstate, text);
    session->failed = session->in_transaction;
}

/* A name was given to the session, by the client or by the pooler in its name. */
static void session_rename(struct session *session, struct span text)
{
    const uint8_t *from = memchr(text.at, '\'', text.size);
    session->name[0] = '\0';
    if (from != NULL) {
        const uint8_t *to = memrchr(text.at, '\'', text.size);
        snprintf(session->name, TEXT, "%.*s", (int)(to - from - 1), (const char *)from + 1);
    }
    wire_put_parameter_status(&session->talk.out, SPAN("application_name"),
                              span_text(session->name));
}

/* "VERB client number ...": who asks; checks that nobody else is served here. */
static enum verb session_read(struct session *session, const char *text)
{
    char word[16];
    uint32_t client;
    ck_assert_msg(sscanf(text, "%15s %u", word, &client) == 2, "the model got '%s'", text);
    ck_assert_msg(session->owner == 0 || session->owner == client, "'%s' on a server of client %u",
                  text, session->owner);
    session->owner = session->asker = client;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(word, verbs[i]) == 0)
            return (enum verb)i;
    ck_abort_msg("the model got '%s'", text);
}

/* Lets a query take its time; false: cancelled. */
static bool session_works(struct session *session, enum verb verb)
{
    int64_t us = verb == LONG ? 200000 : draw(&sim.chance, 4) == 0 ? draw(&sim.chance, 20000) : 0;
    deadline by = after((duration){.us = us});
    session->cancelled = false;
    while (us > 0 && !session->cancelled && now().us < by.us)
        (void)!co_wait(by);
    return !session->cancelled;
}

/* One statement; what stands behind it is the caller's. */
static void session_runs(struct session *session, const char *text)
{
    enum verb verb = session_read(session, text);
    bool worked = session_works(session, verb);
    session->asker = 0;
    if (!worked) {
        session_fails(session, "57014", text);
        return;
    }
    if (verb == FAIL) {
        session_fails(session, "22012", text);
        return;
    }
    if (verb == BEGIN) {
        session->in_transaction = true;
    } else if (verb == COMMIT) {
        session->in_transaction = session->failed = false;
    } else if (verb == SETS) {
        session_rename(session, span_text(text));
    }
    put_row(session, text);
    wire_put_command_complete(&session->talk.out, verb == SETS ? "SET" : "SELECT 1");
}

static void session_forget(struct session *session)
{
    memset(session->prepared, 0, sizeof(session->prepared));
    session->name[0] = '\0';
    session->owner = 0;
}

/* A simple query: of a client, or of the pooler. */
static void session_query(struct session *session, struct span text)
{
    char copy[TEXT];
    bool pooler = true;
    snprintf(copy, sizeof(copy), "%.*s", SPAN_ARG(text));
    session->portal[0] = '\0';
    if (text.size == 0) {
        ck_assert(!session->in_transaction);
        wire_put_empty(&session->talk.out, WIRE_EMPTY_QUERY);
        put_ready(session);
        return;
    }
    if (span_starts(text, SPAN("RESET \"")) || span_starts(text, SPAN("SET \""))) {
        session_rename(session, text);
    } else if (span_is(text, "ROLLBACK")) {
        session->in_transaction = session->failed = false;
    } else if (span_is(text, "DISCARD ALL")) {
        ck_assert(!session->in_transaction);
        session_forget(session);
    } else {
        pooler = false;
        session_runs(session, copy);
    }
    if (pooler)
        wire_put_command_complete(&session->talk.out, copy[0] == 'D' ? "DISCARD ALL" : "SET");
    put_ready(session);
}

static struct prepared *session_find(struct session *session, struct span name)
{
    for (size_t i = 0; i < PREPARED; i++)
        if (session->prepared[i].text[0] != '\0' && span_is(name, session->prepared[i].name))
            return &session->prepared[i];
    return NULL;
}

static void session_parse(struct session *session)
{
    struct wire_parse parse;
    ck_assert_int_eq(wire_read_parse(session->talk.frame.body, &parse), OK);
    struct prepared *known = session_find(session, parse.statement);
    if (known != NULL && parse.statement.size > 0) {
        session_fails(session, "42P05", "already exists");
        session->skipping = true;
        return;
    }
    for (size_t i = 0; i < PREPARED && known == NULL; i++)
        if (session->prepared[i].text[0] == '\0')
            known = &session->prepared[i];
    ck_assert_msg(known != NULL, "more statements than the pooler may keep");
    snprintf(known->name, TEXT, "%.*s", SPAN_ARG(parse.statement));
    snprintf(known->text, TEXT, "%.*s", SPAN_ARG(parse.query));
    wire_put_empty(&session->talk.out, WIRE_PARSE_COMPLETE);
}

/* The statement is asked for by whoever sends the portal's name along: "client number". */
static void session_bind(struct session *session)
{
    struct wire_bind_names names;
    ck_assert_int_eq(wire_read_bind_names(session->talk.frame.body, &names), OK);
    struct prepared *known = session_find(session, names.statement);
    if (known == NULL) {
        session_fails(session, "26000", "does not exist");
        session->skipping = true;
        return;
    }
    snprintf(session->portal, TEXT, "%.30s %.*s", known->text, SPAN_ARG(names.portal));
    wire_put_empty(&session->talk.out, WIRE_BIND_COMPLETE);
}

static void session_close(struct session *session)
{
    struct wire_target target;
    ck_assert_int_eq(wire_read_target(session->talk.frame.body, &target), OK);
    struct prepared *known = session_find(session, target.name);
    if (known != NULL)
        known->text[0] = '\0';
    wire_put_empty(&session->talk.out, WIRE_CLOSE_COMPLETE);
}

static void session_execute(struct session *session)
{
    size_t before = session->talk.out.size;
    if (memcmp(session->talk.frame.body.at, "tl_abandoned", 12) == 0) {
        session_fails(session, "34000", "no such portal");
        session->skipping = true;
        return;
    }
    ck_assert_int_ne(session->portal[0], '\0');
    session_runs(session, session->portal);
    session->skipping = session->talk.out.at[before] == WIRE_ERROR;
}

static void session_message(struct session *session)
{
    struct wire_frame *frame = &session->talk.frame;
    struct span text;
    if (frame->type == WIRE_SYNC) {
        session->skipping = false;
        put_ready(session);
        return;
    }
    if (session->skipping || frame->type == WIRE_FLUSH || frame->type == WIRE_COPY_FAIL)
        return;
    switch (frame->type) {
    case WIRE_QUERY:
        ck_assert_int_eq(wire_read_query(frame->body, &text), OK);
        session_query(session, text);
        return;
    case WIRE_PARSE:
        session_parse(session);
        return;
    case WIRE_BIND:
        session_bind(session);
        return;
    case WIRE_EXECUTE:
        session_execute(session);
        return;
    case WIRE_CLOSE:
        session_close(session);
        return;
    default:
        ck_abort_msg("the model got a '%c' message", frame->type);
    }
}

/* --- the model: its connections
 * ------------------------------------------------------------------------------ */

static uint32_t sessions_alive(bool is_session)
{
    uint32_t count = 0;
    LIST_EACH (&sim.alive, it) {
        struct session *session = LIST_ENTRY(it, struct session, node);
        count += session->is_session == is_session && !stream_hung_up(&session->talk.stream);
    }
    return count;
}

static bool limits_hold(void)
{
    uint32_t in_session = sessions_alive(true), others = sessions_alive(false);
    uint32_t most = POOL_SIZE + sim.reserve, all = in_session + others;
    return in_session <= most && others <= most && all <= sim.world.service.connections_most &&
           (!sim.capped || all <= sim.world.config->servers_most);
}

/* The end of an earlier one may still be on its way: then it is looked at again. */
static void check_limits(void)
{
    for (int i = 0; i < 20 && !limits_hold(); i++)
        ck_assert_int_eq(co_sleep(ms(5)), OK);
    ck_assert(limits_hold());
}

static void cancel(uint32_t pid)
{
    LIST_EACH (&sim.alive, it) {
        struct session *session = LIST_ENTRY(it, struct session, node);
        if (session->pid != pid || session->asker == 0)
            continue;
        ck_assert_msg(sim.wants_cancel[session->asker], "client %u was cancelled unasked",
                      session->asker);
        session->cancelled = true;
        co_wake(session->co);
    }
}

static fault session_serve(struct session *session)
{
    for (;;) {
        TRY(link_read_message(&session->talk.stream, &session->talk.in, 1 << 20,
                              &session->talk.frame, NEVER));
        if (session->talk.frame.type == WIRE_TERMINATE)
            return FAULT_CLOSED;
        session_message(session);
        if (sim.crashes && draw(&sim.chance, 150) == 0)
            return FAULT_CLOSED;
        if (sim.crashes && draw(&sim.chance, 150) == 0)
            put_error(&session->talk, "FATAL", "57P01", "terminating connection");
        bool over = session->talk.out.size > 0 &&
                    memmem(session->talk.out.at, session->talk.out.size, "57P01", 5) != NULL;
        if (session->talk.out.size > 0)
            TRY(talk_flush(&session->talk));
        if (over)
            return FAULT_CLOSED;
    }
}

/* A startup packet or a cancel request. */
static fault session_begin(struct session *session)
{
    uint8_t bytes[WIRE_STARTUP_MOST];
    static const struct link_accept plain = {.tls_mode = TLS_MODE_DISABLE};
    struct wire_startup startup;
    TRY(link_read_startup(&session->talk.stream, &plain, bytes, &startup, soon()));
    if (startup.kind == WIRE_STARTUP_CANCEL) {
        ck_assert_uint_eq(wire_u32(startup.cancel.secret.at), startup.cancel.pid * 7);
        ck_assert_int_eq(co_sleep((duration){.us = draw(&sim.chance, 3000)}), OK);
        cancel(startup.cancel.pid);
        return FAULT_CLOSED;
    }
    session->is_session = span_is(wire_find_parameter(startup.parameters, "database"), "session");
    list_push(&sim.alive, &session->node);
    talk_greet(&session->talk, session->pid);
    TRY(talk_flush(&session->talk));
    check_limits();
    return session_serve(session);
}

static void session_main(void *argument)
{
    struct session *session = argument;
    session->co = co_self();
    fault ended = session_begin(session);
    ck_assert_int_ne(ended, OK);
    if (node_linked(&session->node))
        list_remove(&sim.alive, &session->node);
    talk_end(&session->talk);
    free(session);
}

static void postgres(void *argument UNUSED)
{
    int handle;
    struct address from;
    while (listener_accept(&sim.world.backend, &handle, &from, NEVER) == OK) {
        struct session *session = calloc(1, sizeof(*session));
        ck_assert_ptr_nonnull(session);
        session->talk = TALK_INIT;
        session->pid = ++sim.pid;
        ck_assert_int_eq(stream_adopt(&session->talk.stream, handle, false), OK);
        ck_assert_int_eq(co_group_start(&sim.sessions, session_main, session, CO_LARGE), OK);
    }
}
