#pragma once
/*
 * resolve_parts.h - shared by the files of resolve: an answer being read, and the verdict so far.
 */
#include "flight/resolve.h"

/* Bytes of a name that caused a reason: schema, point and name. */
#define RESOLVE_BECAUSE_MAX 136u

/* Bytes of the names and literals of a verdict. */
#define RESOLVE_KEPT_MAX 32768u

/* A column of the primary key, in the catalog. */
struct resolve_column {
    struct span name;
    enum verdict_key_type type;
};

/* A reason and the name that caused it. */
struct resolve_because {
    uint32_t reason; /* VERDICT_REASONS: none */
    size_t size;
    uint8_t name[RESOLVE_BECAUSE_MAX];
};

struct resolve {
    const struct query_analysis *analysis;
    const struct resolve_rules *rules;
    uint32_t rows;
    bool begun; /* the first and the last row were taken */
    bool ended;
    bool converts;                   /* names are not in the encoding of the database, UTF8 */
    uint64_t settings;               /* a digest of the session's; 0: not known */
    struct resolve_because against;  /* an answer from memory */
    struct resolve_because unlisted; /* why the relations written are not known */
    bool clocks;                     /* a value of type time may occur */
    bool zones;                      /* AT TIME ZONE is called, perhaps with timetz */
    bool keyless;                    /* a column of the primary key can't be compared by text */
    uint16_t reads_count;
    uint16_t written_count;
    uint16_t columns_count;
    uint32_t key_relation;
    struct verdict_relation reads[VERDICT_RELATIONS_MAX];
    struct verdict_relation written[VERDICT_RELATIONS_MAX];
    struct resolve_column columns[VERDICT_KEYS_MAX];
    size_t kept_size;
    uint8_t kept[RESOLVE_KEPT_MAX]; /* names and literals; the spans above point into it */
};

/* A row of the answer. */
struct resolve_cells {
    struct span what;
    struct span how;
    uint32_t oid; /* 0: none */
    struct span name;
    struct span schema;
    struct span more;
};

/* --- resolve_because.c ------------------------------------------------------------------------ */

/** Records a reason against an answer from memory; of several the most important one stays. */
void resolve_against(struct resolve *resolve, uint32_t reason, struct span schema,
                     struct span name);
/** Records that any relation may be written. */
void resolve_unlisted(struct resolve *resolve, uint32_t reason, struct span schema,
                      struct span name);

/** Copies bytes for as long as the resolve lives.  False: there is no room. */
bool resolve_keep(struct resolve *resolve, struct span bytes, struct span *ret) MUST_USE;

/* --- resolve_judge.c -------------------------------------------------------------------------- */

/** Returns whether an oid is of an object that initdb made. */
bool resolve_is_builtin(uint32_t oid);
void resolve_judge_call(struct resolve *resolve, const struct resolve_cells *row);
void resolve_judge_node(struct resolve *resolve, const struct resolve_cells *row);
void resolve_judge_type(struct resolve *resolve, const struct resolve_cells *row);

/* --- resolve_keys.c --------------------------------------------------------------------------- */

void resolve_see_column(struct resolve *resolve, const struct resolve_cells *row);
/** Fills `keys` and returns their number; 0: the statement does not read or write one value of the
 *  whole primary key. */
uint16_t resolve_find_keys(struct resolve *resolve, struct verdict_key keys[VERDICT_KEYS_MAX]);
