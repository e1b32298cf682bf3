/* dns_message.c - reads raw answers of name servers. */
#include "machine/dns_message.h"

#include "base/check.h"

#include <errno.h>

#define HEADER_SIZE     12u
#define CLASS_IN        1u
#define CODE_MASK       0x0fu
#define CODE_FAILED     2u
#define CODE_NO_NAME    3u
#define CODE_REFUSED    5u
#define POINTER_BITS    0xc0u
#define LABEL_MAX       63u
#define ALIASES_MAX     16 /* CNAMEs in a chain */
#define IS_ANSWER       0x80u
#define TTL_HIGHEST_BIT 0x80000000u

/* --- names ------------------------------------------------------------------------------------ */

static unsigned byte_at(struct span raw, size_t at)
{
    return raw.at[at];
}

/* A label becomes text only if it can't be confused with several labels. */
static bool is_plain(unsigned byte)
{
    return byte > ' ' && byte < 0x7f && byte != '.' && byte != '\\';
}

/* A name being written as text. */
struct name_text {
    char *at; /* DNS_NAME_SIZE bytes */
    size_t size;
    bool plain; /* all of its characters could be written */
};

/* Adds a label of `size` bytes.  Returns false if the name is too long. */
static bool name_add(struct name_text *name, const uint8_t *label, size_t size)
{
    if (name->size + (name->size > 0) + size >= DNS_NAME_SIZE)
        return false;
    if (name->size > 0)
        name->at[name->size++] = '.';
    for (size_t i = 0; i < size; i++) {
        name->plain = name->plain && is_plain(label[i]);
        bool upper = label[i] >= 'A' && label[i] <= 'Z';
        name->at[name->size++] = (char)(upper ? label[i] + ('a' - 'A') : label[i]);
    }
    return true;
}

static void name_close(struct name_text *name)
{
    if (name->size == 0)
        name->at[name->size++] = '.';
    name->at[name->size] = '\0';
    if (!name->plain)
        name->at[0] = '\0';
}

/* Reads the name at *at and moves *at behind it.  A pointer must lead to an earlier byte than any
 * before it, so that the loop ends.  A name that is no plain text becomes "". */
static bool name_read(struct span raw, size_t *at, char ret[DNS_NAME_SIZE])
{
    struct name_text name = {.at = ret, .plain = true};
    size_t here = *at;
    size_t lowest = *at;
    bool jumped = false;
    while (here < raw.size) {
        unsigned size = byte_at(raw, here);
        if ((size & POINTER_BITS) == POINTER_BITS) {
            if (here + 2 > raw.size)
                return false;
            size_t to = (size & ~POINTER_BITS) << 8 | byte_at(raw, here + 1);
            if (!jumped)
                *at = here + 2;
            if (to >= lowest)
                return false;
            jumped = true;
            here = lowest = to;
            continue;
        }
        if (size > LABEL_MAX || here + 1 + size > raw.size)
            return false;
        here += 1 + size;
        if (size == 0) {
            if (!jumped)
                *at = here;
            name_close(&name);
            return true;
        }
        if (!name_add(&name, raw.at + here - size, size))
            return false;
    }
    return false;
}

/* --- records ---------------------------------------------------------------------------------- */

static unsigned number16(struct span raw, size_t at)
{
    return byte_at(raw, at) << 8 | byte_at(raw, at + 1);
}

static uint32_t number32(struct span raw, size_t at)
{
    return (uint32_t)number16(raw, at) << 16 | number16(raw, at + 2);
}

bool dns_message_open(struct span raw, struct dns_message *ret)
{
    char name[DNS_NAME_SIZE];
    *ret = (struct dns_message){.raw = raw, .at = HEADER_SIZE};
    if (raw.size < HEADER_SIZE || (byte_at(raw, 2) & IS_ANSWER) == 0 || number16(raw, 4) > 1)
        return false;
    ret->code = byte_at(raw, 3) & CODE_MASK;
    if (number16(raw, 4) == 1) {
        if (!name_read(raw, &ret->at, name) || ret->at + 4 > raw.size)
            return false;
        ret->at += 4;
    }
    for (size_t i = 0; i < DNS_SECTIONS; i++)
        ret->left[i] = number16(raw, 6 + 2 * i);
    return true;
}

static bool read_address(struct span data, struct dns_record *ret)
{
    bool six = ret->type == DNS_TYPE_AAAA;
    if (data.size != (six ? 16u : 4u))
        return false;
    ret->address = (struct address){.family = six ? ADDRESS_IPV6 : ADDRESS_IPV4};
    memcpy(ret->address.bytes, data.at, data.size);
    return true;
}

/* Reads the name that ends the record's data at `end`. */
static bool read_target(struct span raw, size_t at, size_t end, struct dns_record *ret)
{
    return name_read(raw, &at, ret->target) && at == end;
}

/* Reads the data of a record from `at` to `end`. */
static bool read_data(struct span raw, size_t at, size_t end, struct dns_record *ret)
{
    switch (ret->type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        return read_address(span_of(raw.at + at, end - at), ret);
    case DNS_TYPE_CNAME:
        return read_target(raw, at, end, ret);
    case DNS_TYPE_SRV:
        if (end - at < 7)
            return false;
        ret->priority = (uint16_t)number16(raw, at);
        ret->weight = (uint16_t)number16(raw, at + 2);
        ret->port = (uint16_t)number16(raw, at + 4);
        return read_target(raw, at + 6, end, ret);
    default:
        return true;
    }
}

static bool has_target(const struct dns_record *record)
{
    return record->type == DNS_TYPE_SRV || record->type == DNS_TYPE_CNAME;
}

static bool message_read(struct dns_message *message, struct dns_record *ret)
{
    struct span raw = message->raw;
    if (!name_read(raw, &message->at, ret->owner) || message->at + 10 > raw.size)
        return false;
    size_t head = message->at;
    size_t end = head + 10 + number16(raw, head + 8);
    if (end > raw.size)
        return false;
    ret->type = (uint16_t)number16(raw, head);
    ret->ttl = number32(raw, head + 4);
    if ((ret->ttl & TTL_HIGHEST_BIT) != 0)
        ret->ttl = 0;
    if (number16(raw, head + 2) != CLASS_IN)
        ret->type = 0;
    if (!read_data(raw, head + 10, end, ret))
        return false;
    if (ret->owner[0] == '\0' || (has_target(ret) && ret->target[0] == '\0'))
        ret->type = 0;
    message->at = end;
    return true;
}

bool dns_message_next(struct dns_message *message, struct dns_record *ret)
{
    size_t section = 0;
    while (section < DNS_SECTIONS && message->left[section] == 0)
        section++;
    if (section == DNS_SECTIONS || message->malformed)
        return false;
    message->left[section] -= 1;
    *ret = (struct dns_record){.section = (enum dns_section)section};
    message->malformed = !message_read(message, ret);
    return !message->malformed;
}

/* --- replies ---------------------------------------------------------------------------------- */

/* Replaces `owner` by the target of its alias.  Returns false if it has none. */
static bool follow_alias(struct span raw, struct dns_reply *reply)
{
    struct dns_message message;
    struct dns_record record;
    bool opened = dns_message_open(raw, &message);
    invariant(opened);
    while (dns_message_next(&message, &record) && record.section == DNS_ANSWER) {
        if (record.type != DNS_TYPE_CNAME || strcmp(record.owner, reply->owner) != 0)
            continue;
        memcpy(reply->owner, record.target, sizeof(reply->owner));
        reply->ttl = MIN_OF(reply->ttl, record.ttl);
        return true;
    }
    return false;
}

/* Counts the records; returns false if the answer is malformed anywhere. */
static bool count_records(struct span raw, int type, struct dns_reply *reply)
{
    struct dns_message message;
    struct dns_record record;
    if (!dns_message_open(raw, &message))
        return false;
    while (dns_message_next(&message, &record)) {
        if (record.section != DNS_ANSWER || record.type != type ||
            strcmp(record.owner, reply->owner) != 0)
            continue;
        reply->ttl = MIN_OF(reply->ttl, record.ttl);
        reply->count += 1;
    }
    return !message.malformed;
}

/* Copies a name as the answer's names are written: in lower case, without a dot at the end. */
static void owner_set(struct dns_reply *reply, const char *name)
{
    struct name_text text = {.at = reply->owner, .plain = true};
    size_t size = strlen(name);
    if (size > 0 && name[size - 1] == '.')
        size -= 1;
    if (!name_add(&text, (const uint8_t *)name, size))
        text.size = 0;
    reply->owner[text.size] = '\0';
}

enum dns_said dns_message_reply(struct span raw, const char *name, int type, struct dns_reply *ret)
{
    struct dns_message message;
    struct dns_reply reply = {.ttl = UINT32_MAX};
    owner_set(&reply, name);
    if (!dns_message_open(raw, &message))
        return DNS_MALFORMED;
    *ret = reply;
    if (message.code == CODE_REFUSED)
        return DNS_REFUSED;
    if (message.code != 0 && message.code != CODE_NO_NAME)
        return DNS_FAILED;
    for (int i = 0; i < ALIASES_MAX && follow_alias(raw, &reply); i++)
        continue;
    if (!count_records(raw, type, &reply))
        return DNS_MALFORMED;
    *ret = reply;
    if (reply.count > 0)
        return DNS_RECORDS;
    return message.code == CODE_NO_NAME ? DNS_NO_NAME : DNS_EMPTY;
}

enum dns_said dns_said_of(int status)
{
    switch (-status) {
    case 0:
        return DNS_RECORDS;
    case ETIMEDOUT:
        return DNS_SILENT;
    case ECONNREFUSED:
        return DNS_UNREACHABLE;
    case EBADMSG:
        return DNS_MALFORMED;
    case EINVAL: /* a name that can't be asked for does not exist */
        return DNS_NO_NAME;
    default:
        return DNS_FAILED;
    }
}

const char *dns_said_text(enum dns_said said)
{
    static const char *const texts[DNS_SAID_COUNT] = {
        [DNS_RECORDS] = "records",         [DNS_EMPTY] = "empty",
        [DNS_NO_NAME] = "nxdomain",        [DNS_FAILED] = "servfail",
        [DNS_REFUSED] = "refused",         [DNS_SILENT] = "timeout",
        [DNS_UNREACHABLE] = "unreachable", [DNS_MALFORMED] = "malformed",
    };
    return texts[said];
}
