#pragma once
/*
 * dns_packet.h - writes answers of name servers, for tests.
 */
#include "machine/dns_message.h"

#include "base/check.h"

#include <string.h>

static struct {
    size_t size;
    uint8_t at[65536];
} packet;

static inline struct span packet_span(void)
{
    return span_of(packet.at, packet.size);
}

static inline void packet_put(unsigned value, int width)
{
    invariant(packet.size + 4 < sizeof(packet.at));
    while (width-- > 0)
        packet.at[packet.size++] = (uint8_t)(value >> 8 * width);
}

static inline void packet_put_name(const char *name)
{
    if (strcmp(name, ".") == 0)
        name = "";
    while (*name != '\0') {
        size_t label = strcspn(name, ".");
        packet_put((unsigned)label, 1);
        for (size_t i = 0; i < label; i++)
            packet_put((uint8_t)name[i], 1);
        name += label + (name[label] == '.');
    }
    packet_put(0, 1);
}

/* Begins an answer: the question, and the counts of the records that follow. */
static inline void packet_begin(const char *name, int type, unsigned code, unsigned answers,
                                unsigned additional)
{
    packet.size = 0;
    packet_put(7, 2);
    packet_put(0x8180 | code, 2);
    packet_put(1, 2);
    packet_put(answers, 2);
    packet_put(0, 2);
    packet_put(additional, 2);
    packet_put_name(name);
    packet_put((unsigned)type, 2);
    packet_put(1, 2);
}

/* Writes a record up to its data; NULL: its owner is the name of the question. */
static inline void packet_put_head(const char *owner, unsigned type, unsigned ttl, unsigned length)
{
    if (owner == NULL)
        packet_put(0xc00c, 2);
    else
        packet_put_name(owner);
    packet_put(type, 2);
    packet_put(1, 2);
    packet_put(ttl, 4);
    packet_put(length, 2);
}

static inline void packet_put_srv(const char *owner, unsigned ttl, unsigned priority,
                                  unsigned weight, unsigned port, const char *target)
{
    packet_put_head(owner, DNS_TYPE_SRV, ttl, 0);
    size_t length_at = packet.size - 2;
    packet_put(priority, 2);
    packet_put(weight, 2);
    packet_put(port, 2);
    packet_put_name(target);
    packet.at[length_at + 1] = (uint8_t)(packet.size - length_at - 2);
}

static inline void packet_put_address(const char *owner, unsigned ttl,
                                      const struct address *address)
{
    bool six = address->family == ADDRESS_IPV6;
    unsigned length = six ? 16 : 4;
    packet_put_head(owner, six ? DNS_TYPE_AAAA : DNS_TYPE_A, ttl, length);
    for (unsigned i = 0; i < length; i++)
        packet_put(address->bytes[i], 1);
}
