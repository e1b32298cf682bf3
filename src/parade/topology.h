#pragma once
/*
 * topology.h - a parade as its topology file describes it: zones, shards, and the number of each
 * shard instance.
 *
 * Every zone has a catalog, and an instance of the shards that name the zone.  Design:
 * docs/internals/parade-cli.md
 */
#include "parade/target.h"

#define PARADE_ZONES_MAX   32u
#define PARADE_MEMBERS_MAX 1024u
#define PARADE_WORD_MAX    63u /* of a zone, shard or catalog, as of a name in PostgreSQL */

struct parade_zone {
    char name[PARADE_WORD_MAX + 1];
    struct parade_target target; /* of an administrator, without a database */
};

/* A shard instance: a database of the shard's name in a zone. */
struct parade_member {
    uint32_t zone;   /* index in the topology */
    uint32_t number; /* of the peer, for ever */
    char shard[PARADE_WORD_MAX + 1];
};

struct parade_topology {
    struct parade_zone zones[PARADE_ZONES_MAX];
    size_t zone_count;
    struct parade_member members[PARADE_MEMBERS_MAX];
    size_t member_count;
    char catalog[PARADE_WORD_MAX + 1]; /* database of the catalogs */
    char replicator[1024];             /* what a replicator's connections have beside the zone's */
};

/** Reads a topology from the text of its file; `presets` are what the file does not say of a
 *  connection.  The caller frees *ret.  Faults: CONFIG, with the line; MEMORY. */
fault parade_topology_read(struct span text, const struct parade_target *presets,
                           struct parade_topology **ret) MUST_USE;
/** Wipes and frees it.  NULL-safe; nulls *topology. */
void parade_topology_free(struct parade_topology **topology);
/** Returns the index of a zone, or -1. */
int parade_topology_zone(const struct parade_topology *topology, struct span name);
/** The database of a shard instance: for an administrator, and for the replicator. */
void parade_topology_target(const struct parade_topology *topology,
                            const struct parade_member *member, struct parade_target *ret);
fault parade_topology_replicator(const struct parade_topology *topology,
                                 const struct parade_member *member,
                                 struct parade_target *ret) MUST_USE;
