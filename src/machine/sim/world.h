#pragma once
/*
 * world.h - the interface of tests to the simulation: faults, files, names, signals.
 *
 * Valid between os_sim_start and os_sim_finish, from any simulated thread.  All state ends with the
 * simulation.  Probabilities are per million.  With all rates at zero, everything arrives in order
 * after a microsecond or so.  Faults of the rates are drawn from the seed.  Faults that a test asks
 * for by name (refuse, blackhole, reset) happen at once; refuse and blackhole hold until
 * sim_net_heal.  An address with port 0 means every port of that host, the family ADDRESS_NONE
 * means every address.  Design: docs/internals/simulated-world.md
 */
#include "base/fault.h"
#include "base/time.h"
#include "machine/dns_message.h"

struct address;
struct os_output;
struct stream;

#define SIM_MILLION 1000000u

/* Rates and limits of faults.  Probabilities per million, times in microseconds. */
struct sim_rates {
    /* Links.  Each connection draws its latency and bandwidth from these ranges. */
    uint32_t latency_min;
    uint32_t latency_max;
    uint32_t jitter_max;    /* added latency of each piece */
    uint32_t late;          /* probability that a piece is delayed */
    uint32_t late_max;      /* by at most this */
    uint32_t bandwidth_min; /* bytes per second; 0: unlimited */
    uint32_t bandwidth_max;
    uint32_t ring_min; /* buffer size of a socket, bytes; 0: 64 KiB */
    uint32_t ring_max;
    uint32_t pieces;          /* probability that sent bytes arrive in several pieces */
    uint32_t single;          /* probability that such a piece is one byte */
    uint32_t short_reads;     /* Unix sockets only: on TCP a short read means drained */
    uint32_t short_writes;    /* a send accepts some of the bytes, then none for a while */
    uint32_t refused;         /* a connect that would succeed is refused */
    uint32_t unanswered;      /* a connect is never answered */
    uint32_t reset;           /* a send causes a reset of both ends */
    uint32_t silenced;        /* nothing arrives at either end after a send */
    uint32_t ended;           /* the peer reads an end after a send, though we did not send it */
    uint32_t reset_overtakes; /* a reset drops bytes that have not arrived */

    /* Threads. */
    uint32_t preempted; /* a thread that can run is delayed */
    uint32_t preempted_max;
    uint32_t meets;      /* another thread runs first, where threads can race */
    uint32_t stale;      /* a hint has the value of an earlier read */
    uint32_t hot;        /* of each thread: its CPU time advances as fast as the clock */
    uint32_t late_event; /* an event comes with a later wait */

    /* Clock: at a wait, wall time steps by up to wall_step_max, either way. */
    uint32_t wall_step;
    uint32_t wall_step_max;

    /* Files and names. */
    uint32_t file_fails; /* a read fails with EIO */
    uint32_t job_max;    /* maximum delay before an offloaded job begins */
    uint32_t dns_latency_max;
    uint32_t dns_fails;  /* the name servers fail a query */
    uint32_t dns_silent; /* a query times out, after five seconds */
};

/** The rates after os_sim_start: much interleaving, short pieces, no faults. */
struct sim_rates sim_rates_usual(void);
/** Draws rates from the seed: some kinds of faults with drawn intensity, so that seeds differ. */
struct sim_rates sim_rates_drawn(void);
void sim_set_rates(const struct sim_rates *rates);
const struct sim_rates *sim_rates_now(void);
/** Stops all faults: heals the network and sets all rates to zero.  Delayed pieces stay delayed. */
void sim_end_faults(void);

/* --- network ---------------------------------------------------------------------------------- */

/** Starts or stops to refuse connects to an address. */
void sim_net_refuse(const struct address *at, bool refuses);
/** Starts or stops to block an address: connects get no answer, sent bytes do not arrive.  Blocked
 *  bytes arrive after the end of that, unless an end has timed out by its socket options. */
void sim_net_blackhole(const struct address *at, bool is_black);
/** Resets every connection to an address, at both ends. */
void sim_net_reset_all(const struct address *at);
/** Cancels refuse and blackhole, and releases connections that the rates have silenced. */
void sim_net_heal(void);
/** Ends only our direction of a connection: the peer reads the end and can still send. */
void sim_net_end(struct stream *stream);
/** Makes a later close send a reset instead of an end, as SO_LINGER with zero. */
void sim_net_linger(struct stream *stream);
/** When the peer of this connection has last sent bytes; 0: never. */
moment sim_net_sent_at(const struct stream *stream);
/** Sets the source address of later TCP connects.  By default, and for ADDRESS_NONE, it is the host
 *  that they connect to.  stream_connect connects before it suspends. */
void sim_net_from(const struct address *host);
/** Sets the uid of later connects to Unix sockets; by default the user of the process. */
void sim_net_user(uint32_t user);

/* --- files ------------------------------------------------------------------------------------ */

/** Makes a file or replaces its contents; `mode`: permission bits.  The owner of a new file is the
 *  user of the process. */
void sim_file_put(const char *path, const void *bytes, size_t size, uint32_t mode);
void sim_file_put_text(const char *path, const char *text);
void sim_file_own(const char *path, uint32_t owner);
void sim_file_remove(const char *path);
/** The contents of a file, borrowed until it changes; NULL: no such file. */
const void *sim_file_get(const char *path, size_t *ret_size);

/* --- signals, names, commands, clocks, process ------------------------------------------------ */

/** Sends a signal to the process; false if no queue is open for it. */
bool sim_signal(int number);

/** Drops the pending signals, when the process has ended. */
void sim_signals_forget(void);

/** Sets the addresses of a name; count 0: it exists without addresses. */
void sim_dns_set(const char *name, const struct address *addresses, size_t count, uint32_t ttl);
/* An SRV record. */
struct sim_service {
    uint16_t priority;
    uint16_t weight;
    uint16_t port;
    char target[64]; /* ".": the service is not offered */
};
/** Sets the SRV records of a name. */
void sim_dns_set_services(const char *name, const struct sim_service *services, size_t count,
                          uint32_t ttl);
/** Sets how a name server answers dns_ask: DNS_RECORDS (as the world's names say), DNS_FAILED,
 *  DNS_REFUSED, DNS_SILENT, DNS_UNREACHABLE, DNS_MALFORMED.  Servers that were never set answer. */
void sim_dns_server(const struct address *server, enum dns_said behaviour);
/** Makes queries for a name fail: -ENOENT, -ETIMEDOUT, -ECONNREFUSED.  Unknown names: -ENOENT. */
void sim_dns_fail(const char *name, int status);
/** Sets the name of an address (PTR). */
void sim_dns_reverse(const struct address *address, const char *name);

/** Sets the function that implements os->run: 0 or -errno; it may wait.  NULL: -ENOENT for every
 *  command. */
void sim_run_by(int (*run)(void *argument, const char *const *words, deadline by,
                           struct os_output *output),
                void *argument);

/** Steps wall time; monotonic time does not change. */
void sim_wall_step(int64_t us);
/** Sets an environment variable; NULL: removes it. */
void sim_variable(const char *name, const char *value);
/** Set the process' limit of descriptors and its count of processors. */
void sim_descriptors(uint64_t limit);
void sim_processors(uint32_t count);
/** Sets the function that is called instead of _Exit; it must not return. */
void sim_exit_by(void (*leave)(void *argument, int status), void *argument);

/* --- observation ------------------------------------------------------------------------------ */

/** Sets the receiver of the trace: a line per event of the os table, without its newline, with
 * time, thread, event and numbers.  NULL: no trace. */
void sim_trace(void (*line)(void *argument, const char *text, size_t size), void *argument);
/** Adds a line of the test to history and trace. */
void sim_remark(const char *format, ...) PRINTF_LIKE(1, 2);
/** Sets the receiver of log lines, as their sinks get them. */
void sim_log_to(void (*line)(void *argument, int sink, const char *text, size_t size),
                void *argument);
/** Names all that is still open: sockets, pollers, threads, DNS queries.  Returns the count. */
uint32_t sim_leaks(void (*each)(void *argument, const char *what), void *argument);
/** The count of events of the os table so far, and virtual microseconds since the start. */
uint64_t sim_events(void);
int64_t sim_elapsed_us(void);
/** How often a wait has ended without any event so far: by mail, or by a timeout. */
uint64_t sim_idle_turns(void);
/** For how long the threads of this name have been kept from running by preemption so far, at most.
 * Of those that have not ended. */
int64_t sim_held_us(const char *name);
