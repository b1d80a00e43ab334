#include <stdio.h>

static int copy(FILE *from) {
    char buffer[4096];
    size_t size;
    while ((size = fread(buffer, 1, sizeof buffer, from)) > 0)
        if (fwrite(buffer, 1, size, stdout) != size)
            return 1;
    return ferror(from) ? 1 : 0;
}

int main(int count, char **paths) {
    if (count < 2)
        return copy(stdin);
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "r");
        if (!file) {
            perror(paths[i]);
            return 1;
        }
        if (copy(file))
            return 1;
        fclose(file);
    }
    return 0;
}
