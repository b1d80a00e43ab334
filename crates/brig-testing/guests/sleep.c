#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    puts("sleeping");
    fflush(stdout);
    usleep((useconds_t)(count > 1 ? atoi(arguments[1]) : 1000) * 1000);
    puts("slept");
    return 0;
}
