#pragma once
/*
 * startup.h - the first packet of a connection: it has a length but no type.
 */
#include "wire/message.h"

/* PostgreSQL's own limit, MAX_STARTUP_PACKET_LENGTH, length word included. */
#define WIRE_STARTUP_MAX 10000u

#define WIRE_PROTOCOL_3_0   0x00030000u
#define WIRE_PROTOCOL_3_2   0x00030002u /* newest supported version: longer cancel keys */
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
    struct span behind;     /* bytes read after the packet; set by the caller that reads it */
};

/** Returns the length of the packet that starts with these 4 bytes; 0: invalid (below 8 or above
 *  WIRE_STARTUP_MAX). */
uint32_t wire_startup_length(const uint8_t bytes[4]);
/** Decodes a whole packet, length word included.  Faults: PROTOCOL, UNSUPPORTED (a major version
 *  other than 3; `ret->version` is set). */
fault wire_read_startup(struct span packet, struct wire_startup *ret) MUST_USE;
/** Removes the next name and value from `rest`.  Returns false at the end. */
bool wire_next_parameter(struct span *rest, struct span *name, struct span *value);
/** Returns the value of a parameter; the empty span if it is missing.  The last occurrence wins. */
struct span wire_find_parameter(struct span parameters, const char *name);

/* The kind of connection that the `replication` startup parameter asks for. */
enum wire_replication {
    WIRE_REPLICATION_NONE,
    WIRE_REPLICATION_PHYSICAL, /* of the whole cluster; the database is ignored */
    WIRE_REPLICATION_LOGICAL,  /* of one database */
};
/** Reads "database" or a boolean in PostgreSQL's spelling.  Fault PROTOCOL: neither. */
fault wire_read_replication(struct span value, enum wire_replication *ret) MUST_USE;

/** Reads the `options` parameter as a PostgreSQL backend does.  Blanks separate words; a backslash
 *  escapes the next character.  The words are the switches of `postgres`: -c name=value,
 *  -cname=value, --name=value, and the short ones for one setting (-S, -W, -d, -e, -f, -t, ...).
 *  Calls `each` for each setting that they set; dashes in its name become underscores.  Fault
 *  PROTOCOL: a word is none of these; *ret_wrong is that word, and `each` has been called for the
 *  settings before it.  A fault of `each` ends the reading.  `scratch`: at least options.size
 *  bytes; the spans given to `each` point into it, or to static text. */
fault wire_read_options(struct span options, uint8_t *scratch,
                        fault (*each)(void *argument, struct span name, struct span value),
                        void *argument, struct span *ret_wrong) MUST_USE;

/* Building, for the side that connects. */
void wire_put_startup_begin(struct buffer *out, uint32_t version, size_t *ret_start);
void wire_put_startup_parameter(struct buffer *out, struct span name, struct span value);
void wire_put_startup_end(struct buffer *out, size_t start);
void wire_put_ssl_request(struct buffer *out);
void wire_put_cancel(struct buffer *out, uint32_t pid, struct span secret);

/** Appends NegotiateProtocolVersion, which offers the older of `version` and 3.2 and names the
 *  `_pq_.` options in `parameters` as unsupported.  Appends nothing if `version` is at most 3.2 and
 *  there is no such option. */
void wire_put_negotiate(struct buffer *out, uint32_t version, struct span parameters);
