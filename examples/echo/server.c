/*
 * server.c - a TCP echo server for the example: one thread, poll(), no library.
 *
 *     ./server        listens at a free port of 127.0.0.1 and prints "listening on port N"
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512

static struct pollfd open_ones[CONNECTIONS_MAX + 1]; /* the first one accepts */
static nfds_t open_count = 1;

static int listen_anywhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    if (handle < 0 || bind(handle, (struct sockaddr *)&at, size) != 0 || listen(handle, 64) != 0 ||
        getsockname(handle, (struct sockaddr *)&at, &size) != 0) {
        perror("server");
        exit(EXIT_FAILURE);
    }
    printf("listening on port %u\n", ntohs(at.sin_port));
    fflush(stdout);
    return handle;
}

static void take_one(int listener)
{
    int handle = accept(listener, NULL, NULL);
    if (handle >= 0 && open_count <= CONNECTIONS_MAX)
        open_ones[open_count++] = (struct pollfd){.fd = handle, .events = POLLIN};
    else if (handle >= 0)
        close(handle);
}

/* Sends back what has come.  Returns false at the end of the connection. */
static bool serve(int handle)
{
    char bytes[4096];
    ssize_t size = recv(handle, bytes, sizeof(bytes), 0);
    return size > 0 && send(handle, bytes, (size_t)size, MSG_NOSIGNAL) == size;
}

int main(void)
{
    open_ones[0] = (struct pollfd){.fd = listen_anywhere(), .events = POLLIN};
    while (poll(open_ones, open_count, -1) >= 0) {
        if (open_ones[0].revents != 0)
            take_one(open_ones[0].fd);
        for (nfds_t i = open_count - 1; i > 0; i--) {
            if (open_ones[i].revents == 0 || serve(open_ones[i].fd))
                continue;
            close(open_ones[i].fd);
            open_ones[i] = open_ones[--open_count];
        }
    }
    return EXIT_FAILURE;
}
