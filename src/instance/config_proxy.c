/*
 * config_proxy.c - address ranges of proxies that may send a PROXY header.
 */
#include "instance/config_reader.h"
#include "machine/stream.h"

#include <stdio.h>
#include <stdlib.h>

#define RANGES_MAX 1000
#define RANGE_MAX  64

static bool bits_read(const char *text, uint32_t max, uint32_t *ret)
{
    char *end;
    unsigned long bits = strtoul(text, &end, 10);
    *ret = (uint32_t)bits;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && bits <= max;
}

/* Reads "192.0.2.1", "2001:db8::/32" or "unix". */
static bool range_read(const char *text, struct address_range *ret)
{
    char number[RANGE_MAX + 1];
    snprintf(number, sizeof(number), "%s", text);
    if (strcmp(number, "unix") == 0) {
        *ret = (struct address_range){.address.family = ADDRESS_UNIX};
        return true;
    }
    char *slash = strchr(number, '/');
    if (slash == number)
        return false;
    if (slash != NULL)
        *slash = '\0';
    if (!address_parse_number(number, 0, &ret->address))
        return false;
    uint32_t max = ret->address.family == ADDRESS_IPV4 ? 32 : 128;
    ret->bits = max;
    return slash == NULL || bits_read(slash + 1, max, &ret->bits);
}

static void proxies_read(struct config_reader *reader, const struct setting *setting,
                         yaml_node_t *node, const struct config_key *key, void *object)
{
    static const struct setting row = {.kind = SETTING_TEXT, .min = 1, .max = RANGE_MAX};
    struct listen_config *listen = object;
    size_t count = node->type == YAML_SEQUENCE_NODE ? config_yaml_count(node) : RANGES_MAX + 1;
    if (count > RANGES_MAX) {
        config_refuse(reader, node, key, setting);
        return;
    }
    listen->proxies =
        config_arena_array(reader->arena, MAX_OF(count, (size_t)1), sizeof(struct address_range));
    for (size_t i = 0; listen->proxies != NULL && i < count; i++) {
        struct config_key item = {.up = key, .index = i};
        yaml_node_t *at = config_yaml_item(reader, node, i);
        const char *text = config_read_text(reader, &row, at, &item, RANGE_MAX);
        if (text == NULL)
            continue;
        if (range_read(text, &listen->proxies[listen->proxy_count]))
            listen->proxy_count += 1;
        else
            config_error(reader, at, &item,
                         "found \"%s\"; accepted: an address, \"address/bits\", or \"unix\"", text);
    }
}

static void proxies_print(const struct setting *setting, const void *object, struct buffer *out)
{
    const struct listen_config *listen = object;
    for (size_t i = 0; i < listen->proxy_count; i++) {
        const struct address_range *range = &listen->proxies[i];
        char text[ADDRESS_TEXT_SIZE];
        if (i > 0)
            buffer_append_text(out, ", ");
        if (range->address.family == ADDRESS_UNIX)
            buffer_append_text(out, "unix");
        else
            buffer_printf(out, "%s/%u", address_host_text(&range->address, text, sizeof(text)),
                          range->bits);
    }
}

const struct setting_special config_special_proxies = {.read = proxies_read,
                                                       .print = proxies_print};
