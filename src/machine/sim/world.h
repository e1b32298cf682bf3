#pragma once
/*
 * world.h - what a test does to the simulated world: its faults, files, names, signals.
 *
 * Between os_sim_start and os_sim_finish, from any simulated thread.  All state is the world's and
 * ends with it.  Chances are in a million; all rates at zero is a calm world: everything arrives in
 * order after a microsecond or so.  Faults drawn from rates are drawn from the seed; what a test
 * asks for by name (refuse, blackhole, reset) happens at once and holds until sim_net_heal.
 * An address with port 0 means every port of that host, one of family ADDRESS_NONE everything.
 * Design: docs/internals/simulated-world.md
 */
#include "base/fault.h"
#include "base/time.h"

struct address;
struct os_output;
struct stream;

#define SIM_MILLION 1000000u

/* How much goes wrong.  Times in microseconds. */
struct sim_rates {
    /* Links.  Each connection draws its own latency and bandwidth between these. */
    uint32_t latency_min;
    uint32_t latency_max;
    uint32_t jitter_max;    /* more, for each piece */
    uint32_t late;          /* chance that a piece is late */
    uint32_t late_max;      /* by how much */
    uint32_t bandwidth_min; /* bytes a second; 0: as fast as you like */
    uint32_t bandwidth_max;
    uint32_t ring_min; /* what a socket holds, in bytes; 0: 64 KiB */
    uint32_t ring_max;
    uint32_t pieces;          /* chance that what is sent arrives in several pieces */
    uint32_t single;          /* of such a piece, that it is one byte */
    uint32_t short_reads;     /* Unix sockets only: on TCP a short read means drained */
    uint32_t short_writes;    /* some of the bytes are taken, and for a while no more */
    uint32_t refused;         /* a connect that would succeed is refused */
    uint32_t unanswered;      /* a connect is never answered */
    uint32_t reset;           /* a send brings a reset to both ends */
    uint32_t silenced;        /* a send is the last that arrives, in either direction */
    uint32_t ended;           /* a send brings the peer our end, though we have not ended */
    uint32_t reset_overtakes; /* a reset drops bytes that are still on their way */

    /* Threads. */
    uint32_t preempted; /* one that may run does not, for a time */
    uint32_t preempted_max;
    uint32_t meets;      /* where threads can meet, another one runs first */
    uint32_t stale;      /* a hint is what it was at an earlier look */
    uint32_t hot;        /* of each thread, that its processor is always busy */
    uint32_t late_event; /* an event comes with a later wait */

    /* Clock: at a wait, wall time steps by up to so much, either way. */
    uint32_t wall_step;
    uint32_t wall_step_max;

    /* Files and names. */
    uint32_t file_fails; /* a read is EIO */
    uint32_t job_max;    /* what an offloaded job waits before it begins, at most */
    uint32_t dns_latency_max;
    uint32_t dns_fails;  /* an answer is a failure of the name servers */
    uint32_t dns_silent; /* a question times out, after five seconds */
};

/** As after os_sim_start: much interleaving, short pieces, no faults. */
struct sim_rates sim_rates_usual(void);
/** Drawn from the seed: some kinds of faults, with drawn intensity, so that seeds differ in kind.
 */
struct sim_rates sim_rates_drawn(void);
void sim_set_rates(const struct sim_rates *rates);
const struct sim_rates *sim_rates_now(void);
/** The faults stop: heals the network and sets all rates to zero; what is late is still late. */
void sim_calm(void);

/* --- network ---------------------------------------------------------------------------------- */

/** Connects to it are refused, or no longer. */
void sim_net_refuse(const struct address *at, bool refuses);
/** Nothing passes to or from it: connects are not answered, what is sent does not arrive.  What was
 *  held back arrives once that is over, unless an end has given up by its socket's options. */
void sim_net_blackhole(const struct address *at, bool is_black);
/** Every connection to it is reset, at both ends. */
void sim_net_reset_all(const struct address *at);
/** Takes back refuse and blackhole, and lets connections speak again that a rate has silenced. */
void sim_net_heal(void);
/** Ends only our direction of a connection: the peer reads the end, and may still send. */
void sim_net_end(struct stream *stream);
/** A reset instead of an end when it is closed, as by SO_LINGER with zero. */
void sim_net_linger(struct stream *stream);
/** Where TCP connections come from, from now on (at first, and for ADDRESS_NONE: the host that they
 *  dial).  A connect is made before stream_connect suspends. */
void sim_net_from(const struct address *host);
/** Who connects to Unix sockets from now on (at first, the user that the process runs as). */
void sim_net_user(uint32_t user);

/* --- files ------------------------------------------------------------------------------------ */

/** Makes the file or replaces what it holds; `mode` are permission bits.  Its owner is the user
 *  that the process runs as. */
void sim_file_put(const char *path, const void *bytes, size_t size, uint32_t mode);
void sim_file_put_text(const char *path, const char *text);
void sim_file_own(const char *path, uint32_t owner);
void sim_file_remove(const char *path);
/** What is in a file, borrowed until it changes; NULL: there is none. */
const void *sim_file_get(const char *path, size_t *ret_size);

/* --- the rest --------------------------------------------------------------------------------- */

/** Sends a signal to the process: false if nobody has opened a queue for it. */
bool sim_signal(int number);

/** The process has ended: the signals that it has not taken go with it. */
void sim_signals_forget(void);

/** A name has these addresses from now on; 0: it exists without addresses. */
void sim_dns_set(const char *name, const struct address *addresses, size_t count, uint32_t ttl);
/** Questions for it end with -ENOENT, -ETIMEDOUT, -ECONNREFUSED; unknown names with -ENOENT. */
void sim_dns_fail(const char *name, int status);
/** An address has this name. */
void sim_dns_reverse(const struct address *address, const char *name);

/** Answers os->run: 0 or -errno.  It may take time.  NULL: -ENOENT for every command. */
void sim_run_by(int (*run)(void *argument, const char *const *words, deadline by,
                           struct os_output *output),
                void *argument);

/** Wall time steps; monotonic time does not. */
void sim_wall_step(int64_t us);
/** A variable of the environment; NULL: none. */
void sim_variable(const char *name, const char *value);
/** The limit of descriptors that the process is told; how many processors it has. */
void sim_descriptors(uint64_t limit);
void sim_processors(uint32_t count);
/** Called instead of ending the process at once; must not return. */
void sim_exit_by(void (*leave)(void *argument, int status), void *argument);

/* --- what can be seen ------------------------------------------------------------------------- */

/** Each event at the door, one line without its newline: time, thread, what, numbers.  NULL: none.
 */
void sim_trace(void (*line)(void *argument, const char *text, size_t size), void *argument);
/** Adds a line of the test's own to history and trace. */
void sim_remark(const char *format, ...) PRINTF_LIKE(1, 2);
/** Each line that the log writes, as its sink gets it. */
void sim_log_to(void (*line)(void *argument, int sink, const char *text, size_t size),
                void *argument);
/** Names all that is still open: sockets, pollers, threads, questions.  Returns how many. */
uint32_t sim_leaks(void (*each)(void *argument, const char *what), void *argument);
/** Events at the door so far, and virtual microseconds since the start. */
uint64_t sim_events(void);
int64_t sim_elapsed_us(void);
/** How often threads have come from a wait so far without any event: for mail, or for the time. */
uint64_t sim_idle_turns(void);
