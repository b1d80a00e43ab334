#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
    int wanted = count > 1 ? atoi(arguments[1]) : 4096;
    for (int have = 0; have < wanted; have++) {
        char *block = malloc(1 << 20);
        if (!block) {
            fprintf(stderr, "no memory after %d MiB\n", have);
            abort();
        }
        memset(block, 0xa5, 1 << 20);
        /* Keeps the compiler from leaving the allocation out. */
        __asm__ volatile("" : : "r"(block) : "memory");
    }
    printf("have %d MiB\n", wanted);
    return 0;
}
