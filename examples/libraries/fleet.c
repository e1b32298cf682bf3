/*
 * fleet.c - a pool of connections to several echo servers: an example of libtrunkline-fleet.
 *
 *     cc -std=gnu17 fleet.c $(pkg-config --cflags --libs trunkline-fleet) -o fleet
 *     ./fleet 20 7777 7778 7779
 *
 * Claims 20 connections one after the other and has each server at 127.0.0.1 echo a word.  Prints
 * how many claims each server had.  The driver blocks, so a claim is served within one loop.
 */
#include "fleet/fleet_pool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVERS_MAX 16
#define WORD        "hello"

static const struct fleet_limits limits = {
    .logins_max = 4,
    .connections_max = 8,
    .retry_min = {.us = 20000},
    .retry_max = {.us = 1000000},
    .retry_jitter = 25,
    .spread = true,
};
static const struct fleet_policy policy = {
    .max = 4,
    .spares = 2,
    .connect_timeout = {.us = 1000000},
    .hook_timeout = {.us = 1000000},
    .rebalance_interval = {.us = 10000000},
    .moves_max = 1,
};

static moment clock_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (moment){.us = (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000};
}

static int handle_of(const struct fleet_slot *slot)
{
    return (int)(intptr_t)fleet_slot_data(slot);
}

static void do_connect(struct fleet_slot *slot)
{
    const struct address *to = backend_address(fleet_slot_backend(slot));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    memcpy(&address.sin_addr, to->bytes, sizeof(address.sin_addr));
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    if (handle >= 0 && connect(handle, (struct sockaddr *)&address, sizeof(address)) == 0) {
        fleet_slot_set_data(slot, (void *)(intptr_t)(handle + 1)); /* 0: none */
        fleet_slot_connected(slot, ROLE_UNKNOWN, clock_now());
        return;
    }
    if (handle >= 0)
        close(handle);
    fleet_slot_failed(slot, SLOT_UNREACHABLE, clock_now());
}

/* Does all steps that are due.  Returns 1 if the claim was granted, -1 if it was refused. */
static int run(struct fleet_pool *pool)
{
    int outcome = 0;
    for (;;) {
        struct fleet_step step = fleet_pool_step(pool, clock_now());
        switch (step.order) {
        case FLEET_CONNECT:
            do_connect(step.slot);
            break;
        case FLEET_ACQUIRE: /* no hooks here */
        case FLEET_CHECK:
        case FLEET_RECYCLE:
            fleet_slot_checked(step.slot, FLEET_VALID, clock_now());
            break;
        case FLEET_CLOSE:
            if (handle_of(step.slot) > 0)
                close(handle_of(step.slot) - 1);
            fleet_slot_closed(step.slot, clock_now());
            break;
        case FLEET_GRANTED:
            outcome = 1;
            break;
        case FLEET_REFUSED:
            fprintf(stderr, "fleet: %s\n", fleet_refusal_text(step.refusal));
            outcome = -1;
            break;
        case FLEET_NOTHING:
            return outcome;
        }
    }
}

static bool echoes(int handle)
{
    char answer[sizeof(WORD)];
    size_t size = 0;
    ssize_t got = 1;
    if (write(handle, WORD, sizeof(answer)) != (ssize_t)sizeof(answer))
        return false;
    for (; size < sizeof(answer) && got > 0; size += got > 0 ? (size_t)got : 0)
        got = read(handle, answer + size, sizeof(answer) - size);
    return size == sizeof(answer) && memcmp(answer, WORD, size) == 0;
}

/* Claims a connection and uses it.  Returns the port of its server; -1: the claim was refused. */
static int claim_once(struct fleet_pool *pool, struct fleet_claim *claim)
{
    int outcome;
    fleet_claim(pool, claim, clock_now(), later(clock_now(), sec(5)));
    while ((outcome = run(pool)) == 0)
        usleep(1000);
    if (outcome < 0)
        return -1;
    int port = backend_address(fleet_slot_backend(claim->slot))->port;
    bool works = echoes(handle_of(claim->slot) - 1);
    fleet_release(pool, claim, works ? FLEET_RETURNED : FLEET_BROKEN, clock_now());
    claim->last = 0; /* the next claim is not bound to the same connection */
    (void)run(pool);
    return works ? port : 0;
}

int main(int count, char **words)
{
    struct backend_found found[SERVERS_MAX];
    int claims[SERVERS_MAX] = {0}, servers = count - 2, status = EXIT_SUCCESS;
    struct service *service = NULL;
    struct fleet_pool *pool = NULL;
    struct fleet_claim claim = {0};
    if (servers < 1 || servers > SERVERS_MAX)
        return EXIT_FAILURE;
    for (int i = 0; i < servers; i++)
        found[i] = (struct backend_found){.target = "localhost",
                                          .address = {.family = ADDRESS_IPV4,
                                                      .port = (uint16_t)atoi(words[i + 2]),
                                                      .bytes = {127, 0, 0, 1}},
                                          .weight = BACKEND_WEIGHT_PLAIN};
    if (service_new("echo", &limits, &service) != OK ||
        service_set_backends(service, found, (size_t)servers) != OK ||
        fleet_pool_new(service, &policy, clock_now(), &pool) != OK)
        return EXIT_FAILURE;
    service_seed(service, (uint64_t)clock_now().us);

    for (int i = 0; i < atoi(words[1]); i++) {
        int port = claim_once(pool, &claim);
        if (port < 0)
            status = EXIT_FAILURE;
        for (int j = 0; j < servers; j++)
            claims[j] += found[j].address.port == port;
    }
    for (int i = 0; i < servers; i++)
        printf("%d: %d claims\n", found[i].address.port, claims[i]);

    fleet_pool_end(pool);
    (void)run(pool);
    fleet_pool_free(&pool);
    service_free(&service);
    return status;
}
