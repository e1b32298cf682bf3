#pragma once
/*
 * stats.h - what a share counts.  Written by its relay only, read by others as hints.  Times in us.
 */
#include <stdint.h>

struct share_stats {
    uint64_t transactions;
    uint64_t queries;
    uint64_t assignments; /* servers given to clients */
    uint64_t received;    /* bytes from clients */
    uint64_t sent;        /* bytes to clients */
    uint64_t transaction_us;
    uint64_t query_us;
    uint64_t wait_us;
    uint64_t client_parses;
    uint64_t server_parses;
    uint64_t binds;
    uint64_t logins;      /* of clients */
};
