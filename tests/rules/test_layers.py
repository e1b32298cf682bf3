"""Floors include downwards only, and one of them calls the operating system."""
import re

import objects
from tree import TOP, listed

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)

# Headers of the operating system: the business of machine/, and of cli/ for the terminal.  Those that
# give only a type or numbers to others (sys/uio.h, signal.h) are not among them.
SYSTEM = re.compile(
    r"^(unistd|fcntl|poll|pthread|threads|netdb|termios|dlfcn|ifaddrs|syslog|ucontext|ares"
    r"|sys/(socket|epoll|eventfd|signalfd|timerfd|stat|mman|un|wait|random|time|resource|prctl"
    r"|ioctl|file|syscall|sendfile)|netinet/.*|arpa/.*|linux/.*|sched|openssl/(ssl|bio|x509.*))\.h$")

# Calls of the operating system, as an object file imports them.
CALLS = set("""
    socket bind listen accept accept4 connect send recv sendto recvfrom sendmsg recvmsg shutdown
    getaddrinfo freeaddrinfo getnameinfo setsockopt getsockopt socketpair poll ppoll select
    epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd signalfd timerfd_create
    open open64 openat creat close read write readv writev pread pwrite pread64 pwrite64 lseek
    lseek64 ftruncate fsync rename unlink mkdir stat fstat lstat stat64 fstat64 opendir readdir
    fopen fopen64 fread fwrite fclose fgets popen mmap mmap64 munmap mprotect madvise
    pthread_create pthread_join pthread_mutex_lock pthread_mutex_init pthread_cond_wait
    pthread_sigmask sigaction signal kill raise fork execve execvp posix_spawn waitpid system
    clock_gettime gettimeofday time nanosleep clock_nanosleep usleep sleep
    getrandom getentropy random rand srand RAND_bytes getpid gettid sysconf
    sched_getaffinity sched_setaffinity syscall ares_init ares_init_options ares_query
    SSL_new SSL_read SSL_write SSL_CTX_new
""".split())

# base/check.c writes the last words of an aborting process to stderr.
EXEMPT_FILES = {"base/check.c"}
EXEMPT_FOLDERS = {"machine", "cli"}


def layers():
    rules = {}
    for line in (TOP / "src" / "LAYERS").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            folder, below = line.split(":")
            rules[folder.strip()] = set(below.split()) | {folder.strip()}
    return rules


def floors():
    """(folder, path under src/, text) of every source that stands on a floor."""
    for path in listed("src/*/*.c", "src/*/*.h", "src/*/*.S", "src/*/*.def"):
        inside = path.relative_to(TOP / "src")
        yield inside.parts[0], inside.as_posix(), path.read_text()


def test_every_folder_of_src_has_a_floor():
    folders = {folder for folder, _, _ in floors()}
    assert folders <= set(layers()), "src/LAYERS does not know " + str(folders - set(layers()))


def test_the_floors_have_no_cycle():
    done, rules = set(), layers()
    while len(done) < len(rules):
        free = [f for f, below in rules.items() if f not in done and below - {f} <= done]
        assert free, f"a cycle among {sorted(set(rules) - done)}"
        done.update(free)


def test_a_floor_includes_only_itself_and_the_floors_under_it():
    rules, wrong = layers(), []
    for folder, name, text in floors():
        for match in INCLUDE.finditer(text):
            target = match.group(1)
            if target and "/" in target and target.split("/")[0] not in rules[folder]:
                wrong.append(f"{name} includes {target}")
            elif target and "/" not in target:
                wrong.append(f'{name} includes "{target}" without its folder')
    assert not wrong, "\n".join(wrong)


# Headers with structs that only their own folder sees, without the name yet; world.h is what the
# simulation's tests set.
UNNAMED_PARTS = {
    "machine/sim/world.h",
    "machine/log_line.h", "instance/config_problems.h", "instance/config_reader.h",
    "instance/settings.h", "relay/turn/turn.h", "relay/turn/turn_names.h",
    "relay/turn/turn_reads.h",
}

# A folder that is a library of its own: its headers are the interface for other programs; or one
# of which no other folder uses a part yet: the feed of flight.
LIBRARIES = {"fleet", "flight"}


def seen_by():
    """For each header the folders whose files reach it, also through other headers."""
    sources = {name: text for _, name, text in floors()}
    includes = {name: {m.group(1) for m in INCLUDE.finditer(text) if m.group(1) in sources}
                for name, text in sources.items()}
    folders = {name: set() for name in sources}
    for name in sources:
        done, todo = set(), [name]
        while todo:
            more = includes[todo.pop()] - done
            done |= more
            todo += more
        for header in done:
            folders[header].add(name.split("/")[0])
    return sources, folders


def test_the_parts_of_a_folder_are_seen_by_that_folder_only():
    """*_parts.h holds what a folder keeps to itself: no other folder reaches it by any path."""
    _, folders = seen_by()
    wrong = [f"{header} is reached by {sorted(others)}" for header, seen in folders.items()
             if header.endswith("_parts.h") and (others := seen - {header.split("/")[0]})]
    assert not wrong, "\n".join(wrong)


def test_a_header_of_structs_that_one_folder_sees_is_named_parts():
    """So that nothing outside comes to depend on them unnoticed."""
    sources, folders = seen_by()
    alone = {header for header, seen in folders.items()
             if header.endswith(".h") and not header.endswith("_parts.h")
             and seen <= {header.split("/")[0]} and header.split("/")[0] not in LIBRARIES
             and re.search(r"^struct \w+ \{", sources[header], re.M)}
    assert alone == UNNAMED_PARTS


def test_a_floor_calls_only_itself_and_the_floors_under_it(library):
    """An include may be missing where a prototype is repeated: so the objects are asked, too."""
    rules = layers()
    owner = {name: item.name.partition("_")[0] for item, name in objects.defined(library)}
    wrong = [f"{item.name} calls {name} of {owner[name]}" for item, name in objects.needed(library)
             if name in owner and owner[name] not in rules[item.name.partition("_")[0]]]
    assert len(owner) > 500
    assert not wrong, "\n".join(wrong)


def test_only_machine_includes_the_headers_of_the_operating_system():
    wrong = [f"{name} includes <{match.group(2)}>"
             for folder, name, text in floors()
             if folder not in EXEMPT_FOLDERS and name not in EXEMPT_FILES
             for match in INCLUDE.finditer(text)
             if match.group(2) and SYSTEM.match(match.group(2))]
    assert not wrong, "\n".join(wrong)


def test_only_machine_calls_the_operating_system(library):
    wrong = []
    for item, name in objects.needed(library):
        folder, _, rest = item.name.partition("_")
        exempt = folder in EXEMPT_FOLDERS or f"{folder}/{rest.removesuffix('.o')}" in EXEMPT_FILES
        if name in CALLS and not exempt:
            wrong.append(f"{item.name} calls {name}")
    assert not wrong, "\n".join(wrong)
