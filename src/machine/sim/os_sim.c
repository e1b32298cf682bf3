#include "machine/sim/os_sim.h"

#include "machine/loop_parts.h"
#include "machine/sim/inside.h"

#include <stdio.h>
#include <stdlib.h>

/* Random numbers, the two clocks, start and finish. */

/* Wall time of the start: 2025-01-01. */
#define WALL_START INT64_C(1735689600000000)
#define TIME_START INT64_C(1000000)

static struct sim {
    uint64_t seed;
    uint64_t chance[SIM_LOTS];
    int64_t now;
    int64_t wall_ahead;
} sim;

/* --- random numbers --------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t sim_draw(enum sim_lot lot)
{
    uint64_t z = (sim.chance[lot] += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t sim_below(enum sim_lot lot, uint64_t limit)
{
    invariant(limit > 0);
    return (uint64_t)((unsigned __int128)sim_draw(lot) * limit >> 64);
}

uint64_t sim_between(enum sim_lot lot, uint64_t min, uint64_t max)
{
    return max <= min ? min : min + sim_below(lot, max - min + 1);
}

bool sim_chance(enum sim_lot lot, uint32_t in_a_million)
{
    return in_a_million > 0 && sim_below(lot, SIM_MILLION) < in_a_million;
}

uint64_t sim_seed(void)
{
    return sim.seed;
}

static void sim_random(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t some = sim_draw(LOT_BYTES);
        memcpy(at + i, &some, MIN_OF(size - i, sizeof(some)));
    }
}

/* --- clocks ----------------------------------------------------------------------------------- */

int64_t sim_now(void)
{
    return sim.now;
}

void sim_advance(int64_t hour)
{
    sim.now = MAX_OF(sim.now, hour);
}

int64_t sim_elapsed_us(void)
{
    return sim.now - TIME_START;
}

static int64_t sim_wall_us(void)
{
    return WALL_START + sim.now + sim.wall_ahead;
}

void sim_wall_step(int64_t us)
{
    sim.wall_ahead += us;
    sim_note("wall", us, 0);
}

void sim_wall_drift(void)
{
    if (!sim_chance(LOT_FAULT, sim_rates.wall_step))
        return;
    int64_t max = sim_rates.wall_step_max;
    sim_wall_step((int64_t)sim_below(LOT_FAULT, 2 * (uint64_t)max + 1) - max);
}

/* --- the os table ----------------------------------------------------------------------------- */

const struct os os_sim = {
    .name = "sim",
    .process = &sim_process,
    .monotonic_us = sim_now,
    .wall_us = sim_wall_us,
    .random = sim_random,
    .listen = sim_listen,
    .listen_again = sim_listen_again,
    .listen_tune = sim_listen_tune,
    .accept = sim_accept,
    .connect = sim_connect,
    .pair = sim_pair,
    .connect_result = sim_connect_result,
    .set_options = sim_set_options,
    .set_low_water = sim_set_low_water,
    .local_address = sim_local_address,
    .peer_user = sim_peer_user,
    .recv = sim_recv,
    .send = sim_send,
    .send_vector = sim_send_vector,
    .shut = sim_shut,
    .close = sim_close,
    .poll_new = sim_poll_new,
    .poll_free = sim_poll_free,
    .poll_add = sim_poll_add,
    .poll_add_shared = sim_poll_add,
    .poll_del = sim_poll_del,
    .poll_wait = sim_poll_wait,
    .poll_wake = sim_poll_wake,
    .spawn = sim_spawn,
    .spawn_apart = sim_spawn_apart,
    .table = sim_table,
    .handle_give = sim_handle_give,
    .handle_take = sim_handle_take,
    .join = sim_join,
    .thread_used_us = sim_thread_used_us,
    .signals_open = sim_signals_open,
    .signals_next = sim_signals_next,
    .file_read = sim_file_read,
    .file_mode = sim_file_mode,
    .file_unlink = sim_file_unlink,
    .file_list = sim_file_list,
    .interfaces = sim_interfaces,
    .dns_query = sim_dns_query,
    .dns_ask = sim_dns_ask,
    .run = sim_run,
    .offload = sim_offload,
    .offload_slow = sim_offload,
    .log_open = sim_log_open,
    .log_close = sim_log_close,
    .log_turn = sim_log_turn,
    .log_wake = sim_log_wake,
    .log_stop = sim_log_stop,
    .log_line = sim_log_line,
    .log_dropped = sim_log_dropped,
};

/* --- start and finish ------------------------------------------------------------------------- */

void os_sim_start(uint64_t seed)
{
    invariant(os != &os_sim && machine_current == NULL);
    sim = (struct sim){.seed = seed, .now = TIME_START};
    for (size_t i = 0; i < SIM_LOTS; i++)
        sim.chance[i] = (seed + 1) * 0xd1342543de82ef95 + i * 0xaf251af3b0f025b5;
    sim_history_start();
    sim_faults_start();
    sim_net_start();
    sim_process_start();
    sim_hints_start();
    sim_threads_start();
    sim_tls_start();
    machine_meeting = sim_meet;
    os = &os_sim;
}

uint32_t sim_leaks(void (*each)(void *argument, const char *what), void *argument)
{
    return sim_threads_leaks(each, argument) + sim_net_leaks(each, argument) +
           sim_pollers_leaks(each, argument) + sim_dns_leaks(each, argument);
}

static void leak_tell(void *argument, const char *what)
{
    fprintf(stderr, "simulation with seed %llu: still open: %s\n", (unsigned long long)sim.seed,
            what);
}

void os_sim_finish(void)
{
    invariant(os == &os_sim && machine_current == NULL);
    uint32_t leaks = sim_leaks(leak_tell, NULL);
    invariant(leaks == 0);
    sim_threads_finish();
    sim_net_finish();
    sim_pollers_finish();
    sim_dns_finish();
    sim_files_finish();
    sim_events_finish();
    sim_hints_finish();
    sim_tls_finish();
    machine_meeting = NULL;
    os = &os_linux;
}
