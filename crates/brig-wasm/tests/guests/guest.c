// A guest with one verb for each thing that a test wants to see.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

static int copy(int from, int to) {
    char buffer[10000];
    ssize_t count;
    while ((count = read(from, buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at < count;) {
            ssize_t written = write(to, buffer + at, count - at);
            if (written < 0) return failed("write");
            at += written;
        }
    }
    return count < 0 ? failed("read") : 0;
}

__attribute__((noinline)) static int divide(volatile int a, volatile int b) { return a / b; }

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "hello";
    const char *path = argc > 2 ? argv[2] : "";
    if (!strcmp(verb, "hello")) return puts("hello"), 0;
    if (!strcmp(verb, "echo")) {
        for (int i = 0; i < argc; i++) puts(argv[i]);
        for (char **e = environ; *e; e++) puts(*e);
        return 0;
    }
    if (!strcmp(verb, "exit")) exit(atoi(path));
    if (!strcmp(verb, "cat")) return copy(0, 1);
    if (!strcmp(verb, "poll")) {
        // More than once, as an event loop does.
        for (int i = 0; i < 3; i++) {
            struct pollfd stdin_fd = {0, POLLIN, 0};
            int ready = poll(&stdin_fd, 1, atoi(path));
            printf("%d\n", ready);
            fflush(stdout);
            if (ready < 0) return failed("poll");
            if (ready > 0) return copy(0, 1);
        }
        return 0;
    }
    if (!strcmp(verb, "read")) {
        int file = open(path, O_RDONLY);
        return file < 0 ? failed(path) : copy(file, 1);
    }
    if (!strcmp(verb, "write")) {
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        return file < 0 ? failed(path) : copy(0, file);
    }
    if (!strcmp(verb, "remove")) return unlink(path) < 0 ? failed(path) : 0;
    if (!strcmp(verb, "rename")) return rename(path, argv[3]) < 0 ? failed(path) : 0;
    if (!strcmp(verb, "link")) return symlink(argv[3], path) < 0 ? failed(path) : 0;
    if (!strcmp(verb, "mkdir")) return mkdir(path, 0755) < 0 ? failed(path) : 0;
    if (!strcmp(verb, "list")) {
        DIR *dir = opendir(path);
        if (!dir) return failed(path);
        for (struct dirent *entry; (entry = readdir(dir));) puts(entry->d_name);
        return 0;
    }
    if (!strcmp(verb, "divide")) return printf("%d\n", divide(1, atoi(path)));
    if (!strcmp(verb, "abort")) abort();
    if (!strcmp(verb, "eat")) {
        // Touched, so that it is really there.
        for (;;) {
            char *volatile block = malloc(1 << 20);
            if (!block) abort();
            memset(block, 1, 1 << 20);
        }
    }
    if (!strcmp(verb, "recurse")) {
        volatile char frame[1000];
        frame[0] = 1;
        return main(argc, argv) + frame[0];
    }
    if (!strcmp(verb, "loop")) {
        volatile unsigned turns = 0;
        puts("looping");
        fflush(stdout);
        for (;;) turns++;
    }
    if (!strcmp(verb, "sleep")) return usleep(atoi(path) * 1000);
    if (!strcmp(verb, "leave")) {
        // Sleeps for a minute; woken before, it cleans up.
        struct timespec before, after, minute = {60, 0};
        puts("waiting");
        fflush(stdout);
        clock_gettime(CLOCK_MONOTONIC, &before);
        nanosleep(&minute, 0);
        clock_gettime(CLOCK_MONOTONIC, &after);
        if (after.tv_sec - before.tv_sec >= 59) return failed("nobody woke it");
        puts("leaving");
        return 0;
    }
    if (!strcmp(verb, "tick")) {
        for (;;) {
            puts("tick");
            fflush(stdout);
            usleep(20000);
        }
    }
    if (!strcmp(verb, "serve")) {
        // Waits for its input to end, and then cleans up.
        puts("waiting");
        fflush(stdout);
        if (!strcmp(path, "poll")) {
            struct pollfd stdin_fd = {0, POLLIN, 0};
            if (poll(&stdin_fd, 1, 60000) != 1) return failed("poll");
        }
        if (copy(0, 1)) return 1;
        puts("leaving");
        return 0;
    }
    if (!strcmp(verb, "clock")) {
        struct timespec now;
        for (int i = 0; i < 100; i++) {
            if (clock_gettime(i % 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now)) return failed("clock");
            printf("%ld\n", now.tv_nsec);
        }
        return 0;
    }
    fprintf(stderr, "unknown verb %s\n", verb);
    return 2;
}
