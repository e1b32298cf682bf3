/*
 * turn_bulk.c - gathers long results into larger reads.
 *
 * PostgreSQL sends 8 KiB at a time.  A relay with nothing else to do would be woken for each of
 * them, and spend more on wake-ups and system calls than on the bytes.  Once a result is longer
 * than BULK_BEGINS, the server's socket becomes readable only when BULK_PART has arrived
 * (SO_RCVLOWAT), and the turn looks by itself after BULK_NAP without an event.  So a long result is
 * delayed by BULK_NAP once, at its end, and other clients are not delayed.
 */
#include "machine/clock.h"
#include "relay/turn/turn.h"

#define BULK_BEGINS (256u * 1024)
#define BULK_PART   (64u * 1024)
#define BULK_NAP    ((duration){.us = 150})

void turn_bulk_came(struct turn *turn, uint32_t bytes)
{
    invariant(turn->server != NULL);
    if (turn->client == NULL)
        return; /* no client waits for it, and cleaning waits only for the end */
    turn->bulk.bytes += bytes;
    if (turn->bulk.bytes < BULK_BEGINS || turn->bulk.gathers || turn->server->stream.is_unix)
        return;
    turn->bulk.gathers = true;
    stream_set_low_water(&turn->server->stream, BULK_PART);
}

void turn_bulk_end(struct turn *turn)
{
    turn->bulk.bytes = 0;
    if (!turn->bulk.gathers)
        return;
    invariant(turn->server != NULL);
    turn->bulk.gathers = false;
    stream_set_low_water(&turn->server->stream, 1);
}

fault turn_bulk_wait(struct turn *turn)
{
    fault end = turn_wait(turn, after(BULK_NAP));
    if (end != FAULT_TIMEOUT)
        return end;
    /* The result has ended or the server is slow: there is nothing to gather. */
    turn_bulk_end(turn);
    stream_look(&turn->server->stream);
    return OK;
}
