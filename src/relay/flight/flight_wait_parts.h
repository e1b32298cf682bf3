#pragma once
/*
 * flight_wait_parts.h - a client's wait for an answer: shared by flight_wait.c, which carries it
 * on, and flight_take.c, which begins it.
 *
 * Private to relay/flight/.  On the client's relay; nothing suspends.
 */
#include "config/config.h"
#include "flight/flights.h"
#include "relay/flight/flight_limit_parts.h"
#include "relay/turn/turn_batch_parts.h"
#include "wire/message.h"

struct client;
struct flight_ask;

/* ParseComplete and BindComplete. */
#define FLIGHT_HEAD_MAX (2u * WIRE_HEADER)

struct flight_wait {
    struct flight_waiter waiter;
    struct client *client;
    struct answer_reader reader; /* opened when there is an answer */
    bool extended;
    bool parses;
    bool describes;
    struct answer_shape shape;     /* of the statement, as the client knows it */
    bool headed;                   /* `head` is made */
    moment moved;                  /* when the client last took something */
    bool begun;                    /* a part of the reply was sent */
    uint8_t head[FLIGHT_HEAD_MAX]; /* in front of the answer */
    uint8_t head_size, head_at;
    uint8_t tail_at; /* bytes of ReadyForQuery that were sent */
    uint8_t lost;    /* executions for which it has waited and whose server was lost */
    deadline by;     /* query_timeout */
    duration limit;
    moment began;
    moment asked;            /* strict: the feed */
    struct flight_limit own; /* statement_timeout of the client's session */
    bool joins;              /* another client has begun the execution */
    bool late;               /* it has joined after the execution was sent */
    bool told;               /* the audit has its line, or needs none */
    struct flight_ask *ask;  /* strict: the feed is being asked; NULL: it is not */
    struct config *config;   /* counted: `rule` borrows from it; NULL: there is no rule */
    struct cache_rule rule;  /* strict: for when the feed has answered */
};

/** Makes the wait of a client, which has none.  NULL: no memory. */
struct flight_wait *flight_wait_new(struct client *client, const struct turn_batch *batch);
/** Ends it, if there is one. */
void flight_wait_free(struct client *client);
/** Makes the client wait with a copy of its message.  False: no memory. */
bool flight_wait_begin(struct client *client, const uint8_t *at, uint32_t size);
/** Begins the reply; `progress` is how far the statement has come.  False: the answer's beginning
 *  is gone, or it has other columns than the client was told. */
bool flight_wait_open(struct flight_wait *wait, struct answer *answer,
                      enum flight_progress progress);
/** Whether there is something to send now, or the end. */
bool flight_wait_has_answer(struct flight_wait *wait);
/** Sends what the socket takes.  OK: all is sent.  AGAIN: the socket takes no more, or there is no
 *  more yet.  UPSTREAM: the answer ends too early.  Others: the client is gone. */
fault flight_wait_send(struct flight_wait *wait);
/** Sends more to a client in FLIGHT, and ends its wait if that was the end. */
void flight_wait_go_on(struct client *client);
/** Ends the wait of a client in FLIGHT: it executes its stashed statement by itself. */
void flight_wait_pass(struct client *client);
/** Notes what a batch has done to the client's unnamed statement.  `batch` NULL: the stashed one.
 */
void flight_wait_settle(struct client *client, const struct turn_batch *batch, bool failed);
