#pragma once
/*
 * settings_rows.h - macros for rows of the table of settings; for settings*.c only.
 */
#include "config/config.h"
#include "instance/settings.h"

/* The field of a setting, and its range in the base unit of its kind. */
#define AT(type, field)                                                                            \
    .at = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define RANGE(first, last) .min = (first), .max = (last)
#define US(n)              INT64_C(n)
#define MS(n)              (INT64_C(1000) * (n))
#define SECONDS(n)         (INT64_C(1000000) * (n))
#define DAYS(n)            SECONDS(INT64_C(86400) * (n))
#define KIB(n)             (INT64_C(1024) * (n))
#define MIB(n)             KIB(INT64_C(1024) * (n))
#define GIB(n)             MIB(INT64_C(1024) * (n))
#define OR_NEVER           .word = "never", .word_value = INT64_MAX
#define OR_ZERO(text)      .word = (text), .word_value = 0
#define LIST_OF(owner, list, counter, element, its_rows)                                           \
    .at = offsetof(struct owner, list), .size = sizeof(struct element),                            \
    .count_at = offsetof(struct owner, counter), .rows = (its_rows)

/* NAMEDATALEN - 1: PostgreSQL truncates longer names. */
#define NAME_BYTES_MAX 63
#define PATH_BYTES_MAX 4095
#define HOST_MAX       253
#define SECRET_MAX     2047
#define OPTIONS_MAX    4095

/* Values of reads and of consistency. */
extern const struct setting_choice config_reads_choices[];
extern const struct setting_choice config_consistency_choices[];
/* Values of target_session_attrs; see fleet/target.h. */
extern const struct setting_choice config_target_choices[];

/* Parts of the table that are in files of their own. */
extern const struct setting config_query_rows[];       /* struct config */
extern const struct setting config_failures_rows[];    /* struct config */
extern const struct setting config_listen_tls_rows[];  /* struct tls_config */
extern const struct setting config_service_tls_rows[]; /* struct tls_config */
extern const struct setting config_patroni_tls_rows[]; /* struct tls_config */
extern const struct setting config_redis_tls_rows[];   /* struct tls_config */
extern const struct setting config_redis_rows[];       /* struct redis_config */
extern const struct setting config_warm_rows[];        /* struct cache_warm */
extern const struct setting config_cache_rows[];       /* struct cache_rule */
extern const struct setting config_firewall_rows[];    /* struct firewall_config */
extern const struct setting config_balance_rows[];     /* struct balance_config */
extern const struct setting config_probe_rows[];       /* struct probe_config */
extern const struct setting config_patroni_rows[];     /* struct patroni_config */
extern const struct setting config_database_rows[];    /* struct database_config */
extern const struct setting config_user_rows[];        /* struct user_config */
extern const struct setting config_session_rows[];     /* struct session_config */
extern const struct setting config_route_rows[];       /* struct route_config */
extern const struct setting config_service_rows[];     /* struct service_config */
extern const struct setting config_listen_rows[];      /* struct listen_config */
extern const struct setting config_log_rows[];         /* struct config */
