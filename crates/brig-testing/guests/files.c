#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *path) {
    perror(path);
    return 1;
}

static int read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file)
        return fail(path);
    int byte;
    while ((byte = fgetc(file)) != EOF)
        putchar(byte);
    fclose(file);
    return 0;
}

static int write_file(const char *path, const char *mode, const char *text) {
    FILE *file = fopen(path, mode);
    if (!file)
        return fail(path);
    if (fputs(text, file) < 0 || fclose(file) != 0)
        return fail(path);
    return 0;
}

static int list(const char *path) {
    DIR *dir = opendir(path);
    if (!dir)
        return fail(path);
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            puts(entry->d_name);
    closedir(dir);
    return 0;
}

int main(int count, char **a) {
    if (count >= 3 && !strcmp(a[1], "read"))
        return read_file(a[2]);
    if (count >= 4 && !strcmp(a[1], "write"))
        return write_file(a[2], "w", a[3]);
    if (count >= 4 && !strcmp(a[1], "append"))
        return write_file(a[2], "a", a[3]);
    if (count >= 3 && !strcmp(a[1], "ls"))
        return list(a[2]);
    if (count >= 3 && !strcmp(a[1], "mkdir"))
        return mkdir(a[2], 0755) ? fail(a[2]) : 0;
    if (count >= 3 && !strcmp(a[1], "rm"))
        return unlink(a[2]) ? fail(a[2]) : 0;
    fputs("usage: read|write|append|ls|mkdir|rm PATH [TEXT]\n", stderr);
    return 2;
}
