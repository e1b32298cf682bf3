#pragma once
/*
 * os_sim_inside.h - what the files of the simulated door share; private to os_sim*.c.
 *
 * os_sim.c keeps time, chance and threads, os_sim_net.c keeps sockets and pollers.
 */
#include "machine/os.h"

/** The virtual monotonic time, in microseconds. */
int64_t sim_now(void);
/** A number below `limit`, from the seed. */
uint64_t sim_below(uint64_t limit);
/** Adds what happened to the history. */
void sim_note(const char *what, int64_t a, int64_t b);

/* --- os_sim_net.c ------------------------------------------------------------------------------
 */

/** Brings what has arrived by now. */
void sim_net_deliver(void);
/** When something arrives next; INT64_MAX: nothing is under way. */
int64_t sim_net_next(void);
/** The poller's wait may end: an event, or a wake-up. */
bool sim_poller_ready(int poller);
/** Takes events, in seeded order; clears the wake-up. */
int sim_poller_take(int poller, struct poll_event *events, int most);
void sim_net_reset(void);

int sim_listen(const struct address *at, int backlog, int unix_mode);
int sim_accept(int listener, struct address *ret_peer);
int sim_connect(const struct address *to);
int sim_connect_result(int handle);
int sim_set_low_water(int handle, int bytes);
int sim_set_options(int handle, const struct socket_options *options);
int sim_local_address(int handle, struct address *ret);
int64_t sim_peer_user(int handle);
int64_t sim_recv(int handle, void *bytes, size_t size);
int64_t sim_send(int handle, const void *bytes, size_t size);
int64_t sim_send_vector(int handle, const struct iovec *parts, int count);
void sim_shut(int handle);
void sim_close(int handle);
int sim_poll_new(void);
void sim_poll_free(int poller);
int sim_poll_add(int poller, int handle, uint64_t tag);
int sim_poll_del(int poller, int handle);
void sim_poll_wake(int poller);
