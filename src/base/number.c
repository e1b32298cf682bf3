#include "base/number.h"

#include "base/check.h"

/* Returns what a digit stands for; no less than 16 for anything else. */
static unsigned digit_of(uint8_t c)
{
    if ((uint8_t)(c - '0') < 10)
        return c - (unsigned)'0';
    uint8_t letter = (uint8_t)((c | 0x20) - 'a');
    return letter < 6 ? letter + 10u : 16u;
}

bool number_read(struct span text, unsigned base, uint64_t *ret)
{
    uint64_t value = 0;
    invariant(base == 10 || base == 16);
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = digit_of(text.at[i]);
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret = value;
    return true;
}

bool number_read_bigint(struct span text, uint64_t *ret)
{
    bool negative = text.size > 0 && text.at[0] == '-';
    uint64_t value;
    if (!number_read(negative ? span_skip(text, 1) : text, 10, &value) ||
        value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? 0 - value : value;
    return true;
}
