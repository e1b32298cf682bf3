#pragma once
/*
 * startup.h - the first packet of a connection: it has a length but no type.
 */
#include "wire/message.h"

/* PostgreSQL's own limit, MAX_STARTUP_PACKET_LENGTH, length word included. */
#define WIRE_STARTUP_MAX 10000u

#define WIRE_PROTOCOL_3_0   0x00030000u
#define WIRE_PROTOCOL_3_2   0x00030002u /* the newest that we speak: longer cancel keys */
#define WIRE_SSL_REQUEST    80877103u
#define WIRE_GSS_REQUEST    80877104u
#define WIRE_CANCEL_REQUEST 80877102u

enum wire_startup_kind { WIRE_STARTUP, WIRE_STARTUP_SSL, WIRE_STARTUP_GSS, WIRE_STARTUP_CANCEL };

struct wire_startup {
    enum wire_startup_kind kind;
    uint32_t version;       /* WIRE_STARTUP: major << 16 | minor */
    struct span parameters; /* WIRE_STARTUP: name NUL value NUL ..., without the last NUL */
    struct wire_cancel {
        uint32_t pid;
        struct span secret; /* 4 to 256 bytes */
    } cancel;               /* WIRE_STARTUP_CANCEL */
    struct span behind;     /* bytes that were read behind the packet; for whoever reads it */
};

/** Length of the packet that starts with these 4 bytes; 0: nonsense (below 8 or above the limit).
 */
uint32_t wire_startup_length(const uint8_t bytes[4]);
/** Decodes a whole packet, length word included.  PROTOCOL; UNSUPPORTED: a major version other than
 *  3 (`ret->version` says which). */
fault wire_read_startup(struct span packet, struct wire_startup *ret) MUST_USE;
/** The next name and value off `rest`; false at the end. */
bool wire_next_parameter(struct span *rest, struct span *name, struct span *value);
/** The value of a parameter, the empty span when it is not there.  The last one wins. */
struct span wire_find_parameter(struct span parameters, const char *name);

/* What a connection is for, by its `replication` parameter. */
enum wire_replication {
    WIRE_REPLICATION_NONE,
    WIRE_REPLICATION_PHYSICAL, /* of the whole cluster: the database counts for nothing */
    WIRE_REPLICATION_LOGICAL,  /* of one database */
};
/** "database", or a boolean as PostgreSQL spells them.  PROTOCOL: neither. */
fault wire_read_replication(struct span value, enum wire_replication *ret) MUST_USE;

/** Reads the `options` parameter as a backend of PostgreSQL does: blanks part words, a backslash
 *  takes the next character as it is, and the words are the switches of `postgres`: -c name=value,
 *  -cname=value, --name=value, and the short ones for one setting (-S, -W, -d, -e, -f, -t, ...).
 *  Calls `each` for each setting that they stand for (dashes in its name become underscores).
 *  PROTOCOL when one is none of these: *ret_wrong is that word, and `each` has been called for the
 *  settings before it.  Faults of `each` end the reading.
 *  `scratch`: at least options.size bytes; the spans given to `each` point into it, or to static
 *  text. */
fault wire_read_options(struct span options, uint8_t *scratch,
                        fault (*each)(void *argument, struct span name, struct span value),
                        void *argument, struct span *ret_wrong) MUST_USE;

/* Building, for the side that connects. */
void wire_put_startup_begin(struct buffer *out, uint32_t version, size_t *ret_start);
void wire_put_startup_parameter(struct buffer *out, struct span name, struct span value);
void wire_put_startup_end(struct buffer *out, size_t start);
void wire_put_ssl_request(struct buffer *out);
void wire_put_cancel(struct buffer *out, uint32_t pid, struct span secret);

/** NegotiateProtocolVersion: we speak `version` or 3.2, whichever is older, and these `_pq_.`
 * options (names in `parameters`) not.  Appends nothing when that is what the client asked for. */
void wire_put_negotiate(struct buffer *out, uint32_t version, struct span parameters);
