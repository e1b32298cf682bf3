#include "cli/top.h"

#include "cli/cli.h"
#include "cli/cli_password_parts.h"
#include "cli/top_parts.h"
#include "machine/clock.h"
#include "machine/co.h"

#include <locale.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ONCE_TIME sec(10) /* for a login, and for a reading */
#define OUT_MAX   ((size_t)256 * 1024 * 1024)

struct command {
    struct top_options options;
    char where[TOP_TEXT_SIZE + 16];
    struct buffer out;
    fault result;
    char detail[FAULT_STORY_MAX];
};

/* --- one frame -------------------------------------------------------------------------------- */

static uint32_t terminal_width(void)
{
    struct winsize size;
    bool known = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return known ? size.ws_col : 0;
}

static fault print_frame(struct command *command, const struct top_reading *now,
                         const struct top_reading *before)
{
    struct top_frame frame;
    struct top_look look;
    TRY(top_frame_make(now, before, &frame));
    fault result = OK;
    top_look_init(&look, &command->options, command->where);
    if (command->options.mode == TOP_JSON)
        top_print_json(&frame, command->where, wall_now().us / 1000000, &command->out);
    else
        result = top_print_text(&frame, &look, terminal_width(), &command->out);
    top_frame_fini(&frame);
    return result == OK ? buffer_fault(&command->out) : result;
}

/* Two readings, an interval apart, for the rates. */
static fault read_twice(struct command *command, struct top_link *link)
{
    struct top_reading *first = NULL, *second = NULL;
    TRY(top_link_read(link, &first, after(ONCE_TIME)));
    fault result = co_sleep(command->options.interval);
    if (result == OK)
        result = top_link_read(link, &second, after(ONCE_TIME));
    if (result == OK)
        result = print_frame(command, second, first);
    top_reading_free(&first);
    top_reading_free(&second);
    return result;
}

static fault run_once(struct command *command)
{
    struct top_link *link = NULL;
    TRY(top_link_open(&command->options, &link, after(ONCE_TIME)));
    fault result = read_twice(command, link);
    top_link_close(&link);
    return result;
}

static void command_main(void *argument)
{
    struct command *command = argument;
    command->result = command->options.mode == TOP_LIVE
                          ? top_screen_run(&command->options, command->where)
                          : run_once(command);
    snprintf(command->detail, sizeof(command->detail), "%s", fault_detail(command->result));
    machine_stop();
}

/* --- the command ------------------------------------------------------------------------------ */

/* Names and widths are those of the locale; without a UTF-8 one, output that no terminal shows is
 * UTF-8 all the same. */
static void choose_locale(const struct top_options *options)
{
    bool shown = options->mode == TOP_LIVE || isatty(STDOUT_FILENO);
    if (!shown || setlocale(LC_CTYPE, "") == NULL)
        (void)setlocale(LC_CTYPE, "C.UTF-8");
}

int top_run(char **arguments)
{
    static struct command command;
    char problem[2 * TOP_TEXT_SIZE];
    command = (struct command){.out = BUFFER_INIT(OUT_MAX), .result = FAULT_SYSTEM};
    struct top_options *options = &command.options;
    if (!top_options_read(arguments, options, problem, sizeof(problem))) {
        fprintf(stderr, "trunkline top: %s\n", problem);
        return CLI_USAGE;
    }
    if (options->ask_password &&
        !cli_password_ask("Password: ", options->password, sizeof(options->password))) {
        fputs("trunkline top: found no password\n", stderr);
        return CLI_FAILED;
    }
    snprintf(command.where, sizeof(command.where),
             strchr(options->host, ':') != NULL ? "[%s]:%u" : "%s:%u", options->host,
             options->port);
    choose_locale(options);
    fault ran = machine_run("top", command_main, &command);
    explicit_bzero(options->password, sizeof(options->password));
    if (ran != OK || command.result != OK) {
        fprintf(stderr, "trunkline top: %s: %s\n", command.where,
                ran != OK ? fault_detail(ran) : command.detail);
    } else {
        printf("%.*s", SPAN_ARG(buffer_span(&command.out)));
    }
    buffer_fini(&command.out);
    return ran == OK && command.result == OK ? CLI_DONE : CLI_FAILED;
}
