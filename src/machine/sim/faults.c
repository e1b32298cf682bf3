/* faults.c - faults of the simulated network. */
#include "machine/sim/net_parts.h"
#include "machine/stream.h"

#include <string.h>

/* Fault rates, and network faults that a test asks for by name. */
#define RULES_MAX 64

struct sim_rule {
    struct address at;
    enum sim_fate fate;
};

struct sim_rates sim_rates;

static struct sim_rules {
    struct sim_rule all[RULES_MAX];
    size_t count;
} rules;

/* --- rates ------------------------------------------------------------------------------------ */

struct sim_rates sim_rates_usual(void)
{
    return (struct sim_rates){
        .latency_min = 5,
        .latency_max = 100,
        .jitter_max = 150,
        .late = 60000,
        .late_max = 5000,
        .ring_min = 2048,
        .ring_max = 16384,
        .pieces = 250000,
        .single = 200000,
        .short_reads = 125000,
        .short_writes = 10000,
        .preempted = 15000,
        .preempted_max = 5000,
        .meets = 20000,
        .stale = 250000,
        .late_event = 250000,
        .job_max = 2000,
        .dns_latency_max = 20000,
    };
}

/* Draws a rate: 0 for all but one in `one_in` seeds, else up to `max`, on a logarithmic scale. */
static uint32_t rate_drawn(uint32_t one_in, uint32_t max)
{
    if (sim_below(LOT_RATES, one_in) != 0)
        return 0;
    uint32_t bits = 32 - (uint32_t)__builtin_clz(max);
    uint32_t scale = (uint32_t)1 << sim_below(LOT_RATES, bits);
    uint64_t drawn = scale + sim_below(LOT_RATES, scale);
    return (uint32_t)MIN_OF(drawn, (uint64_t)max);
}

static void rates_draw_links(struct sim_rates *rates)
{
    rates->latency_min = 1;
    rates->latency_max = 1 + rate_drawn(1, 20000);
    rates->jitter_max = rate_drawn(2, 5000);
    rates->late = rate_drawn(2, 200000);
    rates->late_max = 1 + rate_drawn(1, 1000000);
    if (sim_below(LOT_RATES, 4) == 0) {
        rates->bandwidth_min = 20000;
        rates->bandwidth_max = 20000 + rate_drawn(1, 10000000);
    }
    rates->ring_min = 512 + rate_drawn(1, 8192);
    rates->ring_max = rates->ring_min + rate_drawn(1, 65536);
    rates->pieces = rate_drawn(2, 900000);
    rates->single = rate_drawn(2, 900000);
    rates->short_reads = rate_drawn(2, 900000);
    rates->short_writes = rate_drawn(2, 500000);
}

static void rates_draw_faults(struct sim_rates *rates)
{
    rates->refused = rate_drawn(4, 300000);
    rates->unanswered = rate_drawn(6, 50000);
    rates->reset = rate_drawn(4, 20000);
    rates->silenced = rate_drawn(8, 2000);
    rates->ended = rate_drawn(8, 10000);
    rates->reset_overtakes = rate_drawn(2, 900000);
    rates->wall_step = rate_drawn(4, 20000);
    rates->wall_step_max = 1 + rate_drawn(1, 1000000000);
    rates->file_fails = rate_drawn(8, 300000);
    rates->dns_fails = rate_drawn(4, 300000);
    rates->dns_silent = rate_drawn(8, 100000);
}

struct sim_rates sim_rates_drawn(void)
{
    struct sim_rates rates = {0};
    rates_draw_links(&rates);
    rates_draw_faults(&rates);
    rates.preempted = rate_drawn(2, 100000);
    rates.preempted_max = 1 + rate_drawn(1, 100000);
    rates.meets = rate_drawn(2, 300000);
    rates.stale = rate_drawn(2, 700000);
    rates.hot = rate_drawn(2, 500000);
    rates.late_event = rate_drawn(2, 700000);
    rates.job_max = rate_drawn(2, 1000000);
    rates.dns_latency_max = rate_drawn(1, 2000000);
    return rates;
}

void sim_set_rates(const struct sim_rates *wanted)
{
    sim_rates = *wanted;
    sim_note("rates", wanted->pieces, wanted->meets);
}

const struct sim_rates *sim_rates_now(void)
{
    return &sim_rates;
}

void sim_faults_start(void)
{
    sim_rates = sim_rates_usual();
    rules = (struct sim_rules){0};
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool rule_covers(const struct address *rule, const struct address *at)
{
    struct address like = *at;
    if (rule->family == ADDRESS_NONE)
        return true;
    if (rule->family != ADDRESS_UNIX && rule->port == 0)
        like.port = 0;
    return address_equal(rule, &like);
}

enum sim_fate sim_fate_of(const struct address *at)
{
    enum sim_fate fate = FATE_PASSES;
    for (size_t i = 0; i < rules.count; i++)
        if (rule_covers(&rules.all[i].at, at))
            fate = MAX_OF(fate, rules.all[i].fate);
    return fate;
}

static void rule_put(const struct address *at, enum sim_fate fate, bool holds)
{
    size_t place = 0;
    while (place < rules.count &&
           !(rules.all[place].fate == fate && address_equal(&rules.all[place].at, at)))
        place += 1;
    sim_note("rule", fate, holds);
    if (place < rules.count && !holds)
        rules.all[place] = rules.all[--rules.count];
    if (place < rules.count || !holds)
        return;
    invariant(rules.count < RULES_MAX);
    rules.all[rules.count++] = (struct sim_rule){*at, fate};
}

/* Holds the connections of blocked addresses; with `heals`, releases all others. */
static void streams_look(bool heals)
{
    for (int i = 0; i < sim_sockets_end(); i++) {
        struct sim_socket *socket = sim_socket_any(i);
        if (socket == NULL || socket->kind != SOCKET_STREAM)
            continue;
        bool black = sim_fate_of(&socket->service) == FATE_BLACK;
        if (black)
            sim_socket_hold(i);
        else if (heals)
            sim_socket_release(i);
        if (!black && heals && socket->dialling)
            sim_connect_again(i);
    }
}

void sim_net_refuse(const struct address *at, bool refuses)
{
    rule_put(at, FATE_REFUSED, refuses);
}

void sim_net_blackhole(const struct address *at, bool is_black)
{
    rule_put(at, FATE_BLACK, is_black);
    streams_look(!is_black);
}

void sim_net_reset_all(const struct address *at)
{
    for (int i = 0; i < sim_sockets_end(); i++) {
        const struct sim_socket *socket = sim_socket_any(i);
        if (socket != NULL && socket->kind == SOCKET_STREAM && socket->other > i &&
            rule_covers(at, &socket->service))
            sim_socket_reset_both(i);
    }
}

void sim_net_heal(void)
{
    rules.count = 0;
    sim_note("heal", 0, 0);
    streams_look(true);
}

void sim_end_faults(void)
{
    sim_rates = (struct sim_rates){0};
    sim_net_heal();
}

void sim_net_end(struct stream *stream)
{
    invariant(stream->handle >= 0);
    sim_note("end", stream->handle, 0);
    sim_socket_send_end(stream->handle);
    sim_socket_at(stream->handle)->shut = true;
}

moment sim_net_sent_at(const struct stream *stream)
{
    invariant(stream->handle >= 0);
    return (moment){.us = sim_socket_at(stream->handle)->sent_at};
}

void sim_net_linger(struct stream *stream)
{
    invariant(stream->handle >= 0);
    sim_socket_at(stream->handle)->linger = true;
}
