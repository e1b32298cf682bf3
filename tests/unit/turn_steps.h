#pragma once
/*
 * turn_steps.h - turns seen from both ends: the test is the client and the server, and a real relay
 * is between them.  One step after the other, so that what is awaited is all that comes.
 */
#include "machine_body.h"
#include "pooler_world.h"

#include <stdio.h>

static struct world world;

/* --- steps ------------------------------------------------------------------------------------ */

static inline void flush(struct talk *talk)
{
    ck_assert_int_eq(talk_flush(talk), OK);
}

static inline void expect_bytes(struct talk *talk, char type, const void *body, size_t size)
{
    ck_assert_int_eq(talk_read(talk), OK);
    ck_assert_msg(talk->frame.type == (uint8_t)type, "'%c' came, '%c' was awaited",
                  talk->frame.type, type);
    ck_assert_uint_eq(talk->frame.body.size, size);
    if (size > 0)
        ck_assert_mem_eq(talk->frame.body.at, body, size);
}
#define EXPECT(talk, type, literal)      expect_bytes(talk, type, "" literal, sizeof(literal))
#define EXPECT_BARE(talk, type, literal) expect_bytes(talk, type, "" literal, sizeof(literal) - 1)

static inline void expect_error(struct talk *talk, const char *severity, const char *sqlstate)
{
    struct wire_error error;
    ck_assert_int_eq(talk_read(talk), OK);
    ck_assert_int_eq(talk->frame.type, WIRE_ERROR);
    ck_assert_int_eq(wire_read_error(talk->frame.body, &error), OK);
    ck_assert_msg(span_is(error.sqlstate, sqlstate), "%.*s: %.*s", SPAN_ARG(error.sqlstate),
                  SPAN_ARG(error.message));
    ck_assert(span_is(error.severity, severity));
}

static inline void expect_end(struct talk *talk)
{
    ck_assert_int_eq(talk_read(talk), FAULT_CLOSED);
}

static inline void put_error(struct talk *talk, const char *severity, const char *sqlstate)
{
    wire_put_report(&talk->out, &(struct wire_report){severity, sqlstate, "said so", NULL, NULL});
}

static inline void accept_server_at(struct listener *backend, struct talk *server, uint32_t pid)
{
    int handle;
    struct address from;
    uint32_t cancelled;
    *server = TALK_INIT;
    ck_assert_int_eq(listener_accept(backend, &handle, &from, soon()), OK);
    ck_assert_int_eq(stream_adopt(&server->stream, handle, false), OK);
    ck_assert_int_eq(talk_welcome(server, pid, &cancelled), OK);
}

static inline void accept_server(struct talk *server, uint32_t pid)
{
    accept_server_at(&world.backend, server, pid);
}

/* A cancel request comes for this pid. */
static inline void accept_cancel(uint32_t pid)
{
    int handle;
    struct address from;
    uint32_t cancelled = 0;
    struct talk talk = TALK_INIT;
    ck_assert_int_eq(listener_accept(&world.backend, &handle, &from, soon()), OK);
    ck_assert_int_eq(stream_adopt(&talk.stream, handle, false), OK);
    ck_assert_int_eq(talk_welcome(&talk, pid, &cancelled), FAULT_CLOSED);
    ck_assert_uint_eq(cancelled, pid);
    talk_end(&talk);
}

/* Another client of a pool that has a server. */
static inline void log_in(struct talk *client)
{
    *client = TALK_INIT;
    ck_assert_int_eq(talk_hello(client, &world, "app", "joe"), OK);
    ck_assert_int_eq(talk_await_ready(client), OK);
}

/* The pool's first client, and the server that its login brings. */
static inline void begin(struct talk *client, struct talk *server)
{
    world_start(&world, 1, 1);
    *client = TALK_INIT;
    ck_assert_int_eq(talk_hello(client, &world, "app", "joe"), OK);
    accept_server(server, 100);
    ck_assert_int_eq(talk_await_ready(client), OK);
}

static inline void finish(struct talk *client, struct talk *server)
{
    talk_end(client);
    talk_end(server);
    world_stop(&world);
}

/* Prepares a text under this name. */
static inline void put_parse(struct talk *client, const char *name, const char *text)
{
    size_t start = wire_begin(&client->out, WIRE_PARSE);
    wire_put_text(&client->out, name);
    wire_put_text(&client->out, text);
    wire_put_u16(&client->out, 0);
    wire_end(&client->out, start);
}

/* One query there and back. */
static inline void ask(struct talk *client, struct talk *server)
{
    PUT(client, 'Q', "SELECT 1");
    flush(client);
    EXPECT(server, 'Q', "SELECT 1");
    PUT(server, 'C', "SELECT 1");
    PUT_BARE(server, 'Z', "I");
    flush(server);
    EXPECT(client, 'C', "SELECT 1");
    EXPECT_BARE(client, 'Z', "I");
}

/* --- marks ------------------------------------------------------------------------------------ */

/* What a server in doubt is asked; keeps the random bits of its answer. */
static inline void expect_mark(struct talk *server, char bits[33])
{
    static const char begin[] = "begin isolation level read committed; select '";
    static const char end[] = "'; rollback";
    ck_assert_int_eq(talk_read(server), OK);
    ck_assert_int_eq(server->frame.type, 'Q');
    struct span text = server->frame.body;
    ck_assert_uint_eq(text.size, sizeof(begin) - 1 + 32 + sizeof(end));
    ck_assert_mem_eq(text.at, begin, sizeof(begin) - 1);
    memcpy(bits, text.at + sizeof(begin) - 1, 32);
    bits[32] = '\0';
    ck_assert_mem_eq(text.at + sizeof(begin) - 1 + 32, end, sizeof(end));
}

static inline void put_mark_row(struct talk *server, const char bits[33])
{
    uint8_t row[38] = {0, 1, 0, 0, 0, 32};
    memcpy(row + 6, bits, 32);
    talk_put(server, 'D', row, sizeof(row));
}

static inline void answer_mark(struct talk *server, const char bits[33])
{
    PUT(server, 'C', "BEGIN");
    PUT_BARE(server, 'T', "\0\0");
    put_mark_row(server, bits);
    PUT(server, 'C', "SELECT 1");
    PUT(server, 'C', "ROLLBACK");
    PUT_BARE(server, 'Z', "I");
    flush(server);
}

static inline void be_marked(struct talk *server)
{
    char bits[33];
    expect_mark(server, bits);
    answer_mark(server, bits);
}

/* What ends all that a client has left; `doubt`: the ledger can't tell how much is to come. */
static inline void expect_abandon(struct talk *server, bool doubt)
{
    EXPECT(server, 'f', "the client has gone"); /* for a COPY; ignored where there is none */
    EXPECT(server, 'C', "Ptl_abandoned");
    EXPECT(server, 'E', "tl_abandoned\0\0\0\0");
    EXPECT_BARE(server, 'S', "");
    if (doubt)
        EXPECT(server, 'Q', "rollback");
}
