/*
 * top_text.c - characters of untrusted UTF-8: what a terminal may get, and how wide it is.
 */
#include "cli/top_parts.h"

#include <wchar.h>

struct points {
    uint32_t first;
    uint32_t last;
};

/* Characters that control a terminal or the direction of text, or that are invisible. */
static const struct points forbidden[] = {
    {0x0000, 0x001F},    {0x007F, 0x009F}, {0x00AD, 0x00AD}, {0x034F, 0x034F},   {0x061C, 0x061C},
    {0x115F, 0x1160},    {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200F},   {0x2028, 0x202E},
    {0x2060, 0x206F},    {0x3164, 0x3164}, {0xD800, 0xDFFF}, {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},
    {0xFFA0, 0xFFA0},    {0xFFF0, 0xFFFC}, {0xFFFE, 0xFFFF}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
    {0xE0000, 0x10FFFF},
};

uint32_t top_text_decode(const char **text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)*text;
    unsigned char first = at[0];
    *text += 1;
    if (first < 0x80)
        return first;
    uint32_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC2 || first > 0xF4)
        return TOP_REPLACEMENT;
    uint32_t point = first & (0x3Fu >> more);
    for (uint32_t i = 1; i <= more; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return TOP_REPLACEMENT;
        point = point << 6 | (at[i] & 0x3F);
    }
    if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
        return TOP_REPLACEMENT;
    *text += more;
    return point;
}

uint32_t top_text_next(const char **text)
{
    uint32_t point = top_text_decode(text);
    for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
        if (point >= forbidden[i].first && point <= forbidden[i].last)
            return TOP_REPLACEMENT;
    return point;
}

int top_text_width(uint32_t point)
{
    if (point < 0x80)
        return 1;
    int width = wcwidth((wchar_t)point);
    return width < 0 ? 1 : width;
}

size_t top_text_encode(uint32_t point, char ret[4])
{
    if (point < 0x80) {
        ret[0] = (char)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        ret[i] = (char)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    ret[0] = (char)((0xF00u >> size & 0xFF) | point);
    return size;
}

uint32_t top_text_columns(const char *text)
{
    uint32_t columns = 0;
    while (*text != '\0')
        columns += (uint32_t)top_text_width(top_text_next(&text));
    return columns;
}

bool top_text_has(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}
