#pragma once
/*
 * messages.h - decodes messages into structs.  Spans stay valid as long as the bytes given.
 *
 * Each reader returns OK or PROTOCOL, and writes `ret` on OK only.
 */
#include "wire/message.h"

/* Parse ('P'). */
struct wire_parse {
    struct span statement; /* empty: the unnamed statement */
    struct span query;
    uint16_t types;   /* number of type OIDs that the client specified */
    struct span oids; /* exactly 4 * types bytes, big-endian */
};
fault wire_read_parse(struct span body, struct wire_parse *ret) MUST_USE;

/* The first two fields of a Bind ('B'); the rest is not read.  Fault AGAIN instead of PROTOCOL: the
 * second name's NUL is not among these bytes (the message is still arriving). */
struct wire_bind_names {
    struct span portal;
    struct span statement;
};
fault wire_read_bind_names(struct span body, struct wire_bind_names *ret) MUST_USE;

/* Describe ('D') and Close ('C'). */
struct wire_target {
    uint8_t kind; /* 'S' statement, 'P' portal */
    struct span name;
};
fault wire_read_target(struct span body, struct wire_target *ret) MUST_USE;

/* Execute ('E'). */
struct wire_execute {
    struct span portal;
    uint32_t rows; /* 0: all */
};
fault wire_read_execute(struct span body, struct wire_execute *ret) MUST_USE;

/* Query ('Q'): the text without its NUL. */
fault wire_read_query(struct span body, struct span *ret) MUST_USE;

/* ParameterStatus ('S'). */
struct wire_parameter {
    struct span name;
    struct span value;
};
fault wire_read_parameter_status(struct span body, struct wire_parameter *ret) MUST_USE;

/* BackendKeyData ('K'). */
struct wire_key {
    uint32_t pid;
    struct span secret; /* 4 to 256 bytes, as in protocol 3.2 */
};
fault wire_read_backend_key(struct span body, struct wire_key *ret) MUST_USE;

/* NegotiateProtocolVersion ('v'). */
struct wire_negotiate {
    uint32_t version;  /* newest that the server supports: major << 16 | minor */
    uint32_t count;    /* options that the server does not support */
    struct span names; /* name NUL name NUL ... */
};
fault wire_read_negotiate(struct span body, struct wire_negotiate *ret) MUST_USE;

/* ErrorResponse and NoticeResponse: empty spans where a field is missing. */
struct wire_error {
    struct span severity; /* 'V' if there, else 'S' */
    struct span sqlstate;
    struct span message;
    struct span detail;
    struct span hint;
    struct span routine; /* function in the server's source; names the error in any language */
};
fault wire_read_error(struct span body, struct wire_error *ret) MUST_USE;

/* An error or notice of Trunkline itself.  `severity`: "ERROR", "FATAL", "NOTICE", "WARNING".
 * `detail` and `hint` may be NULL. */
struct wire_report {
    const char *severity;
    const char *sqlstate;
    const char *message;
    const char *detail;
    const char *hint;
};
/** Appends an ErrorResponse for ERROR, FATAL and PANIC; a NoticeResponse for other severities. */
void wire_put_report(struct buffer *out, const struct wire_report *report);

/* Authentication requests ('R') from a server. */
enum wire_authentication {
    WIRE_AUTH_OK = 0,
    WIRE_AUTH_PASSWORD = 3,
    WIRE_AUTH_MD5 = 5,
    WIRE_AUTH_SASL = 10,
    WIRE_AUTH_SASL_CONTINUE = 11,
    WIRE_AUTH_SASL_FINAL = 12,
};
struct wire_auth_request {
    uint32_t kind;
    struct span rest; /* md5: 4 bytes of salt; SASL: mechanisms or data */
};
fault wire_read_authentication(struct span body, struct wire_auth_request *ret) MUST_USE;
/** Returns whether the mechanism list of an authentication request (`rest` of WIRE_AUTH_SASL) names
 *  `mechanism`. */
bool wire_sasl_offers(struct span mechanisms, const char *mechanism);
