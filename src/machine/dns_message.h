#pragma once
/*
 * dns_message.h - reads raw answers of name servers (RFC 1035, 2782).
 *
 * Pure.  The answer may come from anywhere on the network, so every read is bounded: a name is at
 * most 253 characters, compression pointers lead backwards only.  Names are in lower case and have
 * no dot at the end; the root is ".".
 */
#include "machine/dns.h"

#include "base/span.h"

enum {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
};

/* What a name server said about a question, or why it said nothing. */
enum dns_said {
    DNS_RECORDS,     /* at least one record of the type that was asked for */
    DNS_EMPTY,       /* the name has no such record */
    DNS_NO_NAME,     /* the name does not exist (NXDOMAIN) */
    DNS_FAILED,      /* the server failed (SERVFAIL, and every code without a meaning of its own) */
    DNS_REFUSED,     /* the server refused to answer */
    DNS_SILENT,      /* no answer in time */
    DNS_UNREACHABLE, /* the server can't be reached */
    DNS_MALFORMED,   /* the answer can't be read */
    DNS_SAID_COUNT,
};

enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTIONS };

struct dns_record {
    enum dns_section section;
    uint16_t type;
    uint32_t ttl;           /* seconds; RFC 2181: a value with the highest bit set counts as 0 */
    uint16_t priority;      /* SRV */
    uint16_t weight;        /* SRV */
    uint16_t port;          /* SRV */
    struct address address; /* A and AAAA; its port is 0 */
    char owner[DNS_NAME_SIZE];
    char target[DNS_NAME_SIZE]; /* SRV and CNAME */
};

/* A position in an answer. */
struct dns_message {
    struct span raw;
    size_t at;
    uint32_t left[DNS_SECTIONS]; /* records that were not read yet */
    unsigned code;               /* the response code */
    bool malformed;              /* the latest read failed */
};

/** Opens a raw answer before its first record.  Returns false if it is no answer to one question.
 */
bool dns_message_open(struct span raw, struct dns_message *ret);
/** Reads the next record.  Returns false at the end, and where the answer is malformed.  A record
 * of another class than IN, or one whose names have characters that host names can't have, is
 * reported with type 0. */
bool dns_message_next(struct dns_message *message, struct dns_record *ret);

/* The records that answer the question itself, behind its aliases. */
struct dns_reply {
    char owner[DNS_NAME_SIZE]; /* the name that has the records: the end of the chain of CNAMEs */
    uint32_t ttl;              /* the smallest of the aliases and the records; UINT32_MAX: none */
    size_t count;              /* records of the type at `owner` in the answer section */
};

/** Finds out what a raw answer says to a question of `type` for `name`.  Sets *ret unless the
 * result is DNS_MALFORMED. */
enum dns_said dns_message_reply(struct span raw, const char *name, int type, struct dns_reply *ret);
/** Converts the status of os->dns_ask to what it means; 0 is DNS_RECORDS. */
enum dns_said dns_said_of(int status);
/** The word that the console and the log have for it: "records", "nxdomain", "servfail", ... */
const char *dns_said_text(enum dns_said said);
