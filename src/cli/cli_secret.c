/* cli_secret.c - `secret`: makes a verifier of a password that is typed twice. */
#include "cli/cli.h"
#include "cli/cli_password_parts.h"
#include "cli/cli_takeover_parts.h"

#include "machine/ids.h"
#include "wire/scram.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As in the auth file. */
#define USER_MAX 127

/* Asks for the password.  Returns NULL, or an error message. */
static const char *password_ask(struct password *ret)
{
    struct password again;
    if (!isatty(STDIN_FILENO))
        return cli_password_line(ret) ? NULL : "found no password of at most 1023 bytes";
    if (!cli_password_prompt("Password: ", ret) || !cli_password_prompt("Again: ", &again))
        return "found no password of at most 1023 bytes";
    bool same = ret->size == again.size && memcmp(ret->text, again.text, again.size) == 0;
    explicit_bzero(&again, sizeof(again));
    return same ? NULL : "the passwords do not match";
}

static bool user_sound(const char *user)
{
    size_t size = strlen(user);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)user[i] < ' ' || user[i] == 127)
            return false;
    return size > 0 && size <= USER_MAX;
}

static void line_print(const char *user, struct span secret)
{
    putchar('"');
    for (; *user != '\0'; user++) {
        if (*user == '"')
            putchar('"');
        putchar(*user);
    }
    printf("\" \"%.*s\"\n", SPAN_ARG(secret));
}

static void secret_print(const char *user, struct span password)
{
    uint8_t salt[SCRAM_SALT];
    struct scram_keys keys;
    struct scram_verifier verifier;
    char text[SCRAM_VERIFIER_MAX];
    random_bytes(salt, sizeof(salt));
    scram_derive(password, salt, sizeof(salt), SCRAM_ITERATIONS, &keys);
    scram_verifier_of(&keys, &verifier);
    scram_print_verifier(&verifier, text);
    explicit_bzero(&keys, sizeof(keys));
    line_print(user, span_text(text));
}

/* Prints the secret that the server has.  Its administrator may need no password. */
static int secret_take_over(char **arguments)
{
    struct password password = {.size = 0};
    bool asked = isatty(STDIN_FILENO)
                     ? cli_password_prompt("Password of the administrator: ", &password)
                     : cli_password_line(&password);
    struct buffer secret = BUFFER_INIT(4096);
    struct takeover takeover = {
        .user = arguments[0],
        .server = arguments[2],
        .admin = arguments[3],
        .password = span_of(password.text, asked ? password.size : 0),
    };
    fault taken = cli_take_over(&takeover, &secret);
    explicit_bzero(&password, sizeof(password));
    if (taken == OK)
        line_print(arguments[0], buffer_span(&secret));
    else
        fprintf(stderr, "trunkline secret: %s\n", fault_detail(taken));
    buffer_fini(&secret);
    return taken == OK ? CLI_DONE : CLI_FAILED;
}

int cli_secret(char **arguments)
{
    struct password password = {.size = 0};
    if (!user_sound(arguments[0])) {
        fprintf(stderr,
                "trunkline secret: accepted: a user of 1 to %d bytes without control characters\n",
                USER_MAX);
        return CLI_FAILED;
    }
    if (arguments[1] != NULL)
        return secret_take_over(arguments);
    const char *problem = password_ask(&password);
    if (problem == NULL && password.size == 0)
        problem = "the password is empty";
    if (problem == NULL)
        secret_print(arguments[0], span_of(password.text, password.size));
    else
        fprintf(stderr, "trunkline secret: %s\n", problem);
    explicit_bzero(&password, sizeof(password));
    return problem == NULL ? CLI_DONE : CLI_FAILED;
}
