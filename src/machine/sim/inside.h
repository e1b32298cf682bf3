#pragma once
/*
 * inside.h - declarations shared by the files of the simulation; private to machine/sim.
 *
 * os_sim.c    the os table, start and finish, random numbers, clocks
 * history.c   the hash over all events, the trace
 * threads.c   the scheduler
 * hints.c     older values of hints
 * events.c    the queue of future events
 * net.c       listening, connecting, closing; bytes.c: sending and reading
 * poll.c      pollers
 * faults.c    fault rates, and network faults that a test asks for
 * files.c     files and the log; dns.c: names; process.c: the process, signals
 * tls.c       random bytes for OpenSSL
 */
#include "machine/os.h"
#include "machine/sim/world.h"

/* --- random numbers and time: os_sim.c -------------------------------------------------------- */

/* Streams of random numbers; separate, so that the draws of one do not change those of another. */
enum sim_lot { LOT_ORDER, LOT_NET, LOT_FAULT, LOT_HINT, LOT_BYTES, LOT_TLS, LOT_RATES, SIM_LOTS };

uint64_t sim_draw(enum sim_lot lot);
/** Draws a number below `limit`. */
uint64_t sim_below(enum sim_lot lot, uint64_t limit);
/** Draws a number from `min` to `max`; returns `min` if `max` is not greater. */
uint64_t sim_between(enum sim_lot lot, uint64_t min, uint64_t max);
/** Returns true with this probability; draws nothing for 0. */
bool sim_chance(enum sim_lot lot, uint32_t in_a_million);
uint64_t sim_seed(void);
/** The virtual monotonic time, in microseconds. */
int64_t sim_now(void);
/** Sets the time to `hour` (microseconds), if that is later. */
void sim_advance(int64_t hour);
/** Steps wall time, with the probability of the rates. */
void sim_wall_drift(void);
extern struct sim_rates sim_rates;

/* --- history.c -------------------------------------------------------------------------------- */

/** Adds an event to the history; the first eight letters of `what` identify it. */
void sim_note(const char *what, int64_t a, int64_t b);
/** Same as sim_note, with the bytes that were transferred. */
void sim_note_bytes(const char *what, int64_t a, const void *bytes, size_t size);
void sim_note_text(const char *what, const char *text, size_t size);
/** Writes the addresses of a connection to the trace, not to the history. */
void sim_note_link(int handle, const struct address *from, const struct address *to);
void sim_history_start(void);

/* --- threads.c -------------------------------------------------------------------------------- */

void sim_threads_start(void);
/** Frees the calling thread's record.  All other threads have ended. */
void sim_threads_finish(void);
uint32_t sim_threads_leaks(void (*each)(void *argument, const char *what), void *argument);
const char *sim_thread_name(void);
/** Called where threads can race: may run other threads first. */
void sim_meet(void);
int sim_spawn(const char *name, void (*main)(void *argument), void *argument, void **ret_thread);
int sim_spawn_apart(const char *name, void (*main)(void *argument), void *argument, int poller,
                    void **ret_thread);
/** The number of the running thread's table of handles; 0: that of the process. */
uint32_t sim_table(void);
void sim_join(void *thread);
int64_t sim_thread_used_us(void *thread);
int sim_offload(void (*job)(void *argument), void *argument);
int sim_poll_wait(int poller, struct poll_event *events, int max, deadline by);

/* --- hints.c ---------------------------------------------------------------------------------- */

void sim_hints_start(void);
void sim_hints_finish(void);

/* --- events.c --------------------------------------------------------------------------------- */

/** Schedules a call of `happen(a, b)` at the time `at`. */
void sim_event_put(int64_t at, void (*happen)(int64_t a, int64_t b), int64_t a, int64_t b);
/** Runs the events that are due. */
void sim_events_run(void);
/** The time of the next event; INT64_MAX: none. */
int64_t sim_events_next(void);
void sim_events_finish(void);

/* --- net.c, bytes.c: see net_parts.h ---------------------------------------------------------- */

int sim_listen(const struct address *at, int backlog, int unix_mode);
int sim_listen_again(int handle, const struct address *at, int backlog, int unix_mode);
int sim_listen_tune(int handle, const struct address *at, int64_t group, int defer);
int sim_handle_give(int handle);
int sim_handle_take(void);
int sim_accept(int listener, struct address *ret_peer);
int sim_connect(const struct address *to);
int sim_connect_result(int handle);
int sim_pair(int ret_handles[2]);
int sim_set_options(int handle, const struct socket_options *options);
int sim_set_low_water(int handle, int bytes);
int sim_local_address(int handle, struct address *ret);
int64_t sim_peer_user(int handle);
int64_t sim_recv(int handle, void *bytes, size_t size);
int64_t sim_send(int handle, const void *bytes, size_t size);
int64_t sim_send_vector(int handle, const struct iovec *parts, int count);
void sim_shut(int handle);
void sim_close(int handle);
int sim_interfaces(struct os_interface *ret, int max);
void sim_net_start(void);
void sim_net_finish(void);
uint32_t sim_net_leaks(void (*each)(void *argument, const char *what), void *argument);

/* --- poll.c ----------------------------------------------------------------------------------- */

int sim_poll_new(void);
void sim_poll_free(int poller);
int sim_poll_add(int poller, int handle, uint64_t tag);
int sim_poll_del(int poller, int handle);
void sim_poll_wake(int poller);
/** Whether the poller's wait can end: an event, a wake-up, a DNS answer. */
bool sim_poller_ready(int poller);
/** Takes events, in seeded order; clears the wake-up and the mark of DNS answers. */
int sim_poller_take(int poller, struct poll_event *events, int max);
/** Adds a handle that may have an event to its poller's list. */
void sim_poller_look(int poller, int handle);
/** Ends the poller's wait because a DNS query was answered; sim_dns_deliver delivers it. */
void sim_poller_answers(int poller);
void sim_pollers_finish(void);
uint32_t sim_pollers_leaks(void (*each)(void *argument, const char *what), void *argument);

/* --- faults.c --------------------------------------------------------------------------------- */

enum sim_fate { FATE_PASSES, FATE_REFUSED, FATE_BLACK };
/** The rule of the test for connections to `at`. */
enum sim_fate sim_fate_of(const struct address *at);
void sim_faults_start(void);

/* --- files.c ---------------------------------------------------------------------------------- */

int64_t sim_file_read(const char *path, void *bytes, size_t size);
int sim_file_mode(const char *path, uint32_t *ret_owner);
int sim_file_unlink(const char *path);
int sim_file_list(const char *path, void (*each)(void *argument, const char *name), void *argument);
bool sim_file_exists(const char *path);
/** Makes the file of a Unix socket, or reuses a stale one; false: another kind of file is there. */
bool sim_file_socket(const char *path, uint32_t mode);
void sim_files_finish(void);
int sim_log_open(const char *path);
void sim_log_close(int file);
int sim_log_turn(int sink, const struct os_log_target *target, os_log_report *report);
void sim_log_wake(void);
void sim_log_stop(void);
void sim_log_line(int sink, const char *line, size_t size);
uint64_t sim_log_dropped(void);

/* --- dns.c ------------------------------------------------------------------------------------ */

int sim_dns_query(int poller, const char *name, int type,
                  void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                  void *argument);
int sim_dns_ask(int poller, const struct address *server, const char *name, int type,
                duration timeout,
                void (*done)(void *argument, int status, const uint8_t *answer, size_t size),
                void *argument);
/** Delivers the answers that have arrived for this poller. */
void sim_dns_deliver(int poller);
/** Ends the queries of a poller that is freed, with -ECANCELED. */
void sim_dns_cancel(int poller);
void sim_dns_finish(void);
uint32_t sim_dns_leaks(void (*each)(void *argument, const char *what), void *argument);

/* --- process.c -------------------------------------------------------------------------------- */

extern const struct os_process sim_process;
int sim_signals_open(const int *numbers, size_t count);
int sim_signals_next(int handle);
/** The pending signals, as bits. */
uint64_t sim_signals_waiting(void);
int sim_run(const char *const *words, deadline by, struct os_output *output);
void sim_process_start(void);

/* --- tls.c ------------------------------------------------------------------------------------ */

void sim_tls_start(void);
void sim_tls_finish(void);
