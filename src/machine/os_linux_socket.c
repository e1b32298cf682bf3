/* os_linux_socket.c - the sockets of the os table on Linux. */
#include "base/check.h"
#include "machine/kernel_call.h"
#include "machine/os_linux_parts.h"
#include "machine/stream.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Sockets: TCP over IPv4 and IPv6, and Unix streams; created non-blocking and close-on-exec. */

union socket_name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* Converts an address to the kernel's form and returns its size; 0 when it has none. */
static socklen_t name_from_address(const struct address *address, union socket_name *ret)
{
    memset(ret, 0, sizeof(*ret));
    switch (address->family) {
    case ADDRESS_IPV4:
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(address->port);
        memcpy(&ret->v4.sin_addr, address->bytes, 4);
        return sizeof(ret->v4);
    case ADDRESS_IPV6:
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons(address->port);
        ret->v6.sin6_scope_id = address->scope;
        memcpy(&ret->v6.sin6_addr, address->bytes, 16);
        return sizeof(ret->v6);
    case ADDRESS_UNIX:
        ret->local.sun_family = AF_UNIX;
        static_assert(sizeof(ret->local.sun_path) == sizeof(address->path), "the same limit");
        memcpy(ret->local.sun_path, address->path, sizeof(address->path));
        if (!address_is_abstract(address))
            return sizeof(ret->local);
        /* An abstract name begins with a NUL and ends with its length. */
        ret->local.sun_path[0] = '\0';
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address->path));
    case ADDRESS_NONE:
        break;
    }
    return 0;
}

static void name_to_address(const union socket_name *name, struct address *ret)
{
    *ret = (struct address){.family = ADDRESS_NONE};
    switch (name->any.sa_family) {
    case AF_INET:
        ret->family = ADDRESS_IPV4;
        ret->port = ntohs(name->v4.sin_port);
        memcpy(ret->bytes, &name->v4.sin_addr, 4);
        break;
    case AF_INET6:
        ret->family = ADDRESS_IPV6;
        ret->port = ntohs(name->v6.sin6_port);
        ret->scope = name->v6.sin6_scope_id;
        memcpy(ret->bytes, &name->v6.sin6_addr, 16);
        break;
    case AF_UNIX:
        ret->family = ADDRESS_UNIX;
        memcpy(ret->path, name->local.sun_path, sizeof(ret->path) - 1);
        if (ret->path[0] == '\0' && ret->path[1] != '\0')
            ret->path[0] = '@';
        break;
    default:
        break;
    }
}

static int socket_switch_on(int handle, int level, int option)
{
    int one = 1;
    return setsockopt(handle, level, option, &one, sizeof(one)) < 0 ? -errno : 0;
}

/* Creates a socket.  Urgent data stays in line (SO_OOBINLINE): otherwise a short read would not
 * mean that the socket is drained. */
static int socket_new(int family)
{
    int handle = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return -errno;
    if (family != AF_UNIX)
        socket_switch_on(handle, SOL_SOCKET, SO_OOBINLINE);
    return handle;
}

static int socket_give_up(int handle, int status)
{
    close(handle);
    return status;
}

/* --- listening -------------------------------------------------------------------------------- */

/* Whether the path is a socket file without a listener, left over from a process that died. */
static bool unix_path_is_stale(const union socket_name *name, socklen_t size)
{
    struct stat status;
    if (lstat(name->local.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int probe = socket_new(AF_UNIX);
    if (probe < 0)
        return false;
    bool stale = connect(probe, &name->any, size) < 0 && errno == ECONNREFUSED;
    close(probe);
    return stale;
}

static int listen_bind(int handle, const union socket_name *name, socklen_t size)
{
    if (bind(handle, &name->any, size) == 0)
        return 0;
    if (errno != EADDRINUSE || name->any.sa_family != AF_UNIX)
        return -errno;
    if (!unix_path_is_stale(name, size))
        return -EADDRINUSE;
    if (unlink(name->local.sun_path) < 0 && errno != ENOENT)
        return -errno;
    return bind(handle, &name->any, size) == 0 ? 0 : -errno;
}

static bool is_file(const struct address *at)
{
    return at->family == ADDRESS_UNIX && !address_is_abstract(at);
}

int os_linux_listen(const struct address *at, int backlog, int unix_mode)
{
    union socket_name name;
    socklen_t size = name_from_address(at, &name);
    if (size == 0)
        return -EAFNOSUPPORT;
    int handle = socket_new(name.any.sa_family);
    if (handle < 0)
        return handle;
    if (at->family != ADDRESS_UNIX)
        socket_switch_on(handle, SOL_SOCKET, SO_REUSEADDR);
    /* The IPv4 and the IPv6 wildcard address are bound by one socket each. */
    if (at->family == ADDRESS_IPV6)
        socket_switch_on(handle, IPPROTO_IPV6, IPV6_V6ONLY);
    int status = listen_bind(handle, &name, size);
    if (status < 0)
        return socket_give_up(handle, status);
    /* Before listen(), so that no client connects under the wrong mode. */
    if (is_file(at) && chmod(at->path, (mode_t)unix_mode) < 0)
        return socket_give_up(handle, -errno);
    if (listen(handle, backlog) < 0)
        return socket_give_up(handle, -errno);
    return handle;
}

int os_linux_listen_again(int handle, const struct address *at, int backlog, int unix_mode)
{
    if (is_file(at) && unix_mode >= 0 && chmod(at->path, (mode_t)unix_mode) < 0)
        return -errno;
    return listen(handle, backlog) < 0 ? -errno : 0;
}

int os_linux_listen_tune(int handle, const struct address *at, int64_t group, int defer)
{
    int status = 0;
    if (at->family != ADDRESS_UNIX)
        status = setsockopt(handle, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof(defer));
    else if (group >= 0 && is_file(at))
        status = lchown(at->path, (uid_t)-1, (gid_t)group);
    return status < 0 ? -errno : 0;
}

int os_linux_accept(int listener, struct address *ret_peer)
{
    union socket_name name = {0};
    socklen_t size = sizeof(name);
    int handle = accept4(listener, &name.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (handle < 0)
        return -errno;
    /* SO_OOBINLINE is inherited from the listener. */
    name_to_address(&name, ret_peer);
    return handle;
}

/* --- connecting ------------------------------------------------------------------------------- */

int os_linux_connect(const struct address *to)
{
    union socket_name name;
    socklen_t size = name_from_address(to, &name);
    if (size == 0)
        return -EAFNOSUPPORT;
    int handle = socket_new(name.any.sa_family);
    if (handle < 0)
        return handle;
    if (connect(handle, &name.any, size) < 0 && errno != EINPROGRESS)
        return socket_give_up(handle, -errno);
    return handle;
}

int os_linux_connect_result(int handle)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(handle, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    if (error != 0)
        return -error;
    union socket_name name;
    size = sizeof(name);
    if (getpeername(handle, &name.any, &size) == 0)
        return 0;
    return errno == ENOTCONN ? -EINPROGRESS : -errno;
}

int os_linux_pair(int ret_handles[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    return socketpair(AF_UNIX, type, 0, ret_handles) < 0 ? -errno : 0;
}

static int socket_set(int handle, int option, int value)
{
    if (value == 0)
        return 0;
    return setsockopt(handle, IPPROTO_TCP, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int os_linux_set_low_water(int handle, int bytes)
{
    return setsockopt(handle, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) < 0 ? -errno : 0;
}

static int64_t socket_seconds(int handle, int option)
{
    int value = 0;
    socklen_t size = sizeof(value);
    return getsockopt(handle, IPPROTO_TCP, option, &value, &size) == 0 ? value : 0;
}

/* TCP_USER_TIMEOUT in milliseconds; by default what the keepalive probes need to find a dead peer.
 * The kernel sends no probes while sent bytes are unacknowledged: without this timeout, a dead peer
 * would be noticed after a quarter of an hour, whatever the settings of the probes. */
static int user_timeout_of(int handle, const struct socket_options *options)
{
    if (options->user_timeout != 0 || !options->keepalive || options->keep_idle == 0)
        return options->user_timeout;
    int64_t probes = socket_seconds(handle, TCP_KEEPINTVL) * socket_seconds(handle, TCP_KEEPCNT);
    return (int)MIN_OF((options->keep_idle + probes) * 1000, (int64_t)INT32_MAX);
}

int os_linux_set_options(int handle, const struct socket_options *options)
{
    int worst = socket_set(handle, TCP_NODELAY, options->nodelay ? 1 : 0);
    if (options->keepalive) {
        worst = MIN_OF(worst, socket_switch_on(handle, SOL_SOCKET, SO_KEEPALIVE));
        worst = MIN_OF(worst, socket_set(handle, TCP_KEEPIDLE, options->keep_idle));
        worst = MIN_OF(worst, socket_set(handle, TCP_KEEPINTVL, options->keep_interval));
        worst = MIN_OF(worst, socket_set(handle, TCP_KEEPCNT, options->keep_count));
    }
    int user_timeout = user_timeout_of(handle, options);
    return MIN_OF(worst, socket_set(handle, TCP_USER_TIMEOUT, user_timeout));
}

int64_t os_linux_peer_user(int handle)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(handle, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return -errno;
    /* Sockets of other kinds return uid -1. */
    return peer.uid == (uid_t)-1 ? -ENOTSUP : (int64_t)peer.uid;
}

static bool interface_read(const struct ifaddrs *from, struct os_interface *ret)
{
    union socket_name name, mask;
    if (from->ifa_addr == NULL || from->ifa_netmask == NULL)
        return false;
    bool six = from->ifa_addr->sa_family == AF_INET6;
    if (!six && from->ifa_addr->sa_family != AF_INET)
        return false;
    memcpy(&name, from->ifa_addr, six ? sizeof(name.v6) : sizeof(name.v4));
    memcpy(&mask, from->ifa_netmask, six ? sizeof(mask.v6) : sizeof(mask.v4));
    *ret = (struct os_interface){.address.family = six ? ADDRESS_IPV6 : ADDRESS_IPV4};
    memcpy(ret->address.bytes, six ? (void *)&name.v6.sin6_addr : (void *)&name.v4.sin_addr,
           six ? 16 : 4);
    memcpy(ret->mask, six ? (void *)&mask.v6.sin6_addr : (void *)&mask.v4.sin_addr, six ? 16 : 4);
    return true;
}

int os_linux_interfaces(struct os_interface *ret, int max)
{
    struct ifaddrs *all;
    int count = 0;
    if (getifaddrs(&all) != 0)
        return -errno;
    for (const struct ifaddrs *it = all; it != NULL && count < max; it = it->ifa_next)
        count += interface_read(it, &ret[count]) ? 1 : 0;
    freeifaddrs(all);
    return count;
}

int os_linux_local_address(int handle, struct address *ret)
{
    union socket_name name = {0};
    socklen_t size = sizeof(name);
    if (getsockname(handle, &name.any, &size) < 0)
        return -errno;
    name_to_address(&name, ret);
    return 0;
}

/* --- bytes ------------------------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)

int64_t os_linux_recv(int handle, void *bytes, size_t size)
{
    int64_t got = recv(handle, bytes, size, 0);
    return got < 0 ? -errno : got;
}

int64_t os_linux_send(int handle, const void *bytes, size_t size)
{
    int64_t put = send(handle, bytes, size, MSG_NOSIGNAL);
    return put < 0 ? -errno : put;
}

int64_t os_linux_send_vector(int handle, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    int64_t put = sendmsg(handle, &message, MSG_NOSIGNAL);
    return put < 0 ? -errno : put;
}

#else

int64_t os_linux_recv(int handle, void *bytes, size_t size)
{
    return kernel_call(SYS_recvfrom, (long[6]){handle, (long)bytes, (long)size});
}

int64_t os_linux_send(int handle, const void *bytes, size_t size)
{
    return kernel_call(SYS_sendto, (long[6]){handle, (long)bytes, (long)size, MSG_NOSIGNAL});
}

int64_t os_linux_send_vector(int handle, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    return kernel_call(SYS_sendmsg, (long[6]){handle, (long)&message, MSG_NOSIGNAL});
}

#endif

void os_linux_shut(int handle)
{
    shutdown(handle, SHUT_WR);
}
