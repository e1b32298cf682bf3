#pragma once
/*
 * nodes.h - several servers of one service: addresses with a priority, a weight and a zone.
 *
 * All of them lead to the same model, so data and locks are shared, as in a database with several
 * primaries.  Servers are added and removed by reloads, drained by an administrator, and fail.
 */
#include "base/buffer.h"
#include "base/time.h"
#include "machine/stream.h"

#define NODES     5u
#define NODE_ZONE "east" /* the daemon's own */

struct node_state {
    struct address address;
    bool listed; /* in the configuration file */
    uint16_t priority;
    uint16_t weight;
    bool is_near; /* in the daemon's zone */
    bool is_standby;
    bool is_behind;   /* it has stopped to replay */
    moment lag_since; /* the primary has written what it has not replayed; 0: it has not */
    bool is_up;       /* it accepts connections */
    moment changed;   /* anything of it, or of its being listed or drained; 0: since the start */
    moment up_since;
    moment
        left_since; /* it was removed from the file; 0: it is listed, or was not since the start */
    moment drained_since; /* DRAIN was answered; 0: it is not drained */
    bool may_be_drained;  /* or DRAIN or UNDRAIN is on its way */
};

/** Whether one of them is the primary, and the others are its standbys. */
bool nodes_have_roles(void);
/** Whether the servers are alike but for that, so that the daemon fences the old primary. */
bool nodes_are_fenced(void);
/** Whether two services have these servers. */
bool nodes_have_twin(void);
/** Whether the daemon also asks Patroni which of them is the leader. */
bool nodes_ask_patroni(void);
/** Suspends until the daemon has elected a primary, if it must. */
void nodes_await_election(void);
/** Whether the target of this database's route is the primary only. */
bool nodes_need_primary(struct span database);
/** Whether reads of this database's route go to standbys. */
bool nodes_split_reads(struct span database);
/** Writes `target_session_attrs` of a route. */
void nodes_put_target(struct buffer *out, const char *database);
/** Writes `probe` and `lag_limit` of a service. */
void nodes_put_probe(struct buffer *out);
/** Whether the database's pool may use no standby beyond lag_limit. */
bool nodes_limit_lag(const char *database);
/** Looks at the lag of standbys, regularly. */
void nodes_poll(void);
/** Returns whether the database's pool may use a standby, or a primary, whatever else there is. */
bool nodes_may_use(const char *database, bool is_standby);
/** Whether the service has such servers. */
bool nodes_exist(void);
/** Draws them, when a run begins. */
void nodes_begin(void);
/** Gives them their roles, when the model exists. */
void nodes_begin_roles(void);
/** Writes `hosts` of a service, its settings of balance, and the daemon's zone. */
void nodes_put_hosts(struct buffer *out);
void nodes_put_zone(struct buffer *out);
duration nodes_rebalance_interval(void);
uint32_t nodes_zone_min(void);
uint32_t nodes_logins_per_second(void);
uint32_t nodes_spares(void);

const struct node_state *node_at(uint32_t number);
/** The server with this address; NULL: none. */
const struct node_state *node_find(const struct address *address);
/** The latest change of any. */
moment nodes_changed(void);
/** Whether all listed ones were drained, or may have been, at some time since then. */
bool nodes_all_drained_since(moment since);

/** Injections: one server fails or comes back, one is drained or put back, another list. */
void nodes_fail(void);
void nodes_drain(void);
void nodes_list(void);
/** Another server becomes the primary: by a switchover, after the old one was killed, or beside it,
 *  until that is demoted. */
void nodes_fail_over(void);
void nodes_lag(void);
/** A reload puts a DNS name in place of the list, or the list in place of the name. */
void nodes_rename(void);
/** At the end of the faults: some servers fail for good, none is drained. */
void nodes_settle(void);
void nodes_put_back(void);
/** The daemon has been started: it knows of no drain. */
void nodes_forget_drains(void);
