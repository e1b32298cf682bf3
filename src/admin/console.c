#include "admin/console.h"

void console_serve(struct client *client, struct pooler *pooler)
{
    (void)client;
    (void)pooler;
}
