#include "parade/sql.h"

const struct parade_file parade_files[] = {
#include "parade/sql_files.def"
};
const size_t parade_file_count = ARRAY_SIZE(parade_files);

uint32_t parade_newest_version(void)
{
    uint32_t newest = 0;
    for (size_t i = 0; i < parade_file_count; i++)
        newest = MAX_OF(newest, parade_files[i].version);
    return newest;
}
