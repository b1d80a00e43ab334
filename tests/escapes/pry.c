/* A container's first process, which looks at every process that is brought in, before that has become the payload:
 * pry PAYLOAD CANARY SECRET MODE
 *
 * PAYLOAD is the program that it becomes, CANARY the host's file, SECRET is in the environment of whoever brings it in.
 * MODE: `look`; `stop` stops it first, by a signal; a directory is a freezer's cgroup to put it into.
 * Prints FOUND and what it got at. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *payload, *canary, *secret, *mode;
static int found;

static void tell(int pid, const char *what) {
    if (found++ < 40) printf("FOUND %s of %d\n", what, pid);
}

static int opened(int pid, const char *name, int flags) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, flags | O_CLOEXEC);
}

static int same(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

/* -1 where it can't be known. */
static int is_payload(int pid) {
    struct stat known, seen;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    if (stat(path, &seen) != 0) return errno == EACCES || errno == EPERM ? -1 : 1;
    return stat(payload, &known) == 0 && same(&known, &seen);
}

/* A directory from which the host's file is reached, by itself or by way of its parents. */
static void walk(int pid, int directory, const char *what) {
    char path[4096];
    snprintf(path, sizeof path, "../../../../../../../../../..%s", canary);
    if (faccessat(directory, path, R_OK, 0) == 0 || faccessat(directory, canary + 1, R_OK, 0) == 0) tell(pid, what);
}

static void look_at_directory(int pid, const char *name) {
    struct stat own, its;
    int fd = opened(pid, name, O_PATH | O_DIRECTORY);
    if (fd < 0) return;
    walk(pid, fd, name);
    if (strcmp(name, "root") == 0 && stat("/", &own) == 0 && fstat(fd, &its) == 0 && !same(&own, &its))
        tell(pid, "another root");
    close(fd);
}

static void look_at_descriptors(int pid) {
    int fd = opened(pid, "fd", O_RDONLY | O_DIRECTORY);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat its;
        if (atoi(entry->d_name) < 3) continue;
        int its_fd = openat(fd, entry->d_name, O_PATH | O_CLOEXEC);
        if (its_fd < 0) continue;
        if (fstat(its_fd, &its) == 0 && S_ISDIR(its.st_mode)) walk(pid, its_fd, "a descriptor's directory");
        if (fstat(its_fd, &its) == 0 && is_payload(pid) == 0) tell(pid, "a descriptor");
        close(its_fd);
    }
    closedir(directory);
}

static void look_at_text(int pid) {
    static char text[65536];
    int fd = opened(pid, "environ", O_RDONLY);
    if (fd >= 0) {
        ssize_t length = read(fd, text, sizeof text);
        if (length > 0 && memmem(text, length, secret, strlen(secret))) tell(pid, "the environment");
        close(fd);
    }
    fd = opened(pid, "maps", O_RDONLY);
    if (fd >= 0) {
        ssize_t length = read(fd, text, sizeof text);
        /* In the middle of execve there is a stack alone. */
        if (length > 0 && !memmem(text, length, payload, strlen(payload)) && is_payload(pid) != 1)
            tell(pid, "the memory's map");
        close(fd);
    }
    fd = opened(pid, "mem", O_RDWR);
    if (fd >= 0 && is_payload(pid) == 0) tell(pid, "the memory");
    if (fd >= 0) close(fd);
}

static void trace(int pid) {
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return;
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    if (waitpid(pid, NULL, __WALL) == pid && is_payload(pid) == 0) tell(pid, "control, by tracing,");
    ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void write_to(const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", mode, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (write(fd, text, strlen(text)) < 0 && errno == EBUSY) puts("busy");
    close(fd);
}

static void hold(int pid) {
    char text[16];
    if (strcmp(mode, "stop") == 0) kill(pid, SIGSTOP);
    if (mode[0] != '/') return;
    snprintf(text, sizeof text, "%d", pid);
    write_to("cgroup.procs", text);
    write_to("freezer.state", "FROZEN");
}

static void let_go(int pid) {
    if (strcmp(mode, "stop") == 0) kill(pid, SIGCONT);
    if (mode[0] == '/') write_to("freezer.state", "THAWED");
}

static void pry(int pid) {
    hold(pid);
    for (int again = 0; again < 3; again++) {
        look_at_directory(pid, "root");
        look_at_directory(pid, "cwd");
        look_at_descriptors(pid);
        look_at_text(pid);
    }
    let_go(pid);
    if (mode[0] != '/') trace(pid);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    payload = argv[1], canary = argv[2], secret = argv[3], mode = argv[4];
    setlinebuf(stdout);
    puts("ready");
    int last = 0;
    for (long rounds = 0;; rounds++) {
        DIR *proc = opendir("/proc");
        if (!proc) return 1;
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || is_payload(pid) == 1) continue;
            if (pid != last) printf("met %d\n", pid);
            last = pid;
            pry(pid);
        }
        closedir(proc);
        while (waitpid(-1, NULL, WNOHANG) > 0) {}
    }
}
